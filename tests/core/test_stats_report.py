"""Reports: labels, shapes, warnings."""

from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from observatory.core.calendar import Calendar
from observatory.core.stats import tally
from observatory.core.stats_blocks import blocks
from observatory.core.stats_budget import Budget
from observatory.core.stats_query import Query
from observatory.core.stats_report import Blocks, Groups, Report, Tools
from observatory.core.stats_shape import Labels, csv_cell, dollars, stamp
from observatory.core.stats_tools import ToolTally
from tests.core.test_stats import AT, LATER, TABLE, row

NOW = datetime(2026, 3, 9, 13, tzinfo=UTC)
LABELS = Labels({"p": "shop"}, {"c": ("p", "a title"), "d": ("?", None)})


def report(group: Any, figures: Groups | Tools | Blocks, **more: Any) -> Report:
    return Report(Query(group), Calendar(UTC), "UTC", LABELS, NOW, figures, **more)


@pytest.mark.parametrize(
    ("group", "key", "label"),
    [
        ("day", "2026-03-09", {"day": "2026-03-09"}),
        ("week", "", {"week": None}),
        ("model", "a", {"model": "a"}),
        ("project", "p", {"project": "shop", "project_id": "p"}),
        ("project", "", {"project": None, "project_id": None}),
        ("branch", ("main", "p"), {"branch": "main", "project": "shop", "project_id": "p"}),
        ("branch", ("", ""), {"branch": None, "project": None, "project_id": None}),
        ("conversation", "c", {"conversation_id": "c", "title": "a title", "project": "shop", "project_id": "p"}),
        ("conversation", "x", {"conversation_id": "x", "title": None, "project": None, "project_id": None}),
    ],
)
def test_a_group_is_named_by_fields(group: Any, key: Any, label: dict[str, str | None]) -> None:
    assert LABELS.of(group, key) == label
    figures = tally([row()], lambda _: key, TABLE)
    (shown,) = report(group, Groups(figures)).rows()
    assert {name: shown[name] for name in label} == label
    assert shown.keys() == report(group, Groups({})).example().keys()


def test_periods_come_in_order_and_all_else_by_what_it_cost() -> None:
    rows = [
        row("1", at=LATER),
        row("2", at=AT, counts=(9, 9)),
        row("3", model="x", at=None),
        row("4", model="y", at=None),
    ]
    days = report("day", Groups(tally(rows, lambda one: one.at or "", TABLE)))
    assert days.ordered() == ["", AT, LATER]
    models = report("model", Groups(tally(rows, lambda one: one.model or "", TABLE)))
    assert models.ordered() == ["a", "x", "y"]
    tools = report("tool", Tools({"A": ToolTally(1), "C": ToolTally(3), "B": ToolTally(3)}))
    assert tools.ordered() == ["B", "C", "A"]


def test_json_has_rows_and_the_total_of_each_kind() -> None:
    groups = report("model", Groups(tally([row()], lambda one: one.model or "", TABLE)), prices="p", prices_date=None)
    assert groups.json()["total"]["input_tokens"] == 1
    assert groups.json()["prices"] == {"source": "p", "date": None}
    shared = attrs.evolve(groups, figures=Groups(groups.figures.rows, overall=tally([], lambda _: "", TABLE).get("")))  # type: ignore[arg-type]
    assert shared.json()["total"]["messages"] == 1
    tools = report("tool", Tools({"A": ToolTally(1), "B": ToolTally(3)})).json()
    assert (tools["total"]["calls"], "tool" in tools["total"], tools["prices"], tools["budget"]) == (
        4,
        False,
        None,
        None,
    )
    assert tools["rows"][0].keys() == report("tool", Tools({})).example().keys()
    ran = report("block", Blocks(blocks([row(), row("n", at="2026-03-09T12:30:00.000Z")], TABLE))).json()
    (block,) = ran["rows"]
    assert block.keys() == report("block", Blocks([])).example().keys()
    assert block["projected_tokens"] == 20 + round(20 / 60 * 240)
    assert block["projected_cost_usd"] == 0.0
    assert (block["start"], block["active"], ran["total"]["messages"]) == ("2026-03-09T12:00:00.000Z", True, 2)


def test_one_line_warns_of_a_budget() -> None:
    figures = Groups({})
    assert report("day", figures).warnings == []
    budget = Budget(10**12, (), "2026-03-09", 5 * 10**11)
    assert report("day", figures, budget=budget).warnings == []
    assert report("day", figures, budget=budget).json()["budget"]["projected_usd"] == 0.5
    threatened = attrs.evolve(budget, projected=2 * 10**12)
    assert report("day", figures, budget=threatened).warnings == [
        "budget of $1.00 a day: 2026-03-09 is on its way to $2.00"
    ]
    passed = attrs.evolve(threatened, passed=("2026-03-01", ""), projected=None)
    assert report("day", figures, budget=passed).warnings == [
        "budget of $1.00 a day: passed in 2 days, last in undated"
    ]
    assert report("day", figures, budget=passed).json()["budget"]["projected_usd"] is None
    both = attrs.evolve(threatened, passed=("2026-03-01",))
    assert report("day", figures, budget=both).warnings == [
        "budget of $1.00 a day: passed in 1 day, last in 2026-03-01; 2026-03-09 is on its way to $2.00"
    ]


def test_dollars_are_rounded_to_millionths_and_times_are_utc() -> None:
    assert [dollars(pico) for pico in (0, 1_500_000, 500_000, 12_345_678_901_234)] == [0.0, 0.000002, 0.0, 12.345679]
    assert stamp(NOW) == "2026-03-09T13:00:00.000Z"


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (-5, -5),
        ("main", "main"),
        ("=1+1", "'=1+1"),
        ("@x", "'@x"),
        ("a\x1b[2J", "a␛[2J"),
    ],
)
def test_a_cell_is_no_formula(value: object, cell: object) -> None:
    assert csv_cell(value) == cell
