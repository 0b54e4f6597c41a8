"""The first look at a root: what is new there, what has changed, what is gone, and which of it is history."""

import time
from collections.abc import Awaitable, Callable

import attrs
import structlog

from actors.watcher import RootScanned
from observatory.core.batch import Batch, FileState, SourceRow
from observatory.core.events import Event
from observatory.ingest.agenda import Agenda
from observatory.ingest.bulk import Bulk
from observatory.ingest.importing import Importing
from observatory.ingest.sources import Sources

log = structlog.get_logger()
ROWS_A_SCAN = 500  # new source rows committed at once


@attrs.define
class Scans:
    """Called by the ingest's task only."""

    sources: Sources
    agenda: Agenda
    bulk: Bulk
    importing: Importing
    commit: Callable[[Batch], Awaitable[tuple[Event, ...]]]
    wall_ms: Callable[[], int]

    async def take(self, scan: RootScanned, *, history: bool) -> None:
        """Take a root's files in. history: what is new was there before, and is no news."""
        sources, agenda, now_ns = self.sources, self.agenda, time.monotonic_ns()
        first_scan = scan.root not in sources.roots
        new: list[SourceRow] = []
        waiting: list[SourceRow] = []
        for file in scan.files:
            source, state = sources.by_path.get(file.path), FileState(*attrs.astuple(file.stat))
            if source is None and history and (row := self._history(scan.root, file.path, state)) is not None:
                new.append(row)
            elif source is not None and source.offset < source.backfill_until:
                waiting.append(attrs.evolve(source, state=state))
            elif source is None or source.missing or source.state != state:
                agenda.hint(file.path, now_ns)
        here = {file.path for file in scan.files}
        for source in sources.by_path.values():
            if source.root == scan.root and not source.missing and source.path not in here:
                agenda.hint(source.path, now_ns)
        await self._store(scan, new)
        self._expect([row for row in (*waiting, *new) if self.importing.expect(row)])
        log.info("root.scanned", root=scan.root, files=len(scan.files), new=len(new), first=first_scan)

    def _expect(self, rows: list[SourceRow]) -> None:
        """History that is to be read: by workers from a file's beginning on, by the reader where it stopped."""
        untouched = [row for row in rows if self._is_untouched(row)]
        bulk = not self.sources.kept_out.anything and self.bulk.offer(untouched, self.sources.started_ns)
        offered = {row.path for row in untouched} if bulk else set()
        self.agenda.cold += [(row.state.mtime_ns, row.path) for row in rows if row.path not in offered]
        self.agenda.cold.sort()

    def _is_untouched(self, row: SourceRow) -> bool:
        known = self.sources.by_path[row.path]  # as it was when it became known; the row is as it is now
        return not (row.lines or row.offset or row.missing) and row.state == known.state

    def _history(self, root: str, path: str, state: FileState) -> SourceRow | None:
        """A row for what a root already held; None for a file that is known by another name."""
        if self.sources.kept_out.holds(path):
            return None
        if self.sources.holder(path, state) is not None:
            self.agenda.hint(path, time.monotonic_ns())
            return None
        row = SourceRow(self.sources.new_id(), path, root, state, backfill_until=state.size)
        self.sources.put(row)
        return row

    async def _store(self, scan: RootScanned, new: list[SourceRow]) -> None:
        for start in range(0, len(new), ROWS_A_SCAN):
            await self.commit(Batch(sources={source.id: source for source in new[start : start + ROWS_A_SCAN]}))
        await self.commit(Batch(scanned_roots=[scan.root]))
        self.sources.roots.setdefault(scan.root, self.wall_ms())
        if not new and not any(source.root == scan.root for source in self.sources.by_path.values()):
            self.sources.late_roots.add(scan.root)
