"""Ingest: takes hints from the watcher, has the journal read what is new, commits it, and gives it to the Router.

Live files come first; what was there at a root's first scan is read in between. A line's record and event are one
transaction, published at once; the books follow in a second one (journal.py, books.py; docs/architecture.md).
"""

import random
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, assert_never

import attrs
import structlog
import trio

from actors.router import Router
from actors.watcher import Change, FileChanged, FileGone, RootScanned, WatchHealthy, WatchTrouble
from observatory.core import topics
from observatory.core.batch import Batch
from observatory.core.errors import StoreError
from observatory.core.events import Draft
from observatory.core.forgetting import Removal, Target
from observatory.core.ports import Commits
from observatory.core.replies import rfc3339
from observatory.core.sessions import Session
from observatory.core.status import COMPLETED_AFTER_MS
from observatory.ingest.agenda import Agenda
from observatory.ingest.attachments import Attachments
from observatory.ingest.books import Books
from observatory.ingest.bulk import NO_WORKERS, Bulk, Workers
from observatory.ingest.bulk_file import Declined, Piece
from observatory.ingest.carried import Carried
from observatory.ingest.copies import MARGIN_MS, Copies
from observatory.ingest.forgetting import Forgetting
from observatory.ingest.health import Health
from observatory.ingest.importing import Importing, RootListed, WhenImported
from observatory.ingest.journal import Journal
from observatory.ingest.leaves import Leaves
from observatory.ingest.ledger import Ledger
from observatory.ingest.merge import Merge
from observatory.ingest.originals import Originals
from observatory.ingest.outlet import Outlet
from observatory.ingest.ports import Archive
from observatory.ingest.presence import Presence
from observatory.ingest.reader import Reader
from observatory.ingest.scans import Scans
from observatory.ingest.search import Search
from observatory.ingest.sources import Sources
from observatory.telemetry.measures import Measures

log = structlog.get_logger()
FILES_A_TURN = 64  # live files read for one transaction; more wait for the next
BYTES_A_TURN = 512 * 1024
BATCHES_AHEAD = 16  # batches of hints that may wait; beyond, hints merge in the watcher
BOOKS_DELAY = 0.005  # seconds: a record is pushed at once, what follows from it when its readers have had it
PENDING_ENTRIES = 256  # entries that may wait for the books while lines keep coming
Hint = Change | RootListed | WhenImported


class Ingest:
    """Its methods are called in one thread and never interleave: `run`'s task, or whoever feeds an idle Ingest."""

    def __init__(
        self,
        archive: Archive,
        committer: Commits,
        router: Router[str],
        wall_ms: Callable[[], int],
        excluded: Callable[[str], bool] = lambda path: False,
        redact: Callable[[bytes], bytes] | None = None,
        workers: Workers = NO_WORKERS,
        completed_after_ms: int = COMPLETED_AFTER_MS,
        *,
        patient: bool = True,
        measures: Measures | None = None,
    ) -> None:
        self._committer = committer
        self._router = router
        self._wall_ms = wall_ms
        self._hints, self._changes = trio.open_memory_channel[tuple[Hint, ...]](BATCHES_AHEAD)
        self.health = Health(wall_ms)
        copies = Copies(archive, rfc3339(wall_ms() + MARGIN_MS))
        self.outlet = Outlet(committer, router, self.health, wall_ms, patient, measures or Measures())
        ledger, leaves = Ledger(archive), Leaves(archive)
        self.presence = Presence(ledger, wall_ms, completed_after_ms)
        self._books = Books(ledger, archive.machine_id, copies, leaves, random.getrandbits, self.presence)
        rows = {source.path: source for source in archive.sources()}
        known = {path: source for path, source in rows.items() if not excluded(path)}
        if len(known) < len(rows):
            hint = "what was archived of them stays; observatory forget removes it"
            log.info("files.excluded", files=len(rows) - len(known), hint=hint)
        roots, kept_out = archive.scanned_roots(), attrs.evolve(archive.kept_out(), excluded=excluded)
        self._sources = Sources(archive.new_source_id, wall_ms() * 1_000_000, known, roots, kept_out)
        self._reader = Reader(archive, self._books, self._sources, trio.current_time, redact)
        self.attachments = Attachments(archive, committer, self._sources, redact)
        self.attachments.sweep_all(archive.unswept())
        self._originals = Originals(archive, self._sources, copies)
        self._journal = Journal(archive, self._books, self._sources, self._originals, self.attachments)
        self._merge = Merge(self._books, self._reader, self._sources, self._originals, self.attachments)
        self._agenda = Agenda()
        self._search = Search(leaves, archive, partial(self.send, ()))
        self._bulk = Bulk(workers, partial(self.send, ()), redact)
        self.importing = Importing(trio.current_time)
        self._forgetting = Forgetting(committer, router, self._books, self._reader, self._agenda, self.importing)
        self._scans = Scans(self._sources, self._agenda, self._bulk, self.importing, self.outlet.commit, wall_ms)
        self._idle = False  # `run` waits for hints, and nothing else is to be done
        self._carried: Carried | None = None  # journalled at once, but not committed or published yet
        self._books_due: float | None = None
        coming = [source for source in known.values() if source.offset < source.backfill_until]
        if coming:
            self._books.unannounced = archive.project_ids()
        self.presence.start(archive.in_motion(), {key for source in coming if (key := source.conversation_id)})

    # -- the inbox (what the watcher sends to) -------------------------------------------------------------------------

    def send_nowait(self, changes: tuple[Change, ...]) -> None:
        """Take hints; an idle Ingest reads, commits and publishes at once. Raises WouldBlock when it is behind."""
        hints = [change for change in changes if isinstance(change, FileChanged)]
        if not self._idle or len(hints) != len(changes):
            self._hints.send_nowait(changes)
            return
        for hint in hints:
            self._agenda.hint(hint.path, hint.detected_ns)
        self._idle = False
        try:
            self._turn_nowait()
        finally:
            self._hints.send_nowait(())  # `run` goes on from here

    async def send(self, changes: tuple[Hint, ...]) -> None:
        """Queue hints; waits while the inbox is full."""
        await self._hints.send(changes)

    async def forget(self, target: Target) -> Removal:
        """Remove a conversation or project, between two turns. Raises StoreError; then nothing is removed."""
        return await self._forgetting.ask(target, partial(self.send, ()))

    def hear(self, sessions: dict[str, Session]) -> None:
        """What the registry of live sessions says now."""
        if self.presence.hear(sessions):
            with suppress(trio.WouldBlock):  # it is not idle then, and comes to that anyway
                self._hints.send_nowait(())

    # -- the task ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the files until cancelled. Raises StoreError when the store is lost for good."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._bulk.run)
            nursery.start_soon(self._search.run)
            await self._follow()

    async def _follow(self) -> None:
        try:
            await self._catch_up()
            while True:
                await self._wait_for_work()
                while self._changes.statistics().current_buffer_used:
                    await self._absorb(self._changes.receive_nowait())
                await self._turn()
                if self._forgetting.wishes:
                    await self._close_books(Carried(Batch()))
                    await self._forgetting.fulfil()
                self.importing.tell(quiet=self._is_quiet())
        finally:
            self._leave_in_order()

    async def _wait_for_work(self) -> None:
        if self._carried or self._agenda.hot or self._agenda.cold or self.health.news or self._bulk.ready:
            await trio.lowlevel.checkpoint()
            return
        self._idle = True
        changes: tuple[Hint, ...] = ()
        due = min(self._agenda.next_due, self._bulk.next_due, trio.current_time() + self.presence.seconds_left)
        try:
            with trio.move_on_at(due if self._books_due is None else min(due, self._books_due)):
                changes = await self._changes.receive()
        finally:
            self._idle = False
        await self._absorb(changes)  # outside: the books' time must not cut off a scan that is being stored

    def _is_quiet(self) -> bool:
        waiting = self._agenda.hot or self.importing.running or self._carried
        return not (waiting or self._books.pending or self._books.waiting or self._search.waiting)

    def _leave_in_order(self) -> None:
        """Close the books if that takes no waiting; else the next start brings them up to the journal."""
        if self._carried and self._carried.publish:
            self._committer.turn.give_back()
        if self._books.pending and self._carried is None:
            batch = Batch()
            self._books.close(batch, rfc3339(self._wall_ms()), history_done=False)
            with suppress(StoreError):
                self._committer.append_nowait(batch)

    def gauges(self) -> dict[str, int]:
        """Numbers for the status."""
        return {
            "sources": len(self._sources.by_path),
            "source_bytes_behind": self._sources.bytes_behind(),
            "sources_waiting": len(self._agenda.hot),
            "history_waiting": len(self._agenda.cold) + self._bulk.waiting,
            "unreadable_files": len(self._reader.unreadable),
            "unrecognised_files": sum(
                source.conversation_id is None and source.lines > 0 for source in self._sources.by_path.values()
            ),
            "file_reads": self._reader.reads,
            **self.presence.gauges(),
            **self.attachments.gauges(),
        }

    def unreadable(self) -> dict[str, str]:
        """Files that cannot be read: path → reason."""
        return dict(self._reader.unreadable)

    @property
    def busy_elsewhere(self) -> bool:
        """Worker processes read history, or a thread looks for the leaves of summaries."""
        return self._bulk.waiting > 0 or self._search.busy

    def bad_lines(self) -> dict[str, int]:
        """Lines that were no record, by reason, since the start."""
        return dict(self._reader.bad_lines)

    def components(self) -> list[dict[str, Any]]:
        """Health of the parts, as in system_status."""
        return self.health.components()

    async def _catch_up(self) -> None:
        """A process that did not end in order leaves its books behind its journal."""
        entries = self._reader.catch_up()
        if entries:
            log.info("books.catching_up", files=len(entries))
            self._books.pending.extend(entries)
            await self._close_books(Carried(Batch()))

    # -- hints ---------------------------------------------------------------------------------------------------------

    async def _absorb(self, batch: tuple[Hint, ...]) -> None:
        for change in batch:
            match change:
                case FileChanged(path, detected_ns) | FileGone(path, detected_ns):
                    self._agenda.hint(path, detected_ns)
                case RootScanned():
                    await self._scans.take(change, history=change.root not in self._sources.roots)
                case RootListed():
                    await self._scans.take(change.scan, history=True)
                case WhenImported():
                    self.importing.wait_for_end(change)
                case WatchTrouble(component, detail):
                    log.warning("watcher.degraded", component=component, detail=detail)
                    self.health.set(f"watcher:{component}", "degraded", detail)
                case WatchHealthy(component):
                    log.info("watcher.healthy", component=component)
                    self.health.set(f"watcher:{component}", "ok", None)
                case _:
                    assert_never(change)

    # -- one turn ------------------------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        """Journal what the hints are about, or a piece of history; then the books, when they are due."""
        began = trio.current_time()
        carried = self._carried = self._carried or self._read()
        if not carried.together and carried.batch.records:
            if carried.events is None:
                carried.commit(await self.outlet.commit(carried.batch))
            self._carried = None  # not before it is stored: the books must not tell of records that are not
            await self.outlet.publish(carried)
            carried = Carried(Batch())
        self.health.set_files(self._reader.unreadable)  # at once: there may be no books to be closed for long
        if carried.together or self.health.news or self._books_are_due() or self._books.overdue:
            await self._close_books(carried)
            if carried.batch.rows:
                self._bulk.rest(began)
        self._carried = None
        if not self._agenda.cold and not self._bulk.waiting:
            self._search.begin()

    def _turn_nowait(self) -> None:
        """The same for an idle Ingest, as far as it goes without waiting; the rest is carried to the next turn."""
        carried = self._carried = self._read()
        if carried.together or not carried.batch.records:
            return
        if not self._committer.turn.take_nowait():
            return
        try:
            events = self._committer.append_nowait(carried.batch)
        except StoreError:  # the task tries again, and tells
            events = None
        if events is not None:
            carried.commit(events)
            if carried.publish is not None and not self._router.post_nowait(carried.publish):
                return  # it is still this one's turn: the task publishes
            self._carried = None
        self._committer.turn.give_back()

    def _read(self) -> Carried:
        carried, agenda = Carried(Batch()), self._agenda
        if agenda.later:
            agenda.wake(trio.current_time(), time.monotonic_ns())
        if agenda.hot:
            carried.detected_ns = next(iter(agenda.hot.values()))
            carried.together = self._read_live(carried.batch)
        elif self._bulk.ready:
            carried.together = self._merge_pieces(carried.batch)
        elif agenda.cold:
            self._originals.begin()
            carried.together = self._read_history(carried.batch)
        if self._reader.look_again:
            agenda.put_off(self._reader.look_again, trio.current_time())
        carried.records, carried.read_ns = len(carried.batch.drafts), time.monotonic_ns()
        return carried

    def _books_are_due(self) -> bool:
        pending, now = len(self._books.pending), trio.current_time()
        if not pending:
            return self._books.waiting and not self._agenda.cold and not self._bulk.waiting
        if self._books_due is None:
            self._books_due = now + BOOKS_DELAY
        return pending >= PENDING_ENTRIES or (now >= self._books_due and not self._agenda.hot)

    def _read_live(self, batch: Batch) -> bool:
        """Read the files that were hinted at; returns whether their books belong to the same transaction."""
        together, size = False, 0
        hot = self._agenda.hot
        self._bulk.live()
        paths = list(hot)[:FILES_A_TURN]
        if len(paths) > 1:  # new names first: one of them may be where a known file has moved
            paths.sort(key=self._sources.by_path.__contains__)
        for path in paths:
            hinted_ns = hot.pop(path)
            if self._bulk.hold_back(path):
                continue
            entry, more = self._reader.read(path)
            if more:
                hot[path] = hinted_ns  # again, behind the others
            if entry is not None:
                together |= self._journal.journal(batch, entry, self._wall_ms())
                if len(paths) > 1:
                    size += sum(item.span for item in entry.items)
            if size >= BYTES_A_TURN:
                break
        return together

    def _read_history(self, batch: Batch) -> bool:
        path = self._agenda.cold[-1][1]
        entry, more = self._reader.read(path)
        together = entry is not None and self._journal.journal(batch, entry, self._wall_ms())
        if entry is not None:
            self.importing.read(entry)
        source = self._sources.by_path.get(path)
        if not more or source is None or source.offset >= source.backfill_until:
            self._agenda.cold.pop()
            self.importing.finish(path, source)
            if more:
                self._agenda.hint(path, time.monotonic_ns())
        return together

    def _merge_pieces(self, batch: Batch) -> bool:
        """What workers read; the reader goes on where a piece does not fit, or stopped. Returns whether rows are in."""
        size = 0
        self._originals.begin()
        while size < self._bulk.workers.batch_bytes and (piece := self._bulk.take_nowait()) is not None:
            size += self._merge_piece(batch, piece)
        return size > 0

    def _merge_piece(self, batch: Batch, piece: Piece | Declined) -> int:
        path = piece.path if isinstance(piece, Declined) else piece.before.path
        if path not in self._bulk.taken:  # given up at an earlier piece
            return 0
        source, size = self._sources.by_path.get(path), 0
        if isinstance(piece, Piece) and self._merge.merge(batch, piece, rfc3339(self._wall_ms())):
            source, size = piece.after, piece.after.offset - piece.before.offset
            self.importing.merged(piece)
            if piece.more:
                return size
            self.importing.finish(path, source)
        elif source is not None and source.offset < source.backfill_until:
            self._agenda.cold.append((source.state.mtime_ns, path))
        else:
            self.importing.finish(path, source)
        if self._bulk.finished(path):
            self._agenda.hint(path, time.monotonic_ns())
        return size

    async def _close_books(self, carried: Carried) -> None:
        """Write what follows from the records, in one transaction with what the batch holds already."""
        batch, self._books_due = carried.batch, None
        history_done = not self._agenda.cold and not self._bulk.waiting
        if self._books.pending or self._books.overdue or (self._books.waiting and history_done):
            self._books.close(batch, rfc3339(self._wall_ms()), history_done)
        if self.health.news:
            batch.drafts.append(Draft("system_status", self.health.tell(), (topics.SYSTEM,)))
        if batch.drafts or batch.records or batch.rows or batch.sources or batch.conversations or batch.leaves:
            carried.commit(await self.outlet.commit(batch))
            await self.outlet.publish(carried)
