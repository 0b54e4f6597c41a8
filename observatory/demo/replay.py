"""Real transcripts once more, line by line, interleaved by their timestamps. Only reads."""

import heapq
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path

import attrs
import orjson

from observatory.core.identity import is_transcript
from observatory.core.instants import instant
from observatory.demo.stream import Write

LONGEST_PAUSE = 10.0  # seconds: nobody waits a night for the next morning's session
HEAD_LINES = 1000  # of a file that are searched for its first timestamp
Trouble = Callable[[str], None]


@attrs.frozen
class Source:
    """A transcript. `name` lies below `projects/`; `begins` is its first timestamp, else when it was written."""

    path: Path
    name: str
    begins: float


def sources(projects: Path, trouble: Trouble) -> list[Source]:
    """The transcripts below a projects directory. `trouble` is told of what cannot be read."""
    found = []
    for folder, _, names in os.walk(projects, onerror=lambda error: trouble(_why(error))):
        for path in (Path(folder, name) for name in names):
            if is_transcript(str(path)):
                try:
                    found.append(Source(path, str(path.relative_to(projects)), _begins(path)))
                except OSError as error:
                    trouble(_why(error))
    return found


def _begins(path: Path) -> float:
    with path.open("rb") as file:
        stamps = (moment for line in islice(file, HEAD_LINES) if (moment := moment_of(line)) is not None)
        return next(stamps, None) or path.stat().st_mtime


def moment_of(line: bytes) -> float | None:
    """A line's timestamp in seconds since 1970; None if it has none."""
    try:
        value = orjson.loads(line)
    except ValueError:
        return None
    stamp = value.get("timestamp") if isinstance(value, dict) else None
    moment = instant(stamp) if isinstance(stamp, str) else None
    return None if moment is None else datetime.fromisoformat(moment).timestamp()


def replay(files: Iterable[Source], trouble: Trouble) -> Iterator[Write]:
    """All lines of all files in the order of their times; a file's own order is kept, pauses are cut to 10 s.

    Open at a time are the files whose times overlap.
    """
    waiting = deque(sorted(files, key=lambda source: (source.begins, source.name)))
    active: list[tuple[float, int, Write, Iterator[tuple[float, Write]]]] = []
    now = waiting[0].begins if waiting else 0.0
    turn = 0
    while waiting or active:
        if waiting and (not active or waiting[0].begins <= active[0][0]):
            lines = _lines(waiting.popleft(), trouble)
        else:
            at, _, write, lines = heapq.heappop(active)
            yield attrs.evolve(write, delay=min(max(at - now, 0.0), LONGEST_PAUSE))
            now = max(at, now)
        if (following := next(lines, None)) is not None:
            turn += 1
            heapq.heappush(active, (following[0], turn, following[1], lines))


def _lines(source: Source, trouble: Trouble) -> Iterator[tuple[float, Write]]:
    """A file's lines with their times, which never go back; first of all what lies beside a sub-agent's file."""
    at = source.begins
    try:
        about = source.path.with_suffix(".meta.json")
        if about.is_file():
            yield at, Write(0.0, source.name.removesuffix(".jsonl") + ".meta.json", about.read_bytes())
        with source.path.open("rb") as file:
            for line in file:
                at = max(at, moment_of(line) or at)
                yield at, Write(0.0, source.name, line if line.endswith(b"\n") else line + b"\n")
    except OSError as error:
        trouble(_why(error))


def _why(error: OSError) -> str:
    return f"{error.filename} cannot be read: {error.strerror}"
