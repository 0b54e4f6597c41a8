"""Blocks: the five-hour windows in which a subscription's limits are counted, how fast they fill, where they will end.

A block begins at the full hour (UTC) of its first message and ends five hours later; the next message after that begins
the next one. Claude Code does not say where its own windows begin: this is how the other tools reckon them, too.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import attrs

from observatory.core.instants import with_ms
from observatory.core.pricing import PriceTable
from observatory.core.stats import Row, Tally, tally

LENGTH = timedelta(hours=5)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
_LAST = datetime.max.replace(tzinfo=UTC) - LENGTH  # transcripts may say anything


@attrs.define
class Block:
    """One window. first, last: times of its messages."""

    start: datetime
    first: datetime
    last: datetime
    tally: Tally = attrs.field(factory=Tally)

    @property
    def end(self) -> datetime:
        """When it is over."""
        return min(self.start, _LAST) + LENGTH

    def active(self, now: datetime) -> bool:
        """Whether a message of now would belong to it."""
        return self.start <= now < self.end

    def minutes(self, now: datetime) -> float | None:
        """How long its tokens took: from the first message to the last, while it is active up to now.

        None for less than a minute: no rate can be told from it.
        """
        took = (now if self.active(now) else self.last) - self.first
        return took / MINUTE if took >= MINUTE else None

    def tokens_per_minute(self, now: datetime) -> float | None:
        """The burn rate, all four kinds of tokens."""
        minutes = self.minutes(now)
        return None if minutes is None else self.tally.tokens / minutes

    def cost_per_hour(self, now: datetime) -> float | None:
        """Pico-dollars; None also without any price."""
        minutes = self.minutes(now)
        return None if minutes is None or not self.tally.priced else self.tally.cost / minutes * 60

    def projected(self, now: datetime) -> "Projection | None":
        """Where an active block will end if it goes on so."""
        rate, cost = self.tokens_per_minute(now), self.cost_per_hour(now)
        if rate is None or not self.active(now):
            return None
        left = self.end - now
        tokens = self.tally.tokens + round(rate * (left / MINUTE))
        return Projection(tokens, None if cost is None else self.tally.cost + round(cost * (left / HOUR)))


@attrs.frozen
class Projection:
    """tokens: all four kinds. cost: pico-dollars."""

    tokens: int
    cost: int | None


def blocks(rows: Sequence[Row], table: PriceTable) -> list[Block]:
    """The blocks of messages in any order, oldest first. Messages without a time belong to none."""
    times = sorted([row.at for row in rows if row.at is not None])  # of one form: they sort as text
    firsts = list[str]()
    found = list[Block]()
    place = 0
    while place < len(times):
        first = datetime.fromisoformat(times[place])
        block = Block(first.replace(minute=0, second=0, microsecond=0), first, first)
        firsts.append(times[place])
        place = bisect_left(times, with_ms(block.end.isoformat()), place + 1)
        block.last = datetime.fromisoformat(times[place - 1])
        found.append(block)
    by_number = tally(rows, lambda row: None if row.at is None else bisect_right(firsts, row.at) - 1, table)
    for number, sums in by_number.items():
        found[number].tally = sums
    return found
