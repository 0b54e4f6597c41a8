"""The prices that come with genai-prices: complete, dated, and applied as the package itself applies them."""

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory import pricing
from observatory.core.pricing import PICO, PriceTable, Rates, cost, rates_of

COUNT = st.integers(min_value=0, max_value=300_000)


@pytest.fixture(scope="module")
def table() -> PriceTable:
    return pricing.load()


def test_the_table_says_whose_prices_it_has_and_as_of_when(table: PriceTable) -> None:
    assert table.source == f"genai-prices {version('genai-prices')}"
    assert table.date is not None
    assert datetime.fromisoformat(table.date) > datetime(2026, 1, 1)


@pytest.mark.parametrize(
    ("model", "tier", "speed", "day", "usd"),
    [  # of a million tokens of input, a million of output, 10,000 written for five minutes, 10,000 for an hour
        ("claude-sonnet-4-20250514", "standard", None, "2025-09-01", 3 + 15 + 0.0375 + 0.06),
        ("claude-opus-4-1-20250805", None, None, "2025-09-01", 15 + 75 + 0.1875 + 0.3),
        ("claude-opus-4-6", None, None, "2026-02-01", 10 + 37.5 + 0.125 + 0.2),  # a long prompt, when that cost more
        ("claude-opus-4-6", None, None, "2026-04-01", 5 + 25 + 0.0625 + 0.1),
        ("claude-opus-4-8", "batch", None, "2026-11-01", 2.5 + 12.5 + 0.03125 + 0.05),
        ("claude-opus-4-8", None, "fast", "2026-11-01", 10 + 50 + 0.125 + 0.2),
    ],
)
def test_real_models_cost_what_their_price_list_says(
    table: PriceTable, model: str, tier: str | None, speed: str | None, day: str, usd: float
) -> None:
    rates = rates_of(table, model, tier, speed, None, day)
    assert isinstance(rates, Rates)
    assert cost(rates, 1_000_000, 1_000_000, 20_000, 0, 10_000) == round(usd * PICO)


@given(
    name=st.sampled_from(["claude-sonnet-4-5-20250929", "claude-opus-4-6", "claude-haiku-4-5", "claude-opus-5"]),
    day=st.dates(datetime(2026, 1, 1).date(), datetime(2026, 11, 20).date()),
    counts=st.tuples(COUNT, COUNT, COUNT, COUNT, COUNT),
    searches=st.integers(0, 5),
)
def test_a_message_costs_what_the_package_itself_says(
    table: PriceTable, name: str, day: Any, counts: tuple[int, ...], searches: int
) -> None:
    from genai_prices import Usage, calc_price

    fresh, output, short, long, read = counts
    wanted = calc_price(
        Usage(
            input_tokens=fresh + short + long + read,
            output_tokens=output,
            cache_write_tokens=short + long,
            cache_write_1h_tokens=long,
            cache_read_tokens=read,
            web_searches=searches,
        ),
        model_ref=name,
        provider_id="anthropic",
        genai_request_timestamp=datetime(day.year, day.month, day.day, tzinfo=UTC),
    )
    rates = rates_of(table, name, "standard", "standard", "", day.isoformat())
    assert isinstance(rates, Rates)
    assert cost(rates, fresh, output, short + long, read, long, searches) == wanted.total_price * PICO


def test_a_price_that_could_not_be_summed_exactly_is_none() -> None:
    from genai_prices.types import ModelPrice

    assert pricing._rate(Decimal("0.0000001"), 10**6) is None
    assert pricing._rate(None, 10**6) is None
    assert pricing._rates(ModelPrice(input_mtok=Decimal(3))).output is None


def test_prices_by_the_time_of_day_and_by_patterns_are_left_out() -> None:
    from datetime import time

    from genai_prices.types import (
        ClauseEquals,
        ClauseRegex,
        ConditionalPrice,
        ModelInfo,
        ModelPrice,
        TimeOfDateConstraint,
    )

    price = ModelPrice(input_mtok=Decimal(3))
    by_day = ConditionalPrice(TimeOfDateConstraint(time(8), time(9)), prices=price)
    assert pricing._model(ModelInfo(id="m", match=ClauseEquals("m"), prices=[by_day])) is None
    assert list(pricing._names(ModelInfo(id="m", match=ClauseRegex("^m-"), prices=price))) == ["m"]


def test_nothing_else_imports_the_package() -> None:
    code = "import sys, observatory.cli.main, observatory.app\nprint('genai_prices' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
