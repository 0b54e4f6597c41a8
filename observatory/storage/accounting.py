"""ArchiveReader: the archive for those who check it: read-only, beside a running server or without one.

Nothing is created, written or held: a log that was closed in order is opened as immutable, so that no -wal or -shm file
appears, and rows come in pages, so that no read transaction lasts and keeps a checkpoint waiting.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs

from observatory.core.accounting import Claim
from observatory.core.batch import OFFSET_BITS, Flag, record_key, split_key
from observatory.core.errors import StoreError
from observatory.core.forgetting import KeptOut
from observatory.storage.bodies import Bodies
from observatory.storage.forget import kept_out
from observatory.storage.migrations import SCHEMA_VERSION
from observatory.storage.opening import DATABASE, connect, explained, running

READ_PATIENCE_MS = 2000  # for the moment in which a checkpoint holds the log
PAGE_ROWS = 512
PAGE_BYTES = 1024 * 1024  # of bodies, and one more
SOURCES_A_PAGE = 500
FORGETS_SINCE, PRUNES_SINCE = 2, 4  # versions of the schema


@attrs.frozen
class Source:
    """A transcript file as the archive knows it; `offset`: bytes consumed of its current generation; `pruned`: bytes of
    these whose records were removed by their age."""

    id: int
    path: str
    generation: int
    offset: int
    pruned: int = 0


@attrs.frozen
class LogState:
    """What the database says of itself. `epoch` is None in one that has never been served from."""

    schema: int
    epoch: str | None
    head: int
    oldest: int
    clean: bool
    boot_id: str | None
    sources: int
    unrecognised: int
    example: str | None  # of a file that nothing shows to be Claude Code's


class ArchiveReader:
    """One read-only connection; all methods block and raise StoreError."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path
        self._bodies = Bodies(db)

    def state(self) -> LogState:
        """Position, condition and extent of the log."""
        with explained(self._path):
            (schema,) = self._one("PRAGMA user_version")
            meta = dict(self._db.execute("SELECT key, value FROM meta"))
            first, last = self._one("SELECT min(seq), max(seq) FROM events")
            head = int(meta.get("head", 0)) if last is None else last
            (sources,) = self._one("SELECT count(*) FROM sources")
            foreign = "FROM sources WHERE conversation_id IS NULL AND lines > 0 AND missing = 0"
            unrecognised, example = self._one(f"SELECT count(*), min(path) {foreign}")
        return LogState(
            schema, meta.get("epoch"), head, head + 1 if first is None else first, meta.get("clean") == "1",
            meta.get("boot_id"), sources, unrecognised, example,
        )  # fmt: skip

    def damage(self) -> str | None:
        """What SQLite's own check finds wrong first; None when all is well. Reads the whole file."""
        with explained(self._path):
            (said,) = self._one("PRAGMA quick_check(1)")
        return None if said == "ok" else str(said)

    def sources(self) -> Iterator[Source]:
        """Every file known, by id."""
        query = f"SELECT {self._columns()} FROM sources WHERE id > ? ORDER BY id LIMIT ?"
        last = -1
        while True:
            with explained(self._path):
                rows = self._db.execute(query, (last, SOURCES_A_PAGE)).fetchall()
            if not rows:
                return
            yield from (Source(*row) for row in rows)
            last = rows[-1][0]

    def source(self, source_id: int) -> Source | None:
        """One file as it is now."""
        with explained(self._path):
            row = self._db.execute(f"SELECT {self._columns()} FROM sources WHERE id = ?", (source_id,)).fetchone()
        return None if row is None else Source(*row)

    def _columns(self) -> str:
        with explained(self._path):
            (schema,) = self._one("PRAGMA user_version")
        mask = (1 << OFFSET_BITS) - 1
        here = f"CASE WHEN pruned >> {OFFSET_BITS} = generation THEN pruned & {mask} ELSE 0 END"
        return f"id, path, generation, offset, {here if schema >= PRUNES_SINCE else '0'}"

    def claims(self, source: Source) -> Iterator[Claim]:
        """The records of a file's current generation, in order; also those that the books lack."""
        key, end = (record_key(source.id, source.generation + more, 0) for more in (0, 1))
        while page := self._page(key, end):
            yield from (claim for _, claim in page)
            key = page[-1][0] + 1

    def kept_out(self) -> KeptOut:
        """The files that were forgotten; none in an archive of a version that could not."""
        with explained(self._path):
            (schema,) = self._one("PRAGMA user_version")
            return KeptOut() if schema < FORGETS_SINCE else kept_out(self._db)

    def _page(self, start: int, end: int) -> list[tuple[int, Claim]]:
        columns = "id, length, span, error, codec, body, flags"
        query = f"SELECT {columns} FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
        page: list[tuple[int, Claim]] = []
        size = 0
        self._bodies.forget()  # a server that runs may have rewritten the block since
        with explained(self._path), closing(self._db.execute(query, (start, end, PAGE_ROWS))) as rows:
            for key, length, span, error, codec, stored, flags in rows:
                body = self._bodies.of(key, codec, stored)
                page.append((key, Claim(split_key(key)[2], length, span, error, body, bool(flags & Flag.REDACTED))))
                size += len(body)
                if size >= PAGE_BYTES:
                    break
        return page

    def _one(self, query: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._db.execute(query).fetchone()
        return row


@contextmanager
def reading(directory: Path) -> Iterator[ArchiveReader]:
    """The archive of a data directory. Raises StoreError when there is none that can be read."""
    with archive(directory) as db:
        yield ArchiveReader(db, directory / DATABASE)


@contextmanager
def archive(directory: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection to the archive of a data directory. Raises StoreError as `reading`."""
    path = directory / DATABASE
    if not path.is_file():
        raise StoreError(f"there is no archive in {directory}", "start a server first, or name another with --data-dir")
    with explained(path):
        db = _immutable(path) if _is_at_rest(directory) else connect(path, read_only=True)
    with closing(db):
        with explained(path):
            db.execute(f"PRAGMA busy_timeout={READ_PATIENCE_MS}")
            (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            what = f"{path} was written by a newer Observatory (schema {version}, this one knows {SCHEMA_VERSION})"
            raise StoreError(what, "upgrade this installation, or choose another with --data-dir")
        yield db


def _is_at_rest(directory: Path) -> bool:
    """Nobody writes it, and the database file alone holds everything."""
    if running(directory) is not None:
        return False
    try:
        return os.stat(directory / f"{DATABASE}-wal").st_size == 0
    except FileNotFoundError:
        return True


def _immutable(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
