"""What is known of an API message besides its counts, and how its lines agree on it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.detail import UNKNOWN, Detail, legacy_cost, merge
from observatory.core.usage import read

AT, LATER = "2026-11-22T21:00:00.100Z", "2026-11-22T21:00:01.000Z"
DETAILS = st.builds(
    Detail,
    at=st.sampled_from([None, AT, LATER]),
    model=st.just("claude-x"),
    cache_5m=st.integers(0, 3),
    cache_1h=st.integers(0, 3),
    web_searches=st.integers(0, 3),
    cost_usd=st.sampled_from([None, 0.5, 2.0]),
)


def test_a_line_tells_when_where_and_at_which_tier() -> None:
    found = {
        "service_tier": "standard",
        "speed": "fast",
        "inference_geo": "us",
        "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 3},
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 9},
    }
    notes: list[str] = []
    told = read(found, notes, ("2026-11-22T21:00:00Z", "claude-x", "main", 0.25))[1]
    at = "2026-11-22T21:00:00.000Z"
    assert told == Detail(at, "claude-x", "main", "standard", "fast", "us", 4, 3, 2, 0.25)
    assert notes == []


def test_what_is_nothing_of_the_kind_is_absent_and_noted() -> None:
    notes: list[str] = []
    found: dict[str, Any] = {"service_tier": 5, "speed": ["fast"], "server_tool_use": 7}
    assert read(found, notes)[1] == UNKNOWN
    assert notes == ["usage.server_tool_use", "usage.service_tier", "usage.speed"]
    notes = []
    assert read({"server_tool_use": {"web_search_requests": "2"}}, notes)[1].web_searches == 0
    assert notes == ["usage.web_search_requests"]


@pytest.mark.parametrize(
    ("cost", "read", "notes"),
    [
        (0.25, 0.25, []),
        (3, 3.0, []),
        (None, None, []),
        (True, None, ["costUSD"]),
        ("1", None, ["costUSD"]),
        (-1, None, ["costUSD"]),
        (float("nan"), None, ["costUSD"]),
    ],
)
def test_the_old_cost_is_an_amount_or_nothing(cost: object, read: float | None, notes: list[str]) -> None:
    met: list[str] = []
    assert legacy_cost({"costUSD": cost}, met) == read
    assert met == notes


def test_the_earliest_line_says_when_and_where() -> None:
    early, late = Detail(AT, "a", "main", "standard"), Detail(LATER, "b", "other", speed="fast", cache_1h=5)
    assert merge(late, early) == merge(early, late) == Detail(AT, "a", "main", "standard", "fast", cache_1h=5)
    assert merge(Detail(model="a"), Detail(model="b")).model == "a"
    assert merge(UNKNOWN, early) is early


def test_a_line_that_tells_nothing_new_changes_nothing() -> None:
    known = Detail(AT, "a", "main", cache_5m=5, cost_usd=2.0)
    assert merge(known, Detail(LATER, "a", "main", cache_5m=3, cost_usd=2.0)) is known
    assert merge(known, Detail(None, None, None, cost_usd=1.0)) is known


@given(st.lists(DETAILS, min_size=1).flatmap(lambda lines: st.tuples(st.just(lines), st.permutations(lines * 2))))
def test_repeats_and_order_change_nothing(lists: tuple[list[Detail], list[Detail]]) -> None:
    results = []
    for lines in lists:
        known = UNKNOWN
        for line in lines:
            known = merge(known, line)
        results.append(known)
    assert results[0] == results[1]
