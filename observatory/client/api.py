"""Following the stream from a Python program: typed events, resumed over all that can happen to a connection.

    async with connect("ws://127.0.0.1:8765") as client:
        async for event in client.subscribe("all_conversations"):
            match event: ...

A thin layer over `observatory.client.follow`; its rules are in docs/protocol.md, What a client must do.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from os import PathLike
from pathlib import Path
from typing import Any, assert_never

import attrs
import trio

from observatory.client.connection import Dial, OpenStream, Server, server_at, unwrapped
from observatory.client.follow import Following, Items
from observatory.client.saved import SavedPosition
from observatory.core.client_events import Delivery, typed
from observatory.core.client_items import Agreed, Connected, Disconnected, Event, Gap, Incomplete, Item, Snapshot
from observatory.core.client_progress import Progress
from observatory.core.client_state import ClientState
from observatory.core.client_target import parse_target
from observatory.core.errors import UsageError
from observatory.core.events import Position
from observatory.core.reconnect import Backoff, Uniform

Run = Callable[[], Awaitable[None]]
OnConnection = Callable[[Connected | Disconnected], object]


@asynccontextmanager
async def connect(
    url: str | Server,
    *,
    token: str | None = None,
    uniform: Uniform = random.uniform,
    open_stream: OpenStream | None = None,
) -> AsyncIterator["Client"]:
    """A client of the server at a ws, wss, http or https URL; leaving the block ends all its subscriptions.

    Nothing is dialled yet: each subscription has a connection of its own, from its first event on.

    Args: uniform, open_stream: chance and the way to the server, for tests.
    Raises: UsageError: the URL is none.
    """
    dial = server_at(url, token).dial(open_stream=open_stream)
    parse_target(dial.url)
    send, receive = trio.open_memory_channel[Run](0)
    with unwrapped():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_run_all, receive)
            yield Client(dial, uniform, send)
            nursery.cancel_scope.cancel()


async def _run_all(runs: "trio.MemoryReceiveChannel[Run]") -> None:
    with runs:
        async with trio.open_nursery() as nursery:
            async for run in runs:
                nursery.start_soon(run)


@attrs.frozen(eq=False)
class Client:
    """A server, as a program follows it. Made by `connect`."""

    _dial: Dial
    _uniform: Uniform
    _runs: "trio.MemorySendChannel[Run]"

    def subscribe(
        self,
        *topics: str,
        where: dict[str, Any] | None = None,
        since: Position | None = None,
        store: str | PathLike[str] | None = None,
        snapshot: bool = False,
        patient: bool = False,
        on_connection: OnConnection | None = None,
    ) -> "Subscription":
        """Every event of these topics from a place in the log on, in order, through all connections.

        The first event asked for connects. Where it begins: after the position in `store`, else after `since`, else
        with a Snapshot if `snapshot`, else at the head of the log.

        Args: where: a filter, see docs/protocol.md. store: a file of this subscription alone; each event's position is
              saved in it when the next one is asked for, so after a crash the last event may come again, and none is
              missing (at least once). For exactly once keep `event.position` in the same transaction as what the
              event does, and give it as `since`. patient: wait for a server that was never there.
              on_connection: told, in its turn, whenever the connection is there or gone.
        Raises: UsageError: no topic is given.
        """
        if not topics:
            raise UsageError("subscribe to at least one topic, e.g. all_conversations")
        saved = None if store is None else SavedPosition(Path(store))
        state = ClientState(
            topics, where, Progress(since), Backoff(self._uniform), snapshot, patient, tells_agreed=saved is not None
        )
        return Subscription(self._dial, state, self._runs, saved, on_connection)


@attrs.define(eq=False)
class Subscription:
    """An async iterator, for one task, of what `Client.subscribe` promises. `async with` ends it before its client.

    It gives typed events; and in their place, where events could not be had, a Snapshot that replaces everything before
    it, or a Gap. Incomplete: the server counted other events than arrived; what is missing follows, out of order.

    position: the last one that the program is done with.
    Raises, from the iteration: Unreachable, Refused, Closed, Miscounted: there is no way on; the message says why.
    UsageError: `store` holds no position. WorldError: it cannot be read or written.
    """

    _dial: Dial
    _state: ClientState
    _runs: "trio.MemorySendChannel[Run]"
    _saved: SavedPosition | None
    _on_connection: OnConnection | None
    position: Position | None = attrs.field(default=None, init=False)
    _following: Following | None = attrs.field(default=None, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    _in_hand: Position | None = attrs.field(default=None, init=False)  # of the item that the program works on

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Delivery:
        self._done()
        items = self._following.items if self._following is not None else await self._begin()
        while (delivery := self._delivery(await items.receive())) is None:
            pass
        return delivery

    async def __aenter__(self) -> "Subscription":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        if kind is None:  # else the item in hand was not handled
            self._done()
        await self.aclose()

    async def aclose(self) -> None:
        """Leave the server. The item in hand counts as not handled."""
        self._in_hand = None
        self._scope.cancel()
        if self._following is not None:
            with trio.CancelScope(shield=True):  # a cancelled task ends at once
                await self._ended.wait()
            self._following.__exit__()

    async def _begin(self) -> Items:
        if self._saved is not None and (position := self._saved.load()) is not None:
            self._state.progress = Progress(position)
        self.position = self._state.progress.last
        following = self._following = Following(self._dial, self._state)
        try:
            await self._runs.send(self._run)
        except trio.BrokenResourceError:
            self._following = None
            raise trio.ClosedResourceError("the block of this subscription's client has ended") from None
        return following.items

    async def _run(self) -> None:
        try:
            with self._scope:
                assert self._following is not None
                await self._following.run()
        finally:
            self._ended.set()

    def _delivery(self, item: Item) -> Delivery | None:
        """What the program is given of an item, and what it means for the position."""
        match item:
            case Event():
                self._in_hand = item.position
                return typed(item)
            case Snapshot():
                self._in_hand = item.position
                return item
            case Gap():
                self._in_hand = item.until
                return item
            case Incomplete():
                self._keep(item.since)  # at once: what follows is older than what was handled
                return item
            case Agreed():
                self._keep(item.position)
            case Connected():
                if self.position is None:
                    self._keep(item.position)
                self._tell(item)
            case Disconnected():
                self._tell(item)
            case _:
                assert_never(item)
        return None

    def _done(self) -> None:
        """The item in hand is handled."""
        if self._in_hand is not None:
            self._keep(self._in_hand)
            self._in_hand = None

    def _keep(self, position: Position | None) -> None:
        if position is not None and position != self.position:
            self.position = position
            if self._saved is not None:
                self._saved.save(position)

    def _tell(self, item: Connected | Disconnected) -> None:
        if self._on_connection is not None:
            self._on_connection(item)
