"""Writes a stream of lines to files at its pace, as Claude Code would: each line with one append."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

import attrs
import trio

from observatory.core.errors import WorldError
from observatory.core.replies import rfc3339
from observatory.demo.stream import Write

MOST_LATE = 1.0  # seconds the writer may be behind its plan and catch up; what is more is given up


@attrs.define
class Pace:
    """How the stream's seconds become wall time. `stamp` is the clock of the made-up lines."""

    speed: float
    began: float = attrs.field(factory=time.time)
    late: float = 0.0  # wall seconds by which the plan was moved, because writing took longer

    def stamp(self, at: float) -> str:
        """When a line is written that lies `at` seconds into the stream: RFC 3339."""
        return rfc3339(round((self.began + self.late + at / self.speed) * 1000))


@attrs.define
class Tally:
    """What has been written."""

    lines: int = 0
    written: int = 0
    files: set[str] = attrs.field(factory=set)


async def play(writes: Iterable[Write], projects: Path, pace: Pace, tally: Tally, most: float) -> bool:
    """Write everything, or until `most` bytes are written; whether it was everything.

    Raises: WorldError: a file cannot be written.
    """
    due = trio.current_time()
    for write in writes:
        due += write.delay / pace.speed
        await trio.sleep_until(due)
        behind = trio.current_time() - due - MOST_LATE
        if behind > 0:
            due, pace.late = due + behind, pace.late + behind
        if tally.written + len(write.data) > most:
            return False
        _append(projects / write.path, write.data)
        tally.lines += write.path.endswith(".jsonl")
        tally.written += len(write.data)
        tally.files.add(write.path)
    return True


def _append(path: Path, data: bytes) -> None:
    try:
        try:
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            while data:
                data = data[os.write(file, data) :]
        finally:
            os.close(file)
    except OSError as error:
        what = f"{path} cannot be written ({error.strerror})"
        raise WorldError(what, "free some space, or choose another place with --root") from None
