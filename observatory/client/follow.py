"""Follow the log through all connections: connect, resume, and hand each event over once, in order."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, assert_never

import attrs
import trio

from observatory.client.connection import (
    Connection,
    Dial,
    OpenStream,
    Server,
    open_connection,
    server_at,
    unwrapped,
)
from observatory.core.client_effects import Deliver, Effect, Fail, GiveUp, Leave, Retry, Send, Verdict
from observatory.core.client_items import ABNORMAL, Closed, Disconnected, Item
from observatory.core.client_progress import Progress
from observatory.core.client_state import ClientState
from observatory.core.client_target import parse_target
from observatory.core.errors import WorldError
from observatory.core.events import Position
from observatory.core.reconnect import Backoff, Uniform

KEEPALIVE_SECONDS = 10.0  # a user busy for longer must not look dead to the server, which waits 35 s
QUEUED_ITEMS = 256  # read ahead of the user; beyond it the server's log is the queue


@attrs.define(eq=False)
class Items:
    """What `follow` gives: an async iterator. After the last item it ends, or raises why it had to."""

    _channel: "trio.MemoryReceiveChannel[Item]"
    error: WorldError | None = None

    async def receive(self) -> Item:
        """The next item.

        Raises: Unreachable, Refused, Closed, Miscounted: following came to an end. ClosedResourceError: its block did.
        """
        try:
            return await self._channel.receive()
        except trio.EndOfChannel:
            raise self.error or trio.ClosedResourceError("the block that follows has ended") from None

    def __aiter__(self) -> "Items":
        return self

    async def __anext__(self) -> Item:
        return await self.receive()


@asynccontextmanager
async def follow(
    url: str | Server,
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
    state = ClientState(tuple(topics), where, Progress(since), Backoff(uniform), snapshot, patient)
    following = Following(server_at(url, token).dial(open_stream=open_stream), state, reconnect)
    with unwrapped(), following:  # closed last: a send to a closed channel would raise
        async with trio.open_nursery() as nursery:
            nursery.start_soon(following.run)
            yield following.items
            nursery.cancel_scope.cancel()


class Following:
    """Connects, again and again, and feeds `items`. Only the task of `run` touches the state.

    Leaving its block closes the items; `run` must have ended by then. Raises: UsageError: the URL is none.
    """

    def __init__(self, dial: Dial, state: ClientState, reconnect: bool = True) -> None:
        parse_target(dial.url)
        self._dial, self._state, self._reconnect = dial, state, reconnect
        self._channel, self._received = trio.open_memory_channel[Item](QUEUED_ITEMS)
        self.items = Items(self._received)

    def __enter__(self) -> "Following":
        return self

    def __exit__(self, *_exc: object) -> None:
        self._received.close()

    async def run(self) -> None:
        """Until it is cancelled, or there is nothing to come back to: then `items` ends with the reason."""
        with self._channel:
            while isinstance(verdict := await self._connection(), Retry) and self._reconnect:
                await self._channel.send(Disconnected(str(verdict.error), verdict.delay))
                await trio.sleep(verdict.delay)
            self.items.error = verdict.error

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
                await connection.aclose(effect.code)
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
