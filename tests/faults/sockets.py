"""Levels 1 and 2: real sockets, real files and threads, real time; the node in this process, or in a child."""

import os
import signal
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import trio

from actors.sender import OutboxLimits
from observatory.cli.status import ask
from observatory.core.replies import Timing
from observatory.monitor import FileMonitor
from observatory.server.connections import ConnectionManager
from observatory.storage.log import Retention
from tests.faults.world import World
from tests.running import Server, free_port

RESET = struct.pack("ii", 1, 0)


@attrs.define(eq=False)
class TcpWire:
    """A real connection seen by its peer."""

    stream: trio.SocketStream
    _sending: trio.Lock = attrs.field(factory=trio.Lock)  # who asks and who answers pings are two tasks

    async def put(self, data: bytes) -> None:
        """Send to the server. Raises OSError when that is not possible any more."""
        try:
            async with self._sending:
                await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionResetError from error

    async def take(self, count: int) -> bytes:
        """What came. Raises OSError at a reset."""
        try:
            return bytes(await self.stream.receive_some(count))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionResetError from error

    def reset(self) -> None:
        """RST."""
        if self.stream.socket.fileno() >= 0:
            self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.stream.socket.close()

    def close(self) -> None:
        """Close the socket."""
        self.stream.socket.close()


async def connected(url: str, receive_buffer: int | None) -> TcpWire:
    """A connection to a server. Raises OSError."""
    parts = urlsplit(url)
    sock = trio.socket.socket()
    try:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await sock.connect((parts.hostname, parts.port))
    except BaseException:
        sock.close()
        raise
    return TcpWire(trio.SocketStream(sock))


@attrs.define(eq=False)
class RealWorld(World):
    """What levels 1 and 2 share. receive_buffer: SO_RCVBUF of the clients that connect next."""

    receive_buffer: int | None = None
    url: str = ""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.settle_seconds = 60.0

    @property
    def virtual(self) -> bool:
        """Time is real."""
        return False

    async def dial(self) -> TcpWire:
        """TCP."""
        await trio.lowlevel.checkpoint()
        if not self.url:
            raise ConnectionRefusedError
        return await connected(self.url, self.receive_buffer)

    async def calm(self) -> None:
        """Nobody can say."""
        await trio.lowlevel.checkpoint()

    async def pause(self, seconds: float) -> None:
        """Real."""
        await trio.sleep(min(seconds, 0.4))


@attrs.define(eq=False)
class SocketWorld(RealWorld):
    """Level 1: the embedding API in this process."""

    options: dict[str, Any] = attrs.field(factory=dict)  # of the FileMonitor
    outbox: OutboxLimits = attrs.field(factory=OutboxLimits)
    timing: Timing = attrs.field(factory=Timing)
    retention: Retention = attrs.field(factory=Retention)
    secret: str | None = attrs.field(default=None, repr=False)  # the token that it asks for
    monitor: FileMonitor = attrs.field(init=False)
    manager: ConnectionManager = attrs.field(init=False)
    _scope: trio.CancelScope | None = None
    _ended: trio.Event = attrs.field(factory=trio.Event)

    @property
    def token(self) -> str | None:
        """The secret."""
        return self.secret

    async def start(self) -> None:
        """Start the parts."""
        self._ended = trio.Event()
        await self.nursery.start(self._life)

    async def _life(self, task_status: trio.TaskStatus[None]) -> None:
        try:
            with trio.CancelScope() as self._scope:
                async with self._parts() as self.url:
                    task_status.started()
                    await trio.sleep_forever()
        finally:
            self.url = ""
            self._ended.set()

    @asynccontextmanager
    async def _parts(self) -> AsyncIterator[str]:
        async with FileMonitor([self.root], self.data_dir, retention=self.retention, **self.options) as self.monitor:
            self.manager = ConnectionManager(
                self.monitor, outbox=self.outbox, timing=self.timing, token=self._token_of()
            )
            async with self.manager.serving(port=0) as url:
                yield url

    def _token_of(self) -> Callable[[], str] | None:
        secret = self.secret
        return None if secret is None else lambda: secret

    async def stop(self) -> None:
        """Cancel it."""
        assert self._scope is not None
        self._scope.cancel()
        await self._ended.wait()

    async def kill(self) -> None:
        """Not within a process: it ends in order."""
        await self.stop()

    async def status(self) -> dict[str, Any]:
        """Straight from the parts."""
        await trio.lowlevel.checkpoint()
        return self.manager.status()


@attrs.define(eq=False)
class ProcessWorld(RealWorld):
    """Level 2: `observatory serve` as a child."""

    environ: dict[str, str] = attrs.field(factory=dict)
    server: Server = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.server = Server(self.root, self.data_dir, free_port(), {"PYTHONHASHSEED": "0"})

    async def start(self) -> None:
        """Start the process."""
        self.server.environ = {**self.server.environ, **self.environ}
        await self.server.start()
        self.url = self.server.url

    async def kill(self) -> None:
        """SIGKILL."""
        await self.server.kill()

    async def stop(self) -> None:
        """SIGTERM."""
        await self.server.terminate()

    def clean_up(self) -> None:
        """Kill what still runs."""
        self.server.kill_now()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.server.pid, number)

    async def status(self) -> dict[str, Any]:
        """Asked for over the wire: the asker itself is one idle client."""
        status: dict[str, Any] = await ask(self.url)
        status["clients"]["idle"] -= 1
        return status


def database(world: World) -> Path:
    """The log's file."""
    return world.data_dir / "observatory.db"
