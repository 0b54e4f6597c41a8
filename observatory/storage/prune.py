"""Pruning on the database: records of old conversations go; what was counted of them, and what was said of them, stays.

A source's `pruned` tells up to where its records were removed, so that none is read or missed again.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from observatory.core.batch import OFFSET_BITS, record_key
from observatory.core.pruning import Prune, Pruned
from observatory.storage.accounting import archive
from observatory.storage.annotations import KNOWN_SINCE
from observatory.storage.opening import DATABASE, explained

ROWS = 2000  # records removed in one transaction: a few ms
AGED = "aged"  # why an attachment has no body any more
_AT = f"(s.generation << {OFFSET_BITS} | s.offset)"
_MARKED = (
    "(EXISTS (SELECT 1 FROM annotations AS a WHERE a.conversation_id = c.id AND a.starred)"
    " OR EXISTS (SELECT 1 FROM tags AS t WHERE t.conversation_id = c.id))"
)
# A sub-agent goes with the conversation above it, so that a mark on that keeps both.
_TOP = "CASE WHEN instr(c.id, '.') THEN substr(c.id, 1, instr(c.id, '.') - 1) ELSE c.id END"
_OLD = (
    "c.updated_at < :before AND (:project IS NULL OR c.project_id = :project) AND NOT EXISTS"
    f" (SELECT 1 FROM conversations AS u WHERE u.id = {_TOP} AND u.updated_at >= :before)"
)
_TOP_MARKED = _MARKED.replace("= c.id", f"IN (c.id, {_TOP})")


def plan(directory: Path, wish: Prune) -> Pruned:
    """What would go. Raises StoreError."""
    with archive(directory) as db, closing(db), explained(directory / DATABASE):
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version < KNOWN_SINCE:
            return Pruned()
        sources = _sources(db, wish)
        ranges = [(record_key(source, 0, 0), record_key(source + 1, 0, 0)) for source, _ in sources]
        records = size = 0
        for start, end in ranges:
            query = "SELECT count(*), coalesce(sum(length), 0) FROM records WHERE id >= ? AND id < ?"
            many, more = db.execute(query, (start, end)).fetchone()
            records, size = records + many, size + more
        conversations = {conversation for _, conversation in sources}
        return Pruned(len(conversations), records, size, 0 if wish.marked else _kept(db, wish))


def due(db: sqlite3.Connection, wish: Prune) -> list[int]:
    """Sources that have records to lose."""
    return [source for source, _ in _sources(db, wish)]


def prune_some(db: sqlite3.Connection, source: int) -> int:
    """Remove some of a source's records, in the caller's transaction; returns how many. 0: none is left."""
    first, end = record_key(source, 0, 0), record_key(source + 1, 0, 0)
    query = "SELECT id, span FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
    rows = db.execute(query, (first, end, ROWS)).fetchall()
    if rows:
        last, span = rows[-1]
        db.execute("DELETE FROM records WHERE id >= ? AND id <= ?", (first, last))
        db.execute("DELETE FROM blocks WHERE id >= ? AND last <= ?", (first, last))
        db.execute("UPDATE sources SET pruned = max(pruned, ?) WHERE id = ?", (last + span - first, source))
        return len(rows)
    db.execute("DELETE FROM blocks WHERE id >= ? AND id < ?", (first, end))
    where = "SELECT id FROM attachments WHERE conversation_id = (SELECT conversation_id FROM sources WHERE id = ?)"
    db.execute(f"DELETE FROM attachment_parts WHERE attachment IN ({where})", (source,))
    db.execute(f"UPDATE attachments SET reason = ? WHERE id IN ({where})", (AGED, source))
    where = "conversation_id = (SELECT conversation_id FROM sources WHERE id = ?)"
    db.execute(f"DELETE FROM hook_events WHERE {where}", (source,))
    at = f"generation << {OFFSET_BITS} | offset"
    db.execute(f"UPDATE sources SET pruned = {at}, packed = max(packed, {at}) WHERE id = ?", (source,))
    return 0


def _sources(db: sqlite3.Connection, wish: Prune) -> list[tuple[int, str]]:
    """Sources with their conversations: those with records that were not pruned yet."""
    marked = "1" if wish.marked else f"NOT {_TOP_MARKED}"
    query = (
        "SELECT s.id, c.id FROM conversations AS c JOIN sources AS s ON s.conversation_id = c.id"
        f" WHERE {_OLD} AND {marked} AND {_AT} > s.pruned ORDER BY s.id"
    )
    return db.execute(query, {"before": wish.before, "project": wish.project}).fetchall()


def _kept(db: sqlite3.Connection, wish: Prune) -> int:
    query = f"SELECT count(*) FROM conversations AS c WHERE {_OLD} AND {_TOP_MARKED} AND instr(c.id, '.') = 0"
    kept: int = db.execute(query, {"before": wish.before, "project": wish.project}).fetchone()[0]
    return kept
