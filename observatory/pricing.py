"""The prices that come with the package genai-prices, as our table. It is imported here only, and only when asked for:
it brings pydantic and an HTTP client, which nothing else needs. Nothing is fetched: its data is part of the package.
"""

from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING

from observatory.core.pricing import PICO, ModelPrices, Period, PriceTable, Rate, Rates

if TYPE_CHECKING:
    from genai_prices import types

PROVIDER = "anthropic"
PACKAGE = "genai-prices"
# The package's names of what Rates has, in its order, and for how many a price is.
KEYS = {
    "input_mtok": 10**6,
    "output_mtok": 10**6,
    "cache_write_mtok": 10**6,
    "cache_write_1h_mtok": 10**6,
    "cache_read_mtok": 10**6,
    "web_searches_kcount": 10**3,
}
FAST, BATCH = {"speed": "fast"}, {"processing": "batch"}


def load() -> PriceTable:
    """Anthropic's prices. Takes about 0.2 s, most of it the import."""
    from genai_prices.data import providers

    models = next(provider.models for provider in providers if provider.id == PROVIDER)
    table: dict[str, ModelPrices] = {}
    for model in models:
        prices = _model(model)
        if prices is not None:
            table |= {name: prices for name in _names(model) if name not in table}
    starts = [p.start for m in table.values() for periods in (m.standard, m.fast, m.batch) for p in periods if p.start]
    return PriceTable(f"{PACKAGE} {version(PACKAGE)}", max(starts, default=None), table)


def _names(model: "types.ModelInfo") -> Iterator[str]:
    """Names that mean the model as they stand: its id, and what its clauses compare with. A clause that a name only has
    to begin with counts as that name, and no other; a pattern is not followed."""
    from genai_prices.types import ClauseEquals, ClauseOr, ClauseStartsWith

    yield model.id
    for clause in model.match.or_ if isinstance(model.match, ClauseOr) else [model.match]:
        if isinstance(clause, ClauseEquals):
            yield clause.equals
        elif isinstance(clause, ClauseStartsWith):
            yield clause.starts_with


def _model(model: "types.ModelInfo") -> ModelPrices | None:
    from genai_prices.types import ModelPrice

    if isinstance(model.prices, ModelPrice):
        standard: list[Period | None] = [Period("", _rates(model.prices))]
    else:
        standard = [_period(one.constraint, one.prices) for one in model.prices]
    variants = [(v.when, _period(v.constraint, v.prices)) for v in model.price_variants or ()]
    fast, batch = ([period for when, period in variants if when == wanted] for wanted in (FAST, BATCH))
    if None in standard or None in fast or None in batch:
        return None  # prices by the time of day: none of ours
    return ModelPrices(_in_order(standard), _in_order(fast), _in_order(batch))


def _in_order(periods: list[Period | None]) -> tuple[Period, ...]:
    return tuple(sorted((period for period in periods if period is not None), key=lambda period: period.start))


def _period(constraint: object, prices: "types.ModelPrice") -> Period | None:
    from genai_prices.types import StartDateConstraint

    if constraint is None:
        return Period("", _rates(prices))
    if isinstance(constraint, StartDateConstraint):
        return Period(constraint.start_date.isoformat(), _rates(prices))
    return None


def _rates(prices: "types.ModelPrice") -> Rates:
    return Rates(*(_rate(getattr(prices, key), per) for key, per in KEYS.items()))


def _rate(price: "Decimal | types.TieredPrices | None", per: int) -> Rate | None:
    """None also for a price that is no whole number of pico-dollars: it could not be summed exactly."""
    if price is None:
        return None
    base, tiers = (price, []) if isinstance(price, Decimal) else (price.base, price.tiers)
    amounts = [base, *(tier.price for tier in tiers)]
    whole = [amount * PICO / per for amount in amounts]
    if any(amount != amount.to_integral_value() for amount in whole):
        return None
    return Rate(int(whole[0]), tuple((tier.start, int(amount)) for tier, amount in zip(tiers, whole[1:], strict=True)))
