"""Prices: what an API message costs by a table of prices, in whole pico-dollars, or why that cannot be said.

Never a guess: a model is found by its exact name, or by its name without the date at the end; a tier, a speed or a
place that the table has no price for leaves the message unpriced. Source: transcripts.md §5; docs/stats.md.
"""

import re
from collections.abc import Mapping

import attrs

NO_LIMIT = 2**63
PICO = 10**12  # pico-dollars of a dollar: every price per token is a whole number of them, so sums have no order
_DATE = re.compile(r"([-@]\d{8}|-\d{4}-\d\d-\d\d)\Z", re.ASCII)  # at the end of a model's name
STANDARD_TIERS = frozenset({None, "", "standard"})
STANDARD_SPEEDS = frozenset({None, "", "standard"})
ANYWHERE = frozenset({None, "", "global", "not_available"})  # places of inference at the standard price


@attrs.frozen
class Rate:
    """Pico-dollars for one token, or one search. tiers: (prompt tokens, rate) in ascending order.

    A message whose prompt has more tokens than a tier says pays its rate for all of them.
    """

    base: int
    tiers: tuple[tuple[int, int], ...] = ()

    def at(self, prompt: int) -> int:
        """The rate of a message with so many tokens of input, from the cache and into it included."""
        return next((rate for start, rate in reversed(self.tiers) if prompt > start), self.base)


@attrs.frozen
class Rates:
    """By kind; None: no price is known. `search`: one web search."""

    fresh: Rate | None = None
    output: Rate | None = None
    cache_5m: Rate | None = None
    cache_1h: Rate | None = None
    cached: Rate | None = None
    search: Rate | None = None
    base: tuple[int, ...] | None = attrs.field(init=False, eq=False)  # all six, without tiers; None if one is missing
    limit: int = attrs.field(init=False, eq=False)  # a prompt of so many tokens is still below every tier; else -1

    @base.default
    def _base(self) -> tuple[int, ...] | None:
        rates = (self.fresh, self.output, self.cache_5m, self.cache_1h, self.cached, self.search)
        known = tuple(rate.base for rate in rates if rate is not None)
        return known if len(known) == len(rates) else None

    @limit.default
    def _limit(self) -> int:
        rates = (self.fresh, self.output, self.cache_5m, self.cache_1h, self.cached, self.search)
        starts = (start for rate in rates if rate is not None for start, _ in rate.tiers)
        return -1 if self.base is None else min(starts, default=NO_LIMIT)


@attrs.frozen
class Period:
    """Prices from a day on (UTC, YYYY-MM-DD; "" is since ever) until the next period's."""

    start: str
    rates: Rates


@attrs.frozen
class ModelPrices:
    """A model's prices over time, oldest first; `fast` and `batch` are empty where they are not sold."""

    standard: tuple[Period, ...]
    fast: tuple[Period, ...] = ()
    batch: tuple[Period, ...] = ()


@attrs.frozen
class PriceTable:
    """Prices by name of model. source: where they come from; date: as of when."""

    source: str
    date: str | None
    models: Mapping[str, ModelPrices]

    def of(self, model: str) -> ModelPrices | None:
        """By its exact name, or by that without the date at its end."""
        return self.models.get(model) or self.models.get(_DATE.sub("", model))


def rates_of(
    table: PriceTable, model: str | None, tier: str | None, speed: str | None, geo: str | None, day: str | None
) -> Rates | str:
    """The rates of a message, or why there are none. day: UTC; None where its time is not known."""
    if not model:
        return "no model"
    prices = table.of(model)
    if prices is None:
        return f"model {model}"
    if geo not in ANYWHERE:
        return f"inference_geo {geo}"
    fast, batch = speed == "fast", tier == "batch"
    if tier not in STANDARD_TIERS and not batch:
        return f"service tier {tier}"
    if speed not in STANDARD_SPEEDS and not fast:
        return f"speed {speed}"
    if fast and batch:
        return "speed fast in service tier batch"
    return _variant(prices, model, day, fast=fast, batch=batch)


def _variant(prices: ModelPrices, model: str, day: str | None, *, fast: bool, batch: bool) -> Rates | str:
    standard = _on(prices.standard, day)
    if not fast and not batch:
        return standard or f"model {model} at its time"
    name = "speed fast" if fast else "service tier batch"
    found = _on(prices.fast if fast else prices.batch, day)
    if found is None:
        return f"{name} of {model}"
    if found.search is None and standard is not None:  # a search costs the same at any tier
        return attrs.evolve(found, search=standard.search)
    return found


def _on(periods: tuple[Period, ...], day: str | None) -> Rates | None:
    if day is None:  # only where it does not matter
        return periods[0].rates if len(periods) == 1 and not periods[0].start else None
    return next((period.rates for period in reversed(periods) if period.start <= day), None)


def cost(
    rates: Rates, fresh: int, output: int, creation: int, cached: int, cache_1h: int = 0, searches: int = 0
) -> int | str:
    """Pico-dollars of one API message, or why that cannot be said.

    cache_1h: of `creation`; the rest is priced as written for 5 minutes. Tiers go by the message's own prompt.
    """
    short, prompt = creation - cache_1h, fresh + creation + cached
    counts = (fresh, output, short, cache_1h, cached, searches)
    if prompt <= rates.limit:
        return base_cost(rates, fresh, output, creation, cached, cache_1h, searches)
    kinds = (rates.fresh, rates.output, rates.cache_5m, rates.cache_1h, rates.cached, rates.search)
    total = 0
    for count, rate, name in zip(counts, kinds, KINDS, strict=True):
        if count and rate is None:
            return f"no price for {name}"
        if count and rate is not None:
            total += count * rate.at(prompt)
    return total


def base_cost(
    rates: Rates, fresh: int, output: int, creation: int, cached: int, cache_1h: int = 0, searches: int = 0
) -> int:
    """As `cost`, below every tier: also of the sum over messages. 0 where a rate is missing."""
    counts = (fresh, output, creation - cache_1h, cache_1h, cached, searches)
    return sum(count * rate for count, rate in zip(counts, rates.base or (), strict=False))


KINDS = ("input", "output", "5-minute cache writes", "1-hour cache writes", "cache reads", "web searches")
