"""A large history: sample transcripts over and over, every time with fresh ids, so that nothing counts as a copy.

Ids (of records, messages, tools, requests, sessions, agents) are found by the keys that hold them, and replaced where a
whole JSON string is one of them; file names and project folders follow. Each copy of the samples is a set of its own.
"""

import hashlib
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import orjson

ID_KEYS = frozenset({
    "uuid", "parentUuid", "sessionId", "session_id", "requestId", "id", "tool_use_id", "toolUseID", "parentToolUseID",
    "agentId", "leafUuid", "messageId", "sourceToolAssistantUUID", "logicalParentUuid", "promptId", "message_id",
})  # fmt: skip
SHORTEST_ID, SHORTEST = 2, {"id": 5}  # what is shorter could be a number of a list
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
API_ID = re.compile(r"((?:msg|toolu|req)_(?:[a-z]+_)?)(\w{8,})")
HEX_ID = re.compile(r"((?:a|acompact-)?)([0-9a-f]{5,17})")
STRING = re.compile(rb'"((?:[^"\\]|\\.)*)"')
CWD = re.compile(rb'("cwd"\s*:\s*")((?:[^"\\]|\\.)+)(")')
NEWEST = 1_790_000_000  # s: the modification time of the first copy's first file
STEP_SECONDS = 61


@attrs.frozen
class Sample:
    """A file in pieces: literal bytes at even places, ids and directories at odd ones."""

    path: Path  # below the projects directory
    pieces: tuple[bytes, ...]


@attrs.frozen
class Corpus:
    """What was made: the projects directory, how many copies, and their size."""

    projects: Path
    copies: int
    files: int
    size: int


def make(samples: Path, home: Path, size: float) -> Corpus:
    """Copy the samples (a directory that holds projects/) until there are so many bytes."""
    projects = samples / "projects"
    paths = sorted(projects.rglob("*.jsonl"))
    ids = frozenset(found for path in paths for found in ids_of(path.read_bytes()))
    made = [Sample(path.relative_to(projects), tuple(pieces_of(path.read_bytes(), ids))) for path in paths]
    copies = max(1, math.ceil(size / sum(path.stat().st_size for path in paths)))
    total = sum(_write(home / ".claude/projects", sample, number, copy, ids)
                for copy in range(copies) for number, sample in enumerate(made))  # fmt: skip
    return Corpus(home / ".claude/projects", copies, copies * len(made), total)


def ids_of(content: bytes) -> Iterator[str]:
    """Every id in a file."""
    for line in content.splitlines():
        yield from _ids_in(orjson.loads(line)) if line.strip() else ()


def _ids_in(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, held in value.items():
            if key in ID_KEYS and isinstance(held, str) and len(held) >= SHORTEST.get(key, SHORTEST_ID):
                yield held
            else:
                yield from _ids_in(held)
    elif isinstance(value, list):
        for held in value:
            yield from _ids_in(held)


def pieces_of(content: bytes, ids: frozenset[str]) -> Iterator[bytes]:
    """Literal, id, literal, id … literal. Directories are told from ids by their slash."""
    known = {name.encode() for name in ids}
    spans = [match.span(1) for match in STRING.finditer(content) if match[1] in known]
    spans += [match.span(2) for match in CWD.finditer(content) if match[2] not in known]
    at = 0
    for start, end in sorted(spans):
        yield content[at:start]
        yield content[start:end]
        at = end
    yield content[at:]


def renamed(name: str, copy: int) -> str:
    """An id in a copy: of the same shape where it has one."""
    digest = hashlib.sha256(f"{copy}:{name}".encode()).hexdigest()
    if UUID.fullmatch(name):
        return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))
    if found := API_ID.fullmatch(name):
        return found[1] + digest[: max(16, len(found[2]))]
    if found := HEX_ID.fullmatch(name):
        return found[1] + digest[: max(12, len(found[2]))]
    return f"{name}-r{copy}"


def _write(projects: Path, sample: Sample, number: int, copy: int, ids: frozenset[str]) -> int:
    path = projects / place(sample.path, copy, ids)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = b"".join(
        _replaced(piece, copy) if odd % 2 else piece for odd, piece in enumerate(sample.pieces)
    )  # fmt: skip
    path.write_bytes(content)
    moment = NEWEST - STEP_SECONDS * (copy * 1000 + number)
    os.utime(path, (moment, moment))
    return len(content)


def _replaced(piece: bytes, copy: int) -> bytes:
    if piece.startswith(b"/"):
        return b"%s-r%d" % (piece, copy)
    return renamed(piece.decode(), copy).encode()


def place(path: Path, copy: int, ids: frozenset[str]) -> Path:
    """Where a copy of a sample lies."""
    slug, *below = path.parts
    names = [f"{slug}-r{copy}"]
    for part in below:
        stem, dot, extension = part.partition(".")
        agent = stem.removeprefix("agent-")
        if stem in ids or UUID.fullmatch(stem):
            stem = renamed(stem, copy)
        elif agent != stem:
            stem = f"agent-{renamed(agent, copy)}"
        elif dot:  # a name of somebody's choice
            stem = f"{stem}-r{copy}"
        names.append(f"{stem}{dot}{extension}")
    return Path(*names)
