"""What is asked for: a group, a span of days, a project; and by which key a message counts for it."""

from collections.abc import Callable, Hashable, Mapping
from datetime import date
from typing import Literal

import attrs

from observatory.core.calendar import PERIODS, Calendar, Period
from observatory.core.errors import UsageError
from observatory.core.stats import Row
from observatory.core.stats_tools import ToolRow

Group = Literal["day", "week", "month", "project", "model", "branch", "conversation", "tool", "block"]
GROUPS: tuple[Group, ...] = (*PERIODS, "project", "model", "branch", "conversation", "tool", "block")
NOWHERE = ""  # the project of a conversation that is not in the archive


@attrs.frozen
class Query:
    """since, until: first and last day, YYYY-MM-DD in the calendar's zone. project: its id; None is all of them."""

    group: Group
    since: str | None = None
    until: str | None = None
    project: str | None = None

    def spans(self, day: str) -> bool:
        """Whether a day is asked for. What has no time is, unless days are."""
        if self.since is None and self.until is None:
            return True
        return bool(day) and (self.since or "") <= day and (self.until is None or day <= self.until)


def group_of(text: str) -> Group:
    """A group by its name, singular or plural. Raises UsageError."""
    name = "day" if text == "daily" else text.removesuffix("s")
    found = next((group for group in GROUPS if group == name), None)
    if found is None:
        raise UsageError(f"'{text}' is no group; use one of {', '.join(GROUPS)}")
    return found


def day_of(option: str, text: str | None) -> str | None:
    """A day as typed. Raises UsageError."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise UsageError(f"{option} must be a day such as 2026-11-24, not '{text}'") from None


def message_key(query: Query, calendar: Calendar, projects: Mapping[str, str]) -> Callable[[Row], Hashable | None]:
    """A message's group; None if it is not asked for. projects: ids by conversation."""
    key = _key(query.group, calendar, projects)
    if query.since is None and query.until is None and query.project is None:
        return key

    def filtered(row: Row) -> Hashable | None:
        if query.project is not None and projects.get(row.conversation_id) != query.project:
            return None
        return key(row) if query.spans(calendar.day(row.at)) else None

    return filtered


def _key(group: Group, calendar: Calendar, projects: Mapping[str, str]) -> Callable[[Row], Hashable]:
    match group:
        case "day":
            day = calendar.day
            return lambda row: day(row.at)
        case "week":
            return lambda row: calendar.week(row.at)
        case "month":
            return lambda row: calendar.month(row.at)
        case "model":
            return lambda row: row.model or ""
        case "branch":
            return lambda row: (row.branch or "", projects.get(row.conversation_id, NOWHERE))
        case "conversation":
            return lambda row: row.conversation_id
        case "project":
            return lambda row: projects.get(row.conversation_id, NOWHERE)
        case _:  # blocks are cut from all messages that are asked for; tools have rows of their own
            return lambda row: True


def tool_filter(query: Query, calendar: Calendar, projects: Mapping[str, str]) -> Callable[[ToolRow], bool]:
    """Whether a tool call is asked for."""

    def keep(row: ToolRow) -> bool:
        wanted = query.project is None or projects.get(row.conversation_id) == query.project
        return wanted and query.spans(calendar.day(row.called_at))

    return keep


def period_of(group: Group) -> Period | None:
    """The group as a period of the calendar, if it is one."""
    return next((period for period in PERIODS if period == group), None)
