"""The watchfiles back-end: one recursive watch over all roots, in one thread. For where there is no inotify."""

import errno
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

import attrs
import trio
from watchfiles import Change, awatch

from actors.watch_audit import Watches, read_watches
from actors.watch_port import CURES, Hints

STEP_MS = 1  # idle latency is about two steps
DEBOUNCE_MS = 10  # the longest a batch is held back under a steady stream
RESCAN_S = 3.0  # the library swallows queue overflows and fails to watch some new directories: bounds how late
RETRY_S = 0.05  # after a root vanished between being seen and being watched

LIMIT_TEXT, INSTANCES_TEXT = "watch limit", "os error 24"  # the library's errors have no errno

Stream = AsyncGenerator[set[tuple[Change, str]], None]


@attrs.define
class Stop:
    """Ends the library's thread. It asks `is_set` once its watch is active, which is its only sign of being ready."""

    on_active: Callable[[], None]
    stopped: bool = False
    active: bool = False

    def is_set(self) -> bool:
        """Called by the library's thread, every step."""
        if not self.active:
            self.active = True
            self.on_active()
        return self.stopped

    def set(self) -> None:
        """End the thread within a step; the library calls it too."""
        self.stopped = True


class WatchfilesBackend:
    """Hints from watchfiles. Only roots are handed to it; when they change, the watch starts anew and asks a rescan.

    It is silent about directories it gives up: past the limit, behind an unreadable one, or linked in later. `audit`
    finds them in the kernel's list and hands each over by its own name; what then has no watch still is refused.
    """

    name = "watchfiles"

    def __init__(
        self,
        rescan_s: float = RESCAN_S,
        stream: Callable[..., Stream] = awatch,
        read_watches: Callable[[], Watches | None] = read_watches,
    ) -> None:
        logging.getLogger("watchfiles.main").setLevel(logging.WARNING)  # else a line per batch
        self._rescan_s = rescan_s
        self._stream = stream
        self._read_watches = read_watches
        self._lenient = False  # asked to ignore denied directories, it ignores missing ones and full limits as well
        self._rescan_due = time.monotonic() + rescan_s
        self._roots: set[str] = set()
        self._missed: set[str] = set()  # without a watch at the last audit: may be too new
        self._by_name: set[str] = set()  # … and at the one before: handed over like roots
        self._refused = frozenset[str]()  # … and still without one
        self._limits: tuple[str, ...] = ()
        self._changed = trio.Event()  # the roots are not those watched
        self._ready = trio.Event()
        self._pending = Hints()
        self._wake = trio.Event()
        self._ended = False

    def watch(self, directory: str) -> None:
        """Add a root; what lies under one is watched already, or found out by `audit`."""
        if directory in self._refused:
            raise OSError(errno.ENOSPC, CURES[errno.ENOSPC], directory)
        if not any(directory == root or directory.startswith(root.rstrip("/") + "/") for root in self._roots):
            self._roots.add(directory)
            self._changed.set()
            if self._ready.is_set():
                self._ready = trio.Event()

    def unwatch(self, directory: str) -> None:
        """Remove a root; nothing is to be done for other directories."""
        self._refused -= {directory}
        if directory in self._roots or directory in self._by_name:
            self._roots.discard(directory)
            self._by_name.discard(directory)
            self._changed.set()

    def audit(self, directories: Mapping[str, int]) -> frozenset[str]:
        """Missed twice, a directory is handed over by name; missed again, it is refused until a limit is moved."""
        watches = None if self._changed.is_set() else self._read_watches()
        if watches is None or (watches.inodes and watches.inodes.isdisjoint(directories.values())):
            return self._refused  # in between, or the kernel's inodes are not those of `stat`: nothing is known
        missed = {path for path, inode in directories.items() if inode not in watches.inodes}
        self._refused = frozenset(missed & self._by_name)
        if watches.limits != self._limits:
            self._limits = watches.limits
            self._by_name -= missed  # there may be room now: another try
        if again := (missed & self._missed) - self._by_name:
            self._by_name |= again
            self._changed.set()
        self._missed = missed
        return self._refused

    def seek(self, root: str) -> bool:
        """The library cannot wait for what is not there."""
        return False

    def unseek(self, root: str) -> None:
        """Nothing was sought."""

    async def run(self) -> None:
        """Watch the roots, whichever they are at the time."""
        try:
            while True:
                if not self._roots:
                    await self._changed.wait()
                self._changed = trio.Event()
                if self._roots:
                    await self._watch_roots(sorted(self._roots | self._by_name))
        finally:
            self._ended = True
            self._ready.set()
            self._wake.set()

    async def ready(self) -> None:
        """Wait until the current roots are watched."""
        await trio.lowlevel.checkpoint()
        if self._roots:
            await self._ready.wait()

    async def next_hints(self) -> Hints:
        """All that was told since the last call."""
        await self._wake.wait()
        if self._ended:
            raise OSError(errno.EIO, "watchfiles has ended")
        self._wake = trio.Event()
        hints, self._pending = self._pending, Hints()
        return hints

    def close(self) -> None:
        """The thread has ended with `run`."""

    async def _watch_roots(self, roots: list[str]) -> None:
        token = trio.lowlevel.current_trio_token()
        stop = Stop(lambda: token.run_sync_soon(self._activated))
        lost: OSError | None = None  # leaves the nursery by hand: it would be wrapped in a group
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_when_changed, stop)
            try:
                await self._follow(roots, stop)
            except FileNotFoundError:  # vanished since it was seen: have that noticed, then try again
                self._ready.set()
                self._tell(Hints(suspects=dict.fromkeys(roots)))
                await trio.sleep(RETRY_S)
            except PermissionError:
                self._lenient = True
            except (OSError, RuntimeError) as error:  # its own WatchfilesRustInternalError is not exported
                if LIMIT_TEXT in str(error) and not self._lenient:
                    self._lenient = True  # watch what can be watched
                else:
                    lost = _with_cure(error)
            nursery.cancel_scope.cancel()
        if lost is not None:
            raise lost

    async def _stop_when_changed(self, stop: Stop) -> None:
        """Cancellation cannot reach the library's thread: without this it would hang for up to the timeout."""
        try:
            await self._changed.wait()
        finally:
            stop.set()

    async def _follow(self, roots: list[str], stop: Stop) -> None:
        stream = self._stream(
            *roots,
            watch_filter=None,
            step=STEP_MS,
            debounce=DEBOUNCE_MS,
            rust_timeout=int(self._rescan_s * 1000),
            yield_on_timeout=True,
            recursive=True,
            ignore_permission_denied=self._lenient,
            stop_event=stop,
        )
        async with aclosing(stream):
            async for changes in stream:
                self._take(changes)

    def _take(self, changes: set[tuple[Change, str]]) -> None:
        hints = Hints()
        for change, path in changes:
            kind = hints.modified if change is Change.modified else hints.suspects
            kind[path] = None
            if change is Change.deleted and path in self._roots:
                self._changed.set()  # the library never tells of it again, even if it comes back
        if time.monotonic() >= self._rescan_due:
            hints.rescan = True
        self._tell(hints)

    def _activated(self) -> None:
        if not self._changed.is_set():
            self._ready.set()
            self._tell(Hints(rescan=True))

    def _tell(self, hints: Hints) -> None:
        self._pending.modified |= hints.modified
        self._pending.suspects |= hints.suspects
        self._pending.rescan |= hints.rescan
        if hints.rescan:
            self._rescan_due = time.monotonic() + self._rescan_s
        self._wake.set()


def _with_cure(error: Exception) -> OSError:
    code = errno.EMFILE if INSTANCES_TEXT in str(error) else errno.EIO
    return OSError(code, CURES.get(code, str(error)))
