"""FileWatcher: from root directories to batches of hints that a file has something new to read."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from importlib.util import find_spec
from itertools import chain

import attrs
import trio

from actors.watch_cover import Cover
from actors.watch_mounts import MOUNT_TABLE
from actors.watch_outlet import Out, Outlet
from actors.watch_poll import ACTIVE_S, IDLE_S, PollBackend
from actors.watch_port import Backend, Hints
from actors.watch_tree import Look, Tree

SWEEP_S = 5.0  # a stat of each root and each recently changed file: catches what the system never told
DIRECTORIES_S = 60.0  # a stat of each directory, and a listing of those that moved
RECENT_NS = 60 * 10**9  # how long a file counts as recently changed
STEP_LENGTH = 100  # stats between two checkpoints: about 0.3 ms
BATCH_LENGTH = 500  # changes between two checkpoints: about 1 ms


@attrs.frozen
class FileStat:
    """What tells two versions of a file apart: unchanged means that all five are equal."""

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int


@attrs.frozen
class FileSeen:
    """A file that the first look at a root found."""

    path: str
    stat: FileStat


@attrs.frozen
class RootScanned:
    """The first look at a root, exactly once per root, taken after its watch was active. No files: it is missing.

    A file that two roots share is listed by the first of them only.
    """

    root: str
    files: tuple[FileSeen, ...]


@attrs.frozen
class FileChanged:
    """A hint to read on from the stored offset. Spurious ones happen; missing ones do not.

    An active file is hinted at once more by the next sweep: a stat per hint would cost more than that does.

    `detected_ns` is `time.monotonic_ns()` when the change was first noticed.
    """

    path: str
    detected_ns: int


@attrs.frozen
class FileGone:
    """The path names no wanted file any more: deleted, renamed away, or its directory is gone."""

    path: str
    detected_ns: int


@attrs.frozen
class WatchTrouble:
    """Part of the watching is degraded; `detail` says what is done instead and names the cure."""

    component: str
    detail: str


@attrs.frozen
class WatchHealthy:
    """The component's trouble is over."""

    component: str


Change = RootScanned | FileChanged | FileGone | WatchTrouble | WatchHealthy


@attrs.frozen
class WatcherStatistics:
    """Counters since the start, and sizes now."""

    backend: str
    roots: int
    missing_roots: int
    directories: int
    polled_directories: int
    files: int
    changes: int
    overflows: int
    rescans: int
    watch_failures: int


def open_backend(name: str, poll: PollBackend) -> Backend:
    """The back-end of that name; `auto` takes inotify where there is one. Raises OSError when it cannot start."""
    if name == "auto":
        name = "inotify" if find_spec("inotify_simple") and sys.platform == "linux" else "watchfiles"
    if name == "inotify":
        from actors.watch_inotify import InotifyBackend  # can be imported on Linux only

        return InotifyBackend()
    if name == "watchfiles":
        from actors.watch_watchfiles import WatchfilesBackend  # loads anyio

        return WatchfilesBackend()
    if name == "poll":
        return poll
    raise ValueError(f"no watcher back-end is called {name!r}")


class FileWatcher:
    """Watches root directories, all below them, and roots that do not exist yet. Creates nothing.

    `out` is bounded by its opener, who also closes it. The watcher waits for its receiver, and while it waits hints
    for one path merge. Only the tasks that `run` starts touch the state, each step between two checkpoints.

    Args:
        wanted: which paths of regular files count.
        backend: auto, inotify, watchfiles or poll.
        open_backend: how a name becomes a back-end; a seam for tests.
        mount_table: where the system says which file system is of which type.
    """

    def __init__(
        self,
        roots: Sequence[str],
        wanted: Callable[[str], bool],
        out: Out[Change],
        backend: str = "auto",
        *,
        sweep_s: float = SWEEP_S,
        directories_s: float = DIRECTORIES_S,
        poll_active_s: float = ACTIVE_S,
        poll_idle_s: float = IDLE_S,
        open_backend: Callable[[str, PollBackend], Backend] = open_backend,
        mount_table: str = MOUNT_TABLE,
    ) -> None:
        self._roots = {root: os.path.abspath(root) for root in roots}
        self._wanted = wanted
        self._out = out
        self._outlet = Outlet[Change](out)
        self._sweep_s, self._directories_s = sweep_s, directories_s
        self._changes = self._overflows = self._rescans = 0
        self._tree = Tree(wanted)
        self._poll = PollBackend(lambda: self._changes, poll_active_s, poll_idle_s)
        self._cover = Cover(self._tree, frozenset(self._roots.values()), self._poll, mount_table)
        self._open_backend = partial(open_backend, backend, self._poll)
        self._recent: dict[str, int] = {}  # path → when it last changed
        self._scanned = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled. Started: all watches are active, and each root's `RootScanned` is sent."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._outlet.run)
            nursery.start_soon(self._follow, self._poll)
            opened = self._open()
            backend = self._poll if opened is None else opened
            self._cover.backend = backend
            nursery.start_soon(self._use_backends, opened)
            await self._scan_roots(backend)
            nursery.start_soon(self._sweep)
            task_status.started()

    def statistics(self) -> WatcherStatistics:
        """Counters since the start, and sizes now."""
        return WatcherStatistics(
            backend=self._cover.backend.name,
            roots=len(self._roots),
            missing_roots=len(self._cover.missing),
            directories=len(self._tree.directories),
            polled_directories=len(self._poll),
            files=len(self._tree.files),
            changes=self._changes,
            overflows=self._overflows,
            rescans=self._rescans,
            watch_failures=self._cover.failures,
        )

    def _open(self) -> Backend | None:
        try:
            return self._open_backend()
        except OSError as error:
            self._degrade(error)
            return None

    async def _use_backends(self, backend: Backend | None) -> None:
        """Use a back-end until it is lost, and a new one a while later. Polling is never lost."""
        while backend is not self._poll:
            if backend is not None:
                with closing(backend):
                    await self._use(backend)
            await self._scanned.wait()
            await trio.sleep(self._directories_s)
            backend = self._open()

    async def _use(self, backend: Backend) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._work, backend)
            if self._scanned.is_set():  # not the first one
                self._cover.restore(backend)
                await backend.ready()
                if self._cover.backend is backend:
                    self._cover.rely()
                    await self._explore(self._cover.walk_all())
            await self._follow(backend)
            nursery.cancel_scope.cancel()

    async def _work(self, backend: Backend) -> None:
        try:
            await backend.run()
        except OSError as error:
            self._degrade(error)

    async def _follow(self, backend: Backend) -> None:
        """Until the back-end is lost. Nobody cuts it short: what the tree knows must have been told."""
        while True:
            try:
                hints = await backend.next_hints()
            except OSError as error:
                self._degrade(error)
                return
            if not self._scanned.is_set():
                await self._scanned.wait()  # a root's first look comes before any change in it
            await self._apply(hints)

    async def _scan_roots(self, backend: Backend) -> None:
        self._cover.prepare(self._roots.values())
        await backend.ready()
        known = self._tree.files
        for root, path in self._roots.items():
            seen: dict[str, FileSeen] = {}
            for look in self._cover.walk([path]):
                seen |= {file: FileSeen(file, FileStat(*known[file])) for file in look.changed if file in known}
                await trio.lowlevel.checkpoint()
            files = tuple(file for path, file in seen.items() if path in known)
            await self._out.send((RootScanned(root, files),))
        self._scanned.set()
        self._flush_nowait()

    async def _apply(self, hints: Hints) -> None:
        now, known, suspects = time.monotonic_ns(), self._tree.files, hints.suspects
        for number, path in enumerate(hints.modified, 1):
            if number % BATCH_LENGTH == 0:
                self._outlet.flush_nowait()
                await trio.lowlevel.checkpoint()
            if path in known:
                self._note_change(path, now)
            elif self._wanted(path):
                suspects[path] = None
        self._outlet.flush_nowait()
        if suspects:
            await self._examine(suspects, now, sure=True)
        if hints.rescan:
            self._overflows += hints.overflow
            self._rescans += 1
            await self._explore(self._cover.walk_all())
            self._cover.audit()
            self._flush_nowait()

    async def _examine(self, paths: Iterable[str], now: int, *, sure: bool) -> None:
        appeared: list[str] = []
        for number, path in enumerate(paths, 1):
            look = self._cover.examine(path, sure=sure)
            appeared += look.appeared
            await self._report(look, now)
            if number % STEP_LENGTH == 0:
                self._flush_nowait()
                await trio.lowlevel.checkpoint()
        self._flush_nowait()
        await self._explore(self._cover.walk(appeared))

    async def _explore(self, looks: Iterable[Look]) -> None:
        for look in looks:
            await self._report(look, time.monotonic_ns())
            self._flush_nowait()
            await trio.lowlevel.checkpoint()

    async def _report(self, look: Look, now: int) -> None:
        """Pass on what a look found. When that is much, others may look in between: the tree has the last word."""
        known = self._tree.files
        for number, path in enumerate(chain(look.gone, look.changed), 1):
            if path in known:
                self._note_change(path, now)
            else:
                self._recent.pop(path, None)
                self._changes += 1
                self._outlet.put(path, FileGone(path, now))
            if number % BATCH_LENGTH == 0:
                self._flush_nowait()
                await trio.lowlevel.checkpoint()

    def _note_change(self, path: str, now: int) -> None:
        self._recent[path] = now
        self._changes += 1
        self._outlet.put(path, FileChanged(path, now))

    def _flush_nowait(self) -> None:
        for component, detail in self._cover.take_news():
            news = WatchTrouble(component, detail) if detail else WatchHealthy(component)
            self._outlet.put(("component", component), news)
        self._outlet.flush_nowait()

    def _degrade(self, error: OSError) -> None:
        self._cover.degrade(error)
        if self._scanned.is_set():
            self._flush_nowait()

    async def _sweep(self) -> None:
        due = trio.current_time() + self._directories_s
        while True:
            await trio.sleep(self._sweep_s)
            now = time.monotonic_ns()
            self._recent = {path: at for path, at in self._recent.items() if now - at < RECENT_NS}
            await self._examine(list(self._recent), now, sure=False)
            await self._explore(self._cover.walk_lost_roots())
            if trio.current_time() >= due:
                due += self._directories_s
                await self._explore(self._cover.walk_stale())
