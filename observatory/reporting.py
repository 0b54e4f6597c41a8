"""Figures as they are asked for, from the archive: what `observatory stats` and the API's /stats tell."""

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import attrs

from observatory import pricing
from observatory.core import stats_budget as budgets
from observatory.core.calendar import Calendar
from observatory.core.errors import UsageError
from observatory.core.pricing import PICO
from observatory.core.stats import distinct, tally, tally_shared
from observatory.core.stats_blocks import blocks
from observatory.core.stats_query import Query, message_key, period_of, tool_filter
from observatory.core.stats_report import Blocks, Groups, Report, Tools
from observatory.core.stats_shape import CSV_LEAVES_OUT, Labels, csv_cell
from observatory.core.stats_tools import tools
from observatory.storage.statistics import StatisticsReader


@attrs.frozen
class Wish:
    """What is asked for. timezone: its name; None is this machine's. budget: USD for a period."""

    query: Query
    timezone: str | None = None
    budget: float | None = None


def zone_of(name: str) -> tzinfo:
    """A time zone by its name. Raises UsageError."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no name; a directory of names
        raise UsageError(
            f"'{name}' is no time zone that this machine knows; use a name such as Europe/Berlin, or UTC"
        ) from None


def report_of(reader: StatisticsReader, wish: Wish, now: datetime) -> Report:
    """The figures. Raises UsageError, StoreError."""
    calendar = Calendar(None if wish.timezone is None else zone_of(wish.timezone))
    query, places = wish.query, reader.places()
    names = {row["id"]: str(row["name"]) for row in reader.projects()}
    labels = Labels(names, {key: (place.project_id, place.title) for key, place in places.items()})
    owners = {key: place.project_id for key, place in places.items()}
    zone = wish.timezone or now.astimezone().tzname() or "local"
    made = Report(query, calendar, zone, labels, now, Groups({}))
    if query.group == "tool":
        return attrs.evolve(made, figures=Tools(tools(reader.tool_calls(), tool_filter(query, calendar, owners))))
    table = pricing.load()
    key = message_key(query, calendar, owners)
    made = attrs.evolve(made, prices=table.source, prices_date=table.date)
    if query.group == "block":
        rows = [row for row in distinct(reader.usage()) if key(row) is not None]
        return attrs.evolve(made, figures=Blocks(blocks(rows, table)))
    if query.group == "conversation":  # each with all of its messages; what several have counts once in the total
        return attrs.evolve(made, figures=Groups(*tally_shared(reader.usage(), key, table)))
    groups = tally(distinct(reader.usage()), key, table)
    return attrs.evolve(made, figures=Groups(groups), budget=_budget(wish, groups, calendar, now))


def _budget(wish: Wish, groups: Mapping[Any, Any], calendar: Calendar, now: datetime) -> budgets.Budget | None:
    period = period_of(wish.query.group)
    if wish.budget is None or period is None:
        return None
    return budgets.check(round(wish.budget * PICO), groups, period, calendar, now)


def csv_lines(report: Report) -> Iterator[str]:
    """The figures as CSV (RFC 4180: fields quoted where needed, lines end in CRLF), the names of the columns first."""
    rows = report.rows()
    fields = [name for name in (rows[0] if rows else report.example()) if name not in CSV_LEAVES_OUT]
    line = io.StringIO(newline="")
    writer = csv.writer(line)
    lines: list[list[Any]] = [fields, *([csv_cell(row[name]) for name in fields] for row in rows)]
    for values in lines:
        writer.writerow(values)
        yield line.getvalue()
        line.seek(0)
        line.truncate()
