"""A whole server over a real log, on a real port: what the tests of the server stand on."""

import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
import trio
import trio.testing

from actors.commands import Publish, Routed
from actors.router import Router
from actors.sender import OutboxLimits
from observatory.core.batch import Batch
from observatory.core.events import Draft, Event, text_frame
from observatory.core.facts import facts_of_frame
from observatory.core.handshake import Policy
from observatory.core.replies import Timing, WireLimits
from observatory.core.topics import EVERYONE, of_conversation
from observatory.server.listener import WebSocketServer, listen
from observatory.server.websocket import Services
from observatory.storage.committer import Committer
from observatory.storage.log import EventLog, Retention
from observatory.storage.reader import LogReader

DEADLINE = 20.0  # generous: it only turns a hang into a failure
TOPICS = of_conversation("c1", "p1")
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HEAD = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Protocol": "observatory.v1",
}


@attrs.define(eq=False)
class Running:
    """A running server and its parts."""

    server: WebSocketServer
    router: Router[str]
    log: EventLog
    reader: LogReader
    committer: Committer
    port: int
    written: list[object]
    raws: "list[Raw]" = attrs.field(factory=list)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    async def publish(self, count: int = 1, *, size: int = 10, topics: tuple[str, ...] = TOPICS) -> tuple[Event, ...]:
        """Commit events, then route them, as the ingest does."""
        return await self.commit(*(Draft("message_added", {"text": "x" * size}, topics) for _ in range(count)))

    async def commit(self, *drafts: Draft) -> tuple[Event, ...]:
        """The same with events of one's own."""
        events = await self.committer.append(Batch(drafts=list(drafts)))
        publish = Publish(tuple(Routed(e.seq, e.topics, text_frame(e.payload)) for e in events))
        await self.router.post(publish)
        await publish.done.wait()
        return events

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let others run until a gauge shows what the test waits for."""
        with trio.fail_after(DEADLINE):
            while not condition():  # noqa: ASYNC110 - a gauge has no event
                await trio.sleep(0.001)

    async def socket(self, receive_bytes: int | None = None) -> "Raw":
        """A raw connection, perhaps with a small receive buffer."""
        sock = trio.socket.socket()
        if receive_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await sock.connect(("127.0.0.1", self.port))
        self.raws.append(Raw(trio.SocketStream(sock)))
        return self.raws[-1]

    async def upgraded(self, target: str = "/ws", receive_bytes: int | None = None, **headers: str | None) -> "Raw":
        """A raw connection after its 101; its hello is the next frame."""
        raw = await self.socket(receive_bytes)
        await raw.request(target, **headers)
        status, _, _ = await raw.response()
        assert status == 101
        return raw


@attrs.define(eq=False)
class Raw:
    """The wire, byte by byte."""

    stream: trio.SocketStream
    received: bytearray = attrs.field(factory=bytearray)

    async def request(self, target: str = "/ws", **headers: str | None) -> None:
        """Send an upgrade request; a header given as None is left out."""
        wanted = HEAD | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {v}" for name, v in wanted.items() if v is not None)]
        await self.stream.send_all("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body of an HTTP answer."""
        with trio.fail_after(DEADLINE):
            while b"\r\n\r\n" not in self.received:
                await self._more()
            head, _, rest = bytes(self.received).partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            size = int(headers.get("content-length", 0))
            self.received = bytearray(rest)
            while len(self.received) < size:
                await self._more()
            body = bytes(self.received[:size])
            del self.received[:size]
        return int(first.split()[1]), headers, body

    async def frame(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame; all are final and unmasked."""
        with trio.fail_after(DEADLINE):
            first, short = await self._take(2)
            assert first & 0xF0 == 0x80
            size = short
            if short == 126:
                size = int.from_bytes(await self._take(2), "big")
            elif short == 127:
                size = int.from_bytes(await self._take(8), "big")
            return first & 0x0F, await self._take(size)

    async def message(self) -> dict[str, Any]:
        """The next text message."""
        opcode, payload = await self.frame()
        assert opcode == 1, (opcode, payload)
        message: dict[str, Any] = orjson.loads(payload)
        return message

    async def close_frame(self) -> tuple[int, str]:
        """Code and reason of the close frame that comes next, text messages passed over."""
        while True:
            opcode, payload = await self.frame()
            if opcode == 8:
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    async def end(self) -> bytes:
        """What still comes until the peer's end, which may be a reset."""
        with trio.fail_after(DEADLINE), suppress(trio.BrokenResourceError):  # also a reset
            while True:
                await self._more()
        return bytes(self.received)

    async def send(self, payload: bytes | str, opcode: int = 1, *, first: int = 0x80) -> None:
        """One masked frame; `first`: the bits above the opcode."""
        await self.stream.send_all(masked(payload, opcode, first=first))

    async def ask(self, kind: str, data: Any = None, id: Any = 1) -> dict[str, Any]:
        """Send a request and return the next message."""
        await self.send(orjson.dumps({"type": kind, "id": id, "data": {} if data is None else data}))
        return await self.message()

    async def until_reset(self) -> None:
        """Read until the peer resets the connection; an orderly end fails the test."""
        with trio.fail_after(DEADLINE), pytest.raises(trio.BrokenResourceError, match="reset"):
            await self._read_all()

    async def _read_all(self) -> None:
        while await self.stream.receive_some():
            pass

    def reset(self) -> None:
        """RST."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.stream.socket.close()

    async def aclose(self) -> None:
        await self.stream.aclose()

    async def _take(self, count: int) -> bytes:
        while len(self.received) < count:
            await self._more()
        data = bytes(self.received[:count])
        del self.received[:count]
        return data

    async def _more(self) -> None:
        data = await self.stream.receive_some()
        if not data:
            raise trio.BrokenResourceError("the peer ended")
        self.received += data


def masked(payload: bytes | str, opcode: int = 1, *, first: int = 0x80) -> bytes:
    """One frame of a client, masked with zeros."""
    data = payload.encode() if isinstance(payload, str) else payload
    size = len(data)
    if size < 126:
        head = bytes((first | opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((first | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + b"\0\0\0\0" + data


@asynccontextmanager
async def serving(
    directory: Path,
    *,
    timing: Timing | None = None,
    outbox: OutboxLimits | None = None,
    policy: Policy | None = None,
    status: Callable[[], dict[str, Any]] = lambda: {"version": "test"},
    max_clients: int = 10_000,
    reader: Callable[[EventLog], LogReader] = LogReader,
    send_buffer: int | None = None,
    token: Callable[[], str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Running]:
    """Serve from `directory` while the block runs; `send_buffer`: SO_SNDBUF of accepted sockets."""
    log = EventLog(directory, "boot-1")
    events = reader(log)
    written: list[object] = []
    head = log.position.head
    router: Router[str] = Router(EVERYONE, head, 64, time.monotonic_ns, written.append, read=facts_of_frame)
    services = Services(router, events, status, timing or Timing(), WireLimits())
    server = WebSocketServer(
        services,
        policy or Policy(),
        outbox or OutboxLimits(),
        max_clients,
        written.append,
        lambda low, high: low,
        token=token,
        tls=tls,
    )
    listeners = await listen("127.0.0.1", 0)
    if send_buffer is not None:  # inherited by what is accepted
        listeners[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    committer = Committer(log, Retention(), lambda: time.time_ns() // 1_000_000)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(router.run)
            nursery.start_soon(server.serve, listeners)
            port = listeners[0].socket.getsockname()[1]
            running = Running(server, router, log, events, committer, port, written)
            yield running
            nursery.cancel_scope.cancel()
    finally:
        for raw in running.raws:
            raw.stream.socket.close()
        events.close()
        log.close()


SMALL = OutboxLimits(frames=8, bytes=64 * 1024)
QUICK = Timing(ping_interval=0.1, ping_timeout=0.1, first_request=5, close_timeout=0.2)


def data_of(message: dict[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = message["data"]
    return data


def code_of(message: dict[str, Any]) -> str:
    assert message["type"] == "error", message
    code: str = message["data"]["code"]
    return code


async def subscribed(running: Running, topic: str = "all_conversations", **options: Any) -> Raw:
    raw = await running.upgraded(**options)
    await raw.message()
    assert (await raw.ask("subscribe", {"topics": [topic]}))["type"] == "subscription_confirmed"
    return raw
