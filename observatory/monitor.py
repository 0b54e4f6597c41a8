"""FileMonitor: everything up to the Router as one block. It follows transcripts, stores them, and publishes.

async with FileMonitor(["~/.claude/projects"], "data") as monitor: ...
"""

import os
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import attrs
import structlog
import trio

from actors.commands import Publish
from actors.router import Router
from actors.watcher import FileWatcher
from observatory import __version__
from observatory.commanded import ERRANDS_EVERY, Answers
from observatory.core.annotations import Annotation, Change
from observatory.core.contracts import ComponentHealth, Status, SystemHealth, worst
from observatory.core.errors import StoreError
from observatory.core.events import Event
from observatory.core.exclude import excluder
from observatory.core.facts import facts_of_frame
from observatory.core.forgetting import Removal, Target
from observatory.core.histogram import LogHistogram
from observatory.core.hook_events import WAITING_HOOKS, Hook
from observatory.core.identity import is_text, is_transcript
from observatory.core.progress import Imported, Progress
from observatory.core.redact import redact as redacted
from observatory.core.replies import rfc3339
from observatory.core.topics import EVERYONE, members
from observatory.ingest.actor import Ingest
from observatory.ingest.bulk import Workers
from observatory.ingest.carried import Journey
from observatory.ingest.importing import Listed, WhenImported
from observatory.ingest.sessions import Registry, folders_of, follow
from observatory.probe import Probe, Probed, way
from observatory.publishing import Publishing
from observatory.storage import errands
from observatory.storage.committer import Committer
from observatory.storage.disk import Disk, Room
from observatory.storage.indexer import Indexer
from observatory.storage.log import EventLog, Retention
from observatory.storage.opening import DirectoryLock, boot_id, explain
from observatory.storage.reader import LogReader
from observatory.storage.search_steps import drop
from observatory.telemetry.measures import Measures, watch_loop
from observatory.telemetry.trace import LatencyTrace, Stamps

log = structlog.get_logger()
IMPORT_TOLD_EVERY = 0.5  # seconds between two notes for a command that waits for an import
ROUTER_INBOX = 64  # commits and requests that may wait for the Router; beyond, the ingest waits


def now_ms() -> int:
    """Wall clock in ms since the epoch."""
    return time.time_ns() // 1_000_000


class Part(Protocol):
    """A part that runs beside a monitor, and tells of itself in the status."""

    def counters(self) -> dict[str, Any]:
        """Totals since the start."""

    def gauges(self) -> dict[str, int]:
        """Numbers as they are now."""


class FileMonitor:
    """Watches `roots`, stores in `data_dir`, publishes through `router`, while its block runs.

    The attributes `router`, `events` and `commits` are there from then on: they are what a ConnectionManager needs.

    Args:   roots: directories with transcripts somewhere below; they may be absent, appear later, or vanish.
            watcher: auto, inotify, watchfiles or poll. lock: of data_dir, if the caller holds it already.
            exclude: glob patterns of what is never read. redact: keys and tokens are replaced in what clients get;
            redact_stored: and in what is stored. completed_after: idle seconds after which a conversation is completed.
            room: on the disk, below which the health says so.
            once: as `observatory import` does, the roots are looked at one time, what is new there is history, and a
            store that cannot be written ends the block instead of being waited for.
    Raises: WorldError, at the start or out of the block: the store cannot be opened, or is lost.
    """

    router: Router[str]
    events: LogReader
    commits: Committer

    def __init__(
        self,
        roots: Iterable[str | Path],
        data_dir: str | Path,
        *,
        watcher: str = "auto",
        retention: Retention | None = None,
        completed_after: float = 1800.0,
        slow_event_seconds: float = 0.05,
        trace_window_seconds: float = 10.0,
        exclude: Iterable[str] = (),
        redact: bool = False,
        redact_stored: bool = False,
        room: Room | None = None,
        lock: DirectoryLock | None = None,
        workers: Workers | None = None,
        once: bool = False,
    ) -> None:
        self.roots = tuple(os.path.abspath(Path(root).expanduser()) for root in roots)
        self.data_dir = Path(data_dir).expanduser().absolute()
        self._watcher_kind = watcher
        self._retention = retention or Retention()
        self._completed_after_ms = round(completed_after * 1000)
        self.measures = Measures()
        self._trace = LatencyTrace(log, slow_event_seconds, trace_window_seconds)
        self._excluded = excluder(exclude)
        self._leaving = redacted if redact else None
        self._stored = redacted if redact_stored else None
        self._room = room or Room()
        self._given_lock = lock
        self._workers = workers or Workers()
        self._once = once
        self._misnamed: dict[str, str] = {}  # path → what is wrong with it
        self.others: list[Part] = []  # parts beside it, which tell of themselves in the status
        self._unlisted: dict[str, str] = {}  # of the last import: what could not be looked into
        self._started = time.time()

    # -- life ----------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> "FileMonitor":
        self._life: AbstractAsyncContextManager[None] = self._live()
        await self._life.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._life.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def _live(self) -> AsyncIterator[None]:
        with _held(self._given_lock, self.data_dir) as self._lock, alone():
            event_log = EventLog(self.data_dir, boot_id(), self._stored)
            try:
                self.events = LogReader(event_log, self._leaving)
                try:
                    self._wire(event_log)
                    async with trio.open_nursery() as nursery:
                        await nursery.start(self._run_parts, event_log.path)
                        yield
                        nursery.cancel_scope.cancel()
                finally:
                    self.events.close()
            finally:
                event_log.close()

    def _wire(self, event_log: EventLog) -> None:
        head = event_log.position.head
        self.router = Router(EVERYONE, head, ROUTER_INBOX, time.monotonic_ns, self._on_routed, members, facts_of_frame)
        self.commits = Committer(event_log, self._retention, now_ms, self._leaving, self.measures)
        self._ingest = Ingest(
            event_log,
            self.commits,
            self.router,
            now_ms,
            self._excluded,
            self._stored,
            self._workers,
            self._completed_after_ms,
            patient=not self._once,
            measures=self.measures,
        )
        self._watcher = FileWatcher(self.roots, self._wanted, self._ingest, self._watcher_kind)
        if event_log.scrub_due:  # a process that was killed over forgetting may have left the words there
            drop(self.data_dir)
        self._publishing = Publishing(self.commits, self.router)
        self._probe = Probe(way(self._ingest.send, self._publishing, self.events, self.router))
        self._disk = Disk(self.data_dir, self._room, self.report)
        self._indexer = Indexer(self.data_dir, lambda: event_log.commits, self.report)

    def _wanted(self, path: str) -> bool:
        if not is_transcript(path) or self._excluded(path):
            return False
        if path.isascii() or is_text(path):
            return True
        if path not in self._misnamed:
            self._misnamed[path] = "its name is no UTF-8"
            log.warning("file.unreadable", path=path, reason=self._misnamed[path], hint="rename it")
        return False

    async def _run_parts(self, path: Path, task_status: trio.TaskStatus[None]) -> None:
        """From the log outwards. A part's failure ends all, and the block with them: the main line fails fast."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.router.run)
                nursery.start_soon(self.commits.keep_up)
                nursery.start_soon(self._trace.run)
                nursery.start_soon(watch_loop, self.measures.times["loop_lag"])
                nursery.start_soon(self._ingest.run)
                nursery.start_soon(self._ingest.attachments.run)
                nursery.start_soon(follow, Registry(folders_of(self.roots)), self._ingest.hear)
                nursery.start_soon(Answers(self.forget_wholly, self.annotate, self.commits.prune).run, self.data_dir)
                nursery.start_soon(self._run_imports)
                nursery.start_soon(self._disk.run)
                nursery.start_soon(self._probe.run)
                if self._once:
                    await self._list(self.roots)
                else:
                    nursery.start_soon(self._indexer.run)
                    await nursery.start(self._watcher.run)
                task_status.started()
        except* (sqlite3.Error, StoreError) as errors:  # a look-up failed: memory is not to be trusted, a start is
            error = first_of(errors)
            failure = explain(error, path) if isinstance(error, sqlite3.Error) else error
            await self._ingest.outlet.tell_at_once(str(failure))  # the Router has ended, and so writes at once
            raise failure from (None if failure is error else error)

    # -- importing -----------------------------------------------------------------------------------------------------

    async def wait_imported(self) -> Imported:
        """Until what the roots held when they were looked at is in the archive; how it went."""
        asked = WhenImported(trio.Event())
        await self._ingest.send((asked,))
        await asked.done.wait()
        await self._ingest.attachments.wait_idle()
        return Imported(self.import_progress(), self._ingest.unreadable() | self._unlisted | self._misnamed)

    def import_progress(self) -> Progress:
        """How far the history is, or was when it was done."""
        return self._ingest.importing.progress()

    async def _list(self, roots: Sequence[str]) -> None:
        """Look at roots one time, with all rules of watching: what is new there is history."""
        listed = Listed(self._ingest)
        async with trio.open_nursery() as nursery:
            await nursery.start(FileWatcher(roots, self._wanted, listed, "poll").run)
            nursery.cancel_scope.cancel()
        self._unlisted = listed.troubles

    async def _run_imports(self) -> None:
        """What `observatory import` asks for, also what the last server left undone."""
        while True:
            if (errand := errands.IMPORT.take(self.data_dir)) is not None:
                log.info("import.asked", roots=list(errand.wish))
                before = self.import_progress()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._tell_import, errand)
                    await self._list(self._unwatched(errand.wish))
                    imported = await self.wait_imported()
                    nursery.cancel_scope.cancel()
                if imported.progress == before:  # it is of an earlier import: this one found nothing new
                    imported = attrs.evolve(imported, progress=Progress())
                errands.IMPORT.finish(self.data_dir, errand, attrs.asdict(imported))
            await trio.sleep(ERRANDS_EVERY)

    def _unwatched(self, roots: Sequence[str]) -> list[str]:
        watched = {os.path.realpath(root) for root in self.roots}
        return [root for root in roots if os.path.realpath(root) not in watched]

    async def _tell_import(self, errand: errands.Errand[tuple[str, ...]]) -> None:
        while True:
            errands.IMPORT.tell(self.data_dir, errand, attrs.asdict(self.import_progress()))
            await trio.sleep(IMPORT_TOLD_EVERY)

    # -- forgetting ----------------------------------------------------------------------------------------------------

    async def forget(self, target: Target) -> Removal:
        """Remove a conversation with its sub-agents, or a project, for good: docs/privacy.md. Raises StoreError.

        When it returns, nothing of it is served; its bytes have left the files unless somebody was reading them.
        """
        return (await self.forget_wholly(target))[0]

    async def forget_wholly(self, target: Target) -> tuple[Removal, bool]:
        """The same; tells, too, whether its bytes have left the files."""
        removal = await self._ingest.forget(target)
        await self._indexer.forget()
        return removal, await self.commits.scrub()

    # -- stars, tags and notes -----------------------------------------------------------------------------------------

    async def annotate(self, change: Change) -> Annotation:
        """Say something of a conversation; its followers are told. Raises UsageError, StoreError."""
        return await self._publishing.carry_out(lambda: self.commits.annotate(change))

    async def hook(self, hook: Hook) -> tuple[int, bool]:
        """Keep what a hook tells, and tell the followers of its conversation. Raises StoreError.

        Returns: its number, and whether it had come before under its key: then it is neither kept nor told again.
        """

        async def keep() -> tuple[tuple[int, bool], tuple[Event, ...]]:
            number, events = await self.commits.hook(hook)
            return (number, not events), events

        number, duplicate = await self._publishing.carry_out(keep)
        if hook.name in WAITING_HOOKS and not duplicate:
            self._ingest.presence.asked(hook.session_id)
            await self._ingest.send(())
        return number, duplicate

    # -- what the senders tell -----------------------------------------------------------------------------------------

    def on_written(self, publish: object) -> None:
        """The frames of a Publish reached a client's socket: at once (told by the Router) or from an outbox."""
        assert isinstance(publish, Publish)
        journey = publish.stamp
        if isinstance(journey, Journey):
            stamps = Stamps(journey.detected_ns, journey.read_ns, journey.committed_ns, publish.routed_ns)
            self._trace.observe(stamps, time.monotonic_ns(), journey.records)

    def _on_routed(self, publish: Publish[str]) -> None:
        self.measures.fanout(publish.audience, time.monotonic_ns() - publish.routed_ns)
        self.on_written(publish)

    def announce(self, url: str | None, certificate: str | None = None) -> None:
        """Tell `observatory tail` and `status` where the server of this data directory is."""
        self._lock.announce(url, certificate)

    # -- looking -------------------------------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """Its part of the status: the log's place, the files, the watcher, the health of the parts."""
        return {
            "version": __version__,
            "uptime_seconds": round(time.time() - self._started, 3),
            "position": attrs.asdict(self.events.position),
            "roots": list(self.roots),
            "data_dir": str(self.data_dir),
            "gauges": {
                **self._ingest.gauges(),
                **self._indexer.gauges(),
                **self._disk.gauges(),
                **{name: number for part in self.others for name, number in part.gauges().items()},
            },
            "counters": {
                "bad_lines": self._ingest.bad_lines(),
                "attachments": dict(self._ingest.attachments.counts),
                **{name: counts for part in self.others for name, counts in part.counters().items()},
            },
            "latency": self._trace.recent(),
            "watcher": attrs.asdict(self._watcher.statistics()),
            "components": self._ingest.components(),
            "import": attrs.asdict(self.import_progress()),
        }

    def hops(self) -> dict[str, LogHistogram]:
        """Latencies hop by hop since the start: telemetry/trace.py."""
        return self._trace.totals()

    def health(self) -> SystemHealth:
        """The health of its parts; what was never anything but well is not listed."""
        parts = tuple(ComponentHealth(**part) for part in self._ingest.components())
        return SystemHealth(worst(part.status for part in parts), parts, rfc3339(now_ms()))

    async def probe(self, patience: float = 2.0) -> Probed:
        """Take the way of a record through the parts, as it is now: what hangs is named within `patience` seconds."""
        return await self._probe.ask(patience)

    async def report(self, component: str, status: Status, details: str | None) -> None:
        """A part's health now; those who follow it are told when it has changed."""
        self._ingest.health.set(component, status, details)
        await self._ingest.send(())


@contextmanager
def alone() -> Iterator[None]:
    """An error that comes alone leaves the block as itself, not in groups of one."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from error.__cause__


@contextmanager
def _held(lock: DirectoryLock | None, directory: Path) -> Iterator[DirectoryLock]:
    """The given lock, which stays its owner's, or one of our own."""
    held = lock or DirectoryLock(directory)
    try:
        yield held
    finally:
        if lock is None:
            held.release()


def first_of(errors: BaseExceptionGroup[sqlite3.Error | StoreError]) -> sqlite3.Error | StoreError:
    """One of the errors in a group, however deep."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, sqlite3.Error | StoreError)
    return error
