"""A conversation's row, and the conversations above it."""

import sqlite3

from observatory.core.conversation import Conversation
from observatory.storage.decoding import conversation_of


def lineage(db: sqlite3.Connection, conversation_id: str) -> tuple[Conversation | None, list[str]]:
    """A conversation's row, and the ids above it, nearest first."""
    row, above = _row(db, conversation_id), list[str]()
    parent = None if row is None else row.parent_id
    while parent is not None and parent not in above:
        above.append(parent)
        upper = _row(db, parent)
        parent = None if upper is None else upper.parent_id
    return row, above


def _row(db: sqlite3.Connection, id: str) -> Conversation | None:
    row = db.execute("SELECT body FROM conversations WHERE id = ?", (id,)).fetchone()
    return None if row is None else conversation_of(row[0])
