"""Bodies: a record's bytes, as they were read, out of its row or its block."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import attrs

from observatory.core.batch import OFFSET_BITS, record_key
from observatory.core.bodies import BLOCK_BYTES, PACKED, RAW, body_in, pack, text_of, without
from observatory.core.errors import StoreError

QUIET_NS = 600 * 10**9  # a file not written to for so long: its rest is packed, although it is no whole block
WORTH_BYTES = 4096  # … if that frees a page
PACK_ROWS = 512  # looked at in one transaction, so that it takes a few ms also where lines are short or empty
_AT = f"(generation << {OFFSET_BITS} | offset)"  # how far the books are, as in sources.packed


@attrs.define
class Bodies:
    """Reads through one connection; keeps the block that was read last, for whoever goes through a file."""

    _db: sqlite3.Connection
    _kept: tuple[int, int, bytes] = (-1, -1, b"")  # keys of its first and last record, and its text; replaced as one:
    # another thread may be packing

    def of(self, key: int, codec: int, stored: bytes) -> bytes:
        """A record's body. Raises StoreError when its block is damaged or gone."""
        if codec == RAW:
            return stored
        if codec != PACKED:
            raise StoreError(f"a record is stored as codec {codec}, which this version does not know", "upgrade it")
        try:
            return body_in(self._text_at(key), stored)
        except ValueError as error:
            raise self._damaged(key, error) from None

    def text_around(self, key: int) -> bytes:
        """All text of a packed record's block. Raises StoreError when that is damaged or gone."""
        try:
            return self._text_at(key)
        except ValueError as error:
            raise self._damaged(key, error) from None

    def _damaged(self, key: int, error: ValueError) -> StoreError:
        self.forget()
        cure = "stop the server and save what can be read: observatory doctor --rebuild"
        return StoreError(f"the block of record {key} is damaged ({error})", cure)

    def _text_at(self, key: int) -> bytes:
        first, last, text = self._kept
        if not first <= key <= last:
            first, last, data = _block(self._db, key, "id, last, data")
            (behind,) = self._db.execute("SELECT min(id) FROM blocks WHERE id > ?", (first,)).fetchone()
            text = text_of(data)  # where a record was withdrawn, another one's block may lie within
            self._kept = first, last if behind is None else min(last, behind - 1), text
        return text

    def forget(self) -> None:
        """Blocks were rewritten or removed."""
        self._kept = -1, -1, b""


def block_of(db: sqlite3.Connection, key: int) -> int:
    """The block that holds a packed record. Raises ValueError when it is gone: no other one is taken for it."""
    block: int = _block(db, key, "id, last")[0]
    return block


def _block(db: sqlite3.Connection, key: int, columns: str) -> tuple[Any, ...]:
    """The row of the block. Raises ValueError as `block_of`."""
    row: tuple[Any, ...] | None = db.execute(
        f"SELECT {columns} FROM blocks WHERE id <= ? ORDER BY id DESC LIMIT 1", (key,)
    ).fetchone()
    if row is None or row[1] < key:
        raise ValueError("it is not there")
    return row


def leave_out(db: sqlite3.Connection, keys: Iterable[int]) -> None:
    """Leave nothing of these records' bodies in their blocks; before the rows themselves are emptied or deleted."""
    by_block: dict[int, list[bytes]] = defaultdict(list)
    for key in keys:
        found = db.execute("SELECT body FROM records WHERE id = ? AND codec = ?", (key, PACKED)).fetchone()
        if found is not None:
            by_block[block_of(db, key)].append(found[0])
    for block, places in by_block.items():
        last, data = db.execute("SELECT last, data FROM blocks WHERE id = ?", (block,)).fetchone()
        if last == block:  # it held this record alone, whose key may come back with another body
            db.execute("DELETE FROM blocks WHERE id = ?", (block,))
        else:
            db.execute("UPDATE blocks SET data = ? WHERE id = ?", (without(data, places), block))


@attrs.frozen
class Due:
    """A stretch of a source's records to be packed: from a key, and up to but not including another."""

    source: int
    start: int
    end: int


def due(db: sqlite3.Connection, now_ns: int) -> Due | None:
    """Where there is something to pack.

    A row stays as it was read until its books are closed; then it waits until the source has a block full of them, or
    is not written to any more. An earlier generation is never written to.
    """
    query = (
        f"SELECT id, packed, {_AT} FROM sources WHERE {_AT} - packed >= ?1 OR ({_AT} - packed >= ?2 AND mtime_ns < ?3)"
        " LIMIT 1"
    )
    row = db.execute(query, (BLOCK_BYTES, WORTH_BYTES, now_ns - QUIET_NS)).fetchone()
    if row is None:
        return None
    source, packed, at = row
    next_generation = ((packed >> OFFSET_BITS) + 1) << OFFSET_BITS
    first = record_key(source, 0, 0)
    return Due(source, first + packed, first + min(at, next_generation))


def pack_next(db: sqlite3.Connection, stretch: Due) -> None:
    """Put the first of its bodies into one block, in the caller's transaction.

    The rows are deleted and inserted again: an update that makes a row small leaves its page to itself, so that the
    table would stay as large as with the bodies in it.
    """
    rows, done = _first_rows(db, stretch)
    blocks, stored = pack([row["body"] for row in rows])
    values = [(rows[first]["id"], rows[last]["id"], data) for first, (last, data) in blocks.items()]
    db.executemany("INSERT INTO blocks VALUES (?, ?, ?)", values)
    db.executemany("DELETE FROM records WHERE id = ?", [(row["id"],) for row in rows])
    if rows:
        names = rows[0].keys()
        insert = f"INSERT INTO records ({', '.join(names)}) VALUES (:{', :'.join(names)})"
        packed = zip(rows, stored, strict=True)
        db.executemany(insert, [dict(row) | {"codec": codec, "body": body} for row, (codec, body) in packed])
    at = done - record_key(stretch.source, 0, 0)
    db.execute("UPDATE sources SET packed = ? WHERE id = ?", (at, stretch.source))


def _first_rows(db: sqlite3.Connection, stretch: Due) -> tuple[list[sqlite3.Row], int]:
    """One block's worth of rows, and the key where the next one begins."""
    rows: list[sqlite3.Row] = []
    size = 0
    with closing(db.cursor()) as found:
        found.row_factory = sqlite3.Row
        found.execute("SELECT * FROM records WHERE id >= ? AND id < ? ORDER BY id", (stretch.start, stretch.end))
        for seen, row in enumerate(found):
            raw, length = row["codec"] == RAW, len(row["body"])
            full = size + length > BLOCK_BYTES or not raw  # a block must not reach over another one's rows
            if (rows and full) or seen == PACK_ROWS:
                return rows, row["id"]
            if raw and length:
                rows.append(row)
                size += length
    return rows, stretch.end
