"""What `tail` says besides events: one quiet line when the server is away, one when it is back, and what is missing."""

from typing import TextIO, assert_never

import attrs
from rich.text import Text

from observatory.cli.terminal import QUIET, PlainConsole
from observatory.core.client_items import Agreed, Connected, Disconnected, Event, Gap, Incomplete, Item, Snapshot
from observatory.core.events import Position


@attrs.define(eq=False)
class Notices:
    """Tells a stream, mostly stderr. However often it is tried to come back, the absence is told once."""

    _console: PlainConsole
    _is_away: bool = attrs.field(default=False, init=False)

    @classmethod
    def to(cls, out: TextIO) -> "Notices":
        return cls(PlainConsole(out))

    def take(self, item: Item) -> None:
        """Say what an item means to the reader, if it is no event."""
        if (notice := self._notice(item)) is not None:
            self._console.print(Text(f"observatory: {notice}", QUIET), soft_wrap=True)

    def _notice(self, item: Item) -> str | None:
        match item:
            case Disconnected():
                was_away, self._is_away = self._is_away, True
                return None if was_away else f"{item.reason}; reconnecting"
            case Connected():
                was_away, self._is_away = self._is_away, False
                if item.recovered is False:
                    return "connected again, but not every event could be had"
                return "connected again, nothing was missed" if was_away else None
            case Gap(since=Position()):
                return (
                    f"events after {_place(item.since)} are missing ({item.reason}); going on at {_place(item.until)}"
                )
            case Incomplete():
                return f"the server sent {item.sent} events, {item.received} arrived; asking again for what is missing"
            case Event() | Snapshot() | Gap() | Agreed():
                return None
        assert_never(item)


def _place(position: Position | None) -> str:
    return "the head" if position is None else f"{position.epoch}:{position.seq}"
