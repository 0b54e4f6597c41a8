"""Visitor: a raw connection. It says only what it is told to, and notes what came, and when it was over."""

from collections.abc import Mapping
from typing import Any

import attrs
import orjson
import trio

from tests.faults.peer import CHUNK, Wire
from tests.faults.wire import CLOSE, PING, PONG, TEXT, Frames, masked
from tests.faults.world import World

HEAD = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "observatory.v1",
}
ABNORMAL = 1006


def head(target: str = "/ws", more: Mapping[str, str | None] | None = None) -> bytes:
    """The head of a request: a good one of a v1 client, with other or (None) without some headers."""
    headers = {**HEAD, **(more or {})}
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def request(kind: str, **data: Any) -> bytes:
    """A request as a frame."""
    return masked(TEXT, orjson.dumps({"type": kind, "data": data}))


@attrs.define(eq=False)
class Visitor:
    """pongs: whether it answers control pings and close frames, as every library does."""

    wire: Wire
    began: float
    pongs: bool = True
    answer: bytes = b""  # head of the answer
    body: bytearray = attrs.field(factory=bytearray)
    messages: list[dict[str, Any]] = attrs.field(factory=list)
    code: int | None = None
    told_at: float | None = None  # when the close frame came
    over_at: float | None = None
    over: trio.Event = attrs.field(factory=trio.Event)
    _frames: Frames = attrs.field(factory=Frames)

    @property
    def status(self) -> int | None:
        """Of the answer."""
        return int(self.answer.split(b" ", 2)[1]) if self.answer else None

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer, with lower-case names."""
        lines = (line.partition(":") for line in self.answer.decode().split("\r\n")[1:])
        return {name.lower(): value.strip() for name, _, value in lines}

    @property
    def lasted(self) -> float:
        """Seconds from its first byte to the end."""
        assert self.over_at is not None, "it is still there"
        return self.over_at - self.began

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The messages of a type."""
        return [message for message in self.messages if message["type"] == kind]

    async def say(self, *data: bytes) -> None:
        """Send bytes, if they can be sent."""
        for one in data:
            try:
                await self.wire.put(one)
            except OSError:
                return

    async def run(self) -> None:
        """Read to the end."""
        try:
            while data := await self.wire.take(CHUNK):
                await self._take(data)
        except OSError:
            pass
        finally:
            self.wire.close()
            self.code = self.code or ABNORMAL
            self.over_at = trio.current_time()
            self.over.set()

    async def _take(self, data: bytes) -> None:
        if self.status != 101:
            self.body += data
            if self.answer or b"\r\n\r\n" not in self.body:
                return
            self.answer, _, data = (bytes(part) for part in self.body.partition(b"\r\n\r\n"))
            self.body = bytearray(data if self.status != 101 else b"")
            if self.status != 101:
                return
        for opcode, payload in self._frames.feed(data):
            await self._frame(opcode, payload)

    async def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self.messages.append(orjson.loads(payload))
        elif opcode == CLOSE:
            self.code, self.told_at = int.from_bytes(payload[:2], "big"), trio.current_time()
        if self.pongs and opcode in (CLOSE, PING):
            await self.say(masked(CLOSE if opcode == CLOSE else PONG, payload[:125]))


async def knock(world: World, *data: bytes, pongs: bool = True) -> Visitor:
    """Connect, send this, and read in the background."""
    visitor = Visitor(await world.dial(), trio.current_time(), pongs)
    world.nursery.start_soon(visitor.run)
    await visitor.say(*data)
    return visitor
