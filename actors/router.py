"""Router: resolves topics to clients and offers them frames; it never waits for a client.

Others give it commands, which it handles one after the other. What must be decided between two messages (a start
position, a confirmation) is passed in as a function and called at its turn.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar, assert_never

import attrs
import trio

from actors.audience import Accepts, Audience, Group, grouped
from actors.commands import (
    At,
    Client,
    Command,
    Expunge,
    Notify,
    Place,
    Publish,
    Rejoin,
    Reset,
    Routed,
    Subscribe,
    Unsubscribe,
)

T = TypeVar("T", bound=Hashable)
RECENT_FRAMES = 256  # messages kept so that a client a few steps behind the head can rejoin at once
RECENT_BYTES = 1024 * 1024
BREATH = 512  # offers between two checkpoints: about 4 ms, so that a large audience does not stall the loop


@attrs.frozen
class RouterStatistics:
    """Clients by mode, and topics held by the live ones. filtered: questions to filters that were answered by no."""

    live: int
    behind: int
    idle: int
    topics_held: int
    filtered: int = 0


class Router(Generic[T]):
    """Topic → clients. The others only `post`; one command at a time touches the state.

    Args:    everyone: a topic that every client with a position holds. head: last position already in the log.
             clock: nanoseconds. on_routed: called after each Publish that was offered to someone.
             members: which of the held topics are meant by a message's topics that stand for many.
             read: a message's data → what filters are asked about; see actors/audience.py.
    """

    def __init__(
        self,
        everyone: T,
        head: int,
        inbox_size: int,
        clock: Callable[[], int],
        on_routed: Callable[[Publish[T]], None] = lambda publish: None,
        members: Callable[[Iterable[T], tuple[T, ...]], Iterable[T]] = lambda held, carried: (),
        read: Callable[[bytes], object] = bytes,
    ) -> None:
        self._post, self._inbox = trio.open_memory_channel[Command[T]](inbox_size)
        self._everyone = everyone
        self._head = head
        self._clock = clock
        self._on_routed = on_routed
        self._members = members
        self._audience: Audience[T, Client] = Audience(read, members, self._set_aside)
        self._topics: dict[Client, frozenset[T]] = {}
        self._filters: dict[Client, Accepts] = {}  # of those who have one
        self._live: set[Client] = set()
        self._recent: deque[Routed[T]] = deque()
        self._recent_bytes = 0
        self._moved = trio.Event()  # set when the head moves
        self._idle = False  # `run` waits and nothing is queued
        self._ended = False  # or it has failed, perhaps between two clients: nothing is published any more

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
            self._ended = True
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
        try:
            match command:
                case Publish():
                    return self._pass_over(command) if self._ended else self._publish(command)
                case Subscribe():
                    self._subscribe(command)
                case Rejoin():
                    self._rejoin(command)
                case Unsubscribe():
                    self._forget(command.client)
                case At():
                    command.call(self._place(command.client))
                case Expunge(positions):
                    self._expunge(positions)
                case Reset():
                    self._reset(command)
                case Notify():
                    self._notify(command)
                case _:
                    assert_never(command)
        except BaseException:
            self._ended = True
            raise
        return True

    def _pass_over(self, command: Publish[T]) -> bool:
        """Later events without the ones before would be a hole that no client can see; the log has them."""
        command.done.set()
        return True

    def statistics(self) -> RouterStatistics:
        """A snapshot of the registry."""
        behind = sum(client.cursor is not None for client in self._topics)
        idle = len(self._topics) - len(self._live) - behind
        held = len(self._audience.topics - {self._everyone})
        return RouterStatistics(len(self._live), behind, idle, held, self._audience.refused)

    @property
    def has_live(self) -> bool:
        """Whether any client is live."""
        return bool(self._live)

    @property
    def head(self) -> int:
        """The last position routed."""
        return self._head

    async def wait_beyond(self, position: int) -> None:
        """Until something behind `position` was routed; for readers of the log that are no clients."""
        while self._head <= position:
            await self._moved.wait()

    async def wait_turn(self) -> None:
        """Until the Router comes to a command that is given now."""
        turn = trio.Event()
        await self.post(At(None, lambda place: turn.set()))
        await turn.wait()

    def reaches(self, client: Client, topics: tuple[T, ...], judge: Callable[[Accepts], bool] | None = None) -> bool:
        """Whether a message with these topics comes to a client now: at once if it is live, later if it is behind.

        judge: what a filter says of the message; None when there is nothing to ask about, then topics decide.
        """
        if client not in self._live and (client not in self._topics or client.cursor is None):
            return False
        if not self._meet({*self._topics[client], self._everyone}, topics):
            return False
        accepts = self._filters.get(client)
        return accepts is None or judge is None or judge(accepts)

    def passes(self, accepts: Accepts, message: Routed[T]) -> bool:
        """What a filter says of a message that is about to be published, or has just been: it is asked only once."""
        return self._audience.passes(accepts, message) is True

    def _meet(self, held: set[T], topics: tuple[T, ...]) -> bool:
        return not held.isdisjoint(topics) or any(True for _ in self._members(held, topics))

    # -- subscriptions -------------------------------------------------------------------------------------------------

    def _place(self, client: Client | None) -> Place:
        if client is None:
            return Place(self._head, None)
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
        self._set_filter(client, decision.accepts)
        if was_live or decision.start == self._head:
            self._enter(client)
        elif decision.start is not None:
            client.fall_behind(decision.start)

    def _set_filter(self, client: Client, accepts: Accepts | None) -> None:
        if accepts is None:
            self._filters.pop(client, None)
        else:
            self._filters[client] = accepts

    def _rejoin(self, command: Rejoin) -> None:
        client, missed = command.client, self._since(command.position)
        if client not in self._topics:
            return
        matching = None if missed is None else self._matching(client, missed)
        if matching is None:
            client.fall_behind(command.position)
            return
        if matching and not client.offer_nowait(b"".join(matching), len(matching)):
            client.fall_behind(command.position)
            return
        client.go_live()
        self._enter(client)
        command.on_live(self._place(client))

    def _matching(self, client: Client, missed: list[Routed[T]]) -> list[bytes] | None:
        """The frames of those that a client gets. None: its filter fails, as it will in the backlog."""
        held, accepts = {*self._topics[client], self._everyone}, self._filters.get(client)
        met = [message for message in missed if self._meet(held, message.topics)]
        if accepts is None:
            return [message.data for message in met]
        verdicts = [self._audience.passes(accepts, message) for message in met]
        return None if None in verdicts else [message.data for message, yes in zip(met, verdicts, strict=True) if yes]

    def _reset(self, command: Reset) -> None:
        client = command.client
        if client not in self._topics:
            return
        if client in self._live:
            self._leave(client)
        client.cursor = None
        if command.to_head:
            self._enter(client)
        command.on_reset(self._place(client))

    def _since(self, position: int) -> list[Routed[T]] | None:
        """The messages after `position` if all of them are still at hand."""
        if position >= self._head:
            return []
        if not self._recent or self._recent[0].position > position + 1:
            return None
        return [message for message in self._recent if message.position > position]

    def _enter(self, client: Client) -> None:
        self._live.add(client)
        self._audience.enter(client, (*self._topics[client], self._everyone), self._filters.get(client))

    def _leave(self, client: Client) -> None:
        self._live.discard(client)
        self._audience.leave(client, (*self._topics[client], self._everyone), self._filters.get(client))

    def _set_aside(self, accepts: Accepts) -> None:
        """A filter failed: its clients go on in the backlog, where it fails in their own tasks."""
        for client in [client for client, held in self._filters.items() if held is accepts and client in self._live]:
            self._leave(client)
            client.fall_behind(self._head)

    def _forget(self, client: Client) -> None:
        if client in self._live:
            self._leave(client)
        self._topics.pop(client, None)
        self._filters.pop(client, None)

    # -- publishing ----------------------------------------------------------------------------------------------------

    def _publish(self, command: Publish[T]) -> bool:
        if self._filters and sum(len(self._audience.questions(message)) for message in command.messages) > BREATH:
            return False
        audiences = self._audience.groups(command.messages)
        audience = 0
        for clients, _, _ in audiences:
            audience += len(clients)
        if audience > BREATH:
            return False
        command.routed_ns, command.audience = self._clock(), audience
        refused: list[Client] = []
        for clients, data, frames in audiences:
            refused += [client for client in clients if not client.offer_nowait(data, frames, command)]
        self._conclude(command, refused, bool(audiences))
        return True

    async def _publish_to_many(self, command: Publish[T]) -> None:
        command.routed_ns = self._clock()
        refused: list[Client] = []
        offers = 0
        audiences = await self._groups_of_many(command.messages)
        for clients, data, frames in audiences:
            for client in clients:
                if not client.offer_nowait(data, frames, command):
                    refused.append(client)
                offers += 1
                if not offers % BREATH:
                    await trio.lowlevel.checkpoint()
        command.audience = offers
        self._conclude(command, refused, bool(audiences))

    async def _groups_of_many(self, messages: Sequence[Routed[T]]) -> list[Group[Client]]:
        """The groups, with pauses while many filters are asked."""
        reached: list[tuple[bytes, list[dict[Client, None]]]] = []
        asked = 0
        for message in messages:
            for accepts in self._audience.questions(message):
                self._audience.passes(accepts, message)
                asked += 1
                if not asked % BREATH:
                    await trio.lowlevel.checkpoint()
            if holders := self._audience.holders(message):
                reached.append((message.data, holders))
            self._audience.settle(message)
        return grouped(reached) if reached else []

    def _conclude(self, command: Publish[T], refused: list[Client], reached: bool) -> None:
        for client in refused:
            self._leave(client)
            client.fall_behind(self._head)
        self._head = command.messages[-1].position
        if self._moved.statistics().tasks_waiting:
            self._moved.set()
            self._moved = trio.Event()
        self._remember(command.messages)
        command.done.set()
        if reached:
            self._on_routed(command)

    def _expunge(self, positions: frozenset[int]) -> None:
        for at, message in enumerate(self._recent):
            if message.position in positions:
                self._audience.forget(message.position)
                self._recent_bytes -= len(message.data)
                self._recent[at] = Routed(message.position, (), b"")

    def _notify(self, command: Notify[T]) -> None:
        for client in self._topics:
            if self.reaches(client, command.topics, command.judge):
                client.reply_nowait(command.data)

    def _remember(self, messages: Sequence[Routed[T]]) -> None:
        for message in messages:
            self._audience.settle(message)
            self._recent.append(message)
            self._recent_bytes += len(message.data)
        while len(self._recent) > RECENT_FRAMES or self._recent_bytes > RECENT_BYTES:
            gone = self._recent.popleft()
            self._recent_bytes -= len(gone.data)
            self._audience.forget(gone.position)
