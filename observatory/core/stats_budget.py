"""Budgets: which periods cost more than they should, and whether the one that runs is on its way there."""

from collections.abc import Mapping
from datetime import datetime

import attrs

from observatory.core.calendar import Calendar, Period
from observatory.core.stats import Tally

ENOUGH = 0.1  # of a period must have passed before its rest is foretold: earlier, one message would decide


@attrs.frozen
class Budget:
    """What a period may cost, and what was found. Pico-dollars. passed: periods that cost more, oldest first.

    projected: what the running period will have cost if it goes on as it did; None: too early, or nothing in it.
    """

    limit: int
    passed: tuple[str, ...]
    current: str
    projected: int | None

    @property
    def threatens(self) -> bool:
        """Whether the running period is not over the budget yet, but on its way."""
        return self.current not in self.passed and self.projected is not None and self.projected > self.limit


def check(limit: int, groups: Mapping[str, Tally], period: Period, calendar: Calendar, now: datetime) -> Budget:
    """Compare each period with its budget. Messages without a price count nothing: a cost is what it is at least."""
    passed = tuple(sorted(key for key, group in groups.items() if key and group.cost > limit))  # undated is no period
    current = calendar.key(period, now.isoformat())
    running = groups.get(current)
    start, end = calendar.span(period, now)
    elapsed = (now - start) / (end - start)
    projected = round(running.cost / elapsed) if running is not None and elapsed >= ENOUGH else None
    return Budget(limit, passed, current, projected)
