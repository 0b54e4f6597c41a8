"""The schema's versions: what leads from one to the next."""

from observatory.core.batch import GENERATION_BITS, OFFSET_BITS

SCHEMA_VERSION = 6
MIGRATIONS: dict[
    int, str
] = {  # version → SQL that leads from it to the next one; statements end with ";" and a newline
    1: "CREATE TABLE forgotten (path TEXT UNIQUE, head INTEGER)",
    2: f"""CREATE TABLE blocks (id INTEGER PRIMARY KEY, last INTEGER NOT NULL, data BLOB NOT NULL);
ALTER TABLE sources ADD COLUMN packed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE copies RENAME COLUMN source_id TO record;
UPDATE copies SET record = record << {GENERATION_BITS + OFFSET_BITS};
ALTER TABLE usage ADD COLUMN at TEXT;
ALTER TABLE usage ADD COLUMN model TEXT;
ALTER TABLE usage ADD COLUMN branch TEXT;
ALTER TABLE usage ADD COLUMN service_tier TEXT;
ALTER TABLE usage ADD COLUMN speed TEXT;
ALTER TABLE usage ADD COLUMN geo TEXT;
ALTER TABLE usage ADD COLUMN cache_5m INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN cache_1h INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN web_searches INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN cost_usd REAL;
ALTER TABLE tool_calls ADD COLUMN called_at TEXT;
ALTER TABLE tool_calls ADD COLUMN status TEXT;
ALTER TABLE tool_calls ADD COLUMN answered_at TEXT;
ALTER TABLE tool_calls ADD COLUMN duration_ms INTEGER;
ALTER TABLE tool_calls ADD COLUMN result_record TEXT;
ALTER TABLE sources ADD COLUMN swept INTEGER NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN status TEXT NOT NULL DEFAULT 'active';
CREATE INDEX conversations_in_motion ON conversations(updated_at) WHERE status = 'active';
CREATE TABLE attachments (
    id INTEGER PRIMARY KEY, conversation_id TEXT NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, reason TEXT, ready INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX attachments_by_name ON attachments(conversation_id, name);
CREATE INDEX attachments_torn ON attachments(id) WHERE ready = 0;
CREATE TABLE attachment_parts (
    attachment INTEGER NOT NULL, part INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (attachment, part)
);
CREATE TABLE summaries (leaf_uuid TEXT NOT NULL, conversation_id TEXT NOT NULL, offset INTEGER NOT NULL,
    title TEXT NOT NULL, PRIMARY KEY (leaf_uuid, conversation_id)) WITHOUT ROWID;
CREATE TABLE leaves (leaf_uuid TEXT NOT NULL, conversation_id TEXT NOT NULL,
    PRIMARY KEY (leaf_uuid, conversation_id)) WITHOUT ROWID""",
    3: """ALTER TABLE sources ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;
CREATE TABLE annotations (conversation_id TEXT PRIMARY KEY, starred INTEGER NOT NULL, note TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE tags (conversation_id TEXT NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (conversation_id, tag)) WITHOUT ROWID;
CREATE INDEX tags_by_tag ON tags(tag)""",
    4: """CREATE TABLE hook_events (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE, at INTEGER NOT NULL,
    conversation_id TEXT NOT NULL, session_id TEXT NOT NULL, project_id TEXT, name TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX hook_events_by_conversation ON hook_events(conversation_id, id)""",
    5: """CREATE TABLE changes (number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, ref TEXT NOT NULL,
    UNIQUE (kind, ref))""",
}
