"""What adapters must offer to the parts that use them."""

from typing import Any, Protocol

import attrs

from observatory.core.events import LogPosition


@attrs.frozen
class Stored:
    """An event read back from the log."""

    seq: int
    topics: frozenset[str]
    payload: bytes


class EventSource(Protocol):
    """Reading side of the log."""

    @property
    def position(self) -> LogPosition:
        """The log's epoch, head and oldest, now."""
        ...

    async def read(self, after: int, upto: int) -> list[Stored]:
        """A page of events with after < seq ≤ upto, ascending, without a gap; empty when there is none."""
        ...

    async def snapshot(self, limit: int) -> dict[str, Any]:
        """Projects and conversations with the position they are the effect of, read in one transaction."""
        ...
