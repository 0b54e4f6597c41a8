"""What the API answers from: the log, the archive's files, and what the running server is asked to do."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import attrs
import trio

from actors.router import Router
from observatory.core.annotations import Annotation, Change
from observatory.core.broadcast import BroadcastResult
from observatory.core.contracts import SystemHealth
from observatory.core.events import LogPosition
from observatory.core.forgetting import Removal, Target
from observatory.core.histogram import LogHistogram
from observatory.core.hook_events import Hook
from observatory.core.ports import EventSource
from observatory.server.backlog import SharedPages
from observatory.server.gate import Gate
from observatory.storage.browsing import ArchiveBrowser, browsing
from observatory.storage.search import SearchReader, searching
from observatory.storage.statistics import StatisticsReader, statistics
from observatory.telemetry.measures import Measures

R = TypeVar("R")
READERS = 4  # threads that read for requests at a time; more wait
PAGE_BYTES = 256 * 1024  # of events that are handed over together
CHUNK_BYTES = 256 * 1024  # of what is written in a thread, and sent piece by piece


class Monitor(Protocol):
    """What is asked of a FileMonitor."""

    @property
    def events(self) -> EventSource: ...
    @property
    def router(self) -> Router[str]: ...
    @property
    def data_dir(self) -> Path: ...
    @property
    def measures(self) -> Measures: ...
    def hops(self) -> dict[str, LogHistogram]: ...
    def health(self) -> SystemHealth: ...
    async def probe(self, patience: float) -> Any: ...  # noqa: ANN401 - observatory/probe.py, Probed
    async def annotate(self, change: Change) -> Annotation: ...
    async def hook(self, hook: Hook) -> tuple[int, bool]: ...
    async def forget_wholly(self, target: Target) -> tuple[Removal, bool]: ...


class Manager(Protocol):
    """What is asked of a ConnectionManager."""

    @property
    def gate(self) -> Gate: ...
    def status(self) -> dict[str, Any]: ...
    def clients(self) -> dict[str, Any]: ...
    def modes(self) -> dict[str, int]: ...
    async def broadcast(self, message: dict[str, Any], subscription_filter: str | None = None) -> BroadcastResult: ...


@attrs.frozen(eq=False)
class Sources:
    """One server's. leaving: what becomes of a text that leaves the process. wall_ms: the time now.

    ending: set when the server goes down. base: the public path before all others, "" or /some/path. document: OpenAPI.
    answers: so far, by route and status; connections: of HTTP, now; dropped: lines of the log that were lost.
    """

    monitor: Monitor
    manager: Manager
    ending: trio.Event
    leaving: Callable[[bytes], bytes] | None
    wall_ms: Callable[[], int]
    base: str = ""
    document: bytes = b""
    answers: dict[tuple[str, int], int] = attrs.field(factory=dict)
    connections: Callable[[], int] = lambda: 0
    dropped: Callable[[], int] = lambda: 0
    pages: SharedPages = attrs.field(init=False)
    _readers: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(READERS), init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "pages", SharedPages(self.monitor.events, PAGE_BYTES))

    @property
    def position(self) -> LogPosition:
        """Of the log, now."""
        return self.monitor.events.position

    async def archive(self, ask: Callable[[ArchiveBrowser], R]) -> R:
        """Ask the archive, in a thread. Raises StoreError, and what `ask` does."""
        return await self._read(lambda: browsing(self.monitor.data_dir, self.leaving), ask)

    async def index(self, ask: Callable[[SearchReader], R]) -> R:
        """Ask the full-text index, in a thread. Raises StoreError, and what `ask` does."""
        return await self._read(lambda: searching(self.monitor.data_dir, self.wall_ms, self.leaving), ask)

    async def figures(self, ask: Callable[[StatisticsReader], R]) -> R:
        """Ask the books, in a thread. Raises StoreError, and what `ask` does."""
        return await self._read(lambda: statistics(self.monitor.data_dir), ask)

    async def _read(self, opened: Callable[[], AbstractContextManager[Any]], ask: Callable[[Any], R]) -> R:
        def read() -> R:
            with opened() as reader:
                return ask(reader)

        return await trio.to_thread.run_sync(read, limiter=self._readers)

    async def in_thread(self, read: Callable[[], R]) -> R:
        """Read otherwise. Raises as `read`."""
        return await trio.to_thread.run_sync(read, limiter=self._readers)

    async def written(
        self, write: Callable[[ArchiveBrowser], Iterator[bytes]], leaving: Callable[[bytes], bytes] | None
    ) -> AsyncIterator[bytes]:
        """What is written from the archive, in larger pieces, each made in a thread. Raises as `write`.

        leaving: what becomes of its texts, if more than of all that leave.
        """
        with browsing(self.monitor.data_dir, leaving or self.leaving) as reader:
            parts = write(reader)
            while piece := await trio.to_thread.run_sync(_gather, parts, limiter=self._readers):
                yield piece


def _gather(parts: Iterator[bytes]) -> bytes:
    gathered = bytearray()
    for part in parts:
        gathered += part
        if len(gathered) >= CHUNK_BYTES:
            break
    return bytes(gathered)
