"""State of a copy: how far it is, in a small database of its own beside the archive; written only after an answer.

Losing it costs time: the copy is then made anew, over what is there.
"""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import attrs

from observatory.storage.opening import connect, explained
from observatory.storage.rows import key_range

NAME = "supabase.db"
PATIENCE_MS = 5000
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # done: key of the first record that is not in the copy; tail: … but is, without its newline; pruned: as in sources
    "CREATE TABLE IF NOT EXISTS places (source INTEGER PRIMARY KEY, done INTEGER NOT NULL, pruned INTEGER NOT NULL,"
    " tail INTEGER NOT NULL)",
    # what the database would not take, until it does; again: somebody asked for it to be tried
    "CREATE TABLE IF NOT EXISTS parked (kind TEXT NOT NULL, ref TEXT NOT NULL, reason TEXT NOT NULL,"
    " at INTEGER NOT NULL, again INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (kind, ref)) WITHOUT ROWID",
)
Ref = tuple[str, str]  # kind and name, as in the archive's changes


@attrs.frozen
class Place:
    """How far a source is in the copy; see _SCHEMA."""

    done: int
    pruned: int = 0
    tail: bool = False


@attrs.frozen
class Parked:
    """Something that the database would not take. at: ms."""

    kind: str
    ref: str
    reason: str
    at: int


class State:
    """One connection; for one thread at a time. All methods raise StoreError."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        with explained(self.path):
            self._db = connect(self.path)
            try:
                self._db.execute(f"PRAGMA busy_timeout={PATIENCE_MS}")
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
                for statement in _SCHEMA:
                    self._db.execute(statement)
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Let go of it."""
        self._db.close()

    def get(self, key: str) -> str | None:
        """A value that is kept."""
        with explained(self.path):
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    @property
    def cursor(self) -> int:
        """The last change that is wholly in the copy."""
        return int(self.get("cursor") or 0)

    def places(self) -> dict[int, Place]:
        """How far each source is."""
        with explained(self.path):
            rows = self._db.execute("SELECT source, done, pruned, tail FROM places").fetchall()
        return {source: Place(done, pruned, bool(tail)) for source, done, pruned, tail in rows}

    def begin_anew(self, identity: str, *, over: bool) -> None:
        """The copy is of another archive than it was, or of other things of it. over: rows of it are there."""
        with explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            for table in ("places", "parked"):
                self._db.execute(f"DELETE FROM {table}")
            rows = {"identity": identity, "cursor": "0", "over": str(int(over))}
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows.items())
            self._db.execute("COMMIT")

    @property
    def over(self) -> bool:
        """Whether rows of an earlier copy may be there."""
        return self.get("over") == "1"

    def settle(self) -> None:
        """All that was there when the copy began is in it: nothing of an earlier one is left."""
        with explained(self.path):
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('over', '0')")

    def advance(
        self, cursor: int | None, places: Mapping[int, Place], gone: Iterable[int], fine: Collection[Ref]
    ) -> None:
        """What was sent is there. gone: sources that are none any more; fine: what is parked no longer."""
        with explained(self.path):
            db = self._db
            db.execute("BEGIN IMMEDIATE")
            for source in gone:
                db.execute("DELETE FROM places WHERE source = ?", (source,))
                between = "kind = 'record' AND CAST(ref AS INTEGER) >= ? AND CAST(ref AS INTEGER) < ?"
                db.execute(f"DELETE FROM parked WHERE {between}", key_range(source))
            rows = [(source, place.done, place.pruned, place.tail) for source, place in places.items()]
            db.executemany("INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)", rows)
            db.executemany("DELETE FROM parked WHERE kind = ? AND ref = ?", fine)
            if cursor is not None:
                db.execute("INSERT OR REPLACE INTO meta VALUES ('cursor', ?)", (str(cursor),))
            db.execute("COMMIT")

    def park(self, rows: Iterable[tuple[Ref, str]], now_ms: int) -> None:
        """Put aside what the database would not take, with its reasons."""
        with explained(self.path):
            values = [(*ref, reason, now_ms) for ref, reason in rows]
            self._db.executemany("INSERT OR REPLACE INTO parked (kind, ref, reason, at) VALUES (?, ?, ?, ?)", values)

    def parked(self) -> list[Parked]:
        """All of it, oldest first."""
        with explained(self.path):
            return [Parked(*row) for row in self._db.execute("SELECT kind, ref, reason, at FROM parked ORDER BY at")]

    def ask_again(self) -> int:
        """All that is parked is to be tried again; returns how much that is."""
        with explained(self.path):
            return self._db.execute("UPDATE parked SET again = 1").rowcount

    def asked_again(self) -> list[Ref]:
        """What is to be tried again."""
        with explained(self.path):
            return self._db.execute("SELECT kind, ref FROM parked WHERE again").fetchall()


def state_of(directory: Path) -> State | None:
    """What there is of a copy; None if there never was one. Raises StoreError."""
    if not (directory / NAME).exists():
        return None
    return State(directory)


def forget_state(directory: Path) -> None:
    """Leave nothing of it."""
    for ending in ("", "-wal", "-shm"):
        (directory / f"{NAME}{ending}").unlink(missing_ok=True)
