"""Committer: one commit at a time, on the loop while commits are fast, in a worker thread while they are slow."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import structlog
import trio

from actors.turn import Turn
from observatory.core.annotations import Annotation, Change
from observatory.core.batch import Batch
from observatory.core.errors import StoreError
from observatory.core.events import Event
from observatory.core.forgetting import Removal, Target
from observatory.core.hook_events import Hook
from observatory.core.pruning import Prune, Pruned, before
from observatory.storage.log import EventLog, Retention
from observatory.storage.opening import connect, explained
from observatory.telemetry.measures import Measures

log = structlog.get_logger()
SLOW_COMMIT = 0.010  # seconds; after one such commit the next go to a thread, so that clients and pings do not wait
SLOW_ROW = 0.0002  # … and so much more for each of its records and events: a large one is slow for a reason
CALM_COMMITS = 20  # fast commits in a row after which they come back to the loop
CHECKPOINT_EVERY = 1.0
SCRUB_PATIENCE_MS = 500  # for readers to let go of the write-ahead file
SCRUB_EVERY = 60.0  # a full disk makes it fail late, having written much
SCRUB_TRIES = 20  # … before whoever waits for it is told that it goes on later
TRIM_EVERY = 10.0
PRUNE_EVERY = 3600.0
PACK_FOR, PACK_PAUSE = 1.0, 0.02  # seconds: of packing at a time, and between two blocks
WAL_BOUND = (
    64 * 1024 * 1024
)  # a steady stream never lets a passive checkpoint start the WAL anew: then the writer waits


class Committer:
    """The only caller of EventLog.append, trim and close.

    leaving: what becomes of a payload when it leaves the process; the log keeps it as it was.
    turn: held by whoever commits events, until the Router has them, so that they are published in the order of their
    seqs although several parts commit.
    """

    def __init__(
        self,
        event_log: EventLog,
        retention: Retention,
        wall_ms: Callable[[], int],
        leaving: Callable[[bytes], bytes] | None = None,
        measures: Measures | None = None,
    ) -> None:
        self._measures = measures or Measures()
        self._log = event_log
        self._leaving = leaving
        self._retention = retention
        self._wall_ms = wall_ms
        self.turn = Turn()
        self._lock = trio.Lock()
        self._busy = False  # the lock's holder is at work: not now, on the loop
        self._limiter = trio.CapacityLimiter(1)
        self._checkpoint_limiter = trio.CapacityLimiter(1)  # its own: a commit must not wait behind one
        self._scrub_due = event_log.scrub_due  # a process that was killed may have left it undone
        self._next_scrub = 0.0
        self._in_thread = 0  # commits still to be made in the thread
        self._checkpointed = event_log.commits

    def append_nowait(self, batch: Batch) -> tuple[Event, ...] | None:
        """Commit on the loop; None when the log is in use or commits are slow now. Raises StoreError."""
        if self._busy or self._in_thread:
            return None
        start = time.perf_counter()
        events = self._log.append(batch, self._wall_ms())
        self._measure(start, events)
        if _was_slow(start, batch):
            self._in_thread = CALM_COMMITS
        return events if self._leaving is None else self._redacted(events, self._leaving)

    async def append(self, batch: Batch) -> tuple[Event, ...]:
        """Commit a batch. Raises StoreError; then nothing is stored."""
        events = self.append_nowait(batch)
        return events if events is not None else await self._append_in_thread(batch)

    async def _append_in_thread(self, batch: Batch) -> tuple[Event, ...]:
        async with self._turn():
            start = time.perf_counter()
            events = await trio.to_thread.run_sync(self._log.append, batch, self._wall_ms(), limiter=self._limiter)
            self._measure(start, events)
            self._in_thread = CALM_COMMITS if _was_slow(start, batch) else max(0, self._in_thread - 1)
            return events if self._leaving is None else self._redacted(events, self._leaving)

    def _measure(self, start: float, events: tuple[Event, ...]) -> None:
        self._measures.times["commit"].add(int((time.perf_counter() - start) * 1e9))
        counts = self._measures.counters["events_committed"]
        for event in events:
            counts[event.type] = counts.get(event.type, 0) + 1

    def _redacted(self, events: tuple[Event, ...], leaving: Callable[[bytes], bytes]) -> tuple[Event, ...]:
        return tuple([attrs.evolve(event, payload=leaving(event.payload)) for event in events])

    async def forget(self, target: Target) -> Removal:
        """Remove a conversation or project; `scrub` has to follow. Raises StoreError; then nothing is removed."""
        async with self._turn():
            self._scrub_due = True
            removal = await trio.to_thread.run_sync(self._log.forget, target, self._wall_ms(), limiter=self._limiter)
        if self._leaving is None:
            return removal
        return attrs.evolve(removal, events=self._redacted(removal.events, self._leaving))

    async def annotate(self, change: Change) -> tuple[Annotation, tuple[Event, ...]]:
        """As EventLog.annotate; whoever calls has the turn, and publishes. Raises UsageError, StoreError."""
        async with self._turn():
            annotate = self._log.annotate
            said, events = await trio.to_thread.run_sync(annotate, change, self._wall_ms(), limiter=self._limiter)
        return said, events if self._leaving is None else self._redacted(events, self._leaving)

    async def hook(self, hook: Hook) -> tuple[int, tuple[Event, ...]]:
        """As EventLog.hook; whoever calls has the turn, and publishes. Raises StoreError."""
        async with self._turn():
            keep = self._log.hook
            number, events = await trio.to_thread.run_sync(keep, hook, self._wall_ms(), limiter=self._limiter)
        return number, events if self._leaving is None else self._redacted(events, self._leaving)

    async def follow_changes(self) -> None:
        """As EventLog.follow_changes."""
        async with self._turn():
            await trio.to_thread.run_sync(self._log.follow_changes, limiter=self._limiter)

    async def trim_changes(self, upto: int) -> None:
        """As EventLog.trim_changes."""
        async with self._turn():
            await trio.to_thread.run_sync(self._log.trim_changes, upto, limiter=self._limiter)

    async def scrub(self) -> bool:
        """Leave nothing of what was deleted in the files. False: somebody reads them; `keep_up` goes on with it.

        Commits wait while the database is written anew: the transcripts are the buffer meanwhile.
        """
        for _ in range(SCRUB_TRIES):
            if await self._scrub_once():
                return True
        return False

    async def _scrub_once(self) -> bool:
        start = time.perf_counter()
        async with self._turn():
            done = await trio.to_thread.run_sync(self._log.scrub, SCRUB_PATIENCE_MS, limiter=self._limiter)
        self._scrub_due = not done
        if done:
            log.info("log.scrubbed", seconds=round(time.perf_counter() - start, 3))
        return done

    async def _finish_scrub(self) -> None:
        await self._scrub_once()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One user of the log at a time."""
        async with self._lock:
            self._busy = True
            try:
                yield
            finally:
                self._busy = False

    async def keep_up(self) -> None:
        """Checkpoints and retention, off the hot path, until cancelled."""
        next_trim = next_prune = trio.current_time()
        while True:
            await trio.sleep(CHECKPOINT_EVERY)
            if self._scrub_due and trio.current_time() >= self._next_scrub:
                self._next_scrub = trio.current_time() + SCRUB_EVERY
                await self._patiently(self._finish_scrub)
            if self._log.commits != self._checkpointed:
                self._checkpointed = self._log.commits
                await self._patiently(self._checkpoint)
            await self._patiently(self._pack)
            if trio.current_time() >= next_trim:
                next_trim = trio.current_time() + TRIM_EVERY
                await self._patiently(self._trim)
            if trio.current_time() >= next_prune:
                next_prune = trio.current_time() + PRUNE_EVERY
                await self._patiently(self._prune_by_age)

    async def _patiently(self, upkeep: Callable[[], Awaitable[None]]) -> None:
        """What passes (a lock, a full disk) is tried again at the next round; the ingest reports the store's health."""
        try:
            await upkeep()
        except StoreError as error:
            if not error.retryable:
                raise
            log.warning("log.upkeep_failed", error=str(error))

    async def _pack(self) -> None:
        """Bodies into blocks, one at a time: a live line does not wait longer for it than for another's commit.

        While there are others' commits it is one a round, so that few lines wait at all.
        """
        until, commits = trio.current_time() + PACK_FOR, self._log.commits
        while trio.current_time() < until and self._log.commits == commits:
            async with self._turn():
                more = await trio.to_thread.run_sync(self._log.pack, self._wall_ms() * 1_000_000, limiter=self._limiter)
            if not more:
                return
            commits += 1
            await trio.sleep(PACK_PAUSE)

    async def _trim(self) -> None:
        while True:
            async with self._turn():
                trimmed = self._log.trim(self._retention, self._wall_ms())
            if not trimmed:
                return
            log.debug("log.trimmed", events=trimmed, oldest=self._log.position.oldest)
            await trio.sleep(0.05)  # others first

    async def prune(self, wish: Prune) -> Pruned:
        """Remove old records, a few at a time: others' commits come between. Raises StoreError."""
        async with self._turn():
            sources = await trio.to_thread.run_sync(self._log.prunable, wish, limiter=self._limiter)
        records = 0
        for source in sources:
            while True:
                async with self._turn():
                    step = partial(self._log.prune_some, source)
                    removed = await trio.to_thread.run_sync(step, limiter=self._limiter)
                if not removed:
                    break
                records += removed
                await trio.sleep(PACK_PAUSE)
        if records:
            log.info("log.pruned", records=records, files=len(sources), before=wish.before)
        return Pruned(len(sources), records)

    async def _prune_by_age(self) -> None:
        seconds = self._retention.record_seconds
        if seconds is not None:
            await self.prune(Prune(before(self._wall_ms() / 1000, seconds)))

    async def _checkpoint(self) -> None:
        path = self._log.path
        wal = path.with_name(path.name + "-wal")
        await self._checkpoint_in_thread("PASSIVE")
        if wal.exists() and wal.stat().st_size > WAL_BOUND:
            await self._checkpoint_in_thread("PASSIVE")  # what came during the first one
            async with self._turn():  # … and during the second: little, so that commits wait for a short time only
                await self._checkpoint_in_thread("RESTART")

    async def _checkpoint_in_thread(self, mode: str) -> None:
        await trio.to_thread.run_sync(_checkpoint, self._log.path, mode, limiter=self._checkpoint_limiter)


def _was_slow(start: float, batch: Batch) -> bool:
    return time.perf_counter() - start > SLOW_COMMIT + SLOW_ROW * (len(batch.records) + len(batch.drafts))


def _checkpoint(path: Path, mode: str) -> None:
    with explained(path):
        db = connect(path)
        try:
            db.execute("PRAGMA wal_autocheckpoint=0")
            db.execute(f"PRAGMA wal_checkpoint({mode})")
        finally:
            db.close()
