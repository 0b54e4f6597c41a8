"""Router: resolves topics to clients and offers them frames; it never waits for a client.

Others give it commands, which it handles one after the other. What must be decided between two messages (a start
position, a confirmation) is passed in as a function and called at its turn.
"""

from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from contextlib import suppress
from typing import Generic, Protocol, TypeVar, assert_never

import attrs
import trio

T = TypeVar("T", bound=Hashable)
RECENT_FRAMES = 256  # messages kept so that a client a few steps behind the head can rejoin at once
RECENT_BYTES = 1024 * 1024
BREATH = 512  # offers between two checkpoints: about 4 ms, so that a large audience does not stall the loop


class Client(Protocol):
    """What the Router needs of a Sender; see actors/sender.py."""

    cursor: int | None

    def offer_nowait(self, data: bytes, frames: int = 1, stamp: object = None) -> bool: ...
    def fall_behind(self, position: int) -> None: ...
    def go_live(self) -> None: ...


@attrs.frozen
class Routed(Generic[T]):
    """One message: its place in the log (dense, rising), its topics, and the encoded frame that all clients share.

    families: some of its topics stand for many; the Router's `members` says for which.
    """

    position: int
    topics: tuple[T, ...]
    data: bytes
    families: bool = False


@attrs.frozen
class Place:
    """Where a client stands at the Router's turn. head: last position routed; position: its own, None if none yet."""

    head: int
    position: int | None


@attrs.frozen
class Decision(Generic[T]):
    """A client's topics from now on, and its start position ≤ head if it gets one now."""

    topics: frozenset[T]
    start: int | None = None


@attrs.frozen(eq=False)
class Subscribe(Generic[T]):
    """`decide` is called at the Router's turn, between two messages. None changes nothing. It must not raise."""

    client: Client
    decide: Callable[[Place], Decision[T] | None]


@attrs.frozen(eq=False)
class Rejoin:
    """A client that was behind has been handed everything up to `position`."""

    client: Client
    position: int
    on_live: Callable[[Place], None]


@attrs.frozen(eq=False)
class Unsubscribe:
    """Forget a client."""

    client: Client


@attrs.frozen(eq=False)
class At:
    """Call a function between two messages."""

    client: Client
    call: Callable[[Place], None]


@attrs.define(eq=False)
class Publish(Generic[T]):
    """Messages in rising order of position; what one client gets of them is offered as one chunk.

    stamp: the publisher's own, not looked at; routed_ns: set by the Router when its fan-out begins; done: set when each
    client was offered its part. The Publish itself goes with what has to wait in an outbox, and comes back by the
    Sender's `on_written`.
    """

    messages: tuple[Routed[T], ...]
    stamp: object = None
    routed_ns: int = 0
    done: trio.Event = attrs.field(factory=trio.Event)


Command = Subscribe[T] | Unsubscribe | Rejoin | At | Publish[T]


@attrs.frozen
class RouterStatistics:
    """Clients by mode, and topics held by the live ones."""

    live: int
    behind: int
    idle: int
    topics_held: int


class Router(Generic[T]):
    """Topic → clients. The others only `post`; one command at a time touches the state.

    Args:    everyone: a topic that every client with a position holds. head: last position already in the log.
             clock: nanoseconds. on_routed: called after each Publish that was offered to someone.
             members: which of the held topics are meant by a message's topics that stand for many.
    """

    def __init__(
        self,
        everyone: T,
        head: int,
        inbox_size: int,
        clock: Callable[[], int],
        on_routed: Callable[[Publish[T]], None] = lambda publish: None,
        members: Callable[[Iterable[T], tuple[T, ...]], Iterable[T]] = lambda held, carried: (),
    ) -> None:
        self._post, self._inbox = trio.open_memory_channel[Command[T]](inbox_size)
        self._everyone = everyone
        self._head = head
        self._clock = clock
        self._on_routed = on_routed
        self._members = members
        self._index: dict[T, dict[Client, None]] = {}
        self._topics: dict[Client, frozenset[T]] = {}
        self._live: set[Client] = set()
        self._recent: deque[Routed[T]] = deque()
        self._recent_bytes = 0
        self._idle = False  # `run` waits and nothing is queued

    async def post(self, command: Command[T]) -> None:
        """Give the Router a command; waits while the inbox is full.

        An idle Router handles it at once, in the poster's task: a mailbox without a queue costs no task switch. One
        command at a time touches the state, in the order of posting, either way.
        """
        if self.post_nowait(command):
            return
        self._idle = False
        try:
            self._post.send_nowait(command)
        except trio.WouldBlock:
            await self._post.send(command)

    def post_nowait(self, command: Command[T]) -> bool:
        """Have an idle Router handle a command now. False: it did not; `post` it."""
        return self._idle and self._handle(command)

    async def run(self) -> None:
        """Handle what is queued until cancelled, one command after the other."""
        try:
            self._idle = not self._inbox.statistics().current_buffer_used
            async for command in self._inbox:
                if not self._handle(command):
                    assert isinstance(command, Publish)
                    await self._publish_to_many(command)
                self._idle = not self._inbox.statistics().current_buffer_used
        finally:
            self._idle = True  # clients that leave after the Router are not held up by a queue nobody reads
            self._abandon()

    def _abandon(self) -> None:
        """Nobody waits for a Router that has ended, neither for room in its inbox nor for a Publish in it."""
        with suppress(trio.WouldBlock):
            while True:
                command = self._inbox.receive_nowait()
                if isinstance(command, Publish):
                    command.done.set()

    def _handle(self, command: Command[T]) -> bool:
        """False: it is a Publish to so many that it needs pauses, which only `run` can make."""
        match command:
            case Publish():
                return self._publish(command)
            case Subscribe():
                self._subscribe(command)
            case Rejoin():
                self._rejoin(command)
            case Unsubscribe():
                self._forget(command.client)
            case At():
                command.call(self._place(command.client))
            case _:
                assert_never(command)
        return True

    def statistics(self) -> RouterStatistics:
        """A snapshot of the registry."""
        behind = sum(client.cursor is not None for client in self._topics)
        idle = len(self._topics) - len(self._live) - behind
        return RouterStatistics(len(self._live), behind, idle, len(self._index) - (self._everyone in self._index))

    @property
    def head(self) -> int:
        """The last position routed."""
        return self._head

    def reaches(self, client: Client, topics: tuple[T, ...]) -> bool:
        """Whether a message with these topics comes to a client now: at once if it is live, later if it is behind."""
        if client not in self._live and (client not in self._topics or client.cursor is None):
            return False
        return self._meet({*self._topics[client], self._everyone}, topics)

    def _meet(self, held: set[T], topics: tuple[T, ...]) -> bool:
        return not held.isdisjoint(topics) or any(True for _ in self._members(held, topics))

    # -- subscriptions -------------------------------------------------------------------------------------------------

    def _place(self, client: Client) -> Place:
        return Place(self._head, self._head if client in self._live else client.cursor)

    def _subscribe(self, command: Subscribe[T]) -> None:
        client = command.client
        decision = command.decide(self._place(client))
        if decision is None:
            return
        was_live = client in self._live
        if was_live:
            self._leave(client)
        self._topics[client] = decision.topics
        if was_live or decision.start == self._head:
            self._enter(client)
        elif decision.start is not None:
            client.fall_behind(decision.start)

    def _rejoin(self, command: Rejoin) -> None:
        client, missed = command.client, self._since(command.position)
        if client not in self._topics:
            return
        if missed is None:
            client.fall_behind(command.position)
            return
        held = {*self._topics[client], self._everyone}
        matching = [message.data for message in missed if self._meet(held, message.topics)]
        if matching and not client.offer_nowait(b"".join(matching), len(matching)):
            client.fall_behind(command.position)
            return
        client.go_live()
        self._enter(client)
        command.on_live(self._place(client))

    def _since(self, position: int) -> list[Routed[T]] | None:
        """The messages after `position` if all of them are still at hand."""
        if position >= self._head:
            return []
        if not self._recent or self._recent[0].position > position + 1:
            return None
        return [message for message in self._recent if message.position > position]

    def _enter(self, client: Client) -> None:
        self._live.add(client)
        for topic in (*self._topics[client], self._everyone):
            self._index.setdefault(topic, {})[client] = None

    def _leave(self, client: Client) -> None:
        self._live.discard(client)
        for topic in (*self._topics[client], self._everyone):
            holders = self._index[topic]
            del holders[client]
            if not holders:
                del self._index[topic]

    def _forget(self, client: Client) -> None:
        if client in self._live:
            self._leave(client)
        self._topics.pop(client, None)

    # -- publishing ----------------------------------------------------------------------------------------------------

    def _publish(self, command: Publish[T]) -> bool:
        audiences = self._audiences(command.messages)
        audience = 0
        for clients, _, _ in audiences:
            audience += len(clients)
        if audience > BREATH:
            return False
        command.routed_ns = self._clock()
        refused: list[Client] = []
        for clients, data, frames in audiences:
            refused += [client for client in clients if not client.offer_nowait(data, frames, command)]
        self._conclude(command, refused, bool(audiences))
        return True

    async def _publish_to_many(self, command: Publish[T]) -> None:
        command.routed_ns = self._clock()
        refused: list[Client] = []
        offers = 0
        for clients, data, frames in self._audiences(command.messages):
            for client in clients:
                if not client.offer_nowait(data, frames, command):
                    refused.append(client)
                offers += 1
                if not offers % BREATH:
                    await trio.lowlevel.checkpoint()
        self._conclude(command, refused, True)

    def _conclude(self, command: Publish[T], refused: list[Client], reached: bool) -> None:
        for client in refused:
            self._leave(client)
            client.fall_behind(self._head)
        self._head = command.messages[-1].position
        self._remember(command.messages)
        command.done.set()
        if reached:
            self._on_routed(command)

    def _audiences(self, messages: Sequence[Routed[T]]) -> list[tuple[Collection[Client], bytes, int]]:
        """Disjoint groups of clients, each with the frames it gets, joined once."""
        index = self._index
        reached: list[tuple[bytes, list[dict[Client, None]]]] = []
        for message in messages:
            holders = [index[topic] for topic in message.topics if topic in index]
            if message.families:
                holders += [index[topic] for topic in self._members(index, message.topics)]
            if holders:
                reached.append((message.data, holders))
        if not reached:
            return []
        first = reached[0][1][0]
        for _, holders in reached:
            if len(holders) != 1 or holders[0] is not first:
                return _groups(reached)
        data = reached[0][0] if len(reached) == 1 else b"".join([data for data, _ in reached])
        return [(first, data, len(reached))]

    def _remember(self, messages: Sequence[Routed[T]]) -> None:
        for message in messages:
            self._recent.append(message)
            self._recent_bytes += len(message.data)
        while len(self._recent) > RECENT_FRAMES or self._recent_bytes > RECENT_BYTES:
            self._recent_bytes -= len(self._recent.popleft().data)


def _groups(reached: list[tuple[bytes, list[dict[Client, None]]]]) -> list[tuple[Collection[Client], bytes, int]]:
    """Clients by the set of messages they get, each message once."""
    masks: dict[Client, int] = {}
    for bit, (_, holders) in enumerate(reached):
        for group in holders:
            for client in group:
                masks[client] = masks.get(client, 0) | 1 << bit
    clients_of: dict[int, list[Client]] = {}
    for client, mask in masks.items():
        clients_of.setdefault(mask, []).append(client)
    groups: list[tuple[Collection[Client], bytes, int]] = []
    for mask, clients in clients_of.items():
        frames = [data for bit, (data, _) in enumerate(reached) if mask >> bit & 1]
        groups.append((clients, b"".join(frames), len(frames)))
    return groups
