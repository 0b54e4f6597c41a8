"""Each file known to the archive, and each on the disk, against each other."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import attrs

from observatory.core.accounting import Account, account
from observatory.storage.accounting import ArchiveReader, Source

WINDOW = 1024 * 1024  # read at once; a longer line is read whole, 64 MiB at most
State = Literal["compared", "gone", "unreadable", "never read"]
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
        """Nothing is missing in the archive; a file that is gone is there."""
        return self.state == "gone" or (self.account is not None and self.account.clean)


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
    archive: ArchiveReader, on_disk: Iterable[str], settle: Callable[[], bool] = lambda: False
) -> Iterator[FileAccount]:
    """Every file of the archive, then those on the disk that it does not know.

    Args: settle: called before a file that does not agree is looked at again; False: do not, nobody writes. A server
    may have been between a line and its record.
    """
    known: set[str] = set()
    idents: set[Ident] = set()
    for source in archive.sources():
        found = _of_source(archive, source, idents)
        if not found.clean and settle():
            found = _of_source(archive, archive.source(source.id) or source, idents)
        known.add(source.path)
        yield found
    for path in on_disk:
        if path not in known and _ident(path) not in idents:
            yield FileAccount(path, "never read")


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
        compared = account(archive.claims(source), source.offset, Window(fd).read)
        return FileAccount(source.path, "compared", compared, source.generation)
    except OSError as error:
        return FileAccount(source.path, "unreadable", reason=error.strerror)
    finally:
        os.close(fd)


def _ident(path: str) -> Ident | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
