"""Bodies: a record's bytes, as they were read, out of its row or its block."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable

import attrs

from observatory.core.batch import record_key
from observatory.core.bodies import BLOCK_BYTES, PACKED, RAW, body_in, pack, text_of, without
from observatory.core.errors import StoreError

QUIET_NS = 600 * 10**9  # a file not written to for so long: its rest is packed, although it is no whole block
WORTH_BYTES = 4096  # … if that frees a page


@attrs.define
class Bodies:
    """Reads through one connection; keeps the block that was read last, for whoever goes through a file."""

    _db: sqlite3.Connection
    _block: int = -1
    _text: bytes = b""

    def of(self, key: int, codec: int, stored: bytes) -> bytes:
        """A record's body. Raises StoreError when its block is damaged or gone."""
        if codec == RAW:
            return stored
        if codec != PACKED:
            raise StoreError(f"a record is stored as codec {codec}, which this version does not know", "upgrade it")
        try:
            return body_in(self._text_at(key), stored)
        except ValueError as error:
            self._block = -1
            cure = "what the transcripts still hold is read anew after a doctor's look: docs/operations.md, Damage"
            raise StoreError(f"the block of record {key} is damaged ({error})", cure) from None

    def _text_at(self, key: int) -> bytes:
        row = self._db.execute("SELECT max(id) FROM blocks WHERE id <= ?", (key,)).fetchone()
        if row[0] is None:
            raise ValueError("it is not there")
        if row[0] != self._block:
            (data,) = self._db.execute("SELECT data FROM blocks WHERE id = ?", row).fetchone()
            self._text, self._block = text_of(data), row[0]
        return self._text

    def forget(self) -> None:
        """Blocks were rewritten or removed."""
        self._block, self._text = -1, b""


def leave_out(db: sqlite3.Connection, keys: Iterable[int]) -> None:
    """Leave nothing of these records' bodies in their blocks; before the rows themselves are emptied."""
    by_block: dict[int, list[bytes]] = defaultdict(list)
    for key in keys:
        found = db.execute("SELECT body FROM records WHERE id = ? AND codec = ?", (key, PACKED)).fetchone()
        if found is not None:
            (block,) = db.execute("SELECT max(id) FROM blocks WHERE id <= ?", (key,)).fetchone()
            by_block[block].append(found[0])
    for block, places in by_block.items():
        (data,) = db.execute("SELECT data FROM blocks WHERE id = ?", (block,)).fetchone()
        db.execute("UPDATE blocks SET data = ? WHERE id = ?", (without(data, places), block))


def pack_next(db: sqlite3.Connection, now_ns: int) -> bool:
    """Pack one block's worth of a source's rows, in the caller's transaction; whether there was any to pack.

    A row stays as it was read until its books are closed; then it waits until the source has a block full of them, or
    is not written to any more.
    """
    query = (
        "SELECT id, generation, packed, offset FROM sources WHERE offset > packed AND"
        " (offset - packed >= ? OR (mtime_ns < ? AND offset - packed >= ?)) LIMIT 1"
    )
    source = db.execute(query, (BLOCK_BYTES, now_ns - QUIET_NS, WORTH_BYTES)).fetchone()
    if source is None:
        return False
    source_id, generation, packed, offset = source
    rows: list[tuple[int, bytes]] = []
    size, start = 0, record_key(source_id, generation, 0)
    between = (record_key(source_id, generation, packed), record_key(source_id, generation, offset))
    query = "SELECT id, codec, body FROM records WHERE id >= ? AND id < ? ORDER BY id"
    for key, codec, body in db.execute(query, between):
        if size >= BLOCK_BYTES or (rows and codec == PACKED):  # a block must not reach over another one's rows
            offset = key - start
            break
        if codec == RAW and body:
            rows.append((key, body))
            size += len(body)
    blocks, stored = pack([body for _, body in rows])
    db.executemany("INSERT OR REPLACE INTO blocks VALUES (?, ?)", [(rows[n][0], data) for n, data in blocks.items()])
    values = [(codec, body, key) for (key, _), (codec, body) in zip(rows, stored, strict=True)]
    db.executemany("UPDATE records SET codec = ?, body = ? WHERE id = ?", values)
    db.execute("UPDATE sources SET packed = ? WHERE id = ?", (offset, source_id))
    return True
