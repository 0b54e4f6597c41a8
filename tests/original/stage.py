"""An embedded Observatory: a FileMonitor on an empty root, a ConnectionManager on a real port, and raw clients."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import orjson
import trio

from actors.sender import OutboxLimits
from observatory.core.broadcast import MAX_BYTES, BroadcastResult
from observatory.core.replies import Timing
from observatory.monitor import FileMonitor
from observatory.server.connections import ConnectionManager
from observatory.server.listener import listen
from tests.server.serving import DEADLINE, Raw

END = "end_of_scene"  # broadcast to everybody: whoever has it has everything that came before
Message = dict[str, Any]


@attrs.define(eq=False)
class Client:
    """One client after its confirmation; a legacy one after its hello."""

    raw: Raw
    id: str
    start: int
    seen: list[Message] = attrs.field(factory=list)

    async def next(self) -> Message:
        """The next event."""
        while "seq" not in (message := await self.raw.message()):
            assert message["type"] == "ping", message
        self.seen.append(message)
        return message

    async def until(self, kind: str) -> list[Message]:
        """The events before the next one of a type."""
        found: list[Message] = []
        while (message := await self.next())["type"] != kind:
            found.append(message)
        return found


@attrs.define(eq=False)
class Embedded:
    """The parts, and the clients in the order in which they connected."""

    monitor: FileMonitor
    manager: ConnectionManager
    root: Path
    port: int
    clients: list[Client] = attrs.field(factory=list)
    raws: list[Raw] = attrs.field(factory=list)

    async def client(
        self, *topics: str, since: int | None = None, legacy: bool = False, receive_bytes: int | None = None
    ) -> Client:
        """Connect and subscribe, from the head or from a seq on."""
        raw = await self._connect(legacy, receive_bytes)
        hello = await raw.message()
        start = hello["data"]["position"]["head"]
        if not legacy:
            epoch = hello["data"]["position"]["epoch"]
            resume = {} if since is None else {"resume": {"epoch": epoch, "seq": since}}
            confirmed = await raw.ask("subscribe", {"topics": list(topics), **resume})
            assert confirmed["type"] == "subscription_confirmed", confirmed
            start = confirmed["data"]["pos"]
        client = Client(raw, hello["data"]["client_id"], start)
        self.clients.append(client)
        return client

    async def stranger(self) -> Raw:
        """A v1 client that has not subscribed: it has no position."""
        raw = await self._connect(False, None)
        await raw.message()
        return raw

    async def _connect(self, legacy: bool, receive_bytes: int | None) -> Raw:
        sock = trio.socket.socket()
        if receive_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await sock.connect(("127.0.0.1", self.port))
        raw = Raw(trio.SocketStream(sock))
        self.raws.append(raw)
        await raw.request("/ws", **({"Sec_WebSocket_Protocol": None} if legacy else {}))
        status, _, _ = await raw.response()
        assert status == 101
        return raw

    async def say(self, kind: str, subscription_filter: str | None = None, **data: Any) -> BroadcastResult:
        """Broadcast, and see that nobody was found broken."""
        result = await self.manager.broadcast({"type": kind, "data": data}, subscription_filter)
        assert (result, result.error) == ([], None)
        return result

    async def received(self) -> list[list[Message]]:
        """What each client got by now."""
        await self.say(END)
        return [await client.until(END) for client in self.clients]

    async def types(self) -> list[list[str]]:
        """The types of what each client got by now."""
        return [[message["type"] for message in messages] for messages in await self.received()]

    def write(self, name: str, *lines: bytes) -> None:
        """Append lines to a transcript."""
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        with path.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))

    async def wait(self, condition: Callable[[], bool]) -> None:
        """Let others run until a gauge shows what the test waits for."""
        with trio.fail_after(DEADLINE):
            while not condition():  # noqa: ASYNC110 - a gauge has no event
                await trio.sleep(0.001)


@asynccontextmanager
async def embedded(
    directory: Path,
    *,
    outbox: OutboxLimits | None = None,
    timing: Timing | None = None,
    send_buffer: int | None = None,
    max_message_bytes: int = MAX_BYTES,
    **settings: Any,
) -> AsyncIterator[Embedded]:
    """Watch, serve and broadcast while the block runs; `send_buffer`: SO_SNDBUF of accepted sockets.

    settings: further ones of the FileMonitor.
    """
    root = directory / "projects"
    root.mkdir(exist_ok=True)
    async with FileMonitor([root], directory / "data", **settings) as monitor, trio.open_nursery() as nursery:
        timing = timing or Timing(ping_interval=600)
        manager = ConnectionManager(monitor, outbox=outbox, timing=timing, max_message_bytes=max_message_bytes)
        listeners = await listen("127.0.0.1", 0)
        if send_buffer is not None:  # inherited by what is accepted
            listeners[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        nursery.start_soon(manager.serve, listeners)
        on = Embedded(monitor, manager, root, listeners[0].socket.getsockname()[1])
        try:
            yield on
        finally:
            for raw in on.raws:
                raw.stream.socket.close()
        nursery.cancel_scope.cancel()


def line(number: int, text: str = "hello", **fields: Any) -> bytes:
    """A line of a transcript: a prompt."""
    message = {"role": "user", "content": f"{text} {number}"}
    found = {"type": "user", "uuid": f"u{number}", "sessionId": "s", "cwd": "/w", "message": message}
    return orjson.dumps(found | fields)
