"""Audience: which clients get a message: by the topics they hold, and by what their filter says of it.

Clients without a filter are found by topic alone, the others by topic and filter. So a filter is asked once for all
who share it, and nothing is asked for the sake of those who have none.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T", bound=Hashable)
T_co = TypeVar("T_co", bound=Hashable, covariant=True)
C = TypeVar("C")  # a client, told apart by identity
Accepts = Callable[[Any], bool]  # a filter: takes what `read` makes of a message; equal ones are one object
Group = tuple[Collection[C], bytes, int]  # clients, the frames they get, joined, and how many
VERDICTS_KEPT = 256  # per message, for clients that rejoin: bounds what thousands of different filters leave behind


class Message(Protocol[T_co]):
    """What is asked of a message; see Routed in actors/router.py."""

    @property
    def position(self) -> int: ...
    @property
    def topics(self) -> tuple[T_co, ...]: ...
    @property
    def data(self) -> bytes: ...
    @property
    def families(self) -> bool: ...


class Audience(Generic[T, C]):
    """An index of clients. Its owner's task alone touches it.

    Args: read: a message's data → what filters look at; called once per message, when the first filter asks.
          members: which of the held topics are meant by a message's topics that stand for many.
          failed: told of a filter that raised, before the message is offered to anyone; makes its clients leave.
    """

    def __init__(
        self,
        read: Callable[[bytes], object],
        members: Callable[[Iterable[T], tuple[T, ...]], Iterable[T]],
        failed: Callable[[Accepts], None],
    ) -> None:
        self._read = read
        self._members = members
        self._failed = failed
        self._open: dict[T, dict[C, None]] = {}
        self._filtered: dict[T, dict[Accepts, dict[C, None]]] = {}
        self.refused = 0  # questions to filters that were answered by no
        self._verdicts: dict[int, tuple[object, dict[Accepts, bool]]] = {}  # position → what is read, and said of it

    def enter(self, client: C, topics: Iterable[T], accepts: Accepts | None) -> None:
        """A client holds topics, behind its filter if it has one."""
        for topic in topics:
            if accepts is None:
                self._open.setdefault(topic, {})[client] = None
            else:
                self._filtered.setdefault(topic, {}).setdefault(accepts, {})[client] = None

    def leave(self, client: C, topics: Iterable[T], accepts: Accepts | None) -> None:
        """Take back an `enter` with the same arguments."""
        for topic in topics:
            if accepts is None:
                _take_out(self._open, topic, client)
            else:
                _take_out(self._filtered[topic], accepts, client)
                if not self._filtered[topic]:
                    del self._filtered[topic]

    @property
    def topics(self) -> set[T]:
        """All that are held."""
        return {*self._open, *self._filtered}

    # -- filters -------------------------------------------------------------------------------------------------------

    def passes(self, accepts: Accepts, message: Message[T]) -> bool | None:
        """What a filter says of a message; None: it raised. Each is asked once, as long as both are remembered."""
        entry = self._verdicts.get(message.position)
        if entry is None:
            entry = self._verdicts[message.position] = (self._read(message.data), {})
        read, said = entry
        verdict = said.get(accepts)
        if verdict is None:
            try:
                verdict = said[accepts] = accepts(read)
                self.refused += not verdict
            except Exception:  # a defect, which must cost nobody but those who hold it
                return None
        return verdict

    def questions(self, message: Message[T]) -> list[Accepts]:
        """The filters that have to be asked about a message."""
        return [accepts for by_filter in self._under(message) for accepts in by_filter] if self._filtered else []

    def settle(self, message: Message[T]) -> None:
        """A message has been offered to all; only those who rejoin may still ask."""
        if self._verdicts and (entry := self._verdicts.get(message.position)) and len(entry[1]) > VERDICTS_KEPT:
            entry[1].clear()

    def forget(self, position: int) -> None:
        """Nobody will ask about a message any more."""
        self._verdicts.pop(position, None)

    def _under(self, message: Message[T]) -> list[dict[Accepts, dict[C, None]]]:
        held = self._filtered
        found = [held[topic] for topic in message.topics if topic in held]
        if message.families:
            found += [held[topic] for topic in self._members(held, message.topics)]
        return found

    # -- groups --------------------------------------------------------------------------------------------------------

    def holders(self, message: Message[T]) -> list[dict[C, None]]:
        """Who gets a message; the groups may overlap."""
        index = self._open
        holders = [index[topic] for topic in message.topics if topic in index]
        if message.families:
            holders += [index[topic] for topic in self._members(index, message.topics)]
        if self._filtered:
            for by_filter in self._under(message):
                for accepts, clients in tuple(by_filter.items()):
                    verdict = self.passes(accepts, message)
                    if verdict:
                        holders.append(clients)
                    elif verdict is None:
                        self._failed(accepts)
        return holders

    def groups(self, messages: Sequence[Message[T]]) -> list[Group[C]]:
        """Disjoint groups of clients, each with the frames it gets, joined once."""
        reached: list[tuple[bytes, list[dict[C, None]]]] = []
        for message in messages:
            holders = self.holders(message)
            if holders:
                reached.append((message.data, holders))
        return grouped(reached) if reached else []


def grouped(reached: list[tuple[bytes, list[dict[C, None]]]]) -> list[Group[C]]:
    """Disjoint groups from the holders of each message that has some."""
    first = reached[0][1][0]
    for _, holders in reached:
        if len(holders) != 1 or holders[0] is not first:
            return _by_messages(reached)
    data = reached[0][0] if len(reached) == 1 else b"".join([data for data, _ in reached])
    return [(first, data, len(reached))]


def _by_messages(reached: list[tuple[bytes, list[dict[C, None]]]]) -> list[Group[C]]:
    """Clients by the set of messages they get, each message once."""
    masks: dict[C, int] = {}
    for bit, (_, holders) in enumerate(reached):
        for group in holders:
            for client in group:
                masks[client] = masks.get(client, 0) | 1 << bit
    clients_of: dict[int, list[C]] = {}
    for client, mask in masks.items():
        clients_of.setdefault(mask, []).append(client)
    groups: list[Group[C]] = []
    for mask, clients in clients_of.items():
        frames = [data for bit, (data, _) in enumerate(reached) if mask >> bit & 1]
        groups.append((clients, b"".join(frames), len(frames)))
    return groups


K = TypeVar("K")


def _take_out(index: dict[K, dict[C, None]], key: K, client: C) -> None:
    holders = index[key]
    del holders[client]
    if not holders:
        del index[key]
