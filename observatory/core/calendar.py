"""Days, weeks and months of instants, in a time zone; where a period begins and ends."""

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal

import attrs

Period = Literal["day", "week", "month"]
PERIODS: tuple[Period, ...] = ("day", "week", "month")
UNDATED = ""  # the period of what has no time


@attrs.define
class Calendar:
    """Periods of RFC 3339 instants. zone: None is this machine's own. What was worked out is kept, by hour."""

    zone: tzinfo | None = None
    _hours: dict[str, str] = attrs.field(factory=dict)
    _weeks: dict[str, str] = attrs.field(factory=dict)

    def day(self, at: str | None) -> str:
        """YYYY-MM-DD."""
        if at is None:
            return UNDATED
        found = self._hours.get(at[:13])
        if found is None:
            first, last = (self._day(f"{at[:13]}:{minute}") for minute in ("00", "59"))
            found = self._hours[at[:13]] = first if first == last else UNDATED
        return found or self._day(at[:16])  # a day begins within this hour, where the zone is off by half of one

    def _day(self, minute: str) -> str:
        try:
            return datetime.fromisoformat(f"{minute}:00+00:00").astimezone(self.zone).date().isoformat()
        except (OverflowError, ValueError, OSError):  # the first and last days of time
            return minute[:10]

    def week(self, at: str | None) -> str:
        """YYYY-Www of ISO 8601: weeks begin on Monday."""
        day = self.day(at)
        found = self._weeks.get(day)
        if found is None:
            found = self._weeks[day] = _week(day) if day else UNDATED
        return found

    def month(self, at: str | None) -> str:
        """YYYY-MM."""
        return self.day(at)[:7]

    def key(self, period: Period, at: str | None) -> str:
        """The period's name."""
        return {"day": self.day, "week": self.week, "month": self.month}[period](at)

    def span(self, period: Period, now: datetime) -> tuple[datetime, datetime]:
        """Where the period that holds `now` begins and ends: midnights of the zone, so a day may have 23 hours."""
        today = now.astimezone(self.zone).date()
        match period:
            case "day":
                first, after = today, today + timedelta(days=1)
            case "week":
                first = today - timedelta(days=today.weekday())
                after = first + timedelta(days=7)
            case _:
                first = today.replace(day=1)
                after = (first + timedelta(days=31)).replace(day=1)
        return self._midnight(first), self._midnight(after)

    def _midnight(self, day: date) -> datetime:
        naive = datetime(day.year, day.month, day.day)
        return (naive.astimezone() if self.zone is None else naive.replace(tzinfo=self.zone)).astimezone(UTC)

    def shown(self, moment: datetime) -> str:
        """An instant for people, to the minute."""
        return moment.astimezone(self.zone).strftime("%Y-%m-%d %H:%M")


def _week(day: str) -> str:
    year, week, _ = date.fromisoformat(day).isocalendar()
    return f"{year:04}-W{week:02}"
