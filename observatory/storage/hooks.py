"""Hook events in their table: kept as long as the records of their conversation, and gone with them."""

import sqlite3
from collections.abc import Collection

import attrs

from observatory.core.batch import HookRow
from observatory.core.hook_events import Belonging, Hook
from observatory.core.identity import project_id
from observatory.storage.lineage import lineage

KNOWN_SINCE = 5  # version of the schema
COLUMNS = "id, key, at, conversation_id, session_id, project_id, name, body"


def insert(db: sqlite3.Connection, rows: Collection[HookRow]) -> None:
    """In the caller's transaction."""
    db.executemany(f"INSERT INTO hook_events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(attrs.astuple, rows))


def known(db: sqlite3.Connection, key: str) -> int | None:
    """The number of the event that came under a sender's key."""
    row = db.execute("SELECT id FROM hook_events WHERE key = ?", (key,)).fetchone()
    return None if row is None else int(row[0])


def next_number(db: sqlite3.Connection) -> int:
    """A number that no event has or had."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'hook_events'").fetchone()
    return 1 if row is None else int(row[0]) + 1


def belonging(db: sqlite3.Connection, hook: Hook, machine_id: str) -> Belonging:
    """Whose an event is: by the transcript that it names, by its session, else by its directory."""
    for path in hook.transcripts:
        row = db.execute("SELECT conversation_id FROM sources WHERE path = ?", (path,)).fetchone()
        if row is not None and row[0] is not None:
            return _of(db, row[0], hook, machine_id)
    return _of(db, hook.session_id, hook, machine_id)


def _of(db: sqlite3.Connection, conversation_id: str, hook: Hook, machine_id: str) -> Belonging:
    row, above = lineage(db, conversation_id)
    if row is not None:
        return Belonging(row, row.project_id, above)
    if hook.cwd is None:
        return Belonging(None, None)
    found = db.execute("SELECT id FROM projects WHERE path = ?", (hook.cwd,)).fetchone()
    return Belonging(None, project_id(machine_id, hook.cwd) if found is None else found[0])


def expunge(db: sqlite3.Connection, conversation_ids: Collection[str]) -> None:
    """Remove those of conversations, in the caller's transaction."""
    db.executemany("DELETE FROM hook_events WHERE conversation_id = ?", [(key,) for key in conversation_ids])


def of_conversation(db: sqlite3.Connection, conversation_id: str, after: int, limit: int) -> list[HookRow]:
    """A page of those of a conversation, in order, behind a number."""
    query = f"SELECT {COLUMNS} FROM hook_events WHERE conversation_id = ? AND id > ? ORDER BY id LIMIT ?"
    return [HookRow(*row) for row in db.execute(query, (conversation_id, after, limit))]


def one(db: sqlite3.Connection, number: int) -> HookRow | None:
    """One event."""
    query = f"SELECT {COLUMNS} FROM hook_events WHERE id = ?"
    row = db.execute(query, (number,)).fetchone()
    return None if row is None else HookRow(*row)
