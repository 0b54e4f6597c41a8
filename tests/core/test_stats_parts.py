"""Blocks, budgets, tools and queries."""

from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest

from observatory.core.calendar import Calendar
from observatory.core.errors import UsageError
from observatory.core.stats import Tally
from observatory.core.stats_blocks import Block, Projection, blocks
from observatory.core.stats_budget import check
from observatory.core.stats_query import GROUPS, Query, day_of, group_of, message_key, period_of, tool_filter
from observatory.core.stats_tools import ToolRow, ToolTally, tools
from tests.core.test_stats import TABLE, row

DAY = "2026-03-09"


def moment(clock: str) -> datetime:
    return datetime.fromisoformat(f"{DAY}T{clock}+00:00")


def at(clock: str) -> str:
    return f"{DAY}T{clock}.000Z"


# -- blocks ------------------------------------------------------------------------------------------------------------


def test_a_block_begins_at_the_full_hour_and_lasts_five() -> None:
    clocks = ("10:30:00", "14:59:59", "15:00:00", "19:59:59", "23:10:00")
    rows = [row(f"m{n}", at=at(clock)) for n, clock in enumerate(clocks)]
    found = blocks([*reversed(rows), row("x", at=None)], TABLE)
    assert [(block.start.hour, block.tally.messages) for block in found] == [(10, 2), (15, 2), (23, 1)]
    assert (found[0].first, found[0].last) == (moment("10:30:00"), moment("14:59:59"))
    assert blocks([], TABLE) == []


def test_the_ends_of_time_are_no_obstacle() -> None:
    rows = [row("a", at="9999-12-31T23:59:59.999Z"), row("b", at="0001-01-01T00:00:00.000Z")]
    first, last = blocks(rows, TABLE)
    assert (first.start.year, last.end.year) == (1, 9999)
    assert last.projected(datetime(2026, 1, 1, tzinfo=UTC)) is None


def test_a_block_that_runs_burns_up_to_now_and_is_foretold() -> None:
    (block,) = blocks([row("a", counts=(60, 0), at=at("10:00:00")), row("b", counts=(60, 0), at=at("10:30:00"))], TABLE)
    now = moment("11:00:00")
    assert block.active(now)
    assert block.tokens_per_minute(now) == 2
    assert block.cost_per_hour(now) == 360
    assert block.projected(now) == Projection(120 + 4 * 60 * 2, 360 + 4 * 360)
    ended = moment("15:00:00")
    assert not block.active(ended)
    assert block.tokens_per_minute(ended) == 4
    assert block.projected(ended) is None


def test_less_than_a_minute_and_no_price_give_no_rate() -> None:
    (block,) = blocks([row(at=at("10:00:00"))], TABLE)
    assert block.tokens_per_minute(moment("16:00:00")) is None
    assert block.cost_per_hour(moment("16:00:00")) is None
    assert block.projected(moment("10:00:59")) is None
    (unpriced,) = blocks([row(at=at("10:00:00"), model="x", counts=(60, 0))], TABLE)
    assert unpriced.cost_per_hour(moment("11:00:00")) is None
    assert unpriced.projected(moment("11:00:00")) == Projection(60 + 240, None)


# -- budgets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cost", "clock", "projected", "passed", "threatens"),
    [
        (60, "12:00:00", 120, (), True),
        (40, "12:00:00", 80, (), False),
        (60, "02:00:00", None, (), False),  # too early to tell
        (101, "12:00:00", 202, (DAY,), False),  # passed already
        (100, "23:59:59", 100, (), False),
    ],
)
def test_a_day_is_over_its_budget_or_on_its_way(
    cost: int, clock: str, projected: int | None, passed: tuple[str, ...], threatens: bool
) -> None:
    groups = {DAY: Tally(cost=cost)}
    found = check(100, groups, "day", Calendar(UTC), moment(clock))
    assert (found.projected, found.passed, found.threatens, found.current) == (projected, passed, threatens, DAY)


def test_a_period_without_messages_is_not_foretold() -> None:
    groups = {"2026-02": Tally(cost=7), "2026-01": Tally(cost=9), "2025-12": Tally(cost=5), "": Tally(cost=9)}
    found = check(5, groups, "month", Calendar(UTC), moment("12:00:00"))
    assert (found.passed, found.projected, found.threatens) == (("2026-01", "2026-02"), None, False)


# -- tools -------------------------------------------------------------------------------------------------------------


def call(tool_id: str, conversation: str = "c", name: str = "Bash", **more: Any) -> ToolRow:
    told: dict[str, Any] = {"called_at": at("10:00:00"), "status": "success", "duration_ms": 5} | more
    return ToolRow(tool_id, conversation, name, **told)


@pytest.mark.parametrize(
    ("durations", "p50", "p95"),
    [([], None, None), ([7], 7, 7), ([1, 2], 1, 2), ([*range(1, 101)], 50, 95), ([3, 1, 2, 4, 5], 3, 5)],
)
def test_a_percentile_is_a_time_that_occurred(durations: list[int], p50: int | None, p95: int | None) -> None:
    tool = ToolTally(durations=durations)
    assert (tool.percentile(50), tool.percentile(95)) == (p50, p95)


def test_tools_are_told_by_outcome() -> None:
    rows = [call("1"), call("2", status="error"), call("3", status="orphaned", duration_ms=None)]
    rows += [call("4", status="pending", duration_ms=None), call("5", name="Read", status=None, duration_ms=None)]
    found = tools(rows, lambda one: True)
    assert found["Bash"] == ToolTally(4, 1, 1, 1, [5, 5])
    assert found["Read"] == ToolTally(1)
    joined = ToolTally()
    for tool in found.values():
        joined.join(tool)
    assert joined == ToolTally(5, 1, 1, 1, [5, 5])
    assert tools(rows, lambda one: one.name == "Read").keys() == {"Read"}


def test_a_call_in_several_forks_counts_once_with_the_answer_that_is_known() -> None:
    rows = [
        call("1", "late", called_at=at("11:00:00"), status="orphaned", duration_ms=None),
        call("1", "early", status="pending", duration_ms=None),
        call("1", "middle", called_at=at("10:30:00"), status="error", duration_ms=9),
        call("1", "undated", called_at=None, status=None, duration_ms=None),
    ]
    for order in permutations(rows):
        kept: list[ToolRow] = []
        found = tools(order, lambda one, kept=kept: kept.append(one) or True)  # type: ignore[misc]
        assert found == {"Bash": ToolTally(1, 1, 0, 0, [9])}
        assert kept == [ToolRow("1", "early", "Bash", at("10:00:00"), "error", 9)]


# -- queries -----------------------------------------------------------------------------------------------------------

PROJECTS = {"c": "p", "d": "q"}


@pytest.mark.parametrize("group", GROUPS)
def test_a_message_counts_for_a_key_of_each_group(group: Any) -> None:
    keys = {
        **{"day": DAY, "week": "2026-W11", "month": "2026-03", "project": "p", "model": "a", "branch": ("main", "p")},
        **{"conversation": "c", "tool": True, "block": True},
    }
    key = message_key(Query(group), Calendar(UTC), PROJECTS)
    assert key(row(branch="main")) == keys[group]
    assert group_of(group) == group_of(f"{group}s") == group
    assert (period_of(group) is None) == (group not in ("day", "week", "month"))


def test_what_is_not_known_has_a_key_too() -> None:
    unknown = row(conversation="?", at=None, model=None)
    for group, key in (("day", ""), ("week", ""), ("project", ""), ("model", ""), ("branch", ("", ""))):
        assert message_key(Query(group), Calendar(UTC), PROJECTS)(unknown) == key  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "asked_for"),
    [
        ({}, True),
        ({"since": DAY, "until": DAY}, True),
        ({"since": "2026-03-10"}, False),
        ({"until": "2026-03-08"}, False),
        ({"project": "p"}, True),
        ({"project": "q"}, False),
        ({"project": "q", "since": DAY}, False),
    ],
)
def test_days_and_projects_are_filters(query: dict[str, str], asked_for: bool) -> None:
    made = Query("day", **query)
    assert (message_key(made, Calendar(UTC), PROJECTS)(row()) is not None) is asked_for
    assert tool_filter(made, Calendar(UTC), PROJECTS)(call("1", called_at=row().at)) is asked_for


def test_what_has_no_time_is_in_no_span_of_days() -> None:
    assert Query("day").spans("")
    assert not Query("day", until="2026-03-10").spans("")


def test_a_day_is_read_or_refused() -> None:
    assert day_of("--since", None) is None
    assert day_of("--since", "20260309") == DAY
    for text in ("", "now", "2026-02-30", "2026-03-09T10:00:00"):
        with pytest.raises(UsageError, match="--since must be a day"):
            day_of("--since", text)
    assert group_of("daily") == "day"
    with pytest.raises(UsageError, match="'hour' is no group"):
        group_of("hour")


def test_a_block_of_nothing_has_no_tokens() -> None:
    start = moment("10:00:00")
    assert Block(start, start, start).tally.tokens == 0
