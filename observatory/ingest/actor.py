"""Ingest: takes hints from the watcher, reads what is new, commits it, and gives it to the Router.

Live files come first; what was there at a root's first scan is read in between. One transaction a turn.
"""

import time
from collections.abc import Callable
from typing import Any, assert_never

import attrs
import structlog
import trio

from actors.router import Publish, Routed, Router
from actors.watcher import Change, FileChanged, FileGone, FileSeen, RootScanned, WatchHealthy, WatchTrouble
from observatory.core import topics
from observatory.core.batch import Batch, FileState, SourceRow
from observatory.core.errors import StoreError
from observatory.core.events import Draft, Event, text_frame
from observatory.core.replies import rfc3339
from observatory.ingest import reading
from observatory.ingest.fold import Fold, Item, Known, reread
from observatory.ingest.ledger import Ledger
from observatory.ingest.ports import Archive, Commits

log = structlog.get_logger()
FILES_A_TURN = 64  # live files read for one transaction; more wait for the next
BYTES_A_TURN = 512 * 1024
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


@attrs.frozen
class Component:
    """Health of one part."""

    status: str
    details: str | None
    last_checked: str


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
        self._archive = archive
        self._committer = committer
        self._router = router
        self._changes = changes
        self._wall_ms = wall_ms
        self._ledger = Ledger(archive)
        self._sources = {source.path: source for source in archive.sources()}
        self._scanned = archive.scanned_roots()
        self._hot: dict[str, int] = {}  # path → when the change was detected, in the order of the hints
        self._cold: list[tuple[int, str]] = []  # (mtime_ns, path) of history still to be read, oldest first
        self._searched: dict[int, int] = {}  # source id → bytes of a long torn line known to hold no newline
        self._known: dict[int, Known] = {}
        self._unreadable: dict[str, str] = {}
        self._components: dict[str, Component] = {}
        self._told: dict[str, Component] = {}
        half_read = any(source.offset < source.backfill_until for source in self._sources.values())
        self._unannounced: set[str] = archive.project_ids() if half_read else set()
        self.nul_lines = 0

    async def run(self) -> None:
        """Follow the files until cancelled. Raises StoreError when the store is lost for good."""
        while True:
            if not self._hot and not self._cold and self._components == self._told:
                await self._absorb(await self._changes.receive())
            else:
                await trio.lowlevel.checkpoint()
            while True:
                try:
                    await self._absorb(self._changes.receive_nowait())
                except trio.WouldBlock:
                    break
            await self._turn()

    def gauges(self) -> dict[str, int]:
        """Numbers for the status."""
        return {
            "sources": len(self._sources),
            "sources_waiting": len(self._hot),
            "history_waiting": len(self._cold),
            "unreadable_files": len(self._unreadable),
            "nul_lines": self.nul_lines,
        }

    def components(self) -> list[dict[str, Any]]:
        """Health of the parts, as in system_status."""
        return [{"component_name": name, **attrs.asdict(c)} for name, c in sorted(self._components.items())]

    # -- hints ---------------------------------------------------------------------------------------------------------

    async def _absorb(self, batch: tuple[Change, ...]) -> None:
        for change in batch:
            match change:
                case FileChanged(path, detected_ns) | FileGone(path, detected_ns):
                    self._hot.setdefault(path, detected_ns)
                case RootScanned(root, files):
                    await self._root(root, files)
                case WatchTrouble(component, detail):
                    log.warning("watcher.degraded", component=component, detail=detail)
                    self._health(f"watcher:{component}", "degraded", detail)
                case WatchHealthy(component):
                    log.info("watcher.healthy", component=component)
                    self._health(f"watcher:{component}", "ok", None)
                case _:
                    assert_never(change)

    async def _root(self, root: str, files: tuple[FileSeen, ...]) -> None:
        """The first look at a root in this process: what is new, what has changed, what is gone."""
        first_scan, now_ns = root not in self._scanned, time.monotonic_ns()
        new: list[SourceRow] = []
        for file in files:
            source = self._sources.get(file.path)
            if source is None and first_scan:
                new.append(self._new_source(file.path, root, FileState(*attrs.astuple(file.stat)), file.stat.size))
            elif source is None or (source.offset >= source.backfill_until and _differs(source, file)):
                self._hot.setdefault(file.path, now_ns)
            elif source.offset < source.backfill_until:
                self._cold.append((file.stat.mtime_ns, file.path))
        here = {file.path for file in files}
        for source in self._sources.values():
            if source.root == root and not source.missing and source.path not in here:
                self._hot.setdefault(source.path, now_ns)
        for start in range(0, len(new), ROWS_A_SCAN):
            await self._commit(Batch(sources={source.id: source for source in new[start : start + ROWS_A_SCAN]}))
        await self._commit(Batch(scanned_roots=[root]))
        self._scanned.add(root)
        self._cold.extend((source.state.mtime_ns, source.path) for source in new)
        self._cold.sort()
        log.info("root.scanned", root=root, files=len(files), new=len(new), first=first_scan)

    def _new_source(self, path: str, root: str, state: FileState, backfill_until: int) -> SourceRow:
        return SourceRow(self._archive.new_source_id(), path, root, state, backfill_until=backfill_until)

    # -- one turn ------------------------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        fold = Fold(self._ledger, self._archive.machine_id, self._wall_ms())
        detected = self._read_live(fold) if self._hot else self._read_history(fold)
        read_ns = time.monotonic_ns()
        self._tell_health(fold)
        batch = fold.finish()
        self._unannounced |= fold.backfilled_projects
        if not self._cold and self._unannounced:
            fold.announce(self._unannounced)
            self._unannounced = set()
        if not (batch.drafts or batch.records or batch.sources):
            return
        events = await self._commit(batch)
        self.nul_lines += fold.nul_lines
        if events:
            journey = Journey(detected, read_ns, time.monotonic_ns(), fold.published) if fold.published else None
            await self._router.post(Publish(tuple(map(_routed, events)), journey))

    def _read_live(self, fold: Fold) -> int:
        """Read the files that were hinted at; returns when the oldest of the hints was detected."""
        paths = list(self._hot)[:FILES_A_TURN]
        detected = self._hot[paths[0]]
        size = 0
        for path in paths:
            hinted_ns = self._hot.pop(path)
            chunk = self._read(fold, path)
            if chunk is not None:
                size += chunk.consumed
                if chunk.more:
                    self._hot[path] = hinted_ns  # again, behind the others
            if size >= BYTES_A_TURN:
                break
        return detected

    def _read_history(self, fold: Fold) -> int:
        detected = time.monotonic_ns()
        if self._cold:
            path = self._cold[-1][1]
            chunk = self._read(fold, path)
            source = self._sources.get(path)
            row = fold.batch.sources.get(source.id, source) if source is not None else None
            if chunk is None or not chunk.more or row is None or row.offset >= row.backfill_until:
                self._cold.pop()
        return detected

    def _read(self, fold: Fold, path: str) -> reading.Chunk | None:
        """Read on in one file and fold what was found; None when there was nothing to do."""
        source = self._sources.get(path)
        chunk = reading.read(path, source.offset, self._searched.get(source.id, 0)) if source else None
        if source is not None and isinstance(chunk, reading.Chunk) and _replaced(source, chunk.state):
            source, chunk = self._next_generation(source), None
        if chunk is None:
            chunk = reading.read(path, 0)
        if isinstance(chunk, reading.Unreadable):
            self._cannot_read(fold, path, source, chunk)
            return None
        self._unreadable.pop(path, None)
        is_new = source is None
        if source is None:
            source = self._new_source(path, self._root_of(path), chunk.state, 0)
        elif not chunk.consumed and chunk.state.size == source.state.size and not source.missing and not chunk.searched:
            return None
        self._fold(fold, source, chunk, is_new)
        return chunk

    def _fold(self, fold: Fold, source: SourceRow, chunk: reading.Chunk, is_new: bool) -> None:
        was_history = source.offset < source.backfill_until
        if chunk.searched:
            self._searched[source.id] = chunk.searched
        else:
            self._searched.pop(source.id, None)
        waiting: list[Item] = []
        if source.conversation_id is None and source.lines:
            waiting = [
                reread(body, offset, line, flags) for offset, line, flags, body in self._archive.waiting(source.id)
            ]
        after = fold.add(source, chunk, self._known.get(source.id) or Known(), waiting)
        if not was_history or is_new:
            fold.file_event(after, "created" if is_new or source.missing else "modified")

    def _next_generation(self, source: SourceRow) -> SourceRow:
        """The content was replaced or cut: read it anew, and publish only what was not there before."""
        log.info("file.replaced", path=source.path, generation=source.generation + 1)
        known = Known()
        for digest in self._archive.digests(source.id):
            known.counts[digest] = known.counts.get(digest, 0) + 1
        self._known[source.id] = known
        return attrs.evolve(source, generation=source.generation + 1, offset=0, backfill_until=0)

    def _cannot_read(self, fold: Fold, path: str, source: SourceRow | None, why: reading.Unreadable) -> None:
        if why.gone:
            self._unreadable.pop(path, None)
            if source is not None and not source.missing:
                gone = attrs.evolve(source, missing=True)
                fold.batch.sources[gone.id] = gone
                fold.file_event(gone, "deleted")
        elif self._unreadable.get(path) != why.reason:
            self._unreadable[path] = why.reason
            log.warning(
                "file.unreadable", path=path, reason=why.reason, hint="it is read as soon as it changes and can be"
            )
        self._health("files", "degraded" if self._unreadable else "ok", _some(self._unreadable))

    def _root_of(self, path: str) -> str:
        return max((root for root in self._scanned if path.startswith(root + "/")), key=len, default="/")

    # -- commit --------------------------------------------------------------------------------------------------------

    async def _commit(self, batch: Batch) -> tuple[Event, ...]:
        """Commit, however long the disk is full or the file locked: the transcripts are the buffer meanwhile."""
        pause, first_failure = RETRY_SECONDS[0], None
        while True:
            try:
                events = await self._committer.append(batch)
            except StoreError as error:
                if not error.retryable:
                    raise
                if first_failure is None:
                    first_failure = trio.current_time()
                    log.error("log.not_written", error=str(error))
                if trio.current_time() - first_failure >= DEGRADED_AFTER:
                    self._health("store", "unavailable", str(error))
                await trio.sleep(pause)
                pause = min(RETRY_SECONDS[1], pause * 2)
                continue
            break
        self._ledger.accept(batch)
        for source in batch.sources.values():
            self._sources[source.path] = source
        if first_failure is not None:
            log.info("log.written_again", seconds=round(trio.current_time() - first_failure, 3))
        self._health("store", "ok", None)
        return events

    # -- health --------------------------------------------------------------------------------------------------------

    def _health(self, name: str, status: str, details: str | None) -> None:
        known = self._components.get(name)
        if known is None and status == "ok":
            return
        if known is None or (known.status, known.details) != (status, details):
            self._components[name] = Component(status, details, rfc3339(self._wall_ms()))

    def _tell_health(self, fold: Fold) -> None:
        """system_status, on change."""
        if self._components == self._told:
            return
        self._told = dict(self._components)
        worst = max((c.status for c in self._told.values()), key=("ok", "degraded", "unavailable").index)
        data = {"service_status": worst, "components": self.components(), "checked_at": fold.now}
        fold.batch.drafts.append(Draft("system_status", data, (topics.SYSTEM,)))


def _routed(event: Event) -> Routed[str]:
    return Routed(event.seq, event.topics, text_frame(event.payload))


def _replaced(source: SourceRow, state: FileState) -> bool:
    return (source.state.dev, source.state.ino) != (state.dev, state.ino) or state.size < source.offset


def _differs(source: SourceRow, file: FileSeen) -> bool:
    return source.missing or attrs.astuple(source.state) != attrs.astuple(file.stat)


def _some(unreadable: dict[str, str]) -> str | None:
    shown = [f"{path}: {reason}" for path, reason in list(unreadable.items())[:3]]
    return f"{len(unreadable)} unreadable: {'; '.join(shown)}" if shown else None
