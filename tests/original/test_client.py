"""The original dashboard's client, as it behaves, across restarts of the real server: it never gives up, and loses
nothing while it is connected."""

import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
import trio

from observatory.client.connection import Connection, connect
from observatory.core.client_items import Closed, Frame, Refused
from observatory.core.errors import Unreachable
from observatory.core.topics import LEGACY_TOPICS
from tests.oracle import read_log
from tests.original.stage import line
from tests.running import Server, free_port, serving
from tests.server.serving import DEADLINE

GIVES_UP_AFTER = 5  # failed attempts in a row
NORMAL = 1000
QUICK = {"OBSERVATORY_DRAIN_SECONDS": "0.3", "OBSERVATORY_PING_SECONDS": "0.5"}
Message = dict[str, Any]


@attrs.define
class Life:
    """One connection of the client: where the log was when it opened, what came, and the code it was closed with."""

    head: int = 0
    messages: list[Message] = attrs.field(factory=list)
    pings: int = 0
    code: int | None = None

    @property
    def seqs(self) -> list[int]:
        return [message["seq"] for message in self.messages if "seq" in message]

    def count(self, kind: str) -> int:
        return sum(message["type"] == kind for message in self.messages)


@attrs.define(eq=False)
class OriginalClient:
    """What the dashboard does, and no more: no subprotocol, no requests but pings, no position, no resume.

    first_delay and ping_every are its 1 s and 30 s, shortened. The delay doubles when an attempt is planned and again
    when it fails; an open connection restores it. It reconnects on any code but 1000, and gives up after five failures.
    """

    url: str
    first_delay: float = 0.05
    ping_every: float = 0.1
    lives: list[Life] = attrs.field(factory=list)
    failures: int = 0
    gave_up: bool = False
    seen: Counter[str] = attrs.field(factory=Counter)
    heard: trio.Event = attrs.field(factory=trio.Event)

    async def run(self) -> None:
        """Until it gives up, or is closed with 1000."""
        delay = self.first_delay
        while True:
            try:
                async with connect(self.url, legacy=True) as connection:
                    delay, self.failures = self.first_delay, 0
                    await self._live(connection)
            except (Unreachable, Refused, Closed):
                self.failures += 1
                delay *= 2
            if self.failures >= GIVES_UP_AFTER or (self.lives and self.lives[-1].code == NORMAL):
                self.gave_up = True
                self._tell()
                return
            await trio.sleep(delay)
            delay *= 2

    async def _live(self, connection: Connection) -> None:
        life = Life()
        self.lives.append(life)
        self._dispatch(connection.hello, life)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ping, connection, life)
            try:
                while True:
                    self._dispatch(await connection.receive(), life)
            except Closed as closed:
                life.code = closed.code
            nursery.cancel_scope.cancel()
        self._tell()

    async def _ping(self, connection: Connection, life: Life) -> None:
        with suppress(Closed):
            while True:
                await trio.sleep(self.ping_every)
                text = orjson.dumps({"type": "ping", "timestamp": time.time_ns() // 10**6}).decode()
                life.pings += 1
                await connection.send_text(text)

    def _dispatch(self, frame: Frame, life: Life) -> None:
        message: Message = orjson.loads(frame.text)
        assert {"type", "data", "timestamp"} <= message.keys()
        life.messages.append(message)
        match message["type"]:
            case "connection_established":
                life.head = message["data"]["position"]["head"]
                assert message["data"]["protocol"] is None
            case "conversation_update" | "project_update":
                self.seen[message["data"]["id"]] += 1
            case "ping":
                raise AssertionError("a legacy client is pinged by control frames")
        self._tell()

    def _tell(self) -> None:
        self.heard.set()
        self.heard = trio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that it hears."""
        with trio.fail_after(DEADLINE):
            while not condition():
                await self.heard.wait()

    async def connected(self, times: int) -> None:
        """Wait for the hello of its n-th connection."""
        await self.until(lambda: len(self.lives) >= times and bool(self.lives[-1].messages))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "projects" / "-w").mkdir(parents=True)
    return tmp_path / "projects"


@attrs.define
class Writer:
    """Claude Code: lines of one session."""

    root: Path
    numbers: Iterator[int] = attrs.field(factory=lambda: iter(range(10**6)))

    def write(self, text: str = "hello") -> None:
        with (self.root / "-w" / "s.jsonl").open("ab") as file:
            file.write(line(next(self.numbers), text) + b"\n")

    async def keep_writing(self) -> None:
        while True:
            self.write()
            await trio.sleep(0.02)


async def restart(server: Server) -> None:
    """As an operator does it."""
    await server.terminate()
    await server.start()


async def crash(server: Server) -> None:
    """SIGKILL, and a supervisor that starts it again."""
    await server.kill()
    await server.start()


def closed_after(life: Life, text: str) -> bool:
    """The line with this text has come, and what follows from it, which is one transaction, too."""
    at = [n for n, message in enumerate(life.messages) if text in str(message["data"])]
    return bool(at) and any(message["type"] == "project_update" for message in life.messages[at[0] :])


def check(server: Server, client: OriginalClient) -> None:
    """Each life got what was published to it from its hello on, in order and once, up to where it was cut off."""
    events = [event for event in read_log(server.database) if not LEGACY_TOPICS.isdisjoint(event.topics)]
    for life in client.lives:
        due = [event.seq for event in events if event.seq > life.head]
        assert life.seqs == due[: len(life.seqs)]
        assert life.count("pong") <= life.pings
    assert client.lives[-1].seqs == [event.seq for event in events if event.seq > client.lives[-1].head]


@pytest.mark.parametrize("again", [restart, crash])
async def test_it_survives_restarts_of_the_server_and_gets_everything_while_it_is_connected(
    root: Path, tmp_path: Path, again: Callable[[Server], Awaitable[None]]
) -> None:
    writer = Writer(root)
    writer.write()
    async with serving(root, tmp_path / "data", free_port(), QUICK) as server, trio.open_nursery() as nursery:
        client = OriginalClient(server.url)
        nursery.start_soon(client.run)
        await client.connected(1)
        async with trio.open_nursery() as writing:
            writing.start_soon(writer.keep_writing)
            for times in (2, 3):
                await client.until(lambda: client.lives[-1].count("conversation_update") >= 3)
                await again(server)
                await client.connected(times)
            await client.until(lambda: client.lives[-1].count("pong") >= 3)
            writing.cancel_scope.cancel()
        writer.write(text="the last word")
        await client.until(lambda: closed_after(client.lives[-1], "the last word"))
        check(server, client)
        assert [life.code for life in client.lives[:-1]] == [1012 if again is restart else 1006] * 2
        assert client.seen.keys() >= {"s"}  # and its project
        assert len(client.seen) == 2
        assert not client.gave_up
        nursery.cancel_scope.cancel()


async def test_it_hears_of_everything_that_is_written_between_the_announcement_and_its_own_close(
    root: Path, tmp_path: Path
) -> None:
    writer = Writer(root)
    writer.write()
    slow = QUICK | {"OBSERVATORY_DRAIN_SECONDS": "3"}
    async with serving(root, tmp_path / "data", free_port(), slow) as server, trio.open_nursery() as nursery:
        clients = [OriginalClient(server.url) for _ in range(8)]
        for client in clients:
            nursery.start_soon(client.run)
            await client.connected(1)
        nursery.start_soon(writer.keep_writing)
        server.send_signal(signal.SIGTERM)
        assert await server.ended() == 0
        nursery.cancel_scope.cancel()
        stored = [event for event in read_log(server.database) if not LEGACY_TOPICS.isdisjoint(event.topics)]
        for client in clients:
            (life,) = [life for life in client.lives if life.messages]
            assert life.code == 1012
            assert life.seqs == [event.seq for event in stored if event.seq > life.head][: len(life.seqs)]
            announced = [message["type"] for message in life.messages].index("server_shutdown")
            life.messages = life.messages[announced + 1 :]
        assert sum(bool(client.lives[0].seqs) for client in clients) >= 4  # most had time for some


async def test_it_gives_up_on_a_server_that_stays_away(root: Path, tmp_path: Path) -> None:
    """What a restart must be quicker than; and a check of the client itself."""
    async with serving(root, tmp_path / "data", free_port(), QUICK) as server, trio.open_nursery() as nursery:
        client = OriginalClient(server.url, first_delay=0.001)
        nursery.start_soon(client.run)
        await client.connected(1)
        await server.terminate()
        await client.until(lambda: client.gave_up)
        assert client.failures == GIVES_UP_AFTER
        assert client.lives[0].code == 1012
