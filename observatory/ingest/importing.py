"""The import of history: how far it is, for status and log, and who waits for its end."""

from collections.abc import Callable, Collection
from typing import Protocol

import attrs
import structlog
import trio

from actors.watcher import Change, RootScanned, WatchTrouble
from observatory.core.batch import SourceRow
from observatory.core.progress import Meter, Progress
from observatory.core.transcript import Malformed
from observatory.ingest.books import Entry
from observatory.ingest.bulk_file import Piece

log = structlog.get_logger()
NUL = "nul"  # among the bad lines: no record at all, so none that is an error
TELL_EVERY = 5.0  # seconds between two lines of the log


@attrs.frozen
class RootListed:
    """A root that an import was pointed at: what is new in it is history, whenever it appeared."""

    scan: RootScanned


@attrs.frozen(eq=False)
class WhenImported:
    """Set `done` when everything that was told before is read, and no history waits.

    at_once: when the ingest comes to it, whatever waits; that it does is what a probe wants to know.
    """

    done: trio.Event
    at_once: bool = False


class Inbox(Protocol):
    """The ingest's."""

    async def send(self, changes: tuple[Change | RootListed, ...], /) -> None: ...


@attrs.define
class Listed:
    """What a watcher sends to when it is only asked for its first look. troubles: part of the watching → what it is."""

    inbox: Inbox
    troubles: dict[str, str] = attrs.field(factory=dict)

    def send_nowait(self, changes: tuple[Change, ...]) -> None:
        """Keep the troubles; what changes meanwhile is for others to tell."""
        self.troubles |= {change.component: change.detail for change in changes if isinstance(change, WatchTrouble)}

    async def send(self, changes: tuple[Change, ...]) -> None:
        """Pass the first looks on."""
        self.send_nowait(changes)
        await self.inbox.send(tuple(RootListed(change) for change in changes if isinstance(change, RootScanned)))


@attrs.define
class Importing:
    """Only the ingest's task touches it; `progress` is for everybody."""

    clock: Callable[[], float]
    _meter: Meter = attrs.field(init=False, factory=Meter)
    _told_at: float | None = attrs.field(init=False, default=None)  # None: there is nothing to tell
    _waiting: list[trio.Event] = attrs.field(init=False, factory=list)

    @property
    def running(self) -> bool:
        """Whether history waits."""
        return self._meter.running

    def progress(self) -> Progress:
        """The import as it is now, or the last one as it ended."""
        return self._meter.progress(self.clock())

    def expect(self, source: SourceRow) -> bool:
        """A file's history is still to be read; False if that is known."""
        now = self.clock()
        if self._meter.waits_for(source.path):
            return False
        if self._meter.is_over(now):
            self._meter = Meter()
        self._told_at = now if self._told_at is None else self._told_at
        self._meter.expect(source.path, source.backfill_until - source.offset, now)
        return True

    def merged(self, piece: Piece) -> None:
        """A piece that a worker read is in."""
        bad = sum(count for reason, count in piece.bad_lines.items() if reason != NUL)
        self._advance(piece.after, len(piece.batch.rows), bad)

    def read(self, entry: Entry) -> None:
        """A piece of a file's history was read."""
        bad = sum(isinstance(item.value, Malformed) for item in entry.items)
        self._advance(entry.source, len(entry.items), bad)

    def _advance(self, source: SourceRow, records: int, errors: int) -> None:
        self._meter.count(records, errors)
        self._meter.advance(source.path, max(0, source.backfill_until - source.offset), self.clock())

    def finish(self, path: str, source: SourceRow | None) -> None:
        """Nothing more is read of a file's history: it is in; or it is gone, or cannot be read."""
        if source is None or source.missing or source.offset < source.backfill_until:
            self._meter.leave_out(path, self.clock())
        else:
            self._meter.finish(path, self.clock(), conversation=source.conversation_id is not None)

    def drop(self, paths: Collection[str]) -> None:
        """Files that are not to be read."""
        for path in paths:
            self._meter.leave_out(path, self.clock())

    def wait_for_end(self, asked: WhenImported) -> None:
        """Somebody wants to know."""
        if asked.at_once:
            asked.done.set()
        else:
            self._waiting.append(asked.done)

    def tell(self, *, quiet: bool) -> None:
        """After each turn. quiet: nothing is left to be read or written."""
        if quiet:
            for done in self._waiting:
                done.set()
            self._waiting.clear()
        now = self.clock()
        if self._told_at is None:
            return
        if not self.running:
            if quiet:
                self._told_at = None
                self._tell_end(self.progress())
        elif now - self._told_at >= TELL_EVERY:
            self._told_at = now
            self._tell_progress(self.progress())

    def _tell_progress(self, progress: Progress) -> None:
        left = None if progress.seconds_left is None else round(progress.seconds_left)
        log.info(
            "import.progress",
            files=progress.files_done,
            of_files=progress.files_total,
            bytes=progress.bytes_done,
            of_bytes=progress.bytes_total,
            mb_per_s=round(progress.bytes_per_second / 1e6, 1),
            seconds_left=left,
        )

    def _tell_end(self, progress: Progress) -> None:
        log.info(
            "import.finished",
            files=progress.files_done,
            left_out=progress.files_left_out,
            conversations=progress.conversations,
            records=progress.records,
            errors=progress.errors,
            bytes=progress.bytes_done,
            seconds=round(progress.seconds, 3),
            mb_per_s=round(progress.bytes_per_second / 1e6, 1),
        )
