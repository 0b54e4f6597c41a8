"""Statistics: tokens, cost and messages by group, from the rows of the usage table.

A total counts each API message once, at its earliest row; a conversation's own total counts each message that it holds.
Integers only, so that no sum depends on an order. Source: transcripts.md §5; docs/stats.md.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from math import fsum
from typing import Generic, NamedTuple, TypeVar

import attrs

from observatory.core import pricing
from observatory.core.pricing import PriceTable, Rates, rates_of

K = TypeVar("K", bound=Hashable)
Reason = str


class Row(NamedTuple):
    """What one API message counts in one conversation, see core/usage.py and core/detail.py."""

    message_id: str
    conversation_id: str
    fresh: int
    output: int
    creation: int
    cached: int
    cache_1h: int
    searches: int
    at: str | None
    model: str | None
    branch: str | None
    tier: str | None
    speed: str | None
    geo: str | None
    legacy: float | None


def distinct(rows: Iterable[Row]) -> Iterator[Row]:
    """Each API message once. rows: those of one message follow each other, in any order."""
    held: Row | None = None
    same: list[Row] = []  # as `held`, the first of them included; empty while it is alone
    for row in rows:
        if held is not None and row[0] == held[0]:
            same = [*(same or [held]), row]
            continue
        if held is not None:
            yield merged(same) if same else held
        held, same = row, []
    if held is not None:
        yield merged(same) if same else held


def merged(rows: list[Row]) -> Row:
    """One message's rows as one: each count's maximum, all else from the earliest row that tells it.

    Of two with the same time the one whose conversation's id comes first is the earlier.
    """
    ordered = sorted(rows, key=lambda row: (row.at is None, row.at, row.conversation_id))
    costs = [row.legacy for row in ordered if row.legacy is not None]
    first, counts = ordered[0], [max(values) for values in zip(*(row[2:8] for row in ordered), strict=True)]
    told = [next(filter(None, values), None) for values in zip(*(row[8:14] for row in ordered), strict=True)]
    return Row._make((first.message_id, first.conversation_id, *counts, *told, max(costs, default=None)))


@attrs.define
class Tally:
    """Sums over messages. cost: pico-dollars of the priced ones; unpriced: how many are not, by reason.

    legacy: `costUSD` of each message that old versions wrote it for.
    """

    messages: int = 0
    fresh: int = 0
    output: int = 0
    creation: int = 0
    cached: int = 0
    cache_1h: int = 0
    searches: int = 0
    cost: int = 0
    unpriced: Counter[Reason] = attrs.field(factory=Counter)
    legacy: list[float] = attrs.field(factory=list)
    conversations: set[str] = attrs.field(factory=set)

    @property
    def tokens(self) -> int:
        """All four kinds."""
        return self.fresh + self.output + self.creation + self.cached

    @property
    def priced(self) -> bool:
        """Whether there is a cost to show: not when no message that counts tokens could be priced."""
        return self.cost > 0 or not self.unpriced

    @property
    def legacy_usd(self) -> float | None:
        """Dollars, exact whatever the order; None without any."""
        return fsum(self.legacy) if self.legacy else None

    def join(self, other: "Tally") -> None:
        """All of another's messages."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.unpriced.update(other.unpriced)
        self.legacy += other.legacy
        self.conversations |= other.conversations


_SUMS = ("messages", "fresh", "output", "creation", "cached", "cache_1h", "searches", "cost")


@attrs.define
class _Cell:
    """Sums over messages of one group with the same rates: the sum is priced, and what single messages differ by added.

    limit: messages with a larger prompt are looked at one by one.
    """

    rates: Rates | Reason
    limit: int = attrs.field(init=False)
    sums: Tally = attrs.field(factory=Tally)

    @limit.default
    def _limit(self) -> int:
        return self.rates.limit if isinstance(self.rates, Rates) else -1

    def look_at(self, row: Row) -> None:
        """A message that costs something else than its tokens at the base rates, or cannot be priced."""
        counts = row[2:8]
        found = pricing.cost(self.rates, *counts) if isinstance(self.rates, Rates) else self.rates
        if isinstance(found, str) and any(counts):  # without tokens it costs nothing, whoever wrote it
            self.sums.unpriced[found] += 1
        elif isinstance(found, int) and isinstance(self.rates, Rates):
            self.sums.cost += found - pricing.base_cost(self.rates, *counts)

    def finished(self) -> Tally:
        """The sums with their cost."""
        s = self.sums
        if isinstance(self.rates, Rates):
            counts = (s.fresh, s.output, s.creation, s.cached, s.cache_1h, s.searches)
            s.cost += pricing.base_cost(self.rates, *counts)
        return s


@attrs.define
class Sums(Generic[K]):
    """Sums by key, grown message by message."""

    table: PriceTable
    _by_price: dict[Rates | Reason, dict[K, _Cell]] = attrs.field(factory=dict)
    _known: dict[tuple[str | None, ...], dict[K, _Cell]] = attrs.field(
        factory=dict
    )  # the same, by what tells the price

    def add(self, key: K, row: Row) -> None:
        """One message more."""
        _, conversation, fresh, output, creation, cached, cache_1h, searches, at, model, _, tier, speed, geo, legacy = (
            row
        )
        context = (model, tier, speed, geo, at and at[:10])
        cells = self._known.get(context)
        if cells is None:
            cells = self._known[context] = self._by_price.setdefault(rates_of(self.table, *context), {})
        cell = cells.get(key)
        if cell is None:
            cell = cells[key] = _Cell(rates_of(self.table, *context))
        sums = cell.sums
        sums.messages += 1
        sums.fresh += fresh
        sums.output += output
        sums.creation += creation
        sums.cached += cached
        sums.conversations.add(conversation)
        if cache_1h or searches:  # rare: each line here is run for every message there is
            sums.cache_1h += cache_1h
            sums.searches += searches
        if legacy is not None:
            sums.legacy.append(legacy)
        if fresh + creation + cached > cell.limit:
            cell.look_at(row)

    def groups(self) -> dict[K, Tally]:
        """What there is by now; nothing may be added after that."""
        groups: dict[K, Tally] = {}
        for cells in self._by_price.values():
            for key, cell in cells.items():
                groups.setdefault(key, Tally()).join(cell.finished())
        return groups


def tally(rows: Iterable[Row], key_of: Callable[[Row], K | None], table: PriceTable) -> dict[K, Tally]:
    """Sums by key. key_of: None leaves the message out."""
    sums = Sums[K](table)
    add = sums.add
    for row in rows:
        key = key_of(row)
        if key is not None:
            add(key, row)
    return sums.groups()


def tally_shared(
    rows: Iterable[Row], key_of: Callable[[Row], K | None], table: PriceTable
) -> tuple[dict[K, Tally], Tally]:
    """Sums by key over all rows, of which several may be one message's; and the total, each message once."""
    own, overall = Sums[K](table), Sums[str](table)

    def counted() -> Iterator[Row]:
        for row in rows:
            key = key_of(row)
            if key is not None:
                own.add(key, row)
            yield row

    for row in distinct(counted()):
        if key_of(row) is not None:
            overall.add("", row)
    return own.groups(), total(overall.groups().values())


def total(groups: Iterable[Tally]) -> Tally:
    """The sum over groups that share no message."""
    made = Tally()
    for group in groups:
        made.join(group)
    return made
