"""Each file known to the archive, and each on the disk, against each other."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import attrs

from observatory.core.accounting import Account, account
from observatory.core.copy_key import digest
from observatory.core.forgetting import KeptOut
from observatory.core.lines import trimmed
from observatory.core.redact import redact
from observatory.storage.accounting import ArchiveReader, Source

WINDOW = 1024 * 1024  # read at once; a longer line is read whole, 64 MiB at most
State = Literal["compared", "gone", "unreadable", "never read", "kept out"]  # the last one: excluded or forgotten
LONGEST_LINE = 64 * 1024 * 1024
Ident = tuple[int, int]  # device and inode


@attrs.frozen
class FileAccount:
    """One file. account: None unless it was compared. reason: why it could not be read."""

    path: str
    state: State
    account: Account | None = None
    generation: int = 0
    reason: str | None = None

    @property
    def clean(self) -> bool:
        """Nothing is missing in the archive; a file that is gone is there, one that is kept out is not to be."""
        return self.state in ("gone", "kept out") or (self.account is not None and self.account.clean)


@attrs.define
class Totals:
    """Sums over all files."""

    files: Counter[str] = attrs.field(factory=Counter)  # by state
    bytes: Counter[str] = attrs.field(factory=Counter)  # by class
    size: int = 0
    records: int = 0
    unclean: int = 0

    def add(self, file: FileAccount) -> None:
        """One file more."""
        self.files[file.state] += 1
        self.unclean += not file.clean
        if file.account is not None:
            self.bytes.update(file.account.bytes)
            self.size += file.account.size
            self.records += file.account.records


class Window:
    """Bytes of an open file by place, read in large pieces; a file may grow meanwhile."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._start = 0
        self._data = b""

    def read(self, start: int, end: int) -> bytes:
        """Bytes [start, end), fewer where the file ends."""
        at = start - self._start
        if at < 0 or end > self._start + len(self._data):
            self._start, self._data, at = start, self._pread(max(WINDOW, end - start), start), 0
        return self._data[at : at + end - start]

    def _pread(self, size: int, offset: int) -> bytes:
        data = os.pread(self._fd, size, offset)
        while len(data) < size and (more := os.pread(self._fd, size - len(data), offset + len(data))):
            data += more
        return data


def accounts(
    archive: ArchiveReader,
    on_disk: Iterable[str],
    settle: Callable[[], bool] = lambda: False,
    excluded: Callable[[str], bool] = lambda path: False,
) -> Iterator[FileAccount]:
    """Every file of the archive, then those on the disk that it does not know.

    Args: settle: called before a file that does not agree is looked at again; False: do not, nobody writes. A server
    may have been between a line and its record. excluded: files that are not opened.
    """
    kept_out = attrs.evolve(archive.kept_out(), excluded=excluded)
    known: set[str] = set()
    idents: set[Ident] = set()
    for source in archive.sources():
        if excluded(source.path) or (not source.offset and _begins_forgotten(source.path, kept_out)):
            known.add(source.path)
            yield FileAccount(source.path, "kept out")
            continue
        found = _of_source(archive, source, idents)
        if not found.clean and settle():
            found = _of_source(archive, archive.source(source.id) or source, idents)
        known.add(source.path)
        yield found
    for path in on_disk:
        if kept_out.holds(path):
            if path not in known:
                yield FileAccount(path, "kept out")
        elif path not in known and _ident(path) not in idents:
            yield FileAccount(path, "kept out" if _begins_forgotten(path, kept_out) else "never read")


def _of_source(archive: ArchiveReader, source: Source, idents: set[Ident]) -> FileAccount:
    try:
        fd = os.open(source.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return FileAccount(source.path, "gone")
    except OSError as error:
        return FileAccount(source.path, "unreadable", reason=error.strerror)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return FileAccount(source.path, "unreadable", reason="not a regular file")
        idents.add((found.st_dev, found.st_ino))
        compared = account(archive.claims(source), source.offset, Window(fd).read, source.pruned)
        return FileAccount(source.path, "compared", compared, source.generation)
    except OSError as error:
        return FileAccount(source.path, "unreadable", reason=error.strerror)
    finally:
        os.close(fd)


def _begins_forgotten(path: str, kept_out: KeptOut) -> bool:
    """Whether a file is a forgotten one under another name."""
    if not kept_out.heads:
        return False
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            first = file.readline(LONGEST_LINE).removesuffix(b"\n")
    except OSError:
        return False
    line = trimmed(first, 0)
    return not kept_out.heads.isdisjoint((digest(line), digest(redact(line))))


def _ident(path: str) -> Ident | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
