"""The Python client: `connect` for one connection, `follow` for the log through all its connections.

    async with follow("ws://127.0.0.1:8765", ["all_conversations"]) as items:
        async for item in items:
            match item: ...

All decisions are in `observatory.core.client_state`; here are sockets, the clock and channels. Foreign errors end here:
what the network or the server does arrives as Unreachable, Refused or Closed.
"""

import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, assert_never, cast

import attrs
import orjson
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import LocalProtocolError

from observatory.core.client_effects import Deliver, Effect, Fail, GiveUp, Leave, Retry, Send, Verdict
from observatory.core.client_items import (
    ABNORMAL,
    Closed,
    Disconnected,
    Frame,
    Item,
    Refused,
    closed,
    parse_frame,
    refusal,
    refused,
)
from observatory.core.client_progress import Progress
from observatory.core.client_state import ClientState
from observatory.core.client_target import Target, parse_target
from observatory.core.errors import Unreachable, WorldError
from observatory.core.events import Position
from observatory.core.reconnect import Backoff, Uniform

SUBPROTOCOL = "observatory.v1"
HANDSHAKE_SECONDS = 10.0  # as long as the server gives a client
CLOSE_SECONDS = 5.0  # protocol.md §12: an unanswered close becomes a reset
MESSAGE_BYTES = 64 * 1024 * 1024  # a snapshot of 1,000 conversations, or a 16 MiB broadcast, with room
RECEIVE_BYTES = 64 * 1024
QUEUED_MESSAGES = 64  # read ahead of the reader
KEEPALIVE_SECONDS = 10.0  # a user busy for longer must not look dead to the server, which waits 35 s
QUEUED_ITEMS = 256  # read ahead of the user; beyond it the server's log is the queue

OpenStream = Callable[[], Awaitable[trio.abc.Stream]]
Wrap = Callable[..., Awaitable[WebSocketConnection]]


@attrs.frozen
class Dial:
    """How to reach the server. `open_stream` replaces dialling, for tests."""

    url: str
    token: str | None = None
    headers: Sequence[tuple[str, str]] = ()
    legacy: bool = False
    open_stream: OpenStream | None = None

    async def open(self, target: Target) -> trio.abc.Stream:
        """A stream to the server. Raises: Unreachable."""
        try:
            with trio.fail_after(HANDSHAKE_SECONDS):
                if self.open_stream is not None:
                    return await self.open_stream()
                if target.tls:
                    return await trio.open_ssl_over_tcp_stream(target.host, target.port, https_compatible=True)
                return await trio.open_tcp_stream(target.host, target.port)
        except (OSError, trio.TooSlowError):
            raise Unreachable(f"No server answers at {target.authority}", "is `observatory serve` running?") from None

    def header_lines(self) -> list[tuple[bytes, bytes]]:
        token = [] if self.token is None else [("Authorization", f"Bearer {self.token}")]
        return [(name.encode(), value.encode()) for name, value in (*self.headers, *token)]


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
    url: str,
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
    async with open_connection(Dial(url, token, headers, legacy, open_stream)) as connection:
        if topics or since is not None:
            resume = {} if since is None else {"resume": {"epoch": since.epoch, "seq": since.seq}}
            reply = await connection.request("subscribe", {"topics": list(topics), "where": where, **resume})
            if reply.type == "error":
                raise refused(reply)
        yield connection


@attrs.define(eq=False)
class Items:
    """What `follow` gives: an async iterator. After the last item it ends, or raises why it had to."""

    _channel: "trio.MemoryReceiveChannel[Item]"
    error: WorldError | None = None

    async def receive(self) -> Item:
        """The next item. Raises: Unreachable, Refused, Closed: following came to an end."""
        try:
            return await self._channel.receive()
        except trio.EndOfChannel:
            assert self.error is not None
            raise self.error from None

    def __aiter__(self) -> "Items":
        return self

    async def __anext__(self) -> Item:
        return await self.receive()


@asynccontextmanager
async def follow(
    url: str,
    topics: Sequence[str],
    *,
    where: dict[str, Any] | None = None,
    since: Position | None = None,
    snapshot: bool = False,
    reconnect: bool = True,
    patient: bool = False,
    token: str | None = None,
    uniform: Uniform = random.uniform,
    open_stream: OpenStream | None = None,
) -> AsyncIterator[Items]:
    """Follow topics from `since`, the last position the user has seen.

    Args: snapshot: without `since`, begin with a Snapshot instead of at the head.
          patient: wait for a server that is not there yet. reconnect: False ends with the first connection.
    Raises: UsageError: the URL is none. Everything later comes out of the iterator.
    """
    parse_target(url)
    state = ClientState(tuple(topics), where, Progress(since), Backoff(uniform), snapshot, patient)
    send, receive = trio.open_memory_channel[Item](QUEUED_ITEMS)
    items = Items(receive)
    dial = Dial(url, token, open_stream=open_stream)
    with unwrapped(), receive:  # closed last: a send to a closed channel would raise
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_Follower(dial, state, items, send, reconnect).run)
            yield items
            nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class _Follower:
    """Connects, again and again, and feeds the user's channel. Only the task of `run` touches it."""

    _dial: Dial
    _state: ClientState
    _items: Items
    _channel: "trio.MemorySendChannel[Item]"
    _reconnect: bool

    async def run(self) -> None:
        with self._channel:
            while isinstance(verdict := await self._connection(), Retry) and self._reconnect:
                await self._channel.send(Disconnected(str(verdict.error), verdict.delay))
                await trio.sleep(verdict.delay)
            self._items.error = verdict.error

    async def _connection(self) -> Verdict:
        try:
            async with open_connection(self._dial) as connection:
                self._state.connect()
                return await self._converse(connection)
        except WorldError as error:
            return self._state.unreachable(error)

    async def _converse(self, connection: Connection) -> Verdict:
        begun = trio.current_time()
        frame = connection.hello
        while True:
            for effect in self._state.receive(frame):
                if (end := await self._act(connection, effect)) is not None:
                    return end if isinstance(end, GiveUp) else self._after(end, begun)
            try:
                with trio.fail_after(self._state.silence_seconds):
                    frame = await connection.receive()
            except Closed as error:
                return self._after(Leave(error.code, error.reason), begun)
            except trio.TooSlowError:
                await connection.abort()
                return self._after(Leave(ABNORMAL, f"no frame for {self._state.silence_seconds:g} s"), begun)

    async def _act(self, connection: Connection, effect: Effect) -> Leave | GiveUp | None:
        match effect:
            case Send():
                with suppress(Closed):  # the next receive tells
                    await connection.send(effect.type, effect.data, effect.id)
                return None
            case Deliver():
                await self._deliver(connection, effect.item)
                return None
            case Leave():
                await connection.aclose(effect.code, effect.reason)
                return effect
            case Fail():
                await connection.aclose()
                return GiveUp(effect.error)
        assert_never(effect)

    async def _deliver(self, connection: Connection, item: Item) -> None:
        """Hand over an item, waiting for the user if need be; until then tell the server that somebody is here."""
        with suppress(trio.WouldBlock):
            self._channel.send_nowait(item)
            return
        while True:
            with trio.move_on_after(KEEPALIVE_SECONDS):
                await self._channel.send(item)
                return
            with suppress(Closed):
                await connection.send("pong")

    def _after(self, end: Leave, begun: float) -> Verdict:
        return self._state.closed(end.code, end.reason, trio.current_time() - begun, end.not_before)


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
        raise Unreachable(f"The server at {target.authority} did not complete the handshake") from None
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
