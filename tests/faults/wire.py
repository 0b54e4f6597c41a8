"""The wire as a peer must see it: whole, unmasked, final frames, then nothing (V10). And what a peer sends."""

from collections.abc import Iterator

import attrs

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MASK = b"\x11\x22\x33\x44"


class Torn(AssertionError):
    """Bytes that are no frame of ours."""


@attrs.define
class Frames:
    """Cuts a stream of bytes into frames."""

    _rest: bytearray = attrs.field(factory=bytearray)
    _closed: bool = False

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(opcode, payload) of the frames that are complete now. Raises Torn."""
        self._rest += data
        while (frame := self._next()) is not None:
            if self._closed:
                raise Torn(f"a frame after the close frame: {frame[1][:40]!r}")
            self._closed = frame[0] == CLOSE
            yield frame

    @property
    def rest(self) -> bytes:
        """The beginning of a frame that never ended."""
        return bytes(self._rest)

    def _next(self) -> tuple[int, bytes] | None:
        if len(self._rest) < 2:
            return None
        first, size, start = self._rest[0], self._rest[1], 2
        if first & 0xF0 != 0x80 or first & 0x0F not in (TEXT, CLOSE, PING, PONG) or size & 0x80:
            raise Torn(f"no whole, unmasked text or control frame: {bytes(self._rest[:16])!r}")
        if size > 125:
            start = 4 if size == 126 else 10
            if len(self._rest) < start:
                return None
            size = int.from_bytes(self._rest[2:start], "big")
        if len(self._rest) < start + size:
            return None
        payload = bytes(self._rest[start : start + size])
        del self._rest[: start + size]
        return first & 0x0F, payload


def masked(opcode: int, payload: bytes) -> bytes:
    """A client's frame."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
    mask = (MASK * (size // 4 + 1))[:size]
    body = (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")
    return head + MASK + body
