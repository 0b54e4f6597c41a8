"""Whole records inside a line that is not JSON: glued pairs, a torn record followed by the next one.

Nothing is repaired by guessing: a recovered object counts only if it is a whole record, because a plain search also
finds the blocks and messages nested in a torn one. Source: transcripts.md §7.
"""

import json
import re
from typing import Any

import attrs

from observatory.core.decode import MAX_DEPTH, deeper

TREE_TYPES = frozenset({"user", "assistant", "system", "progress", "attachment"})
# Failed attempts re-read bytes; a hostile line must not cost more than this many times its length.
WORK_FACTOR = 8
WORK_FLOOR = 65536
_START = re.compile(r'\{"(?:parentUuid|type|cwd|isSidechain)"')
_BLANK = re.compile(r"[ \t\r\n\x00]*")
_DECODER = json.JSONDecoder()


@attrs.frozen
class Span:
    """Bytes [start, end) of a line."""

    start: int
    end: int


def recover(data: bytes) -> tuple[list[Span], Span | None]:
    """The whole records in a damaged line, in order, and the rest: from its first to its last byte (may enclose some).

    Args: data: a line that is no JSON value.
    """
    found = _whole_records(data) if b'{"' in data else []
    rest: Span | None = None
    start = 0
    for span in [*found, Span(len(data), len(data))]:
        if data[start : span.start].strip(b" \t\r\n\x00"):
            rest = Span(start if rest is None else rest.start, span.start)
        start = span.end
    return found, rest


def _whole_records(data: bytes) -> list[Span]:
    """Decode values one after another; where that fails, go on at the next thing that begins like a record.

    The bytes are read as Latin-1: JSON's structure is ASCII, so the positions in the text are those in the bytes.
    """
    text = data.decode("latin-1")
    work = WORK_FACTOR * len(text) + WORK_FLOOR
    found: list[Span] = []
    at = _blank_end(text, 0)
    while at < len(text) and work > 0:
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as why:
            work -= _cost(why, at, len(text))
            following = _START.search(text, at + 1)
            at = following.start() if following else len(text)
        else:
            work -= end - at
            if is_whole_record(value) and not deeper(value, MAX_DEPTH):
                found.append(Span(at, end))
            at = _blank_end(text, end)
    return found


def _blank_end(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at


def _cost(why: Exception, at: int, length: int) -> int:
    """How many characters a failed attempt may have read."""
    if isinstance(why, json.JSONDecodeError) and not why.msg.startswith("Unterminated"):
        return why.pos - at + 1
    return length - at


def is_whole_record(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Whether an object is a record of its own and not a part of one."""
    if type(value) is not dict or type(kind := value.get("type")) is not str:
        return False
    if kind in TREE_TYPES:
        return "parentUuid" in value and _texts(value, "uuid", "sessionId", "timestamp")
    if kind == "summary":
        return _texts(value, "leafUuid")
    if kind == "file-history-snapshot":
        return _texts(value, "messageId") and isinstance(value.get("snapshot"), dict)
    return _texts(value, "sessionId")


def _texts(value: dict[str, Any], *keys: str) -> bool:
    return all(isinstance(value.get(key), str) for key in keys)
