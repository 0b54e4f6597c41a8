"""A log in memory, and sockets that are pretended: what seeded schedules stand on."""

from contextlib import suppress
from typing import Any

import attrs
import trio

from observatory.core.events import Draft, LogPosition, encode
from observatory.core.ports import Stored
from tests.actors.fakes import FakeTransport

EPOCH = "simulated"
PAGE = 3
BUFFER = 700  # bytes that the pretended kernel holds for one client


@attrs.define
class MemoryLog:
    """An EventSource over a list; pages are small and take a step."""

    rows: list[Stored] = attrs.field(factory=list)
    removals: int = 0

    @property
    def position(self) -> LogPosition:
        return LogPosition(EPOCH, len(self.rows), 1)

    def append(self, topics: tuple[str, ...], project: str = "p") -> Stored:
        draft = Draft("message_added", {"project_id": project}, topics)
        payload = encode(draft.type, draft.data, 0, len(self.rows) + 1, EPOCH)
        self.rows.append(Stored(len(self.rows) + 1, frozenset(topics), payload))
        return self.rows[-1]

    async def read(self, after: int, upto: int) -> list[Stored]:
        await trio.lowlevel.checkpoint()
        rows = self.rows[after : min(after + PAGE, upto)]
        await trio.lowlevel.checkpoint()
        return rows

    async def snapshot(self, limit: int) -> dict[str, Any]:
        raise NotImplementedError


class PretendedSocket(FakeTransport):
    """The kernel's buffer for one client: full at BUFFER bytes that were not read."""

    def __init__(self, stream: "Stream") -> None:
        super().__init__(BUFFER)
        self.stream = stream

    def try_send(self, data: bytes | memoryview) -> int:
        count = super().try_send(data)
        self.stream.news.set()
        return count

    def abort(self) -> None:
        super().abort()
        self.stream.reset()

    def close(self) -> None:
        self.abort()

    def lose(self) -> None:
        """The peer is gone."""
        self.error = OSError("reset")
        self.make_room()

    # what the server does with the socket itself
    def setsockopt(self, *_: object) -> None: ...

    def getpeername(self) -> tuple[str, int]:
        return "127.0.0.1", 1

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 2


class Stream(trio.abc.Stream):
    """The server's end of a connection, and what the client's end needs."""

    def __init__(self) -> None:
        self.send_in, self._in = trio.open_memory_channel[bytes](1000)
        self.news = trio.Event()
        self.broken = False
        self.socket = PretendedSocket(self)

    def reset(self) -> None:
        """Both ends are told."""
        if not self.broken:
            self.broken = True
            self.socket.error = OSError("reset")
            self.send_in.close()
            self.news.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        with suppress(trio.EndOfChannel):
            return await self._in.receive()
        raise trio.BrokenResourceError

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise NotImplementedError

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        self.reset()
        await trio.lowlevel.checkpoint()


class Listener(trio.abc.Listener[Stream]):
    """Accepts what `connect` brings."""

    def __init__(self) -> None:
        self._put, self._get = trio.open_memory_channel[Stream](10)

    def connect(self) -> Stream:
        stream = Stream()
        self._put.send_nowait(stream)
        return stream

    async def accept(self) -> Stream:
        return await self._get.receive()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
