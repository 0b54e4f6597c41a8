"""Reading a transcript from a byte offset: whole lines only, bounded memory, nothing trusted but the bytes read."""

import os
import stat

import attrs

from observatory.core.batch import FileState
from observatory.core.frozen import frozen
from observatory.core.lines import Line, split

READ_BYTES = 256 * 1024  # one turn of one file: bounds the loop's delay and one transaction
SEARCH_BYTES = 4 * 1024 * 1024  # looked through for a newline in one turn, 1 MiB at a time
MAX_LINE = 64 * 1024 * 1024  # a longer line becomes one oversize record
OVERSIZE_HEAD = 1024  # bytes kept of it


@attrs.frozen
class Oversize:
    """A line beyond MAX_LINE; `head` is its beginning."""

    offset: int
    length: int
    head: bytes


@frozen
class Chunk:
    """What one turn found from `offset` on.

    lines: whole lines; consumed: bytes to move the offset by; more: there may be more to read at once;
    searched: bytes from `offset` that hold no newline, to be skipped in the next search.
    """

    state: FileState
    lines: tuple[Line | Oversize, ...]
    consumed: int
    more: bool
    searched: int = 0


@attrs.frozen
class Unreadable:
    """The file cannot be read now; `gone` when it is not there."""

    reason: str
    gone: bool = False


def read(path: str, offset: int, searched: int = 0) -> Chunk | Unreadable:
    """The lines after `offset`. Only regular files are opened for good, and never waited for."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return Unreadable(error.strerror or str(error), isinstance(error, FileNotFoundError | NotADirectoryError))
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return Unreadable("not a regular file")
        return _read(fd, _state(found), offset, searched)
    except OSError as error:
        return Unreadable(error.strerror or str(error))
    finally:
        os.close(fd)


def _state(found: os.stat_result) -> FileState:
    return FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _read(fd: int, state: FileState, offset: int, searched: int) -> Chunk:
    if state.size <= offset:
        return Chunk(state, (), 0, more=False)
    if searched < READ_BYTES:  # ask for no more than is there: a large buffer costs more than a short read
        data = os.pread(fd, min(READ_BYTES, state.size - offset), offset)
        lines, consumed = split(data, offset)
        if consumed or len(data) < READ_BYTES:
            return Chunk(state, tuple(lines), consumed, more=len(data) == READ_BYTES)
        searched = READ_BYTES
    return _read_long(fd, state, offset, searched)


def _read_long(fd: int, state: FileState, offset: int, searched: int) -> Chunk:
    """One line longer than READ_BYTES: find its end first, in constant memory."""
    step = READ_BYTES * 4
    for start in range(searched, searched + SEARCH_BYTES, step):
        data = os.pread(fd, step, offset + start)
        end = data.find(b"\n")
        if end >= 0:
            return _long_line(fd, state, offset, start + end)
        if len(data) < step:
            return Chunk(state, (), 0, more=False, searched=start + len(data))
    return Chunk(state, (), 0, more=True, searched=searched + SEARCH_BYTES)


def _long_line(fd: int, state: FileState, offset: int, length: int) -> Chunk:
    if length > MAX_LINE:
        line = Oversize(offset, length, os.pread(fd, OVERSIZE_HEAD, offset))
        return Chunk(state, (line,), length + 1, more=True)
    lines, consumed = split(_pread_whole(fd, length + 1, offset), offset)
    return Chunk(state, tuple(lines), consumed, more=True)


def _pread_whole(fd: int, size: int, offset: int) -> bytes:
    parts, have = [], 0
    while have < size:
        data = os.pread(fd, size - have, offset + have)
        if not data:
            break
        parts.append(data)
        have += len(data)
    return b"".join(parts)
