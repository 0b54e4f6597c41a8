"""SearchIndex: the full-text index, in a file of its own beside the archive, so that building it delays no commit.

It is brought up to date in steps, each a transaction that holds documents and how far their sources are: whoever calls,
and wherever it is killed, each record is in once. It is dropped and built anew when it is another archive's, when it is
damaged, when something was forgotten, and when much of it is dead: a table without content gives no words back.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import lru_cache
from pathlib import Path

import structlog

from observatory.core.batch import GENERATION_BITS, OFFSET_BITS
from observatory.core.errors import StoreError
from observatory.storage import search_worker as worker
from observatory.storage.opening import explained
from observatory.storage.search_schema import SCHEMA, VERSION
from observatory.storage.search_steps import SEARCH, STEP_BYTES, Collector, Due, Step, attached, drop, records_behind

log = structlog.get_logger()
HASH_BYTES = 16 * 1024 * 1024  # of words collected before they are written: as many as a step has
PIECES_JOINED = (
    8  # pieces of the index of one size that are joined to a larger one: fewer cost time, more cost searches
)
DEAD_SHARE, DEAD_MANY = 5, 1000  # built anew when more than a fifth of the documents are dead, and not just a few
NAMES_KEPT = 4096
WORTH_RECORDS = 20_000  # less is read before a process has started

Show = Callable[[int, int], None]  # records that are in since it began, and records that were not when it began


class SearchIndex:
    """All methods block, and raise StoreError, the constructor too. For one thread at a time, but see `catch_up`."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / SEARCH
        self._db = self._open()
        self._name = lru_cache(NAMES_KEPT)(self._name_id)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    # -- bringing it up to date ----------------------------------------------------------------------------------------

    def advance(self, limit_bytes: int = STEP_BYTES) -> Step | None:
        """Take in one step of what is missing, of about so many bytes of bodies; None when nothing is."""
        with explained(self.path), closing(Collector(self._db, limit_bytes).steps()) as steps:
            step = next(steps, None)
        if step is not None:
            self.write(step)
        return step

    def catch_up(self, show: Show = lambda taken, missing: None) -> int:
        """Take in all that is missing; returns how many records. Where that is much, a process reads it meanwhile."""
        missing, taken = self.lag(), 0
        if missing > WORTH_RECORDS:
            with worker.steps(self.path.parent) as steps:
                for step in steps:
                    self.write(step)
                    taken += step.records
                    show(taken, missing)
        while (rest := self.advance()) is not None:
            taken += rest.records
            show(taken, max(missing, taken))
        return taken

    def write(self, step: Step) -> None:
        """Store a step. Nothing is stored when another process was faster: what it has taken in is not missing now."""
        with explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                if all(self._is_at(due) for due, *_ in step.places):
                    self._insert(step)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._name.cache_clear()
                raise

    def _is_at(self, due: Due) -> bool:
        row = self._db.execute("SELECT done FROM places WHERE source = ?", (due.source,)).fetchone()
        start: int = due.source << GENERATION_BITS + OFFSET_BITS if row is None else row[0]
        return start == due.start

    def _insert(self, step: Step) -> None:
        first, name = int(self._meta("last")) + 1, self._name
        docs, words = [], []
        for number, entry in enumerate(step.entries, first):
            found = entry.document
            tool, model = name(entry.tool) if entry.tool else None, name(found.model) if found.model else None
            conversation = name(entry.conversation)
            docs.append((number, entry.record, conversation, entry.at, found.role, tool, model, entry.flags))
            words.append((number, *found.texts))
        for due, done, size, tail in step.places:
            if due.tail is not None:
                self._db.execute("DELETE FROM docs WHERE id = ?", (due.tail,))
            if due.pruned > due.pruned_before:
                start = due.source << GENERATION_BITS + OFFSET_BITS
                self._db.execute("DELETE FROM docs WHERE record >= ? AND record < ?", (start, start + due.pruned))
            place = (due.source, done, size, None if tail is None else first + tail, due.pruned)
            self._db.execute("INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?, ?)", place)
        self._db.executemany("INSERT INTO docs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", docs)
        insert = "INSERT INTO words (rowid, said, thinking, input, result, other) VALUES (?, ?, ?, ?, ?, ?)"
        self._db.executemany(insert, words)
        self._db.execute("UPDATE main.meta SET value = ? WHERE key = 'last'", (str(first + len(docs) - 1),))

    def _name_id(self, text: str) -> int:
        row = self._db.execute("SELECT id FROM names WHERE text = ?", (text,)).fetchone()
        if row is None:
            row = self._db.execute("INSERT INTO names (text) VALUES (?) RETURNING id", (text,)).fetchone()
        number: int = row[0]
        return number

    def settle(self) -> None:
        """Join all pieces to one, and make the file as small as that is. For whoever has time."""
        with explained(self.path):
            self._db.execute("INSERT INTO words (words) VALUES ('optimize')")
            self._db.execute("PRAGMA main.wal_checkpoint(TRUNCATE)")

    # -- looking -------------------------------------------------------------------------------------------------------

    @property
    def documents(self) -> int:
        """How many there are, dead ones too."""
        return int(self._meta("last"))

    def lag(self) -> int:
        """Records that are not in yet."""
        with explained(self.path):
            return records_behind(self._db)

    def _meta(self, key: str) -> str:
        row: tuple[str] = self._db.execute("SELECT value FROM main.meta WHERE key = ?", (key,)).fetchone()
        return row[0]

    # -- opening -------------------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        """The index of this archive, empty when there was none that can be gone on with."""
        try:
            if (db := self._fit()) is not None:
                return db
        except StoreError as error:
            if not _is_damage(error):
                raise
            log.warning("search.damaged", error=str(error))
        drop(self.path.parent)
        made = self._fit()
        assert made is not None, "a new one is of this archive"
        return made

    def _fit(self) -> sqlite3.Connection | None:
        """The index as it is, if it is of this archive and this program."""
        db = attached(self.path.parent)
        try:
            with explained(self.path):
                if _is_fit(db):
                    return db
        except BaseException:
            db.close()
            raise
        db.close()
        return None


def _is_fit(db: sqlite3.Connection) -> bool:
    """Whether the index is of this archive and this program; one that was not there is made."""
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute("PRAGMA cache_size=-16000")
    db.execute("BEGIN IMMEDIATE")
    try:
        archive = dict(db.execute("SELECT key, value FROM archive.meta WHERE key IN ('machine_id', 'epoch')"))
        (version,) = db.execute("PRAGMA main.user_version").fetchone()
        if not version:
            _make(db, archive)
        fit = version in (0, VERSION) and _belongs(db, archive) and not _is_dead(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return fit


def _make(db: sqlite3.Connection, archive: dict[str, str]) -> None:
    for statement in "\n".join(line.partition("--")[0].rstrip() for line in SCHEMA.splitlines()).split(";\n"):
        db.execute(statement)
    for setting in (("hashsize", HASH_BYTES), ("automerge", PIECES_JOINED)):
        db.execute("INSERT INTO words (words, rank) VALUES (?, ?)", setting)
    db.executemany("INSERT INTO main.meta VALUES (?, ?)", [("last", "0"), *archive.items()])
    db.execute(f"PRAGMA main.user_version={VERSION}")


def _belongs(db: sqlite3.Connection, archive: dict[str, str]) -> bool:
    mine = dict(db.execute("SELECT key, value FROM main.meta"))
    return {key: mine.get(key) for key in archive} == archive


def _is_dead(db: sqlite3.Connection) -> bool:
    (last,) = db.execute("SELECT CAST(value AS INTEGER) FROM main.meta WHERE key = 'last'").fetchone()
    (alive,) = db.execute("SELECT count(*) FROM docs").fetchone()
    dead: int = last - alive
    return dead > DEAD_MANY and dead > last // DEAD_SHARE


def _is_damage(error: StoreError) -> bool:
    code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
