"""Reading spilled outputs: only regular files right in a session's own folder, never through a symlink. It blocks."""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
import zstandard

from observatory.core.spilled import FOLDER, MAX_BYTES, is_spilled, redacted

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_FILES = 10_000  # of one session
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
State = tuple[int, int, bool]  # size and mtime_ns of what is stored, and whether with a body


@attrs.frozen
class Spilled:
    """A file as it was read. body: compressed; None with a reason."""

    name: str
    size: int
    mtime_ns: int
    reason: str | None = None
    body: bytes | None = None


@attrs.frozen
class Listing:
    """The names in a session's folder. refused: how many entries are none of its files; reason: it cannot be read."""

    names: tuple[str, ...] = ()
    refused: int = 0
    reason: str | None = None


def has_folder(folder: str) -> bool:
    """Whether a session has a folder of spilled outputs, or something in its place."""
    return os.path.lexists(f"{folder}/{FOLDER}")


def list_folder(session: str) -> Listing:
    """What a session's folder holds. That there is none is the usual case."""
    try:
        with _folder(session) as fd, os.scandir(fd) as entries:
            found = [(entry.name, entry.is_file(follow_symlinks=False)) for entry in entries if is_spilled(entry.name)]
    except (FileNotFoundError, NotADirectoryError):
        return Listing()
    except OSError as error:
        return Listing(reason=error.strerror or str(error))
    names = sorted(name for name, is_file in found if is_file)
    return Listing(tuple(names[:MAX_FILES]), len(found) - len(names[:MAX_FILES]))


def own_name(session: str, path: str) -> str | None:
    """The name of a file in a session's folder; None if the path leads anywhere else, whatever it is written like."""
    try:
        real = os.path.realpath(path)
        own = os.path.join(os.path.realpath(os.path.dirname(session)), os.path.basename(session), FOLDER)
    except (OSError, ValueError):
        return None
    folder, name = os.path.split(real)
    return name if os.path.isabs(path) and folder == own and is_spilled(name) else None


def read(session: str, name: str, known: State | None, redact: Callable[[bytes], bytes] | None) -> Spilled | None:
    """A file of a session's folder; None if there is nothing new in it, or it is gone. known: what is stored of it.

    What is stored stays if the file cannot be read any more, or has grown too big.
    """
    try:
        with _folder(session) as folder:
            return _read(folder, name, known, redact)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno == errno.ELOOP:  # gone, or a symlink by now
            return None
        return None if known is not None else Spilled(name, 0, 0, error.strerror or str(error))


def _read(folder: int, name: str, known: State | None, redact: Callable[[bytes], bytes] | None) -> Spilled | None:
    fd = os.open(name, _FLAGS, dir_fd=folder)
    try:
        found = os.fstat(fd)
        size, mtime = found.st_size, found.st_mtime_ns
        if known is not None and known[:2] == (size, mtime):
            return None
        regular = stat.S_ISREG(found.st_mode)
        if not regular or size > MAX_BYTES:
            reason = f"larger than {MAX_BYTES >> 20} MiB" if regular else "not a regular file"
            return None if known is not None and known[2] else Spilled(name, size, mtime, reason)
        data = _whole(fd, size)
    finally:
        os.close(fd)
    text = data if redact is None else redacted(data, redact)
    return Spilled(name, size, mtime, body=zstandard.ZstdCompressor().compress(text))


def _whole(fd: int, size: int) -> bytes:
    """So much of the file as it had when it was looked at."""
    parts, have = [], 0
    while have < size and (data := os.read(fd, size - have)):
        parts.append(data)
        have += len(data)
    return b"".join(parts)


@contextmanager
def _folder(session: str) -> "Iterator[int]":
    """A descriptor of a session's folder; neither that nor the session's may be a symlink, to lead out of it."""
    fd = os.open(session, _FLAGS | os.O_DIRECTORY)
    try:
        folder = os.open(FOLDER, _FLAGS | os.O_DIRECTORY, dir_fd=fd)
    finally:
        os.close(fd)
    try:
        yield folder
    finally:
        os.close(folder)
