"""The inotify back-end: one instance, one watch per directory, no thread. Linux only."""

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Protocol

import trio
from inotify_simple import INotify, flags, parse_events

from actors.watch_port import CURES, Hints

MODIFY = int(flags.MODIFY)
OVERFLOW = int(flags.Q_OVERFLOW)
IGNORED = int(flags.IGNORED)
SELF = int(flags.DELETE_SELF | flags.MOVE_SELF | flags.UNMOUNT) | IGNORED
NAMES = int(flags.CREATE | flags.MOVED_TO | flags.MOVED_FROM | flags.DELETE)
OPTIONS = int(flags.ONLYDIR | flags.MASK_ADD)  # MASK_ADD: a perch and a watch on one directory share a descriptor
ATTRIBUTES = int(flags.ATTRIB)  # chmod, utime: what was unreadable may be readable now. Writes and reads send none
WATCH_MASK = MODIFY | NAMES | ATTRIBUTES | int(flags.DELETE_SELF | flags.MOVE_SELF) | OPTIONS
PERCH_MASK = NAMES | int(flags.DELETE_SELF | flags.MOVE_SELF) | OPTIONS
READ_BYTES = 1 << 16  # about 1,300 events: bounds the time between two checkpoints


class Kernel(Protocol):
    """The part of `inotify_simple.INotify` that is used."""

    def fileno(self) -> int: ...
    def add_watch(self, path: str, mask: int, /) -> int: ...
    def rm_watch(self, wd: int, /) -> None: ...
    def close(self) -> None: ...


def open_kernel() -> Kernel:
    """A new inotify instance."""
    kernel: Kernel = INotify(nonblocking=True)
    return kernel


class InotifyBackend:
    """Hints straight from the kernel's queue. `watch` is active when it returns.

    A missing root is sought from a perch: a watch on its nearest existing ancestor, moved as the path fills in.
    """

    name = "inotify"

    def __init__(self, kernel: Callable[[], Kernel] = open_kernel) -> None:
        with _cures_named(""):
            self._kernel = kernel()
        self._fd = self._kernel.fileno()
        self._prefixes: dict[int, str] = {}  # watch descriptor → directory with a trailing slash
        self._watches: dict[str, int] = {}
        self._perches: dict[int, set[str]] = {}  # watch descriptor → missing roots

    def watch(self, directory: str) -> None:
        """Add a watch, or find the one that is there."""
        with _cures_named(directory):
            wd = self._kernel.add_watch(directory, WATCH_MASK)
        old = self._watches.get(directory)
        if old is not None and old != wd:
            self._prefixes.pop(old, None)
        self._watches[directory] = wd
        self._prefixes[wd] = directory if directory.endswith("/") else directory + "/"

    def unwatch(self, directory: str) -> None:
        """Remove a watch, unless the descriptor has come to stand for another path."""
        wd = self._watches.pop(directory, None)
        if wd is not None and _bare(self._prefixes.get(wd, "")) == directory:
            del self._prefixes[wd]
            self._remove_unused(wd)

    def audit(self, directories: Mapping[str, int]) -> frozenset[str]:
        """None: `watch` has raised already."""
        return frozenset()

    def seek(self, root: str) -> bool:
        """Perch on the nearest existing ancestor. False also when the root is there after all."""
        target = os.path.realpath(root)
        while (ancestor := _nearest_directory(target)) != target:
            try:
                wd = self._kernel.add_watch(ancestor, PERCH_MASK)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                break
            self._perches.setdefault(wd, set()).add(root)
            self._leave_perches(root, keep=wd)
            if _nearest_directory(target) == ancestor:  # nothing appeared before the watch was active
                return True
        self._leave_perches(root)
        return False

    def unseek(self, root: str) -> None:
        """Leave the perch."""
        self._leave_perches(root)

    async def run(self) -> None:
        """There is nothing to do beside `next_hints`."""

    async def ready(self) -> None:
        """Watches are active at once."""
        await trio.lowlevel.checkpoint()

    async def next_hints(self) -> Hints:
        """One read of the kernel's queue; a file's writes in it are one hint."""
        await trio.lowlevel.wait_readable(self._fd)
        hints, prefixes = Hints(), self._prefixes
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return hints
        for wd, mask, _, name in parse_events(data):
            if mask & MODIFY and (prefix := prefixes.get(wd)) is not None:
                hints.modified[prefix + name] = None
            else:
                self._take(wd, mask, name, hints)
        return hints

    def close(self) -> None:
        """Close the instance; the kernel frees its watches (about 15 ms)."""
        trio.lowlevel.notify_closing(self._fd)
        self._kernel.close()

    def _take(self, wd: int, mask: int, name: str, hints: Hints) -> None:
        if mask & OVERFLOW:
            hints.rescan = hints.overflow = True
            return
        if (prefix := self._prefixes.get(wd)) is not None:
            hints.suspects[prefix + name if name and not mask & SELF else _bare(prefix)] = None
        waiting = list(self._perches.get(wd, ()))
        if mask & IGNORED:
            self._lose(wd)
        for root in waiting:
            self.seek(root)
            hints.suspects[root] = None

    def _lose(self, wd: int) -> None:
        """The kernel has removed a watch, because its directory is gone."""
        self._perches.pop(wd, None)
        prefix = self._prefixes.pop(wd, None)
        if prefix is not None and self._watches.get(_bare(prefix)) == wd:
            del self._watches[_bare(prefix)]

    def _leave_perches(self, root: str, keep: int | None = None) -> None:
        for wd, roots in list(self._perches.items()):
            if wd != keep:
                roots.discard(root)
            if not roots:
                del self._perches[wd]
                self._remove_unused(wd)

    def _remove_unused(self, wd: int) -> None:
        if wd not in self._prefixes and wd not in self._perches:
            with suppress(OSError):  # the directory, and its watch with it, may be gone already
                self._kernel.rm_watch(wd)


@contextmanager
def _cures_named(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        code = error.errno or errno.EIO
        raise OSError(code, CURES.get(code, os.strerror(code)), path) from error


def _bare(prefix: str) -> str:
    return prefix.rstrip("/") or "/"


def _nearest_directory(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path
