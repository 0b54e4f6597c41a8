-- Version 6. Two things that must not be confused: `records` is the archive (kept until pruned), `events` the log of what
-- was published (trimmed by retention). A live line writes its record and its event in one transaction, the journal; what
-- follows from records (sources, conversations, projects, usage, tool_calls, copies) are the books, written with their own events
-- right after. sources.offset says how far the books are: records beyond it are folded in at the next start.
-- Every index on records or events costs each line a page in the WAL before it is published: it must earn its keep.

CREATE TABLE meta (            -- machine_id, epoch, epoch_start, boot_id, clean
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE roots (           -- a root is here once its first scan is complete: what it held then is backfill
    path            TEXT PRIMARY KEY,
    first_scan_at   INTEGER NOT NULL  -- ms
) WITHOUT ROWID;

CREATE TABLE sources (         -- one transcript file
    id              INTEGER PRIMARY KEY,
    path            TEXT NOT NULL UNIQUE,
    root            TEXT NOT NULL,
    dev             INTEGER NOT NULL,   -- dev … ctime_ns: the file as last seen by stat
    ino             INTEGER NOT NULL,
    size            INTEGER NOT NULL,   -- -1: its end was not reached yet
    mtime_ns        INTEGER NOT NULL,
    ctime_ns        INTEGER NOT NULL,
    generation      INTEGER NOT NULL,   -- +1 when the content was replaced or rewritten
    offset          INTEGER NOT NULL,   -- bytes consumed and in the books: always just past a newline
    backfill_until  INTEGER NOT NULL,   -- bytes before this were there at the root's first scan: archived, not published
    lines           INTEGER NOT NULL,   -- records so far, the next sequence_number
    conversation_id TEXT,               -- NULL until the file is recognised as Claude Code's
    missing         INTEGER NOT NULL DEFAULT 0,
    packed          INTEGER NOT NULL DEFAULT 0, -- generation << 37 | offset: bodies of records before are in blocks
    swept           INTEGER NOT NULL DEFAULT 0, -- 1 when its session's spilled outputs were looked for: see attachments
    pruned          INTEGER NOT NULL DEFAULT 0  -- generation << 37 | offset: records before were removed by their age
);

CREATE TABLE records (         -- every line ever read
    id              INTEGER PRIMARY KEY, -- source id, generation and offset in one number: see core/batch.py, record_key
    length          INTEGER NOT NULL,   -- bytes without the newline
    span            INTEGER NOT NULL,   -- bytes to the start of the next line
    line            INTEGER NOT NULL,   -- sequence_number, order in the file
    conversation_id TEXT,
    type            TEXT NOT NULL,      -- verbatim; '' when absent
    kind            TEXT NOT NULL,
    uuid            TEXT,               -- not unique: forks repeat it
    message_id      TEXT,
    timestamp       TEXT,               -- the transcript's own
    flags           INTEGER NOT NULL,   -- 1 copy, 2 known from an earlier generation, 4 sidechain, 8 meta, 16 backfill,
                                        -- 32 superseded, 64 stored without its newline, 128 redacted, 256 of
                                        -- another session by its own word: see
                                        -- core/batch.py, Flag
    error           TEXT,               -- why the line could not be parsed
    codec           INTEGER NOT NULL,   -- how body is stored: 0 = as it was read, 1 = in a block
    body            BLOB NOT NULL       -- in a block: where in it, and how long: see core/bodies.py
);

CREATE TABLE blocks (          -- bodies of consecutive records, compressed together
    id              INTEGER PRIMARY KEY, -- of the first record in it
    last            INTEGER NOT NULL,    -- … and of the last one
    data            BLOB NOT NULL        -- zstd
);

CREATE TABLE copies (          -- who holds a line: another file that holds it too is a fork or a resume
    copy_key        INTEGER PRIMARY KEY,  -- core/copy_key.py
    record          INTEGER NOT NULL      -- the record that counts as the original; of an archive of version 2 its source's first
);

CREATE TABLE usage (           -- per API message and conversation, each field's maximum over the lines that carry the id
    message_id      TEXT NOT NULL,      -- of a message without id: line: and the line's uuid, or its place
    conversation_id TEXT NOT NULL,
    replied         INTEGER NOT NULL,   -- 1 when an assistant line of this conversation carried the id
    input_tokens    INTEGER NOT NULL,
    output_tokens   INTEGER NOT NULL,
    cache_creation_input_tokens INTEGER NOT NULL,
    cache_read_input_tokens     INTEGER NOT NULL,
    at              TEXT,               -- earliest time of its lines, RFC 3339 with ms; at … cost_usd: core/detail.py
    model           TEXT,
    branch          TEXT,               -- git's, on the earliest line
    service_tier    TEXT,
    speed           TEXT,
    geo             TEXT,
    cache_5m        INTEGER NOT NULL DEFAULT 0,  -- of cache_creation, as far as the lines split it
    cache_1h        INTEGER NOT NULL DEFAULT 0,
    web_searches    INTEGER NOT NULL DEFAULT 0,
    cost_usd        REAL,               -- costUSD of old versions of Claude Code
    PRIMARY KEY (message_id, conversation_id)
) WITHOUT ROWID;

CREATE TABLE tool_calls (
    conversation_id TEXT NOT NULL,
    tool_use_id     TEXT NOT NULL,
    name            TEXT NOT NULL,
    record          TEXT NOT NULL,      -- the record's public id
    called_at       TEXT,               -- called_at … result_record: core/tools.py
    status          TEXT,               -- NULL: of an archive that did not know it
    answered_at     TEXT,
    duration_ms     INTEGER,
    result_record   TEXT,
    PRIMARY KEY (conversation_id, tool_use_id)
) WITHOUT ROWID;

CREATE TABLE summaries (       -- lines that name the conversation which their leaf belongs to: see ingest/leaves.py
    leaf_uuid       TEXT NOT NULL,
    conversation_id TEXT NOT NULL,      -- whose file it stands in
    offset          INTEGER NOT NULL,   -- … and where; of several with the same leaf in one file the last
    title           TEXT NOT NULL,
    PRIMARY KEY (leaf_uuid, conversation_id)
) WITHOUT ROWID;

CREATE TABLE leaves (          -- who holds a record with such a uuid
    leaf_uuid       TEXT NOT NULL,
    conversation_id TEXT NOT NULL,      -- '': all records were searched for it, and its name is settled
    PRIMARY KEY (leaf_uuid, conversation_id)
) WITHOUT ROWID;

CREATE TABLE projects (
    id              TEXT PRIMARY KEY,
    path            TEXT NOT NULL,
    slug            TEXT NOT NULL,
    last_activity   TEXT NOT NULL,
    body            TEXT NOT NULL       -- the whole row as JSON
) WITHOUT ROWID;
CREATE INDEX projects_by_path ON projects(path);
CREATE INDEX projects_by_slug ON projects(slug);

CREATE TABLE conversations (
    id              TEXT PRIMARY KEY,
    project_id      TEXT NOT NULL,
    updated_at      TEXT NOT NULL,
    body            TEXT NOT NULL,      -- the whole row as JSON
    status          TEXT NOT NULL DEFAULT 'active'  -- as in body: what is active is looked at again at a start
) WITHOUT ROWID;
CREATE INDEX conversations_by_project ON conversations(project_id);
CREATE INDEX conversations_in_motion ON conversations(updated_at) WHERE status = 'active';

CREATE TABLE events (
    seq             INTEGER PRIMARY KEY,
    at              INTEGER NOT NULL,   -- commit time, ms
    topics          TEXT NOT NULL,      -- joined by one space
    total           INTEGER NOT NULL,   -- payload bytes of the log up to and with this event: sizes without a scan
    payload         BLOB NOT NULL       -- the exact text every client gets
);

CREATE TABLE forgotten (       -- files that are not read again; their copy keys stay in copies, under source 0
    path            TEXT UNIQUE,        -- NULL when another file had taken the name
    head            INTEGER             -- digest of the first record, which tells the file under another name
);

CREATE TABLE attachments (     -- outputs of tools that were too big for a line: tool-results/*.{txt,json} of a session
    id              INTEGER PRIMARY KEY,
    conversation_id TEXT NOT NULL,      -- of the session's main file, whether that is there or not
    name            TEXT NOT NULL,
    size            INTEGER NOT NULL,   -- of the file, and mtime_ns: when it was read
    mtime_ns        INTEGER NOT NULL,
    reason          TEXT,               -- why there is no body
    ready           INTEGER NOT NULL DEFAULT 0  -- 1 when all its parts are here; the one before is gone then
);
CREATE INDEX attachments_by_name ON attachments(conversation_id, name);
CREATE INDEX attachments_torn ON attachments(id) WHERE ready = 0;

CREATE TABLE attachment_parts (  -- the body, zstd, cut into pieces that are each a short transaction
    attachment      INTEGER NOT NULL,
    part            INTEGER NOT NULL,
    data            BLOB NOT NULL,
    PRIMARY KEY (attachment, part)
);

CREATE TABLE annotations (     -- what a person says of a conversation; nothing of it comes from transcripts
    conversation_id TEXT PRIMARY KEY,
    starred         INTEGER NOT NULL,
    note            TEXT NOT NULL       -- '': none
) WITHOUT ROWID;

CREATE TABLE tags (
    conversation_id TEXT NOT NULL,
    tag             TEXT NOT NULL,
    PRIMARY KEY (conversation_id, tag)
) WITHOUT ROWID;
CREATE INDEX tags_by_tag ON tags(tag);

CREATE TABLE hook_events (     -- what hooks of Claude Code and scripts told: it stands in no transcript
    id              INTEGER PRIMARY KEY AUTOINCREMENT, -- no number comes back: it is part of a public id
    key             TEXT UNIQUE,        -- the sender's: what comes twice under one is one event
    at              INTEGER NOT NULL,   -- ms
    conversation_id TEXT NOT NULL,      -- the session's id while no transcript of it is known
    session_id      TEXT NOT NULL,
    project_id      TEXT,
    name            TEXT NOT NULL,      -- hook_event_name, verbatim
    body            BLOB NOT NULL       -- the whole JSON object
);
CREATE INDEX hook_events_by_conversation ON hook_events(conversation_id, id);

CREATE TABLE changes (         -- what a copy of the archive has yet to look at; empty while there is none: storage/changes.py
    number          INTEGER PRIMARY KEY AUTOINCREMENT, -- grows, also over rows that are gone
    kind            TEXT NOT NULL,
    ref             TEXT NOT NULL,
    UNIQUE (kind, ref)
);
