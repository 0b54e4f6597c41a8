"""Handlers: search, and figures."""

from datetime import UTC, datetime, timedelta, tzinfo

from observatory.api.asked import SearchQuery, StatsQuery
from observatory.api.sources import Sources
from observatory.api.table import Answer, Call, Document, Reply
from observatory.core.errors import UsageError
from observatory.core.search_page import Search, role_of
from observatory.core.stats_query import Query, day_of, period_of
from observatory.core.stats_report import Report
from observatory.reporting import Wish, csv_lines, report_of
from observatory.storage.statistics import StatisticsReader

CSV = "text/csv; charset=utf-8; header=present"


async def search(api: Sources, call: Call[SearchQuery, None]) -> Reply:
    """A page of hits. Days begin at midnight UTC."""
    asked = call.query
    roles = 0
    for name in asked.role:
        roles |= role_of(name)
    wanted = Search(
        asked.q, asked.exact, asked.case, asked.project, asked.conversation, roles, asked.tool, asked.model,
        _moment("since", asked.since, 0), _moment("until", asked.until, 1), asked.errors, asked.sort, asked.limit,
        asked.cursor,
    )  # fmt: skip
    if asked.case and not asked.exact:
        raise UsageError("case goes with exact: words are found in upper and lower case")
    page = await api.index(lambda index: index.search(wanted))
    return Reply({
        "hits": [hit.json() for hit in page.hits],
        "total": page.total,
        "is_exact": page.is_exact,
        "lag": page.lag,
        "sort": page.sort,
        "stopped": page.stopped,
        "next": page.cursor,
    })  # fmt: skip


def _moment(name: str, day: str | None, later: int, zone: tzinfo = UTC) -> int | None:
    """When a day, or one so many days later, begins: ms since the epoch. Raises UsageError."""
    if (checked := day_of(name, day)) is None:
        return None
    try:
        moment = datetime.fromisoformat(checked).replace(tzinfo=zone) + timedelta(days=later)
    except OverflowError:
        raise UsageError(f"{name} is beyond all days") from None
    return round(moment.timestamp() * 1000)


async def stats(api: Sources, call: Call[StatsQuery, None]) -> Answer:
    """Tokens, cost and tools."""
    asked = call.query
    query = Query(asked.group, day_of("since", asked.since), day_of("until", asked.until), asked.project)
    if query.since and query.until and query.since > query.until:
        raise UsageError("since is after until: exchange them")
    if asked.budget is not None and period_of(query.group) is None:
        raise UsageError(f"budget is for day, week or month, not for {query.group}")
    wish, now = Wish(query, asked.timezone, asked.budget), datetime.now(UTC)

    def made(reader: StatisticsReader) -> Report:
        return report_of(reader, wish, now)

    if asked.format == "json":
        return Reply(await api.figures(lambda reader: made(reader).json()))
    lines = await api.figures(lambda reader: "".join(csv_lines(made(reader))))
    return Document(lines.encode(), CSV)
