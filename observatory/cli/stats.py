"""`observatory stats`: tokens, cost, tools and five-hour blocks, from the archive, whether a server runs or not."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import attrs
import orjson

from observatory.cli import stats_show as show
from observatory.cli.lookup import here
from observatory.cli.place import Where
from observatory.core.errors import UsageError
from observatory.core.naming import Names, project_of
from observatory.core.neutral import neutral_json
from observatory.core.stats_query import Query, day_of, group_of, period_of
from observatory.core.stats_report import Report
from observatory.reporting import Wish, csv_lines, report_of
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
    wish = _asked(options)
    directory = Where(data_dir=options.data_dir).directory()
    with _no_collection(), statistics(directory) as reader:
        if options.project is not None:
            wish = attrs.evolve(wish, query=attrs.evolve(wish.query, project=_id_of(options.project, reader)))
        report = report_of(reader, wish, now or datetime.now(UTC))
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


def _asked(options: Options) -> Wish:
    """Raises UsageError."""
    query = Query(group_of(options.group), day_of("--since", options.since), day_of("--until", options.until))
    if query.since and query.until and query.since > query.until:
        raise UsageError(f"--since {query.since} is after --until {query.until}: exchange them")
    if options.as_json and options.as_csv:
        raise UsageError("--json and --csv exclude each other: choose one")
    if options.budget is not None and period_of(query.group) is None:
        raise UsageError(f"--budget is for day, week or month, not for {query.group}")
    return Wish(query, options.timezone, options.budget)


def _id_of(name: str, reader: StatisticsReader) -> str:
    return project_of(name, Names(reader.projects(), ()), here())


def _write_csv(report: Report) -> None:
    for line in csv_lines(report):
        sys.stdout.write(line)


def _emptiness(report: Report, options: Options) -> list[str]:
    if report.figures.rows:
        return []
    if options.since or options.until or options.project:
        return ["nothing there in that time and project: ask for more with --since, --until or --project"]
    what = "tool call" if report.query.group == "tool" else "API message"
    return [f"no {what} counted yet: `observatory serve` or `observatory import` reads the transcripts in"]
