"""Changes: what a copy of the archive has yet to look at, in the order in which it last changed.

One row for each thing, with a number that grows: a later change takes the place of the one before, so that the feed is
as long as the archive has things, however long nobody reads it. Triggers write it, in the transaction of the change
itself and from whatever process that is; they exist only once somebody follows. A row says that something is different,
not how: whoever follows reads it as it is by then, as a state.

Kinds, and what `ref` names: source: a file's id (there is more of it, or less); gone: the id of a file that was
forgotten; conversation, project: an id; call: a tool call that was given up, as conversation and tool_use id with a
space between; record: the key of a record that is marked, emptied or replaced.
"""

import secrets
import sqlite3

from observatory.core.batch import Flag

FEED = "changes"  # in meta: which feed the numbers are of; a new one begins with another archive in this one's place

PASSING = ("gone", "call", "record")  # rows that are of no use once every follower has seen them
_PUT = (
    "DELETE FROM changes WHERE kind = '{kind}' AND ref = {ref};"
    " INSERT INTO changes (kind, ref) VALUES ('{kind}', {ref})"
)
_STATE = ("generation", "offset", "size", "conversation_id", "pruned")
_DIFFERS = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in _STATE)
# Name → when it fires, and for what.
_TRIGGERS = {
    "changed_new_source": ("AFTER INSERT ON sources", "source", "NEW.id"),
    "changed_source": (f"AFTER UPDATE ON sources WHEN {_DIFFERS}", "source", "NEW.id"),
    "changed_gone": ("AFTER DELETE ON sources", "gone", "OLD.id"),
    "changed_new_conversation": ("AFTER INSERT ON conversations", "conversation", "NEW.id"),
    "changed_conversation": (
        "AFTER UPDATE ON conversations WHEN OLD.body IS NOT NEW.body OR OLD.project_id IS NOT NEW.project_id",
        "conversation",
        "NEW.id",
    ),
    "changed_no_conversation": ("AFTER DELETE ON conversations", "conversation", "OLD.id"),
    "changed_new_project": ("AFTER INSERT ON projects", "project", "NEW.id"),
    "changed_project": ("AFTER UPDATE ON projects WHEN OLD.body IS NOT NEW.body", "project", "NEW.id"),
    "changed_no_project": ("AFTER DELETE ON projects", "project", "OLD.id"),
    # A result comes with a record, which is followed by itself; that none comes any more is said here only.
    "changed_new_call": (
        "AFTER INSERT ON tool_calls WHEN NEW.status = 'orphaned'",
        "call",
        "NEW.conversation_id || ' ' || NEW.tool_use_id",
    ),
    "changed_call": (
        "AFTER UPDATE ON tool_calls WHEN NEW.status = 'orphaned'",
        "call",
        "NEW.conversation_id || ' ' || NEW.tool_use_id",
    ),
    "changed_record": (
        "AFTER UPDATE OF flags, error ON records WHEN OLD.flags IS NOT NEW.flags OR OLD.error IS NOT NEW.error",
        "record",
        "NEW.id",
    ),
    "changed_tail": (f"AFTER DELETE ON records WHEN OLD.flags & {Flag.TAIL}", "record", "OLD.id"),
}


def is_followed(db: sqlite3.Connection) -> bool:
    """Whether changes are written."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND name = 'changed_source'"
    return db.execute(query).fetchone() is not None


def follow(db: sqlite3.Connection) -> None:
    """From now on changes are written, in the caller's transaction; what is there counts as changed now."""
    for name, (when, kind, ref) in _TRIGGERS.items():
        db.execute(f"CREATE TRIGGER {name} {when} BEGIN {_PUT.format(kind=kind, ref=ref)}; END")
    for kind, table in (("project", "projects"), ("conversation", "conversations"), ("source", "sources")):
        db.execute(f"INSERT INTO changes (kind, ref) SELECT '{kind}', id FROM {table} ORDER BY id")
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (FEED, secrets.token_hex(6)))


def unfollow(db: sqlite3.Connection) -> None:
    """Changes are written no more, in the caller's transaction."""
    for name in _TRIGGERS:
        db.execute(f"DROP TRIGGER IF EXISTS {name}")
    db.execute("DELETE FROM changes")
    db.execute("DELETE FROM meta WHERE key = ?", (FEED,))


def trim(db: sqlite3.Connection, upto: int) -> None:
    """Every follower has seen the changes up to this number: those that only pass are of no use any more."""
    db.execute(f"DELETE FROM changes WHERE number <= ? AND kind IN ({', '.join('?' * len(PASSING))})", (upto, *PASSING))
