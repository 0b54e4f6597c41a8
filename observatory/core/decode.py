"""JSON text into plain values that can be stored and sent: whatever comes out, orjson can encode again.

The strict decoder does nearly all lines. What it refuses but `JSON.stringify` or a broken disk can write (lone
surrogates, bytes that are no UTF-8, huge numbers) is read by the tolerant one and made harmless, with an anomaly.
"""

import json
import math
import re
from typing import Any

import orjson

MAX_DEPTH = 128  # nesting kept; orjson encodes 254 levels and the wire wraps a record into a few more
REPLACEMENT = "\ufffd"
_SURROGATES = re.compile("[\ud800-\udfff]")
_INT_RANGE = range(-(2**63), 2**64)  # what orjson encodes


class NotJson(ValueError):
    """The bytes are no single JSON value."""


def decode(data: bytes) -> tuple[Any, list[str]]:
    """One JSON value and the anomalies met on the way.

    Anomalies: "utf-8" (bytes replaced by U+FFFD), "surrogate" (lone ones, likewise), "number" (NaN and infinity are
    None now, integers over 64 bits floats), "depth" (what lies deeper than MAX_DEPTH is None).
    Raises: NotJson.   Source: transcripts.md R6, R9.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return _tolerant(data)
    # A value cannot be deeper than its brackets are many: most lines need no closer look.
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH and deeper(value, MAX_DEPTH):
        notes: set[str] = set()
        return harmless(value, notes), sorted(notes)
    return value, []


def _tolerant(data: bytes) -> tuple[Any, list[str]]:
    notes: set[str] = set()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
        notes.add("utf-8")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as why:  # ValueError: also an integer of more than 4,300 digits
        raise NotJson(str(why)) from None
    return harmless(value, notes), sorted(notes)


def deeper(value: object, limit: int) -> bool:
    """Whether containers nest deeper than `limit`; level by level, without recursion."""
    level = [value]
    for _ in range(limit + 1):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent if isinstance(parent, list) else ())
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def harmless(value: object, notes: set[str], room: int = MAX_DEPTH) -> Any:  # noqa: ANN401 - any JSON value
    """The same JSON value without anything orjson cannot encode; `notes` collects what was changed."""
    match value:
        case str():
            return scalar(value, notes)
        case bool() | None:
            return value
        case int() if value not in _INT_RANGE:
            notes.add("number")
            return float(value) if value.bit_length() <= 1023 else None
        case float() if not math.isfinite(value):
            notes.add("number")
            return None
        case dict() | list() if room <= 0:
            notes.add("depth")
            return None
        case dict():
            return {scalar(key, notes): harmless(item, notes, room - 1) for key, item in value.items()}
        case list():
            return [harmless(item, notes, room - 1) for item in value]
    return value


def scalar(text: str, notes: set[str]) -> str:
    """A string without lone surrogates."""
    clean = _SURROGATES.sub(REPLACEMENT, text)
    if clean != text:
        notes.add("surrogate")
    return clean


def valid(text: str) -> str:
    """A string that encodes as UTF-8: file names may carry lone surrogates (PEP 383)."""
    return text if text.isascii() else _SURROGATES.sub(REPLACEMENT, text)
