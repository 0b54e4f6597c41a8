"""Many clients of one server process: each event once and in order to each, however slowly some of them read.

The clients are raw sockets with a frame parser of a few lines, so that a million frames take a second.
"""

import socket
from array import array
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import orjson
import trio

from observatory.client.connection import connect
from tests.oracle import Change, Published, Received, Witness, check, read_log
from tests.running import Server, serving

DEADLINE_SECONDS = 60.0  # never reached when all is well
QUIET = {"OBSERVATORY_PING_SECONDS": "600"}  # so that a ping always means: this client is live again
ALL = ("all_conversations",)
RECEIVE_BYTES = 1024 * 1024
TINY_BUFFER = 4096
UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: observatory.v1\r\n\r\n"
)


async def test_a_hundred_clients_get_ten_thousand_events_each_once_and_in_order(tmp_path: Path) -> None:
    async with scene(tmp_path) as on, trio.open_nursery() as nursery:
        clients = [await on.client(ALL) for _ in range(100)]
        for client in clients:
            nursery.start_soon(client.read)
        for start in range(0, 10_000, 100):
            on.write("-w/a.jsonl", (line(n) for n in range(start, start + 100)))
            await on.wait(lambda: on.frames.messages > start - 1000)  # noqa: B023
        log = await on.finish(clients)
        assert sum(b'"message_added"' in event.payload[:30] for event in log) == 10_001
        nursery.cancel_scope.cancel()
        check_all(log, clients)


async def test_slow_readers_end_complete_while_the_fast_ones_never_fall_behind(tmp_path: Path) -> None:
    async with scene(tmp_path) as on, trio.open_nursery() as nursery:
        fast = [await on.client(ALL) for _ in range(10)]
        slow = [await on.client(ALL, TINY_BUFFER) for _ in range(20)]
        for client in fast:
            nursery.start_soon(client.read)
        for start in range(0, 3000, 50):
            on.write("-w/a.jsonl", (line(n, "x" * 4000) for n in range(start, start + 50)))
            await on.wait(lambda: min(len(client.seqs) for client in fast) >= start + 50)  # noqa: B023
            for client in slow:
                await client.read_some(TINY_BUFFER)
        assert (await on.status())["clients"] == {"live": 10, "behind": 20, "idle": 1}
        assert [client.pings for client in fast] == [[]] * 10  # the server pings who returns to live
        for client in slow:
            nursery.start_soon(client.read)
        log = await on.finish([*fast, *slow])
        await on.wait(lambda: all(client.pings for client in slow))
        assert (await on.status())["clients"] == {"live": 30, "behind": 0, "idle": 1}
        nursery.cancel_scope.cancel()
        check_all(log, [*fast, *slow])


async def test_catching_up_over_many_pages_gives_exactly_what_the_topics_ask_for(tmp_path: Path) -> None:
    async with scene(tmp_path) as on, trio.open_nursery() as nursery:
        live = await on.client(ALL)
        nursery.start_soon(live.read)
        for start in range(0, 4000, 100):
            name = f"c{start // 100 % 8}"
            lines = (line(n, sessionId=name, cwd=f"/p{start // 100 % 4}") for n in range(start, start + 100))
            on.write(f"-w/{name}.jsonl", lines)
            await trio.lowlevel.checkpoint()
        log = await on.finish([live])
        head = len(log)
        assert head > 256 * 15
        projects = sorted({topic for event in log for topic in event.topics if topic.startswith("project:")})
        asked = [ALL, ("conversation:c3",), ("conversation:c1", *projects[:2]), ("file_events",), ("system",),
                 ("project_updates", "conversation:c7"), tuple(f"conversation:c{n}" for n in range(8))]  # fmt: skip
        starts = (0, head // 2, head - 10, head)
        clients = [await on.client(topics, since=start) for topics in asked for start in starts]
        for client in clients:
            nursery.start_soon(client.read)
        await on.wait(lambda: all(client.pings or client.start == head for client in clients))
        nursery.cancel_scope.cancel()
        for client in clients:
            assert not client.pings or client.pings[-1] == (head, len(client.seqs))
            check(log, client.witness())


def check_all(log: tuple[Published, ...], clients: list["RawClient"]) -> None:
    """The oracle for the first; the others got the same frames (equal bytes are one entry of `Frames`)."""
    check(log, clients[0].witness())
    assert all(client.seqs == clients[0].seqs and client.start == clients[0].start for client in clients)


# -- the server and its files ------------------------------------------------------------------------------------------


@attrs.define
class Scene:
    """A server, the files it watches, and its clients."""

    server: Server
    root: Path
    frames: "Frames"
    clients: list["RawClient"] = attrs.field(factory=list)

    async def client(self, topics: tuple[str, ...], buffer: int = 0, since: int | None = None) -> "RawClient":
        """A client that has subscribed: from `since` on, else from the head."""
        raw = trio.socket.socket()
        client = RawClient(trio.SocketStream(raw), self.frames, topics)
        self.clients.append(client)
        if buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        url = urlsplit(self.server.url)
        await raw.connect((url.hostname, url.port))
        await client.begin(url.netloc, since)
        return client

    def write(self, name: str, lines: Iterable[bytes]) -> None:
        """Append to a transcript."""
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        with path.open("ab") as file:
            file.write(b"".join(lines))

    async def wait(self, done: Callable[[], bool]) -> None:
        """Look again whenever one of the clients got something."""
        with trio.move_on_after(DEADLINE_SECONDS):
            while not done():
                self.frames.news = trio.Event()
                await self.frames.news.wait()
            return
        raise AssertionError(f"{[len(client.seqs) for client in self.clients]}\n{self.server.stderr[-3000:]}")

    async def status(self) -> dict[str, dict[str, int]]:
        """What get_status says; its own connection is the idle one."""
        async with connect(self.server.url) as connection:
            found: dict[str, dict[str, int]] = (await connection.request("get_status")).data
            return found

    async def finish(self, clients: list["RawClient"]) -> tuple[Published, ...]:
        """One more file, whose transaction is the last; returns the log when the clients have come to its end."""
        self.write("-w/the-end.jsonl", [line(0, sessionId="the-end", uuid="the-end")])
        await self.wait(lambda: any(b'"id":"the-end"' in payload for payload in self.frames.started))
        log = read_log(self.server.database)
        last = max(event.seq for event in log if not event.topics.isdisjoint(ALL))
        await self.wait(lambda: all(client.seqs and client.seqs[-1] >= last for client in clients))
        return log


@asynccontextmanager
async def scene(directory: Path) -> AsyncIterator[Scene]:
    """A server on an empty root; the clients' sockets are closed at the end."""
    root = directory / "projects"
    root.mkdir()
    async with serving(root, directory / "data", environ=QUIET) as server:
        on = Scene(server, root, Frames())
        try:
            yield on
        finally:
            for client in on.clients:
                client.stream.socket.close()


def line(number: int, text: str = "", **fields: str) -> bytes:
    message = {"role": "user", "content": f"{number} {text}"}
    found = {"type": "user", "uuid": f"u{number}", "sessionId": "a", "cwd": "/w", "message": message}
    return orjson.dumps(found | fields) + b"\n"


# -- raw clients -------------------------------------------------------------------------------------------------------


@attrs.define
class Frames:
    """Every payload that any client got, once: an altered one is an entry of its own, with a negative number."""

    seqs: dict[bytes, int] = attrs.field(factory=dict)
    payloads: dict[int, bytes] = attrs.field(factory=dict)
    started: list[bytes] = attrs.field(factory=list)  # conversation_started
    messages: int = 0
    news: trio.Event = attrs.field(factory=trio.Event)

    def add(self, payload: bytes) -> int:
        """The number of a payload not seen before; 0 for a control frame."""
        at = payload.rfind(b',"seq":')
        seq = int(payload[at + 7 : payload.index(b",", at + 7)]) if at > 0 else 0
        if seq in self.payloads:
            seq = -len(self.seqs)
        if seq:
            self.seqs[payload] = seq
            self.payloads[seq] = payload
        self.messages += payload.startswith(b'{"type":"message_added"')
        if payload.startswith(b'{"type":"conversation_started"'):
            self.started.append(payload)
        return seq


@attrs.define
class RawClient:
    """One socket after the confirmation. start: its position then; pings: (pos, sent), sent is checked at once."""

    stream: trio.SocketStream
    frames: Frames
    topics: tuple[str, ...]
    start: int = -1
    seqs: "array[int]" = attrs.field(factory=lambda: array("q"))
    pings: list[tuple[int, int]] = attrs.field(factory=list)
    _rest: bytes = b""

    async def begin(self, host: str, since: int | None) -> None:
        """Upgrade and subscribe."""
        await self.stream.send_all(UPGRADE.format(host).encode())
        while b"\r\n\r\n" not in self._rest:
            self._rest += await self.stream.receive_some(RECEIVE_BYTES)
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        hello = await self._next()
        assert hello["type"] == "connection_established"
        resume = {} if since is None else {"resume": {"epoch": hello["data"]["position"]["epoch"], "seq": since}}
        await self._send("subscribe", {"topics": self.topics, **resume})
        confirmed = await self._next()
        assert confirmed["type"] == "subscription_confirmed", confirmed
        self.start = confirmed["data"]["pos"]
        self._take(b"")

    async def read(self) -> None:
        """Read until cancelled."""
        while await self.read_some(RECEIVE_BYTES):
            pass

    async def read_some(self, size: int) -> bool:
        """Read once; False at the end."""
        data = await self.stream.receive_some(size)
        self._take(data)
        self.frames.news.set()
        return bool(data)

    def witness(self) -> Witness:
        """For the oracle."""
        received = [Received(seq, self.frames.payloads[seq]) for seq in self.seqs]
        return Witness([Change(self.start, frozenset(self.topics))], received)

    def _take(self, data: bytes | bytearray) -> None:
        known, frames, append = self.frames.seqs, self.frames, self.seqs.append
        data = self._rest + data
        at, size = 0, len(data)
        while (end := _end(data, at, size)) is not None:
            payload = data[end[0] : end[1]]
            seq = known.get(payload) or frames.add(payload)
            append(seq) if seq else self._control(payload)
            at = end[1]
        self._rest = data[at:]

    def _control(self, payload: bytes) -> None:
        message = orjson.loads(payload)
        assert message["type"] == "ping", message
        assert message["data"]["sent"] == len(self.seqs)
        self.pings.append((message["data"]["pos"], message["data"]["sent"]))

    async def _next(self) -> dict[str, Any]:
        while (end := _end(self._rest, 0, len(self._rest))) is None:
            data = await self.stream.receive_some(RECEIVE_BYTES)
            assert data
            self._rest += data
        payload, self._rest = self._rest[end[0] : end[1]], self._rest[end[1] :]
        found: dict[str, Any] = orjson.loads(payload)
        return found

    async def _send(self, kind: str, data: dict[str, Any]) -> None:
        payload = orjson.dumps({"type": kind, "id": 1, "data": data})
        short = len(payload) < 126
        size = bytes([0x80 | len(payload)]) if short else b"\xfe" + len(payload).to_bytes(2, "big")
        await self.stream.send_all(b"\x81" + size + bytes(4) + payload)  # masked with zeros


def _end(data: bytes, at: int, size: int) -> tuple[int, int] | None:
    """Where the payload of an unmasked text frame begins and ends; None while it is not whole."""
    if size - at < 2:
        return None
    assert data[at] == 0x81
    length, start = data[at + 1], at + 2
    if length > 125:
        start += 2 if length == 126 else 8
        if start > size:
            return None
        length = int.from_bytes(data[at + 2 : start], "big")
    return (start, start + length) if start + length <= size else None
