"""Attachments on the database: spilled outputs of tools, compressed, in parts."""

import sqlite3
from collections.abc import Collection

import zstandard

from observatory.core.batch import Batch

# What was forgotten meanwhile does not come back: neither its row nor, without that, its parts.
_INSERT = (
    "INSERT INTO attachments (id, conversation_id, name, size, mtime_ns, reason)"
    " SELECT ?, ?, ?, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM forgotten WHERE path = ?)"
)
_INSERT_PART = "INSERT INTO attachment_parts (attachment, part, data) SELECT id, ?, ? FROM attachments WHERE id = ?"
_OTHERS = (
    "SELECT other.id FROM attachments AS other, attachments AS this WHERE this.id = ? AND other.id <> this.id"
    " AND other.conversation_id = this.conversation_id AND other.name = this.name"
)


def insert(db: sqlite3.Connection, batch: Batch) -> None:
    """A batch's part of it, in the caller's transaction."""
    values = ((a.id, a.conversation_id, a.name, a.size, a.mtime_ns, a.reason, a.transcript) for a in batch.attachments)
    db.executemany(_INSERT, values)
    db.executemany(_INSERT_PART, ((p.part, p.data, p.attachment) for p in batch.attachment_parts))
    complete = [p.attachment for p in batch.attachment_parts if p.last]
    for key in (*complete, *(row.id for row in batch.attachments if row.reason is not None)):
        _remove(db, [other for (other,) in db.execute(_OTHERS, (key,))])
        db.execute("UPDATE attachments SET ready = 1 WHERE id = ?", (key,))
    db.executemany("UPDATE sources SET swept = 1 WHERE id = ?", ((key,) for key in batch.swept))


def clear_torn(db: sqlite3.Connection) -> None:
    """Remove what a process that was killed had begun to store."""
    _remove(db, [key for (key,) in db.execute("SELECT id FROM attachments WHERE ready = 0")])


def expunge(db: sqlite3.Connection, conversation_ids: Collection[str]) -> None:
    """Remove all attachments of conversations, in the caller's transaction."""
    for conversation in conversation_ids:
        query = "SELECT id FROM attachments WHERE conversation_id = ?"
        _remove(db, [key for (key,) in db.execute(query, (conversation,))])


def states(db: sqlite3.Connection, conversation_id: str) -> dict[str, tuple[int, int, bool]]:
    """What is stored of a conversation: name → size and mtime_ns of the file that was read, and whether with a body."""
    query = "SELECT name, size, mtime_ns, reason IS NULL FROM attachments WHERE conversation_id = ? AND ready = 1"
    return {name: (size, mtime, bool(has)) for name, size, mtime, has in db.execute(query, (conversation_id,))}


def body(db: sqlite3.Connection, conversation_id: str, name: str) -> bytes | None:
    """An attachment's text; None if there is none."""
    query = (
        "SELECT data FROM attachments JOIN attachment_parts ON attachment = id"
        " WHERE conversation_id = ? AND name = ? AND ready = 1 ORDER BY part"
    )
    parts = [data for (data,) in db.execute(query, (conversation_id, name))]
    return zstandard.ZstdDecompressor().decompress(b"".join(parts)) if parts else None


def _remove(db: sqlite3.Connection, ids: Collection[int]) -> None:
    for key in ids:
        db.execute("DELETE FROM attachment_parts WHERE attachment = ?", (key,))
        db.execute("DELETE FROM attachments WHERE id = ?", (key,))
