"""Events: what the log stores and the wire carries (protocol.md §2, §3)."""

from typing import Any

import attrs
import orjson

from observatory.core.frozen import frozen

SMALL_FRAME = 126  # payload lengths that fit into the second byte of a WebSocket frame
MEDIUM_FRAME = 65536


@attrs.frozen
class Position:
    """A place in the log: everything with a seq ≤ `seq` of this `epoch`."""

    epoch: str
    seq: int


@attrs.frozen
class LogPosition:
    """The log as a whole: `head` is the last seq, `oldest` the first one kept (head + 1 when it is empty)."""

    epoch: str
    head: int
    oldest: int


@frozen
class Draft:
    """An event before it has a seq. `data`: a JSON object, or any JSON already written out. `topics`: no doubles."""

    type: str
    data: dict[str, Any] | orjson.Fragment
    topics: tuple[str, ...]


@frozen
class Event:
    """A committed event. `payload` is the exact JSON text that every client gets, live or replayed."""

    seq: int
    type: str
    topics: tuple[str, ...]
    payload: bytes


def encode(kind: str, data: object, timestamp_ms: int, seq: int, epoch: str) -> bytes:
    """The payload of an event; raises TypeError (orjson.JSONEncodeError) when `data` is not JSON."""
    return orjson.dumps({"type": kind, "data": data, "timestamp": timestamp_ms, "seq": seq, "epoch": epoch})


def text_frame(payload: bytes) -> bytes:
    """One unmasked, final WebSocket text frame (RFC 6455 §5.2): made once, shared by all clients."""
    return frame_head(len(payload)) + payload


def frame_head(size: int) -> bytes:
    """What stands before a payload of this size."""
    if size < SMALL_FRAME:
        return bytes((0x81, size))
    if size < MEDIUM_FRAME:
        return b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\x7f" + size.to_bytes(8, "big")


def payload_of(frame: bytes) -> memoryview:
    """The payload of a frame made by `text_frame`, not copied."""
    return memoryview(frame)[{126: 4, 127: 10}.get(frame[1], 2) :]
