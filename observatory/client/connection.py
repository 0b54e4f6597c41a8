"""One connection to the server: dial, handshake, frames, requests and their replies."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, cast

import attrs
import orjson
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import LocalProtocolError

from observatory.client.trust import SYSTEM, Trust
from observatory.core.client_items import ABNORMAL, Closed, Frame, Refused, closed, parse_frame, refusal, refused
from observatory.core.client_target import Target, parse_target
from observatory.core.errors import Unreachable
from observatory.core.events import Position

SUBPROTOCOL = "observatory.v1"
HANDSHAKE_SECONDS = 10.0  # as long as the server gives a client
CLOSE_SECONDS = 5.0  # protocol.md §12: an unanswered close becomes a reset
MESSAGE_BYTES = 64 * 1024 * 1024  # a snapshot of 1,000 conversations, or a 16 MiB broadcast, with room
RECEIVE_BYTES = 64 * 1024
QUEUED_MESSAGES = 64  # read ahead of the reader

OpenStream = Callable[[], Awaitable[trio.abc.Stream]]
Wrap = Callable[..., Awaitable[WebSocketConnection]]


@attrs.frozen
class Dial:
    """How to reach the server. `trust`: whose certificate is believed. `open_stream` replaces dialling, for tests."""

    url: str
    token: str | None = attrs.field(default=None, repr=False)
    headers: Sequence[tuple[str, str]] = ()
    legacy: bool = False
    open_stream: OpenStream | None = None
    trust: Trust = SYSTEM

    async def open(self, target: Target) -> trio.abc.Stream:
        """A stream to the server. Raises: Unreachable."""
        try:
            with trio.fail_after(HANDSHAKE_SECONDS):
                if self.open_stream is not None:
                    return await self.open_stream()
                if target.tls:
                    return await self.trust.open(target)
                return await trio.open_tcp_stream(target.host, target.port)
        except (OSError, trio.TooSlowError):
            raise Unreachable(f"No server answers at {target.authority}", "is `observatory serve` running?") from None

    def header_lines(self) -> list[tuple[bytes, bytes]]:
        token = [] if self.token is None else [("Authorization", f"Bearer {self.token}")]
        return [(name.encode(), value.encode()) for name, value in (*self.headers, *token)]


@attrs.frozen
class Server:
    """A server, and what it takes to be let in. Wherever a URL is taken, one of these may stand."""

    url: str
    token: str | None = attrs.field(default=None, repr=False)
    trust: Trust = SYSTEM

    def dial(
        self,
        headers: Sequence[tuple[str, str]] = (),
        legacy: bool = False,
        open_stream: OpenStream | None = None,
    ) -> Dial:
        """How to reach it."""
        return Dial(self.url, self.token, headers, legacy, open_stream, self.trust)


def server_at(url: str | Server, token: str | None = None) -> Server:
    """The server that a URL means; `token` if there is none yet."""
    server = url if isinstance(url, Server) else Server(url)
    return server if token is None else attrs.evolve(server, token=token)


@attrs.define(eq=False)
class HandshakeStream(trio.abc.Stream):
    """A stream whose end during the handshake is an error; trio-websocket alone would wait for ever."""

    _stream: trio.abc.Stream
    opened: bool = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        with self._ends_as_unreachable():
            data = await self._stream.receive_some(max_bytes)
        if not data and not self.opened:
            raise _hung_up()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._ends_as_unreachable():
            await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()

    @contextmanager
    def _ends_as_unreachable(self) -> Iterator[None]:
        try:
            yield
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            if self.opened:
                raise
            raise _hung_up() from None


@attrs.define(eq=False)
class Connection:
    """One socket, for one task: frames as they come, requests and their replies. Pings are not answered by itself."""

    _ws: WebSocketConnection
    _stream: trio.abc.Stream
    hello: Frame
    _stash: deque[Frame] = attrs.field(factory=deque, init=False)
    _requests: int = attrs.field(default=0, init=False)

    async def receive(self) -> Frame:
        """The next frame. Text that is no message of the protocol is passed over. Raises: Closed."""
        return self._stash.popleft() if self._stash else await _read(self._ws)

    async def event(self) -> Frame:
        """The next frame with a seq; others before it are passed over. Raises: Closed."""
        while (frame := await self.receive()).seq is None:
            pass
        return frame

    async def request(self, kind: str, data: dict[str, Any] | None = None) -> Frame:
        """Send a request and return its reply, which may be an `error` frame; what comes between is kept for `receive`.

        Raises: Closed.
        """
        self._requests += 1
        await self.send(kind, data, f"r{self._requests}")
        while (frame := await _read(self._ws)).reply_to != f"r{self._requests}":
            self._stash.append(frame)
        return frame

    async def send(self, kind: str, data: dict[str, Any] | None = None, id: str | int | None = None) -> None:
        """Send a message without waiting for a reply. Raises: Closed."""
        message = {"type": kind, "data": data or {}, **({} if id is None else {"id": id})}
        await self.send_text(orjson.dumps(message).decode())

    async def send_text(self, text: str | bytes) -> None:
        """Send any text (or a binary message): for tests. Raises: Closed."""
        try:
            await self._ws.send_message(text)
        except ConnectionClosed as error:
            raise _closed(error) from None

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close; a peer that does not answer within 5 s is left without."""
        with trio.move_on_after(CLOSE_SECONDS):
            await self._ws.aclose(code, reason)

    async def abort(self) -> None:
        """Drop the socket without a word."""
        await trio.aclose_forcefully(self._stream)


@asynccontextmanager
async def connect(
    url: "str | Server",
    *,
    topics: Sequence[str] = (),
    where: dict[str, Any] | None = None,
    since: Position | None = None,
    legacy: bool = False,
    token: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    open_stream: OpenStream | None = None,
) -> AsyncIterator[Connection]:
    """One connection, after the server's first frame; with `topics` or `since` also subscribed.

    Args:   legacy: offer no subprotocol, as the original client. open_stream: instead of dialling, for tests.
    Raises: Unreachable: nobody answers. Refused: the server does, with a status or an error. Closed: right after hello.
    """
    async with open_connection(server_at(url, token).dial(headers, legacy, open_stream)) as connection:
        if topics or since is not None:
            resume = {} if since is None else {"resume": {"epoch": since.epoch, "seq": since.seq}}
            reply = await connection.request("subscribe", {"topics": list(topics), "where": where, **resume})
            if reply.type == "error":
                raise refused(reply)
        yield connection


@asynccontextmanager
async def open_connection(dial: Dial) -> AsyncIterator[Connection]:
    """A connection from its hello to its close. Raises: Unreachable, Refused, Closed (before the hello)."""
    stream = HandshakeStream(await dial.open(parse_target(dial.url)))
    over = False
    try:
        with unwrapped():
            async with trio.open_nursery() as nursery:
                connection = await _handshake(dial, partial(wrap_client_stream, nursery, cast("Any", stream)), stream)
                try:
                    yield connection
                    over = True  # not when the reader's crash cancelled the block: then it must end by an error
                finally:
                    await connection.aclose()
                nursery.cancel_scope.cancel()
    except ConnectionRejected as error:
        raise _refusal(error) from None
    except LocalProtocolError:  # trio-websocket answers a ping that crossed our close; nobody waits for that
        if not over:
            raise Closed("The server kept talking while we closed") from None
    finally:
        await trio.aclose_forcefully(stream)


async def _handshake(dial: Dial, wrap: Wrap, stream: HandshakeStream) -> Connection:
    target = parse_target(dial.url)
    try:
        with trio.fail_after(HANDSHAKE_SECONDS):
            ws = await wrap(
                target.authority,
                target.resource,
                subprotocols=() if dial.legacy else (SUBPROTOCOL,),
                extra_headers=dial.header_lines(),
                message_queue_size=QUEUED_MESSAGES,
                max_message_size=MESSAGE_BYTES,
                receive_buffer_size=RECEIVE_BYTES,
            )
            stream.opened = True
            if not dial.legacy and ws.subprotocol != SUBPROTOCOL:
                raise Refused(f"The server at {target.authority} does not speak {SUBPROTOCOL}")
            hello = await _read(ws)
    except trio.TooSlowError:
        hint = "it may want a token: see --token-file" if stream.opened and dial.token is None else ""
        raise Unreachable(f"The server at {target.authority} did not complete the handshake", hint) from None
    if hello.type == "error":
        raise refused(hello)
    return Connection(ws, stream, hello)


def _hung_up() -> Unreachable:
    return Unreachable("The server hung up during the handshake", retryable=True)


async def _read(ws: WebSocketConnection) -> Frame:
    try:
        while True:
            message = await ws.get_message()
            if isinstance(message, str) and (frame := parse_frame(message)) is not None:
                return frame
    except ConnectionClosed as error:
        raise _closed(error) from None


def _closed(error: ConnectionClosed) -> Closed:
    code, reason = (ABNORMAL, "") if error.reason is None else (int(error.reason.code), error.reason.reason or "")
    return closed(code, reason)


def _refusal(rejected: ConnectionRejected) -> Refused:
    headers = {name.lower(): value.decode("latin-1") for name, value in rejected.headers}
    return refusal(rejected.status_code, headers.get(b"retry-after"), rejected.body or b"")


@contextmanager
def unwrapped() -> Iterator[None]:
    """One exception leaves a nursery as itself, as if there were no nursery."""
    try:
        yield
    except BaseExceptionGroup as group:
        if len(group.exceptions) != 1:
            raise
        error = group.exceptions[0]
        raise error from error.__cause__
