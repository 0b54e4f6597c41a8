"""Days, weeks and months in a zone: over its midnights, its changes of time, and the ends of time."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from observatory.core.calendar import UNDATED, Calendar, Period

BERLIN, NEPAL, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu"), ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("zone", "at", "day"),
    [
        (UTC, "2026-03-09T23:59:59.999Z", "2026-03-09"),
        (BERLIN, "2026-03-09T22:59:59.999Z", "2026-03-09"),
        (BERLIN, "2026-03-09T23:00:00.000Z", "2026-03-10"),
        (BERLIN, "2026-03-28T23:00:00.000Z", "2026-03-29"),  # the day of 23 hours begins in winter time
        (BERLIN, "2026-03-29T21:59:59.000Z", "2026-03-29"),  # and ends in summer time
        (BERLIN, "2026-03-29T22:00:00.000Z", "2026-03-30"),
        (BERLIN, "2026-10-25T22:59:59.000Z", "2026-10-25"),  # the day of 25 hours
        (BERLIN, "2026-10-24T22:00:00.000Z", "2026-10-25"),
        (NEPAL, "2026-03-09T18:14:59.000Z", "2026-03-09"),  # 5 h 45 min ahead
        (NEPAL, "2026-03-09T18:15:00.000Z", "2026-03-10"),
        (NEW_YORK, "0001-01-01T00:00:00.000Z", "0001-01-01"),
        (NEPAL, "9999-12-31T23:59:00.000Z", "9999-12-31"),
        (UTC, None, UNDATED),
    ],
)
def test_a_day_begins_at_the_zones_midnight(zone: ZoneInfo, at: str | None, day: str) -> None:
    calendar = Calendar(zone)
    assert [calendar.day(at), calendar.day(at)] == [day, day]
    assert calendar.month(at) == day[:7]


def test_every_minute_around_a_midnight_is_where_a_clock_of_the_zone_says() -> None:
    for zone in (BERLIN, NEPAL, NEW_YORK):
        calendar, moment = Calendar(zone), datetime(2026, 3, 28, 12, tzinfo=UTC)
        for _ in range(48 * 60):
            at = moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")
            assert calendar.day(at) == moment.astimezone(zone).date().isoformat()
            moment += timedelta(minutes=1)


@pytest.mark.parametrize(
    ("at", "week"),
    [
        ("2026-03-08T12:00:00.000Z", "2026-W10"),  # a Sunday
        ("2026-03-09T12:00:00.000Z", "2026-W11"),
        ("2027-01-03T12:00:00.000Z", "2026-W53"),
        ("2025-12-29T12:00:00.000Z", "2026-W01"),
        (None, UNDATED),
    ],
)
def test_weeks_are_those_of_iso_8601(at: str | None, week: str) -> None:
    calendar = Calendar(UTC)
    assert [calendar.week(at), calendar.key("week", at)] == [week, week]
    assert (calendar.key("day", at), calendar.key("month", at)) == (calendar.day(at), calendar.month(at))


@pytest.mark.parametrize(
    ("period", "now", "begins", "hours"),
    [
        ("day", "2026-03-29T12:00:00+00:00", "2026-03-28T23:00:00+00:00", 23),
        ("day", "2026-10-25T12:00:00+00:00", "2026-10-24T22:00:00+00:00", 25),
        ("week", "2026-03-29T12:00:00+00:00", "2026-03-22T23:00:00+00:00", 7 * 24 - 1),
        ("month", "2026-12-31T23:30:00+00:00", "2026-12-31T23:00:00+00:00", 31 * 24),
        ("month", "2026-02-10T12:00:00+00:00", "2026-01-31T23:00:00+00:00", 28 * 24),
    ],
)
def test_a_period_reaches_from_midnight_to_midnight(period: Period, now: str, begins: str, hours: int) -> None:
    start, end = Calendar(BERLIN).span(period, datetime.fromisoformat(now))
    assert start.isoformat() == begins
    assert end - start == timedelta(hours=hours)


def test_without_a_zone_it_is_this_machines() -> None:
    now = datetime(2026, 3, 29, 12, tzinfo=UTC)
    calendar = Calendar()
    assert calendar.day("2026-03-29T12:00:00.000Z") == now.astimezone().date().isoformat()
    assert calendar.shown(now) == now.astimezone().strftime("%Y-%m-%d %H:%M")
    assert calendar.span("day", now)[0] == now.astimezone().replace(hour=0)
