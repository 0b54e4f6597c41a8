"""The registry of live sessions on disk: a few small files, looked at every two seconds, and their processes."""

import os
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import attrs
import trio

from observatory.core.sessions import FOLDER, Session, parse, pid_of, start_of

LOOK_EVERY = 2.0  # seconds; a root without live sessions costs one stat
MAX_FILES = 256  # sessions of one root at a time; beyond, the rest is told by its lines
MAX_BYTES = 64 * 1024  # of one file; they have about 700
PROC = Path("/proc")
SETTLED_NS = 1_000_000_000  # what was written to more recently may be again without a new time: clocks tick


@attrs.define
class Registry:
    """What the files of all roots say. `look` blocks, briefly, and never fails: what cannot be read says nothing."""

    folders: tuple[str, ...]
    proc: Path = PROC
    _names: dict[str, tuple[tuple[int, int, int], list[tuple[int, str]]]] = attrs.field(factory=dict)
    _read: dict[str, tuple[tuple[int, int, int], Session | None]] = attrs.field(factory=dict)

    def look(self) -> dict[str, Session]:
        """Sessions whose process lives, by session id; of two entries for one the later."""
        found: dict[str, Session] = {}
        seen: set[str] = set()
        for pid, path in (entry for folder in self.folders for entry in self._files(folder)):
            seen.add(path)
            session = self._session(path)
            if session is None or self._started(pid) != session.proc_start:
                continue
            other = found.get(session.session_id)
            if other is None or (other.since_ms or 0) < (session.since_ms or 0):
                found[session.session_id] = session
        for path in self._read.keys() - seen:
            del self._read[path]
        return found

    def _files(self, folder: str) -> list[tuple[int, str]]:
        """The files of the folder that are of the registry; listed anew only when the folder has changed."""
        try:
            state = _state(os.stat(folder))
            known = self._names.get(folder)
            if known is not None and known[0] == state:
                return known[1]
            with os.scandir(folder) as entries:
                pids = ((pid_of(entry.name), entry.path) for entry in entries)
                files = sorted((pid, path) for pid, path in pids if pid is not None)[-MAX_FILES:]
        except OSError:
            self._names.pop(folder, None)
            return []
        if _is_old(state):
            self._names[folder] = state, files
        return files

    def _session(self, path: str) -> Session | None:
        try:
            found = os.stat(path)
            known = self._read.get(path)
            if known is not None and known[0] == _state(found):
                return known[1]
            session = _read(path)
        except OSError:
            self._read.pop(path, None)
            return None
        if _is_old(_state(found)):
            self._read[path] = _state(found), session
        return session

    def _started(self, pid: int) -> str | None:
        """Another process may have the number by now; in a container it may be another's number altogether."""
        try:
            return start_of((self.proc / str(pid) / "stat").read_bytes())
        except OSError:
            return None


def folders_of(roots: Iterable[str]) -> tuple[str, ...]:
    """Where the registries of these `projects` directories are."""
    return tuple(os.path.join(os.path.dirname(root), FOLDER) for root in roots if os.path.basename(root) == "projects")


async def follow(registry: Registry, hear: Callable[[dict[str, Session]], None]) -> None:
    """Tell what the registry says, again and again, until cancelled."""
    while True:
        hear(await trio.to_thread.run_sync(registry.look, abandon_on_cancel=True))
        await trio.sleep(LOOK_EVERY)


def _read(path: str) -> Session | None:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        return parse(os.read(fd, MAX_BYTES))
    finally:
        os.close(fd)


def _is_old(state: tuple[int, int, int]) -> bool:
    return time.time_ns() - state[2] > SETTLED_NS


def _state(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns
