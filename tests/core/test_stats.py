"""Sums of usage: each message once, whatever the order; exact costs; what has no price is counted apart."""

import random
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.pricing import ModelPrices, Period, PriceTable, Rate, Rates
from observatory.core.stats import Row, Tally, distinct, merged, tally, tally_shared, total

RATES = Rates(Rate(3), Rate(15), Rate(4), Rate(6), Rate(1), Rate(1000))
TIERED = attrs.evolve(Rates(*(Rate(price, ((100, price * 2),)) for price in (3, 15, 4, 6, 1))), search=Rate(1000))
PARTLY = Rates(Rate(3), Rate(15))
TABLE = PriceTable(
    "ours", None, {n: ModelPrices((Period("", r),)) for n, r in (("a", RATES), ("b", TIERED), ("c", PARTLY))}
)
AT = "2026-03-09T12:00:00.000Z"
LATER = "2026-03-10T12:00:00.000Z"
COUNT = st.integers(min_value=0, max_value=200)


def row(message_id: str = "m", conversation: str = "c", counts: tuple[int, ...] = (1, 2, 3, 4), **more: Any) -> Row:
    padded = (*counts, *([0] * (6 - len(counts))))
    told = {"at": AT, "model": "a", "branch": None, "tier": None, "speed": None, "geo": None, "legacy": None} | more
    return Row._make((message_id, conversation, *padded, *told.values()))


ROWS = st.lists(
    st.builds(
        row,
        st.sampled_from(["m1", "m2", "m3", "m4"]),
        st.sampled_from(["c1", "c2", "c3"]),
        st.tuples(COUNT, COUNT, COUNT, COUNT),
        at=st.sampled_from([None, AT, LATER]),
        model=st.sampled_from([None, "a", "b", "c", "x"]),
        tier=st.sampled_from([None, "standard", "priority"]),
        legacy=st.sampled_from([None, 0.1, 0.2, 0.7]),
    ),
    unique_by=lambda made: (made.message_id, made.conversation_id),
)


@given(ROWS, st.randoms(use_true_random=False))
def test_no_order_changes_a_figure(rows: list[Row], shuffle: random.Random) -> None:
    found = []
    for _ in range(2):
        shuffle.shuffle(rows)
        once = list(distinct(sorted(rows, key=lambda made: made.message_id)))  # sorting keeps the order within an id
        assert len(once) == len({made.message_id for made in rows})
        groups = tally(once, lambda made: (made.at, made.conversation_id), TABLE)
        found.append((groups, total(groups.values()).legacy_usd, sorted(once, key=str)))
    for groups, _, _ in found:
        for group in groups.values():
            group.legacy.sort()
    assert found[0] == found[1]


@given(ROWS)
def test_groups_add_up_to_what_all_messages_cost_one_by_one(rows: list[Row]) -> None:
    once = [made for made in rows if made.conversation_id == "c1"]
    together = total(tally(once, lambda made: made.model or "", TABLE).values())
    single = [tally([made], lambda _: "", TABLE)[""] for made in once]
    assert together.cost == sum(one.cost for one in single)
    assert together.tokens == sum(one.tokens for one in single)
    assert sum(together.unpriced.values()) == sum(sum(one.unpriced.values()) for one in single)


def test_a_message_of_several_conversations_counts_its_maxima_at_its_earliest() -> None:
    first = row("m", "z", (1, 20, 3, 4), model=None, branch="main", legacy=0.5)
    second = row("m", "y", (5, 2, 3, 9, 1, 2), at=LATER, branch="other", speed="fast", legacy=0.25)
    undated = row("m", "a", (0, 0), at=None, branch="none")
    wanted = Row("m", "z", 5, 20, 3, 9, 1, 2, AT, "a", "main", None, "fast", None, 0.5)
    assert merged([undated, second, first]) == merged([first, second, undated]) == wanted
    assert merged([row("m", "b"), row("m", "a")]).conversation_id == "a"
    assert list(distinct([first, second, row("n"), row("o", "p"), row("o", "q")])) == [
        merged([first, second]),
        row("n"),
        row("o", "p"),
    ]
    assert list(distinct([])) == []


@pytest.mark.parametrize(
    ("rows", "cost", "unpriced"),
    [
        ([row(counts=(1, 2, 3, 4, 1, 1))], 3 + 30 + 8 + 6 + 4 + 1000, {}),
        ([row(model="b", counts=(50, 1, 25, 25))] * 2, 2 * (150 + 15 + 100 + 25), {}),
        ([row(model="b", counts=(50, 1, 26, 25)), row(model="b", counts=(1, 1))], 2 * (150 + 15 + 104 + 25) + 18, {}),
        ([row(model="c", counts=(1, 1)), row(model="c", counts=(1, 1, 0, 1))], 18, {"no price for cache reads": 1}),
        ([row(model="x"), row(model="x"), row(model="y", tier="z")], 0, {"model x": 2, "model y": 1}),
        ([row(model="x", counts=(0, 0)), row(model=None, counts=())], 0, {}),
        ([row(model="c", counts=(0, 0, 0, 0, 0, 1))], 0, {"no price for web searches": 1}),
    ],
)
def test_a_sum_costs_what_its_messages_do(rows: list[Row], cost: int, unpriced: dict[str, int]) -> None:
    found = tally(rows, lambda _: "", TABLE)[""]
    assert (found.cost, found.unpriced, found.messages) == (cost, unpriced, len(rows))
    assert found.priced == (cost > 0 or not unpriced)


def test_what_is_not_asked_for_is_left_out() -> None:
    assert tally([row()], lambda _: None, TABLE) == {}
    assert total([]) == Tally()
    assert Tally().legacy_usd is None
    assert tally([row(legacy=0.25)], lambda _: "", TABLE)[""].legacy_usd == 0.25


def test_groups_that_share_messages_have_a_total_of_each_message_once() -> None:
    rows = [row("m", "c", (1, 5)), row("m", "d", (1, 9)), row("n", "d", (1, 1)), row("o", "e", (7, 7))]
    groups, overall = tally_shared(rows, lambda one: None if one.conversation_id == "e" else one.conversation_id, TABLE)
    assert {key: (group.messages, group.output) for key, group in groups.items()} == {"c": (1, 5), "d": (2, 10)}
    assert (overall.messages, overall.output, overall.cost) == (2, 10, 2 * 3 + 10 * 15)


def test_dollars_of_old_versions_add_up_exactly() -> None:
    costs = [0.1] * 10
    group = tally([row(legacy=cost) for cost in costs], lambda _: "", TABLE)[""]
    assert group.legacy_usd == 1.0
    assert sum(costs) != 1.0
