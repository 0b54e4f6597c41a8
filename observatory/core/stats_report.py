"""A report: the figures that were asked for, what is to be known about them, and the order in which they are shown."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, assert_never

import attrs

from observatory.core.calendar import Calendar
from observatory.core.stats import Tally, total
from observatory.core.stats_blocks import Block
from observatory.core.stats_budget import Budget
from observatory.core.stats_query import Query, period_of
from observatory.core.stats_shape import Labels, Shape, block_figures, dollars, figures, tool_figures
from observatory.core.stats_tools import ToolTally


@attrs.frozen
class Groups:
    """Tokens and cost by group. overall: the total, where the groups share messages."""

    rows: Mapping[Any, Tally]
    overall: Tally | None = None

    @property
    def total(self) -> Tally:
        """Each message once."""
        return total(self.rows.values()) if self.overall is None else self.overall


@attrs.frozen
class Tools:
    """Calls by tool."""

    rows: Mapping[str, ToolTally]

    @property
    def total(self) -> ToolTally:
        """Of all tools."""
        made = ToolTally()
        for tool in self.rows.values():
            made.join(tool)
        return made


@attrs.frozen
class Blocks:
    """Five-hour blocks, oldest first."""

    rows: list[Block]

    @property
    def total(self) -> Tally:
        """Of all blocks."""
        return total(block.tally for block in self.rows)


@attrs.frozen
class Report:
    """zone: its name. now: the time that projections are made at. prices: whose they are; prices_date: as of when."""

    query: Query
    calendar: Calendar
    zone: str
    labels: Labels
    now: datetime
    figures: Groups | Tools | Blocks
    prices: str | None = None
    prices_date: str | None = None
    budget: Budget | None = None

    def ordered(self) -> list[Any]:
        """The keys of Groups and Tools: periods oldest first, all else the most expensive, the most used first."""
        match self.figures:
            case Groups(rows) if period_of(self.query.group) is not None:
                return sorted(rows)
            case Groups(rows):
                return sorted(rows, key=lambda key: (-rows[key].cost, -rows[key].tokens, key))
            case Tools(tools):
                return sorted(tools, key=lambda name: (-tools[name].calls, name))
            case Blocks(blocks):
                return list(range(len(blocks)))
        assert_never(self.figures)

    def rows(self) -> list[Shape]:
        """One object a row, see docs/stats.md."""
        return [self._row(key) for key in self.ordered()]

    def _row(self, key: Any) -> Shape:  # noqa: ANN401 - of the group's kind
        match self.figures:
            case Groups(groups):
                return self._with_budget({**self.labels.of(self.query.group, key), **figures(groups[key])}, key)
            case Tools(tools):
                return tool_figures(key, tools[key])
            case Blocks(blocks):
                return block_figures(blocks[key], self.now)
        assert_never(self.figures)

    def example(self) -> Shape:
        """A row of nothing: its fields are those of any other."""
        match self.figures:
            case Groups():
                key = ("", "") if self.query.group == "branch" else ""
                return self._with_budget({**self.labels.of(self.query.group, key), **figures(Tally())}, key)
            case Tools():
                return tool_figures("", ToolTally())
            case Blocks():
                epoch = datetime(1970, 1, 1, tzinfo=UTC)
                return block_figures(Block(epoch, epoch, epoch), self.now)
        assert_never(self.figures)

    def _with_budget(self, row: Shape, key: Any) -> Shape:  # noqa: ANN401 - of the group's kind
        return row if self.budget is None else {**row, "over_budget": key in self.budget.passed}

    def json(self) -> Shape:
        """The whole report."""
        found = self.figures.total
        return {
            "group": self.query.group,
            "timezone": self.zone,
            "since": self.query.since,
            "until": self.query.until,
            "project_id": self.query.project,
            "prices": None if self.prices is None else {"source": self.prices, "date": self.prices_date},
            "rows": self.rows(),
            "total": tool_figures(None, found) if isinstance(found, ToolTally) else figures(found),
            "budget": self._budget_shape(),
        }

    def _budget_shape(self) -> Shape | None:
        if self.budget is None:
            return None
        projected = self.budget.projected
        return {
            "limit_usd": dollars(self.budget.limit),
            "passed": list(self.budget.passed),
            "current": self.budget.current,
            "projected_usd": None if projected is None else dollars(projected),
        }

    @property
    def warnings(self) -> list[str]:
        """One line when a budget is passed, or will be."""
        budget, group = self.budget, self.query.group
        if budget is None or not (budget.passed or budget.threatens):
            return []
        parts: list[str] = []
        if budget.passed:
            count = len(budget.passed)
            parts.append(
                f"passed in {count} {group}{'s' if count > 1 else ''}, last in {budget.passed[-1] or 'undated'}"
            )
        if budget.threatens and budget.projected is not None:
            parts.append(f"{budget.current} is on its way to ${dollars(budget.projected):,.2f}")
        return [f"budget of ${dollars(budget.limit):,.2f} a {group}: {'; '.join(parts)}"]
