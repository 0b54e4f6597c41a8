"""Looks through a root as the watcher does: each directory once, links followed, nothing opened."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import attrs

from observatory.core.check_files import FUTURE_S, RootFacts
from observatory.core.finding import NONE, Some
from observatory.core.identity import is_transcript

Ident = tuple[int, int]
SECOND_NS = 1_000_000_000
OTHER_KINDS = ((stat.S_ISFIFO, "FIFO"), (stat.S_ISSOCK, "socket"), (stat.S_ISCHR, "device"), (stat.S_ISBLK, "device"))


@attrs.define
class Walk:
    """One root's facts as they come in, and the transcripts met."""

    now_s: float
    seen: dict[Ident, str] = attrs.field(factory=dict)
    transcripts: list[str] = attrs.field(factory=list)
    bytes: int = 0
    oldest_ns: int | None = None
    newest_ns: int | None = None
    coarse: int = 0
    some: dict[str, Some] = attrs.field(factory=dict)

    def note(self, kind: str, path: str, reason: str = "") -> None:
        """One more of a kind; the first is the example."""
        before = self.some.get(kind, Some(0, path, reason))
        self.some[kind] = attrs.evolve(before, count=before.count + 1)

    def directory(self, path: str) -> Iterator[str]:
        """Look at one directory; yields those below it."""
        try:
            found = os.stat(path)
            if (known := self.seen.setdefault((found.st_dev, found.st_ino), path)) != path:
                self.note("loops", path, f"is {known}")
                return
            with os.scandir(path) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if self._is_directory(entry):
                        yield entry.path
        except FileNotFoundError:
            return  # went away meanwhile
        except OSError as error:
            self.note("closed_directories", path, error.strerror or str(error))

    def _is_directory(self, entry: os.DirEntry[str]) -> bool:
        try:
            if entry.is_dir():
                return True
            if is_transcript(entry.path):
                self._file(entry)
        except FileNotFoundError:
            pass  # went away meanwhile, or a link to nowhere
        except OSError as error:
            kind = "loops" if error.errno == errno.ELOOP else "closed_files"
            self.note(kind, entry.path, error.strerror or str(error))
        return False

    def _file(self, entry: os.DirEntry[str]) -> None:
        path, found = entry.path, entry.stat()
        if not stat.S_ISREG(found.st_mode):
            kind = next((name for test, name in OTHER_KINDS if test(found.st_mode)), "no file")
            self.note("special", path, kind)
            return
        self.transcripts.append(path)
        self.bytes += found.st_size
        written = found.st_mtime_ns
        self.oldest_ns = min(written, self.oldest_ns or written)
        self.newest_ns = max(written, self.newest_ns or written)
        self.coarse += written % SECOND_NS == 0
        if written > (self.now_s + FUTURE_S) * SECOND_NS:
            self.note("future", path)
        if entry.is_symlink():
            self.note("linked", path)
        if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
            self.note("closed_files", path, os.strerror(errno.EACCES))


def walk(root: str, now_s: float) -> tuple[RootFacts, list[str]]:
    """What lies below a root, and its transcripts."""
    try:
        found = os.stat(root)
    except (FileNotFoundError, NotADirectoryError):
        return RootFacts(root, exists=False), []
    except OSError as error:
        return RootFacts(root, error=error.strerror or str(error)), []
    if not stat.S_ISDIR(found.st_mode):
        return RootFacts(root, error="is no directory"), []
    so_far = Walk(now_s)
    todo = [root]
    while todo:
        todo.extend(so_far.directory(todo.pop()))
    some = so_far.some
    closed = some.get("closed_directories", NONE)
    if closed and closed.example == root:
        return RootFacts(root, error=closed.reason), []
    facts = RootFacts(
        root, True, None, len(so_far.seen), len(so_far.transcripts), so_far.bytes, so_far.oldest_ns,
        so_far.newest_ns, so_far.coarse, **some,
    )  # fmt: skip
    return facts, so_far.transcripts


def transcripts(roots: tuple[str, ...]) -> Iterator[str]:
    """Every transcript below the roots, each once."""
    yield from dict.fromkeys(path for root in roots for path in walk(root, 0.0)[1])


def existing(path: Path) -> Path:
    """The path, or its nearest parent that is there, without symlinks."""
    return next(place for place in (path, *path.parents) if place.exists()).resolve()
