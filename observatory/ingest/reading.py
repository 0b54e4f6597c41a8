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
MARK_BYTES = 256  # of the beginning and of the last line read: reach a line's ids, and cost no extra page
UNSETTLED = -1  # the size of a file whose end was not reached: equal to no real one, so a restart looks again


@attrs.frozen
class Oversize:
    """A line beyond MAX_LINE; `head` is its beginning."""

    offset: int
    length: int
    head: bytes


@frozen
class Mark:
    """Bytes that stood at a place of the file when it was read."""

    at: int
    data: bytes


@frozen
class Place:
    """Where reading goes on, and what must still stand before it if the content is the same.

    searched: bytes from `offset` that hold no newline, to be skipped in the next search; tail: the bytes right before
    `offset`, with the newline; head: the file's beginning as far as it was read; marks: what else is known.
    """

    offset: int = 0
    searched: int = 0
    head: bytes = b""
    tail: bytes = b""
    marks: tuple[Mark, ...] = ()


START = Place()


@frozen
class Chunk:
    """What one turn found from a place on.

    lines: whole lines; more: there may be more to read at once; place: where the next turn goes on.
    """

    state: FileState
    lines: tuple[Line | Oversize, ...]
    more: bool
    place: Place


@attrs.frozen
class Replaced:
    """What was read before is not there any more: the file was cut, rewritten, or another one took its name."""

    state: FileState


@attrs.frozen
class Unreadable:
    """The file cannot be read now; `gone` when it is not there."""

    reason: str
    gone: bool = False


Found = Chunk | Replaced | Unreadable


def read(path: str, place: Place = START) -> Found:
    """The lines after a place. Only regular files are opened for good, and never waited for."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return Unreadable(error.strerror or str(error), isinstance(error, FileNotFoundError | NotADirectoryError))
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return Unreadable("not a regular file")
        return _read(fd, state_of(found), place)
    except OSError as error:
        return Unreadable(error.strerror or str(error))
    finally:
        os.close(fd)


def rest(path: str, offset: int, size: int) -> bytes:
    """The bytes after the last newline of a file at rest; empty when they cannot be had or are too many for a line."""
    if size - offset > MAX_LINE:
        return b""
    try:
        with open(path, "rb") as file:
            return _pread_whole(file.fileno(), size - offset, offset)
    except OSError:
        return b""


def state_of(found: os.stat_result) -> FileState:
    """What tells two versions of a file apart."""
    return FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _read(fd: int, state: FileState, place: Place) -> Chunk | Replaced:
    offset, tail = place.offset, place.tail
    if state.size < offset or os.pread(fd, len(place.head), 0) != place.head:
        return Replaced(state)
    if place.marks and any(os.pread(fd, len(mark.data), mark.at) != mark.data for mark in place.marks):
        return Replaced(state)
    if place.searched > state.size - offset:  # the torn line was cut back
        place = _searched(place, 0)
    keep = len(tail)  # read together with what is new; no more is asked for than is there: a large buffer costs
    wanted = min(READ_BYTES, state.size - offset) if place.searched < READ_BYTES else 0
    data = os.pread(fd, keep + wanted, offset - keep)
    if not data.startswith(tail):
        return Replaced(state)
    if place.searched >= READ_BYTES:
        return _read_long(fd, state, place)
    new = data[keep:]
    lines, consumed = split(new, offset)
    if consumed or len(new) < READ_BYTES:
        after = _after(place, data, consumed) if consumed else _searched(place, 0)
        return Chunk(state, tuple(lines), len(new) == READ_BYTES, after)
    return _read_long(fd, state, _searched(place, READ_BYTES))


def _searched(place: Place, count: int) -> Place:
    """The same place: the same object, unless more was searched."""
    return place if place.searched == count else attrs.evolve(place, searched=count)


def _after(place: Place, data: bytes, consumed: int) -> Place:
    """The place behind what was consumed. data: the bytes from the place's tail on."""
    end = len(place.tail) + consumed
    head = place.head
    if len(head) < MARK_BYTES and len(head) == place.offset:
        head = (head + data[len(place.tail) : end])[:MARK_BYTES]
    return Place(place.offset + consumed, 0, head, data[max(0, end - MARK_BYTES) : end], () if head else place.marks)


def _read_long(fd: int, state: FileState, place: Place) -> Chunk:
    """One line longer than READ_BYTES: find its end first, in constant memory."""
    step, searched = READ_BYTES * 4, place.searched
    for start in range(searched, searched + SEARCH_BYTES, step):
        data = os.pread(fd, step, place.offset + start)
        end = data.find(b"\n")
        if end >= 0:
            return _long_line(fd, state, place, start + end)
        if len(data) < step:
            return Chunk(state, (), False, _searched(place, start + len(data)))
    return Chunk(state, (), True, _searched(place, searched + SEARCH_BYTES))


def _long_line(fd: int, state: FileState, place: Place, length: int) -> Chunk:
    offset, lines = place.offset, list[Line | Oversize]()
    if length > MAX_LINE:
        lines.append(Oversize(offset, length, os.pread(fd, OVERSIZE_HEAD, offset)))
    else:
        lines += split(_pread_whole(fd, length + 1, offset), offset)[0]
    end = offset + length + 1
    mark = min(MARK_BYTES, end)
    head = place.head or os.pread(fd, mark, 0)
    return Chunk(state, tuple(lines), True, Place(end, 0, head, os.pread(fd, mark, end - mark)))


def _pread_whole(fd: int, size: int, offset: int) -> bytes:
    parts, have = [], 0
    while have < size:
        data = os.pread(fd, size - have, offset + have)
        if not data:
            break
        parts.append(data)
        have += len(data)
    return b"".join(parts)
