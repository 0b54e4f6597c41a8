"""Prices: by hand-computed examples of each tier, and never a guess."""

from typing import Any

import pytest

from observatory.core.pricing import (
    NO_LIMIT,
    PICO,
    ModelPrices,
    Period,
    PriceTable,
    Rate,
    Rates,
    base_cost,
    cost,
    rates_of,
)

FLAT = Rates(Rate(3_000_000), Rate(15_000_000), Rate(3_750_000), Rate(6_000_000), Rate(300_000), Rate(10**10))
LONG = Rates(
    Rate(3_000_000, ((100, 6_000_000), (200, 12_000_000))),
    Rate(15_000_000, ((100, 30_000_000), (200, 60_000_000))),
    *(FLAT.cache_5m, FLAT.cache_1h, FLAT.cached, FLAT.search),
)
BATCH = Rates(Rate(1_500_000), Rate(7_500_000), Rate(1_875_000), Rate(3_000_000), Rate(150_000))
FAST = Rates(Rate(6_000_000), Rate(30_000_000))
SINCE = "2026-03-13"
MODEL = ModelPrices(
    (Period("", LONG), Period(SINCE, FLAT)), fast=(Period("", FAST),), batch=(Period("2026-10-14", BATCH),)
)
TABLE = PriceTable(
    "ours",
    None,
    {
        "m": MODEL,
        "n": ModelPrices((Period("", FLAT),)),
        "late": ModelPrices((Period(SINCE, FLAT),)),
        "o-20250514": ModelPrices((Period("", FAST),)),
    },
)


def priced(model: str | None = "m", day: str | None = "2026-11-01", **context: Any) -> Rates | str:
    told = {"tier": None, "speed": None, "geo": None} | context
    return rates_of(TABLE, model, told["tier"], told["speed"], told["geo"], day)


@pytest.mark.parametrize(
    ("counts", "usd"),
    [
        ((1_000_000, 0, 0, 0), 3.0),
        ((0, 1_000_000, 0, 0), 15.0),
        ((0, 0, 1_000_000, 0), 3.75),  # what the split does not explain was written for five minutes
        ((0, 0, 1_000_000, 0, 1_000_000), 6.0),
        ((0, 0, 1_000_000, 0, 400_000), 0.6 * 3.75 + 0.4 * 6),
        ((0, 0, 0, 1_000_000), 0.3),
        ((0, 0, 0, 0, 0, 3), 0.03),
        ((1, 2, 3, 4, 2, 1), (3 + 2 * 15 + 3.75 + 2 * 6 + 4 * 0.3) / 1e6 + 0.01),
    ],
)
def test_each_kind_has_its_price(counts: tuple[int, ...], usd: float) -> None:
    found = cost(FLAT, *counts)
    assert found == round(usd * PICO)
    assert base_cost(FLAT, *counts) == found


@pytest.mark.parametrize(
    ("prompt", "factor"),
    [((100, 0, 0), 1), ((101, 0, 0), 2), ((1, 100, 0), 2), ((1, 0, 100), 2), ((200, 0, 0), 2), ((201, 0, 0), 4)],
)
def test_a_long_prompt_costs_more_for_all_of_it(prompt: tuple[int, int, int], factor: int) -> None:
    fresh, written, read = prompt
    wanted = (3_000_000 * fresh + 15_000_000 * 7) * factor + 3_750_000 * written + 300_000 * read
    assert cost(LONG, fresh, 7, written, read) == wanted
    assert LONG.limit == 100


def test_prices_change_on_a_day() -> None:
    assert priced(day="2026-03-12") is LONG
    assert priced(day=SINCE) is FLAT
    assert priced("late", "2026-03-12") == "model late at its time"


def test_without_a_time_there_is_a_price_only_if_there_was_one() -> None:
    assert priced("n", None) is FLAT
    assert priced("m", None) == "model m at its time"
    assert priced("late", None) == "model late at its time"


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("n", FLAT),
        ("n-20250514", FLAT),
        ("n@20250514", FLAT),
        ("n-2025-05-14", FLAT),
        ("o-20250514", FAST),
        ("o-20250515", "model o-20250515"),
        ("n-latest", "model n-latest"),
        ("n-2025051", "model n-2025051"),
        ("n-20250514-v1:0", "model n-20250514-v1:0"),
        ("us.anthropic.n", "model us.anthropic.n"),
        ("N", "model N"),
        (None, "no model"),
        ("", "no model"),
    ],
)
def test_a_model_is_found_by_its_name_or_that_without_the_date(model: str | None, found: Rates | str) -> None:
    assert priced(model) == found


@pytest.mark.parametrize(
    ("context", "found"),
    [
        ({"tier": "standard", "speed": "standard", "geo": "global"}, FLAT),
        ({"tier": "", "speed": "", "geo": "not_available"}, FLAT),
        ({"tier": "priority"}, "service tier priority"),
        ({"speed": "warp"}, "speed warp"),
        ({"geo": "us"}, "inference_geo us"),
        ({"tier": "batch", "speed": "fast"}, "speed fast in service tier batch"),
        ({"tier": "batch", "day": "2026-10-13"}, "service tier batch of m"),
        ({"tier": "batch", "model": "n"}, "service tier batch of n"),
        ({"speed": "fast", "model": "n"}, "speed fast of n"),
    ],
)
def test_a_tier_without_price_leaves_the_message_unpriced(context: dict[str, Any], found: Rates | str) -> None:
    assert priced(**context) == found


def test_batch_and_fast_have_prices_of_their_own_but_searches_have_not() -> None:
    batch, fast = priced(tier="batch"), priced(speed="fast", day="2026-03-01")
    assert isinstance(batch, Rates)
    assert isinstance(fast, Rates)
    assert cost(batch, 1_000_000, 0, 0, 0, 0, 1) == round(1.51 * PICO)
    assert cost(fast, 0, 1_000_000, 0, 0) == 30 * PICO
    assert cost(fast, 0, 1, 0, 1) == "no price for cache reads"
    own = ModelPrices((Period("", FLAT),), batch=(Period("", FLAT),), fast=(Period("", FAST),))
    late = ModelPrices((Period(SINCE, FLAT),), fast=(Period("", FAST),))
    table = PriceTable("ours", None, {"own": own, "late": late})
    assert rates_of(table, "own", "batch", None, None, SINCE) is FLAT
    assert rates_of(table, "late", None, "fast", None, "2026-01-01") is FAST


def test_what_is_not_used_needs_no_price() -> None:
    assert cost(FAST, 10, 1, 0, 0) == 60_000_000 + 30_000_000
    assert cost(FAST, 0, 0, 1, 0) == "no price for 5-minute cache writes"
    assert cost(FAST, 0, 0, 1, 0, 1) == "no price for 1-hour cache writes"
    assert cost(FAST, 0, 0, 0, 0, 0, 1) == "no price for web searches"
    assert (FAST.limit, FLAT.limit, base_cost(FAST, 1, 1, 1, 1)) == (-1, NO_LIMIT, 0)
