"""HTTP on the port of the WebSocket server: one accepted connection, spoken by hypercorn's HTTP/1.1 over a trio stream.

hypercorn's parts used here are its internals: its version is pinned, and nobody else imports them. Its HTTP/2 is left
out, so that every request, on a fresh connection or a kept one, is judged by the same head.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from math import inf
from typing import Any

import attrs
import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from observatory.server.transport import Wired
from observatory.server.upgrade import LINGER_SECONDS

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]
RECEIVE_BYTES = 64 * 1024
PIECE_BYTES = 64 * 1024  # of an answer that must leave within the stall time
MAX_HEAD = 16 * 1024  # as the first head of a connection
REQUESTS_A_CONNECTION = 10_000  # then it is closed: nothing that a connection gathers is for ever


@attrs.frozen
class HttpLimits:
    """connections: at a time; the next ones are refused. idle_seconds: between two requests. stall_seconds: for which a
    client may take nothing of an answer."""

    connections: int = 2000
    idle_seconds: float = 75.0
    stall_seconds: float = 30.0


class Stalled(Exception):
    """The client takes nothing of its answer."""


class _PlainH11(H11Protocol):
    """Without the ways from a plain connection into HTTP/2."""

    async def _check_protocol(self, event: h11.Request) -> None:
        return None


class _Tasks(TaskGroup):
    """Runs the application. What a client still sends after its answer was given goes nowhere, and blocks nobody."""

    async def spawn_app(
        self,
        app: Any,  # noqa: ANN401 - as in hypercorn
        config: Config,
        scope: Any,  # noqa: ANN401
        send: Callable[[Any], Awaitable[None]],
    ) -> Callable[[Any], Awaitable[None]]:
        put, take = trio.open_memory_channel[Message](config.max_app_queue_size)

        async def answer() -> None:
            with take:
                await app(scope, take.receive, send)
            await send(None)

        async def give(message: Message) -> None:
            with suppress(trio.BrokenResourceError):
                await put.send(message)

        self.spawn(answer)
        return give


@attrs.define(eq=False)
class HttpSide:
    """All HTTP connections of a server. `app` is an ASGI application, which handles its own errors.

    served: connections since the start. ending: set when answers without an end have to come to one.
    """

    app: App
    limits: HttpLimits = attrs.field(factory=HttpLimits)
    served: int = 0
    ending: trio.Event = attrs.field(factory=trio.Event)
    _open: set["_HttpConnection"] = attrs.field(factory=set)
    _context: WorkerContext = attrs.field(factory=lambda: WorkerContext(None), init=False)
    _config: Config = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        config = Config()
        config.accesslog = config.errorlog = None
        config.include_server_header = False
        config.h11_max_incomplete_size = MAX_HEAD
        config.keep_alive_max_requests = REQUESTS_A_CONNECTION
        self._config = config

    @property
    def open(self) -> int:
        """Connections now."""
        return len(self._open)

    @property
    def full(self) -> bool:
        """No more connections are taken."""
        return len(self._open) >= self.limits.connections

    async def end(self) -> None:
        """From now on each connection is closed when its request is answered; idle ones at once."""
        self.ending.set()
        await self._context.terminated.set()
        for connection in tuple(self._open):
            connection.end_if_idle()

    async def serve(self, stream: Wired, plain: trio.SocketStream, received: bytes, state: dict[str, Any]) -> None:
        """Answer the requests of a connection, until one side ends it.

        Args:   received: what was read of it already. state: given to the application with each request.
        Raises: BrokenResourceError: the client went. Stalled.
        """
        connection = _HttpConnection(stream, self.limits)
        theirs, ours = plain.socket.getpeername()[:2], plain.socket.getsockname()[:2]
        kept, tls = ConnectionState(state), bool(state.get("tls"))
        app: Any = self.app

        def protocol(tasks: TaskGroup) -> H11Protocol:
            return _PlainH11(app, self._config, self._context, tasks, kept, tls, theirs, ours, connection.say)

        self.served += 1
        self._open.add(connection)
        failure: Exception | None = None
        try:
            await connection.run(protocol, received)
        except* Stalled:
            failure = Stalled()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            failure = trio.BrokenResourceError()
        finally:
            self._open.discard(connection)
        if failure is not None:
            raise failure


@attrs.define(eq=False)
class _HttpConnection:
    """One connection: feeds what comes to the protocol, writes what it says, and watches the clock over both."""

    _stream: Wired
    _limits: HttpLimits
    _one_writer: trio.Lock = attrs.field(factory=trio.Lock)
    _listening: trio.CancelScope = attrs.field(factory=trio.CancelScope)  # its deadline is that of the next request
    _closing: bool = False

    async def run(self, protocol_of: Callable[[TaskGroup], H11Protocol], received: bytes) -> None:
        """See HttpSide.serve; errors come in groups."""
        self._listening.deadline = trio.current_time() + self._limits.idle_seconds
        async with _Tasks() as tasks:
            protocol = protocol_of(tasks)
            with self._listening:
                await self._listen(protocol, received)
            await protocol.handle(Closed())
            await self._leave()
            assert tasks._nursery is not None
            tasks._nursery.cancel_scope.cancel()

    async def _listen(self, protocol: H11Protocol, received: bytes) -> None:
        while True:
            await protocol.handle(RawData(received))
            if not received or self._closing:
                return
            received = bytes(await self._stream.receive_some(RECEIVE_BYTES))

    def end_if_idle(self) -> None:
        """No further request is waited for."""
        if self._listening.deadline != inf:
            self._listening.cancel()

    async def say(self, event: Event) -> None:
        """What the protocol wants to be done."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Updated):
            self._listening.deadline = trio.current_time() + self._limits.idle_seconds if event.idle else inf
        elif isinstance(event, Closed):
            self._closing = True
            self._listening.cancel()

    async def _write(self, data: bytes) -> None:
        async with self._one_writer:
            for start in range(0, len(data), PIECE_BYTES):
                with trio.move_on_after(self._limits.stall_seconds) as patience:
                    await self._stream.send_all(data[start : start + PIECE_BYTES])
                if patience.cancelled_caught:  # after part of it nothing else may follow
                    raise Stalled

    async def _leave(self) -> None:
        """Say that nothing follows; what the client still sends is read for a moment: a reset would eat the answer."""
        with trio.move_on_after(LINGER_SECONDS):
            async with self._one_writer:
                await self._stream.send_eof()
            while self._closing and await self._stream.receive_some(RECEIVE_BYTES):
                pass
