"""What adapters must offer to the parts that use them."""

from functools import cached_property
from typing import Any, Protocol

from observatory.core.batch import Batch
from observatory.core.events import Event, LogPosition
from observatory.core.facts import Facts, facts_of
from observatory.core.forgetting import Removal, Target
from observatory.core.frozen import frozen


@frozen
class Stored:
    """An event read back from the log."""

    seq: int
    topics: frozenset[str]
    payload: bytes

    @cached_property
    def facts(self) -> Facts:
        """What filters can ask; read once, when the first one asks."""
        return facts_of(self.payload)


class EventSource(Protocol):
    """Reading side of the log."""

    @property
    def position(self) -> LogPosition:
        """The log's epoch, head and oldest, now."""
        ...

    @property
    def removals(self) -> int:
        """How often something was taken out of the log: what was read before is not to be shown after."""
        ...

    async def read(self, after: int, upto: int) -> list[Stored]:
        """A page of events with after < seq ≤ upto, ascending, without a gap; empty when they have been trimmed.

        Raises StoreError: retryable, or for good: the log cannot give what follows `after`.
        """
        ...

    async def snapshot(self, limit: int) -> dict[str, Any]:
        """Projects and conversations with the position they are the effect of, read in one transaction."""
        ...


class Turn(Protocol):
    """One holder at a time; see actors/turn.py."""

    def take_nowait(self) -> bool: ...
    async def take(self) -> None: ...
    def give_back(self) -> None: ...


class Commits(Protocol):
    """One transaction at a time."""

    @property
    def turn(self) -> Turn:
        """Held by whoever commits events, until the Router has them, so that they are published in their order."""
        ...

    def append_nowait(self, batch: Batch) -> tuple[Event, ...] | None:
        """Commit now; None when that would have to wait. Raises StoreError, and then nothing is stored."""
        ...

    async def append(self, batch: Batch) -> tuple[Event, ...]:
        """Commit; raises StoreError, and then nothing is stored."""
        ...

    async def forget(self, target: Target) -> Removal:
        """Remove a conversation or project; raises StoreError, and then nothing is removed."""
        ...

    async def scrub(self) -> bool:
        """Leave nothing of what was removed in the files; False: that goes on later. Raises StoreError."""
        ...
