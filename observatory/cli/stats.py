"""`observatory stats`: tokens, cost, tools and five-hour blocks, from the archive, whether a server runs or not."""

import csv
import gc
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import orjson

from observatory import pricing
from observatory.cli import stats_show as show
from observatory.cli.lookup import here
from observatory.cli.place import Where
from observatory.core import stats_budget as budgets
from observatory.core.calendar import Calendar
from observatory.core.errors import UsageError
from observatory.core.naming import Names, project_of
from observatory.core.neutral import neutral_json
from observatory.core.pricing import PICO
from observatory.core.stats import distinct, tally, tally_shared
from observatory.core.stats_blocks import blocks
from observatory.core.stats_query import Query, day_of, group_of, message_key, period_of, tool_filter
from observatory.core.stats_report import Blocks, Groups, Report, Tools
from observatory.core.stats_shape import CSV_LEAVES_OUT, Labels, csv_cell
from observatory.core.stats_tools import tools
from observatory.storage.statistics import StatisticsReader, statistics


@attrs.frozen
class Options:
    """What the command line said."""

    group: str
    since: str | None
    until: str | None
    project: str | None
    timezone: str | None
    budget: float | None
    as_json: bool
    as_csv: bool
    data_dir: Path | None


def run(options: Options, now: datetime | None = None) -> None:
    """Print the figures. Raises UsageError, StoreError."""
    asked, calendar = _asked(options)
    directory = Where(data_dir=options.data_dir).directory()
    with _no_collection(), statistics(directory) as reader:
        report = _report(reader, options, asked, Calendar(calendar), now or datetime.now(UTC))
    if options.as_json:
        print(neutral_json(orjson.dumps(report.json()).decode()))
    elif options.as_csv:
        _write_csv(report)
    elif report.figures.rows:
        show.write(report, sys.stdout)
    for notice in [*report.warnings, *_emptiness(report, options)]:
        print(f"observatory: {notice}", file=sys.stderr)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Hundreds of thousands of rows come, and none of them is part of a cycle: looking for cycles costs a tenth."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _asked(options: Options) -> tuple[Query, tzinfo | None]:
    """What is asked for, but for the project, which only the archive knows. Raises UsageError."""
    query = Query(group_of(options.group), day_of("--since", options.since), day_of("--until", options.until))
    if query.since and query.until and query.since > query.until:
        raise UsageError(f"--since {query.since} is after --until {query.until}: exchange them")
    if options.as_json and options.as_csv:
        raise UsageError("--json and --csv exclude each other: choose one")
    if options.budget is not None and period_of(query.group) is None:
        raise UsageError(f"--budget is for day, week or month, not for {query.group}")
    return query, None if options.timezone is None else _zone(options.timezone)


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no name; a directory of names
        raise UsageError(
            f"'{name}' is no time zone that this machine knows; use a name such as Europe/Berlin, or UTC"
        ) from None


def _report(reader: StatisticsReader, options: Options, asked: Query, calendar: Calendar, now: datetime) -> Report:
    projects = reader.projects()
    wanted = None if options.project is None else project_of(options.project, Names(projects, ()), here())
    query = attrs.evolve(asked, project=wanted)
    places = reader.places()
    names = {row["id"]: str(row["name"]) for row in projects}
    labels = Labels(names, {key: (place.project_id, place.title) for key, place in places.items()})
    owners = {key: place.project_id for key, place in places.items()}
    zone = options.timezone or now.astimezone().tzname() or "local"
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
    return attrs.evolve(made, figures=Groups(groups), budget=_budget(options, query, groups, calendar, now))


def _budget(
    options: Options, query: Query, groups: Mapping[Any, Any], calendar: Calendar, now: datetime
) -> budgets.Budget | None:
    period = period_of(query.group)
    if options.budget is None or period is None:
        return None
    return budgets.check(round(options.budget * PICO), groups, period, calendar, now)


def _write_csv(report: Report) -> None:
    rows = report.rows()
    fields = [name for name in (rows[0] if rows else report.example()) if name not in CSV_LEAVES_OUT]
    writer = csv.writer(sys.stdout)  # RFC 4180: fields quoted where needed, lines end in CRLF
    writer.writerow(fields)
    for row in rows:
        writer.writerow([csv_cell(row[name]) for name in fields])


def _emptiness(report: Report, options: Options) -> list[str]:
    if report.figures.rows:
        return []
    if options.since or options.until or options.project:
        return ["nothing there in that time and project: ask for more with --since, --until or --project"]
    what = "tool call" if report.query.group == "tool" else "API message"
    return [f"no {what} counted yet: `observatory serve` or `observatory import` reads the transcripts in"]
