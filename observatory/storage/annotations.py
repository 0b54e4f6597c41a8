"""Stars, tags and notes in their tables."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from observatory.core.annotations import Annotation
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


def at_rest(directory: Path) -> dict[str, Annotation]:
    """What is said of any, in a data directory. Raises StoreError."""
    with archive(directory) as db, closing(db), explained(directory / DATABASE):
        (version,) = db.execute("PRAGMA user_version").fetchone()
        return read_all(db) if version >= KNOWN_SINCE else {}


def _sorted(tags: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(tags, key=str.casefold))
