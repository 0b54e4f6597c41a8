"""What the Router is told: messages to publish, and commands about clients. See actors/router.py."""

from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

import attrs
import trio

from actors.audience import Accepts

T = TypeVar("T", bound=Hashable)


class Client(Protocol):
    """What the Router needs of a Sender; see actors/sender.py."""

    cursor: int | None

    def offer_nowait(self, data: bytes, frames: int = 1, stamp: object = None) -> bool: ...
    def fall_behind(self, position: int) -> None: ...
    def go_live(self) -> None: ...
    def reply_nowait(self, data: bytes) -> None: ...


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
    """A client's topics and filter from now on, and its start position ≤ head if it gets one now."""

    topics: frozenset[T]
    start: int | None = None
    accepts: Accepts | None = None


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
    """Call a function between two messages; without a client it learns of the head only."""

    client: Client | None
    call: Callable[[Place], None]


@attrs.frozen(eq=False)
class Expunge:
    positions: frozenset[int]  # nobody gets the messages there any more; their places stay


@attrs.frozen(eq=False)
class Reset:
    """What a client still has to get cannot be given: it loses its position, or (`to_head`) goes on from the head.

    on_reset: called at that turn, so that what it says stands before whatever follows.
    """

    client: Client
    to_head: bool
    on_reset: Callable[[Place], None]


@attrs.frozen(eq=False)
class Notify(Generic[T]):
    """A frame without a place in the log, for the holders of its topics that have a position: not counted, not kept.

    judge: what a filter says of it.
    """

    topics: tuple[T, ...]
    data: bytes
    judge: Callable[[Accepts], bool] | None = None


@attrs.define(eq=False)
class Publish(Generic[T]):
    """Messages in rising order of position; what one client gets of them is offered as one chunk.

    stamp: the publisher's own, not looked at. routed_ns, audience: set by the Router when its fan-out begins. done: set
    when each client was offered its part. The Publish itself goes with what has to wait in an outbox, and comes back by
    the Sender's `on_written`.
    """

    messages: tuple[Routed[T], ...]
    stamp: object = None
    routed_ns: int = 0
    audience: int = 0
    done: trio.Event = attrs.field(factory=trio.Event)


Command = Subscribe[T] | Unsubscribe | Rejoin | Reset | At | Expunge | Notify[T] | Publish[T]
