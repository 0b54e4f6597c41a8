"""EventLog: records and events in one SQLite file, written by one connection, one transaction a batch."""

import json
import sqlite3
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path

import attrs

from observatory.core.annotations import Annotation, Change, applied, draft_of
from observatory.core.batch import Batch
from observatory.core.errors import UsageError
from observatory.core.events import Event, LogPosition, encode
from observatory.core.forgetting import KeptOut, Removal, Target, drafts_of, fewer
from observatory.core.hook_events import Hook, row_of
from observatory.core.hook_events import draft_of as told_of
from observatory.core.neutral import neutral
from observatory.core.pruning import Prune
from observatory.storage import annotations, attachments, changes, forget, hooks, prune
from observatory.storage.bodies import Bodies, due, pack_next
from observatory.storage.lineage import lineage
from observatory.storage.lookups import Lookups
from observatory.storage.opening import DATABASE, START_PATIENCE, connect, explain, explained, open_writer, settle
from observatory.storage.rows import insert
from observatory.storage.search_steps import drop

STEPS_A_LOOK = 100_000  # of SQLite's machine between two looks at whether to go on: a few ms
TRIM_ROWS = 2000  # events deleted in one transaction: a few ms, so that the loop is not held up


@attrs.frozen
class Retention:
    """How much of the events log is kept; whichever is reached first. record_seconds: how long records are kept after
    the last that happened in their conversation; None: for ever."""

    seconds: float = 7 * 24 * 3600.0
    events: int = 1_000_000
    bytes: int = 1024**3
    record_seconds: float | None = None


class EventLog(Lookups):
    """The writing side. All methods block, briefly; one caller at a time.

    redact: what is stored instead of an event's payload.
    """

    def __init__(self, directory: Path, boot_id: str | None, redact: Callable[[bytes], bytes] | None = None) -> None:
        self.path = directory / DATABASE
        self._redact = redact
        self._db = open_writer(self.path, boot_id)
        self._bodies = Bodies(self._db)
        self.commits = 0  # transactions so far: the write-ahead file grows by each, also by those without events
        self.removals = 0  # how often something was forgotten: what was read before is not to be shown after
        try:
            with explained(self.path):
                self._load()
        except BaseException:
            self._db.close()
            raise

    def _load(self) -> None:
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        self.machine_id: str = meta["machine_id"]
        self._epoch: str = meta["epoch"]
        start = int(meta.get("head", 0))
        first = self._db.execute("SELECT seq, total FROM events ORDER BY seq LIMIT 1").fetchone()
        last = self._db.execute("SELECT seq, total FROM events ORDER BY seq DESC LIMIT 1").fetchone()
        self._head: int
        self._total: int
        self._head, self._total = last or (start, 0)
        self._oldest = first[0] if first else self._head + 1
        (highest,) = self._db.execute("SELECT coalesce(max(id), 0) FROM sources").fetchone()
        self._last_source: int = highest
        attachments.clear_torn(self._db)

    @property
    def position(self) -> LogPosition:
        """Epoch, head and oldest, as committed."""
        return LogPosition(self._epoch, self._head, self._oldest)

    def new_source_id(self) -> int:
        """An id for a file not seen before; a number drawn and not stored is lost, which is harmless."""
        self._last_source += 1
        return self._last_source

    # -- writing -------------------------------------------------------------------------------------------------------

    def append(self, batch: Batch, now_ms: int) -> tuple[Event, ...]:
        """Commit a batch; returns its events with their seq. Raises StoreError; then nothing is stored."""
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                events, total = self._insert_events(batch, now_ms)
                insert(self._db, batch, now_ms)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        self.commits += 1
        if batch.withdrawn:
            self._bodies.forget()
        if events:
            self._head, self._total = events[-1].seq, total
        return events

    def _insert_events(self, batch: Batch, now_ms: int) -> tuple[tuple[Event, ...], int]:
        seq, total, epoch = self._head, self._total, self._epoch
        events, rows = [], []
        for draft in batch.drafts:
            seq += 1
            payload = encode(draft.type, draft.data, now_ms, seq, epoch)
            if self._redact is not None:
                payload = self._redact(payload)
            total += len(payload)
            events.append(Event(seq, draft.type, draft.topics, payload))
            rows.append((seq, now_ms, " ".join(draft.topics), total, payload))
        self._db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", rows)
        return tuple(events), total

    def trim(self, retention: Retention, now_ms: int) -> int:
        """Delete events beyond the retention, at most TRIM_ROWS; returns how many. Raises StoreError."""
        keep_from = min(self._first_to_keep(retention, now_ms), self._oldest + TRIM_ROWS)
        if keep_from <= self._oldest:
            return 0
        with explained(self.path):
            self._db.execute("DELETE FROM events WHERE seq < ?", (keep_from,))
            if keep_from > self._head:  # an empty log must still know where it was
                self._db.execute("INSERT OR REPLACE INTO meta VALUES ('head', ?)", (str(self._head),))
        trimmed, self._oldest = keep_from - self._oldest, keep_from
        return trimmed

    def pack(self, now_ns: int) -> bool:
        """Compress one block's worth of bodies; whether there was any to compress. Raises StoreError.

        A connection of its own writes them, so that a look-up from another thread finds the rows before or after.
        """
        with explained(self.path):
            stretch = due(self._db, now_ns)
            if stretch is None:
                return False
            with closing(connect(self.path)) as db:
                settle(db)
                with forget.transaction(db):
                    pack_next(db, stretch)
        self._bodies.forget()
        self.commits += 1
        return True

    def forget(self, target: Target, now_ms: int) -> Removal:
        """Remove a conversation or project, and log that it is gone; `scrub` has to follow. Raises StoreError."""
        db = self._db
        drop(self.path.parent)  # the index's words cannot be told apart: it is built anew
        with explained(self.path), forget.transaction(db):
            known = forget.conversations(db)
            removal = forget.plan(db, target, known)
            forget.expunge(db, removal)
            batch = Batch(drafts=drafts_of(removal, known))
            batch.conversations |= {row.id: row for _, row in removal.cleaned}
            if removal.project is not None and not removal.whole_project:
                batch.projects[removal.project.id] = fewer(removal.project, removal.conversations)
            events, total = self._insert_events(batch, now_ms)
            insert(self._db, batch, now_ms)
        self._bodies.forget()
        self.commits += 1
        self.removals += 1
        if events:
            self._head, self._total = events[-1].seq, total
        return attrs.evolve(removal, events=events)

    def prunable(self, wish: Prune) -> list[int]:
        """Sources with records that are old enough to go."""
        with explained(self.path):
            return prune.due(self._db, wish)

    def prune_some(self, source: int) -> int:
        """Remove some of a source's records; returns how many, 0 when none is left. Raises StoreError."""
        with explained(self.path), forget.transaction(self._db):
            removed = prune.prune_some(self._db, source)
        self._bodies.forget()
        self.commits += 1
        return removed

    def follow_changes(self) -> None:
        """From now on what changes is written down for a copy of the archive, if it is not yet. Raises StoreError."""
        with explained(self.path):
            if not changes.is_followed(self._db):
                with forget.transaction(self._db):
                    changes.follow(self._db)

    def unfollow_changes(self) -> None:
        """There is no copy any more. Raises StoreError."""
        with explained(self.path), forget.transaction(self._db):
            changes.unfollow(self._db)

    def trim_changes(self, upto: int) -> None:
        """The copy has all changes up to this one. Raises StoreError."""
        with explained(self.path):
            changes.trim(self._db, upto)

    def scrub(self, patience_ms: int = 0) -> bool:
        """Leave nothing of what was deleted in the files; False: try again. Raises StoreError."""
        with explained(self.path):
            return forget.scrub(self._db, patience_ms)

    def attachment_states(self, conversation_id: str) -> dict[str, tuple[int, int, bool]]:
        """A conversation's spilled outputs: name → size, mtime_ns, whether with a body. In any thread: StoreError."""
        with explained(self.path), closing(connect(self.path, read_only=True)) as db:
            db.execute(f"PRAGMA busy_timeout={round(START_PATIENCE * 1000)}")
            return attachments.states(db, conversation_id)

    @property
    def scrub_due(self) -> bool:
        """Something was forgotten, and its bytes may still be in the files."""
        with explained(self.path):
            return forget.is_due(self._db)

    def annotate(self, change: Change, now_ms: int) -> tuple[Annotation, tuple[Event, ...]]:
        """Say something of a conversation; returns what is said of it now, and what clients are told.

        Raises UsageError: there is no such conversation, or it has too many tags. StoreError.
        """
        with explained(self.path):
            row, above = lineage(self._db, change.conversation_id)
            before = annotations.read(self._db, change.conversation_id)
        if row is None:
            raise UsageError(f"there is no conversation {neutral(change.conversation_id)} any more")
        after = applied(before, change)
        draft = draft_of(row, above, before, after)
        if draft is None:
            return after, ()
        return after, self.append(Batch(annotations=[after], drafts=[draft]), now_ms)

    def hook(self, hook: Hook, now_ms: int) -> tuple[int, tuple[Event, ...]]:
        """Keep a hook event; returns its number, and what clients are told: nothing if its key came before.

        Raises StoreError.
        """
        with explained(self.path):
            if hook.key is not None and (number := hooks.known(self._db, hook.key)) is not None:
                return number, ()
            number, whose = hooks.next_number(self._db), hooks.belonging(self._db, hook, self.machine_id)
        if self._redact is not None:
            hook = attrs.evolve(hook, body=self._redact(hook.body))
        row = row_of(number, now_ms, hook, whose)
        return number, self.append(Batch(hooks=[row], drafts=[told_of(row, whose.above)]), now_ms)

    def kept_out(self) -> KeptOut:
        """The files that were forgotten."""
        return forget.kept_out(self._db)

    def holders_of(self, uuids: Collection[str], stopped: Callable[[], bool]) -> list[tuple[str, str]]:
        """(uuid, conversation id) of the records with these uuids. Reads all records, so call it in another thread.

        Raises StoreError, also when `stopped` said so.
        """
        query = (
            "SELECT DISTINCT uuid, conversation_id FROM records WHERE conversation_id IS NOT NULL"
            " AND uuid IN (SELECT value FROM json_each(?))"
        )
        with explained(self.path), closing(connect(self.path, read_only=True)) as db:
            db.set_progress_handler(stopped, STEPS_A_LOOK)
            return db.execute(query, (json.dumps(list(uuids)),)).fetchall()

    def _first_to_keep(self, retention: Retention, now_ms: int) -> int:
        by_count = self._head - retention.events + 1
        by_bytes = self._search("total", self._total - retention.bytes)
        by_age = self._search("at", now_ms - round(retention.seconds * 1000))
        return max(self._oldest, by_count, by_bytes, by_age)

    def _search(self, column: str, bound: int) -> int:
        """The first seq whose column (rising with seq) exceeds the bound, by bisection over the dense seq."""
        low, high = self._oldest, self._head + 1
        while low < high:
            middle = (low + high) // 2
            (value,) = self._db.execute(f"SELECT {column} FROM events WHERE seq = ?", (middle,)).fetchone()
            low, high = (low, middle) if value > bound else (middle + 1, high)
        return low

    def close(self) -> None:
        """Close cleanly: the next start keeps the epoch even after a reboot."""
        with explained(self.path):
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('clean', '1')")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()
