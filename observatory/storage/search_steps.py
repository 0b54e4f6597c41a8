"""What goes into the full-text index next: documents read from the archive, in steps that are written one by one."""

import sqlite3
from collections.abc import Generator
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

import attrs

from observatory.core.batch import GENERATION_BITS, OFFSET_BITS
from observatory.core.errors import StoreError
from observatory.core.search_text import ERROR, Document, document
from observatory.storage.bodies import Bodies
from observatory.storage.opening import DATABASE, connect, explained

SEARCH = "search.db"
PATIENCE_MS = 5000  # for another process that is at it
STEP_BYTES = 8 * 1024 * 1024  # of bodies in one step, where nobody waits
STEP_ROWS = 8192
CALLS_KEPT = 4096
UNKNOWN = -1  # size of a file whose end was not looked at

AT = (
    f"((((s.id << {GENERATION_BITS}) | s.generation) << {OFFSET_BITS}) + s.offset)"  # where reading of the file goes on
)
START = f"(s.id << {GENERATION_BITS + OFFSET_BITS})"
# Sources with something that is not in: of a file that nothing proves to be Claude Code's, nothing is.
DUE = f"""FROM archive.sources AS s LEFT JOIN places AS p ON p.source = s.id WHERE s.conversation_id IS NOT NULL
    AND ({AT} > coalesce(p.done, {START}) OR (s.size > s.offset AND s.size IS NOT p.size) OR s.pruned > p.pruned)"""
_BEHIND = f"(SELECT count(*) FROM archive.records WHERE id >= coalesce(p.done, {START}) AND id < {AT})"
_Row = tuple[int, int, bytes, str, str | None, int]  # key, codec, body, conversation, timestamp, flags


@attrs.frozen
class Due:
    """A source that is behind. start: key of the first record that is not in; end: where reading of the file goes on.

    tail: document of its end without a newline, which goes now. pruned, pruned_before: as in sources, and as in places.
    """

    source: int
    start: int
    end: int
    size: int
    tail: int | None
    pruned: int
    pruned_before: int


@attrs.frozen
class Entry:
    """A document, and what is told of it beside its words."""

    record: int
    conversation: str
    at: int
    tool: str | None
    flags: int
    document: Document


@attrs.define
class Step:
    """What is written in one transaction. unreadable: records whose block is damaged.

    places: sources, each with where it is after it, the size of the file when its end was looked at, and where in
    `entries` what that says is.
    """

    entries: list[Entry] = attrs.field(factory=list)
    places: list[tuple[Due, int, int, int | None]] = attrs.field(factory=list)
    records: int = 0
    bytes: int = 0
    unreadable: int = 0


class Collector:
    """Reads through a connection to the index that has the archive attached; for one thread at a time."""

    def __init__(self, db: sqlite3.Connection, limit_bytes: int = STEP_BYTES) -> None:
        self._db = db
        self._limit = limit_bytes
        self._bodies = Bodies(db)
        self._step = Step()
        self._calls: dict[str, str] = {}  # tool of the calls read last, by the call's id

    def steps(self) -> Generator[Step, None, None]:
        """What is missing now, the files written to last first. Each step begins where the one before ends, so they are
        to be written in order, and all of them before this is called again."""
        self._bodies.forget()  # another process may have rewritten the block since
        columns = f"s.id, coalesce(p.done, {START}), {AT}, s.size, p.tail, s.pruned, coalesce(p.pruned, 0)"
        due = self._db.execute(f"SELECT {columns} {DUE} ORDER BY s.mtime_ns DESC").fetchall()
        self._step = Step()
        for row in due:
            yield from self._read(Due(*row))
        if self._step.places:
            yield self._step

    def _read(self, due: Due) -> Generator[Step, None, None]:
        """A source's records and its end without a newline."""
        with closing(self._rows(due.start, due.end)) as rows:
            for row in rows:
                if self._step.bytes >= self._limit or self._step.records >= STEP_ROWS:
                    self._step.places.append((due, row[0], UNKNOWN, None))
                    yield self._step
                    due, self._step = attrs.evolve(due, start=row[0], tail=None, pruned_before=due.pruned), Step()
                self._add(row)
        last = self._rows(due.end, due.end + 1).fetchone()
        self._step.places.append((due, due.end, due.size, None if last is None else self._add(last)))

    def _rows(self, start: int, end: int) -> sqlite3.Cursor:
        columns = "id, codec, body, conversation_id, timestamp, flags"
        query = f"SELECT {columns} FROM archive.records WHERE id >= ? AND id < ? ORDER BY id"
        return self._db.execute(query, (start, end))

    def _add(self, row: _Row) -> int | None:
        """Returns the document's place in the step, if the record says something."""
        key, codec, stored, conversation, timestamp, flags = row
        step = self._step
        step.records += 1
        try:
            body = self._bodies.of(key, codec, stored)
        except StoreError:  # a damaged block: `doctor --account` names its records
            step.unreadable += 1
            return None
        step.bytes += len(body)
        found = document(body)
        if found is None:
            return None
        flags |= ERROR if found.error else 0
        tool = self._tool(found, conversation)
        step.entries.append(Entry(key, conversation, _milliseconds(timestamp), tool, flags, found))
        return len(step.entries) - 1

    def _tool(self, found: Document, conversation: str) -> str | None:
        """Which tool is called, or has answered."""
        if found.tool is not None:
            if found.calls is not None:
                if len(self._calls) == CALLS_KEPT:
                    self._calls.clear()
                self._calls[found.calls] = found.tool
            return found.tool
        if found.answers is None or found.answers in self._calls:
            return self._calls.get(found.answers or "")
        query = "SELECT name FROM archive.tool_calls WHERE conversation_id = ? AND tool_use_id = ?"
        row = self._db.execute(query, (conversation, found.answers)).fetchone()
        return None if row is None else str(row[0])


def attached(directory: Path) -> sqlite3.Connection:
    """A connection to the index, which need not be there, with the archive attached as `archive`. Raises StoreError."""
    path, archive = directory / SEARCH, directory / DATABASE
    with explained(path):
        db = connect(path)
    try:
        with explained(path):
            db.execute("PRAGMA main.user_version")  # whether it is a database at all
        with explained(archive):
            db.execute("ATTACH ? AS archive", (f"{archive.absolute().as_uri()}?mode=ro",))
        db.execute(f"PRAGMA busy_timeout={PATIENCE_MS}")
    except BaseException:
        db.close()
        raise
    return db


def drop(directory: Path) -> None:
    """Leave nothing of the index. Whoever reads it meanwhile goes on with what it was."""
    for ending in ("", "-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            (directory / f"{SEARCH}{ending}").unlink()


def records_behind(db: sqlite3.Connection) -> int:
    """Records that are not in the index yet. db: of the index, with the archive attached."""
    (found,) = db.execute(f"SELECT sum({_BEHIND}) {DUE}").fetchone()
    return found or 0


def _milliseconds(timestamp: str | None) -> int:
    try:
        return round(datetime.fromisoformat(timestamp).timestamp() * 1000) if timestamp else 0
    except (ValueError, OverflowError):
        return 0
