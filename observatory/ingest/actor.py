"""Ingest: takes hints from the watcher, has the journal read what is new, commits it, and gives it to the Router.

Live files come first; what was there at a root's first scan is read in between. A line's record and event are one
transaction, published at once; the books follow in a second one (journal.py, books.py; docs/architecture.md).
"""

import random
import time
from collections.abc import Callable
from typing import Any, assert_never

import attrs
import structlog
import trio

from actors.router import Publish, Routed, Router
from actors.watcher import Change, FileChanged, FileGone, RootScanned, WatchHealthy, WatchTrouble
from observatory.core import topics
from observatory.core.batch import Batch, FileState, SourceRow
from observatory.core.errors import StoreError
from observatory.core.events import Draft, Event, text_frame
from observatory.core.replies import rfc3339
from observatory.ingest.books import Books
from observatory.ingest.copies import MARGIN_MS, Copies
from observatory.ingest.health import Health
from observatory.ingest.journal import Journal
from observatory.ingest.ledger import Ledger
from observatory.ingest.ports import Archive, Commits

log = structlog.get_logger()
FILES_A_TURN = 64  # live files read for one transaction; more wait for the next
BYTES_A_TURN = 512 * 1024
PENDING_ENTRIES = 256  # entries that may wait for the books while lines keep coming
ROWS_A_SCAN = 500  # new source rows committed at once
RETRY_SECONDS = (0.05, 1.0)  # first and longest pause before a failed commit is tried again
DEGRADED_AFTER = 5.0  # seconds of failed commits before the store counts as unavailable


@attrs.frozen
class Journey:
    """Monotonic stamps of one transaction's way, in ns, and how many records travel."""

    detected_ns: int
    read_ns: int
    committed_ns: int
    records: int


class Ingest:
    """Only `run`'s task touches the state."""

    def __init__(
        self,
        archive: Archive,
        committer: Commits,
        router: Router[str],
        changes: trio.MemoryReceiveChannel[tuple[Change, ...]],
        wall_ms: Callable[[], int],
    ) -> None:
        self._committer = committer
        self._router = router
        self._changes = changes
        self._wall_ms = wall_ms
        self._health = Health(wall_ms)
        copies = Copies(archive, rfc3339(wall_ms() + MARGIN_MS))
        self._books = Books(Ledger(archive), archive.machine_id, copies, random.getrandbits)
        known = {source.path: source for source in archive.sources()}
        self._journal = Journal(archive, self._books, known, archive.scanned_roots())
        self._was_clean = archive.was_clean
        self._hot: dict[str, int] = {}  # path → when the change was detected, in the order of the hints
        self._cold: list[tuple[int, str]] = []  # (mtime_ns, path) of history still to be read, oldest first
        if any(source.offset < source.backfill_until for source in self._journal.sources.values()):
            self._books.unannounced = archive.project_ids()

    async def run(self) -> None:
        """Follow the files until cancelled. Raises StoreError when the store is lost for good."""
        if not self._was_clean:
            await self._catch_up()
        while True:
            if self._hot or self._cold or self._books.pending or self._health.news:
                await trio.lowlevel.checkpoint()
            else:
                await self._absorb(await self._changes.receive())
            while self._changes.statistics().current_buffer_used:
                await self._absorb(self._changes.receive_nowait())
            await self._turn()

    def gauges(self) -> dict[str, int]:
        """Numbers for the status."""
        return {
            "sources": len(self._journal.sources),
            "sources_waiting": len(self._hot),
            "history_waiting": len(self._cold),
            "unreadable_files": len(self._journal.unreadable),
            "nul_lines": self._journal.nul_lines,
        }

    def components(self) -> list[dict[str, Any]]:
        """Health of the parts, as in system_status."""
        return self._health.components()

    async def _catch_up(self) -> None:
        """The last process did not end in order: bring the books up to the journal."""
        for source in tuple(self._journal.sources.values()):
            entry = self._journal.catch_up(source)
            if entry is not None:
                self._books.pending.append(entry)
        if self._books.pending:
            log.info("books.catching_up", files=len(self._books.pending))
            await self._close_books(Batch())

    # -- hints ---------------------------------------------------------------------------------------------------------

    async def _absorb(self, batch: tuple[Change, ...]) -> None:
        for change in batch:
            match change:
                case FileChanged(path, detected_ns) | FileGone(path, detected_ns):
                    self._hot.setdefault(path, detected_ns)
                case RootScanned():
                    await self._root(change)
                case WatchTrouble(component, detail):
                    log.warning("watcher.degraded", component=component, detail=detail)
                    self._health.set(f"watcher:{component}", "degraded", detail)
                case WatchHealthy(component):
                    log.info("watcher.healthy", component=component)
                    self._health.set(f"watcher:{component}", "ok", None)
                case _:
                    assert_never(change)

    async def _root(self, scan: RootScanned) -> None:
        """The first look at a root in this process: what is new, what has changed, what is gone."""
        first_scan, now_ns, sources = scan.root not in self._journal.roots, time.monotonic_ns(), self._journal.sources
        new: list[SourceRow] = []
        for file in scan.files:
            source, state = sources.get(file.path), FileState(*attrs.astuple(file.stat))
            if source is None and first_scan:
                new.append(self._journal.new_source(file.path, scan.root, state, state.size))
            elif source is not None and source.offset < source.backfill_until:
                self._cold.append((state.mtime_ns, file.path))
            elif source is None or source.missing or source.state != state:
                self._hot.setdefault(file.path, now_ns)
        here = {file.path for file in scan.files}
        for source in sources.values():
            if source.root == scan.root and not source.missing and source.path not in here:
                self._hot.setdefault(source.path, now_ns)
        for start in range(0, len(new), ROWS_A_SCAN):
            await self._commit(Batch(sources={source.id: source for source in new[start : start + ROWS_A_SCAN]}))
        sources |= {source.path: source for source in new}
        await self._commit(Batch(scanned_roots=[scan.root]))
        self._journal.roots.add(scan.root)
        self._cold.extend((source.state.mtime_ns, source.path) for source in new)
        self._cold.sort()
        log.info("root.scanned", root=scan.root, files=len(scan.files), new=len(new), first=first_scan)

    # -- one turn ------------------------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        """Journal what the hints are about, or a piece of history; then the books, unless more lines wait."""
        batch, detected = Batch(), time.monotonic_ns()
        if self._hot:
            detected = next(iter(self._hot.values()))
            together = self._read_live(batch)
        else:
            together = bool(self._cold) and self._read_history(batch)
        if not together and batch.records:
            records, read_ns = len(batch.drafts), time.monotonic_ns()
            events = await self._commit(batch)
            await self._publish(events, Journey(detected, read_ns, time.monotonic_ns(), records))
            batch = Batch()
        if together or not self._hot or len(self._books.pending) >= PENDING_ENTRIES:
            await self._close_books(batch, detected)

    def _read_live(self, batch: Batch) -> bool:
        """Read the files that were hinted at; returns whether their books belong to the same transaction."""
        together, size = False, 0
        for path in list(self._hot)[:FILES_A_TURN]:
            hinted_ns = self._hot.pop(path)
            entry, more = self._journal.read(path)
            if more:
                self._hot[path] = hinted_ns  # again, behind the others
            if entry is not None:
                together |= self._journal.journal(batch, entry, self._wall_ms())
                size += sum(item.span for item in entry.items)
            if size >= BYTES_A_TURN:
                break
        return together

    def _read_history(self, batch: Batch) -> bool:
        path = self._cold[-1][1]
        entry, more = self._journal.read(path)
        source = self._journal.sources.get(path)
        if not more or source is None or source.offset >= source.backfill_until:
            self._cold.pop()
            if more:
                self._hot[path] = time.monotonic_ns()
        return entry is not None and self._journal.journal(batch, entry, self._wall_ms())

    async def _close_books(self, batch: Batch, detected: int = 0) -> None:
        records = len(batch.drafts)
        unreadable = self._journal.unreadable
        self._health.set("files", "degraded" if unreadable else "ok", _some(unreadable))
        if self._books.pending or (self._books.unannounced and not self._cold):
            self._books.close(batch, rfc3339(self._wall_ms()), history_done=not self._cold)
        if self._health.news:
            batch.drafts.append(Draft("system_status", self._health.tell(), (topics.SYSTEM,)))
        if not (batch.drafts or batch.records or batch.sources):
            return
        read_ns = time.monotonic_ns()
        events = await self._commit(batch)
        await self._publish(events, Journey(detected, read_ns, time.monotonic_ns(), records) if records else None)

    # -- commit and publish --------------------------------------------------------------------------------------------

    async def _publish(self, events: tuple[Event, ...], journey: Journey | None) -> None:
        if events:
            routed = tuple(Routed(event.seq, event.topics, text_frame(event.payload)) for event in events)
            publish = Publish(routed, journey)
            await self._router.post(publish)
            await publish.done.wait()  # the clients first: what this task does next can wait

    async def _commit(self, batch: Batch) -> tuple[Event, ...]:
        """Commit, however long the disk is full or the file locked: the transcripts are the buffer meanwhile."""
        pause, failing_since = RETRY_SECONDS[0], None
        while True:
            try:
                events = await self._committer.append(batch)
            except StoreError as error:
                if not error.retryable:
                    raise
                if failing_since is None:
                    failing_since = trio.current_time()
                    log.error("log.not_written", error=str(error))
                if trio.current_time() - failing_since >= DEGRADED_AFTER:
                    self._health.set("store", "unavailable", str(error))
                await trio.sleep(pause)
                pause = min(RETRY_SECONDS[1], pause * 2)
                continue
            if failing_since is not None:
                log.info("log.written_again", seconds=round(trio.current_time() - failing_since, 3))
                self._health.set("store", "ok", None)
            return events


def _some(unreadable: dict[str, str]) -> str | None:
    shown = [f"{path}: {reason}" for path, reason in list(unreadable.items())[:3]]
    return f"{len(unreadable)} unreadable: {'; '.join(shown)}" if shown else None
