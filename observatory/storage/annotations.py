"""Stars, tags and notes in their tables."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import msgspec

from observatory.core.annotations import Annotation
from observatory.core.conversation import Conversation
from observatory.storage.accounting import archive
from observatory.storage.opening import DATABASE, explained

KNOWN_SINCE = 4  # version of the schema


def read(db: sqlite3.Connection, conversation_id: str) -> Annotation:
    """What is said of one."""
    row = db.execute("SELECT starred, note FROM annotations WHERE conversation_id = ?", (conversation_id,)).fetchone()
    tags = db.execute("SELECT tag FROM tags WHERE conversation_id = ?", (conversation_id,)).fetchall()
    starred, note = row or (0, "")
    return Annotation(conversation_id, bool(starred), _sorted(tag for (tag,) in tags), note)


def read_all(db: sqlite3.Connection) -> dict[str, Annotation]:
    """What is said of any."""
    found = {id: (bool(starred), note) for id, starred, note in db.execute("SELECT * FROM annotations")}
    tags: dict[str, list[str]] = {}
    for id, tag in db.execute("SELECT conversation_id, tag FROM tags"):
        tags.setdefault(id, []).append(tag)
    return {
        id: Annotation(id, found.get(id, (False, ""))[0], _sorted(tags.get(id, ())), found.get(id, (False, ""))[1])
        for id in found.keys() | tags.keys()
    }


def write(db: sqlite3.Connection, annotation: Annotation) -> None:
    """Put it in the place of what was said, in the caller's transaction."""
    id = annotation.conversation_id
    db.execute("DELETE FROM tags WHERE conversation_id = ?", (id,))
    db.execute("DELETE FROM annotations WHERE conversation_id = ?", (id,))
    if annotation.starred or annotation.note:
        db.execute("INSERT INTO annotations VALUES (?, ?, ?)", (id, annotation.starred, annotation.note))
    db.executemany("INSERT INTO tags VALUES (?, ?)", [(id, tag) for tag in annotation.tags])


def lineage(db: sqlite3.Connection, conversation_id: str) -> tuple[Conversation | None, list[str]]:
    """A conversation's row, and the ids above it, nearest first."""
    row, above = _row(db, conversation_id), list[str]()
    parent = None if row is None else row.parent_id
    while parent is not None and parent not in above:
        above.append(parent)
        upper = _row(db, parent)
        parent = None if upper is None else upper.parent_id
    return row, above


def at_rest(directory: Path) -> dict[str, Annotation]:
    """What is said of any, in a data directory. Raises StoreError."""
    with archive(directory) as db, closing(db), explained(directory / DATABASE):
        (version,) = db.execute("PRAGMA user_version").fetchone()
        return read_all(db) if version >= KNOWN_SINCE else {}


def _row(db: sqlite3.Connection, id: str) -> Conversation | None:
    row = db.execute("SELECT body FROM conversations WHERE id = ?", (id,)).fetchone()
    return None if row is None else msgspec.json.decode(row[0], type=Conversation)


def _sorted(tags: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(tags, key=str.casefold))
