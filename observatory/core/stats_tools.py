"""Tools: how often each was called, how it went, how long it took."""

from collections.abc import Callable, Iterable
from math import ceil
from typing import Literal, NamedTuple

import attrs

Outcome = Literal["pending", "success", "error", "orphaned"]


class ToolRow(NamedTuple):
    """One call in one conversation. status: see Outcome; None in an archive that did not know it."""

    tool_use_id: str
    conversation_id: str
    name: str
    called_at: str | None
    status: str | None
    duration_ms: int | None


@attrs.define
class ToolTally:
    """Of one tool. durations: ms, of the answered calls whose times are known."""

    calls: int = 0
    errors: int = 0
    orphaned: int = 0
    pending: int = 0
    durations: list[int] = attrs.field(factory=list)

    def add(self, row: ToolRow) -> None:
        """One call more."""
        self.calls += 1
        self.errors += row.status == "error"
        self.orphaned += row.status == "orphaned"
        self.pending += row.status == "pending"
        if row.duration_ms is not None:
            self.durations.append(row.duration_ms)

    def join(self, other: "ToolTally") -> None:
        """All of another's calls."""
        self.calls += other.calls
        self.errors += other.errors
        self.orphaned += other.orphaned
        self.pending += other.pending
        self.durations += other.durations

    def percentile(self, percent: int) -> int | None:
        """ms that so many of a hundred calls did not exceed: a value that occurred (nearest rank)."""
        if not self.durations:
            return None
        self.durations.sort()
        return self.durations[ceil(len(self.durations) * percent / 100) - 1]


def tools(rows: Iterable[ToolRow], keep: Callable[[ToolRow], bool]) -> dict[str, ToolTally]:
    """Sums by tool. A call that forks copied counts once: where it was made first, with the answer that is known."""
    calls: dict[str, ToolRow] = {}
    for row in rows:
        known = calls.get(row.tool_use_id)
        calls[row.tool_use_id] = row if known is None else _one_call(known, row)
    groups: dict[str, ToolTally] = {}
    for row in calls.values():
        if keep(row):
            groups.setdefault(row.name, ToolTally()).add(row)
    return groups


_RANK = {"success": 0, "error": 0, "pending": 1, "orphaned": 2}


def _one_call(one: ToolRow, other: ToolRow) -> ToolRow:
    first = min(one, other, key=_order)
    answered = min(one, other, key=lambda row: (_RANK.get(row.status or "", 3), _order(row)))
    return first._replace(status=answered.status, duration_ms=answered.duration_ms)


def _order(row: ToolRow) -> tuple[bool, str, str]:
    return row.called_at is None, row.called_at or "", row.conversation_id
