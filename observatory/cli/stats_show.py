"""A report for people: its table, and below it what its figures leave out."""

from collections.abc import Sequence
from datetime import datetime
from math import floor
from typing import Any, TextIO

from rich.text import Text

from observatory.cli.stats_table import Column, duration, fixed, money, number, text, write_table
from observatory.cli.terminal import SHORT_ID, PlainConsole, one_line
from observatory.core.stats_report import Blocks, Groups, Report, Tools
from observatory.core.stats_shape import dollars

REASONS = 3  # why messages have no price, that are named
Rows = Sequence[dict[str, Any]]


def write(report: Report, out: TextIO, width: int | None = None) -> None:
    """Print a report that has rows. `width` is for tests."""
    shape = report.json()
    rows, sums = shape["rows"], shape["total"]
    match report.figures:
        case Groups():
            columns = [*_labels(report, rows), *_sums([*rows, sums], report), *_titles(report, rows)]
        case Tools():
            columns = [text("TOOL", [*_of(rows, "tool"), "total"], "magenta"), *_tools([*rows, sums])]
        case Blocks():
            columns = _blocks(report, rows)
    write_table(columns, out, totals=not isinstance(report.figures, Blocks), width=width)
    console = PlainConsole(out, width)
    for line in _footnotes(report, rows, sums):
        console.print(Text(line, "dim"), soft_wrap=not console.is_terminal)


def _of(rows: Rows, name: str) -> list[Any]:
    return [row[name] for row in rows]


def _labels(report: Report, rows: Rows) -> list[Column]:
    group = report.query.group
    if group == "conversation":
        short = [".".join(part[:SHORT_ID] for part in one_line(row["conversation_id"]).split(".")) for row in rows]
        return [text("ID", [*short, "total"])]
    first = text(group.upper(), [*(label or "undated" if group in ("day", "week", "month") else label
                                   for label in _of(rows, group)), "total"], "magenta")  # fmt: skip
    return [first, text("PROJECT", [*_of(rows, "project"), " "])] if group == "branch" else [first]


def _titles(report: Report, rows: Rows) -> list[Column]:
    return [text("TITLE", [*_of(rows, "title"), " "])] if report.query.group == "conversation" else []


def _sums(rows: Rows, report: Report) -> list[Column]:
    """Columns of sums, the total's row among them."""
    columns = [
        number("INPUT", _of(rows, "input_tokens")),
        number("OUTPUT", _of(rows, "output_tokens")),
        number("CACHE WRITE", _of(rows, "cache_creation_input_tokens"), "WRITE"),
        number("CACHE READ", _of(rows, "cache_read_input_tokens"), "READ"),
        fixed("COST", [money(row["cost_usd"], bool(row["unpriced_messages"])) for row in rows], "green"),
    ]
    if report.budget is not None:
        limit = dollars(report.budget.limit)
        columns.append(fixed("BUDGET", [*(_share(row, limit) for row in rows[:-1]), ""], "yellow"))
    if any(row["legacy_messages"] for row in rows):
        columns.append(fixed("COSTUSD", [money(row["legacy_cost_usd"]) for row in rows]))
    columns.append(number("MESSAGES", _of(rows, "messages"), "MSGS"))
    if report.query.group != "conversation":
        columns.append(number("CONV", _of(rows, "conversations")))
    return columns


def _share(row: dict[str, Any], limit_usd: float) -> str:
    share = f"{floor(row['cost_usd'] / limit_usd * 100)}%" if row["cost_usd"] is not None and limit_usd else "-"
    return f"{share} over" if row["over_budget"] else share


def _tools(rows: Rows) -> list[Column]:
    return [
        number("CALLS", _of(rows, "calls")),
        number("ERRORS", _of(rows, "errors")),
        number("ORPHANED", _of(rows, "orphaned")),
        fixed("P50", [duration(row["duration_p50_ms"]) for row in rows]),
        fixed("P95", [duration(row["duration_p95_ms"]) for row in rows]),
    ]


def _blocks(report: Report, rows: Rows) -> list[Column]:
    starts = [report.calendar.shown(datetime.fromisoformat(row["start"])) for row in rows]
    marked = [f"{start} {'now' if row['active'] else ''}".rstrip() for start, row in zip(starts, rows, strict=True)]
    rates = [None if row["tokens_per_minute"] is None else round(row["tokens_per_minute"]) for row in rows]
    return [
        text("START", marked, "magenta"),
        number("OUTPUT", _of(rows, "output_tokens")),
        number("TOKENS", _of(rows, "tokens")),
        fixed("COST", [money(row["cost_usd"], bool(row["unpriced_messages"])) for row in rows], "green"),
        number("TOKENS/MIN", rates, "TOK/MIN"),
        fixed("COST/H", [money(row["cost_per_hour_usd"]) for row in rows]),
        number("MESSAGES", _of(rows, "messages"), "MSGS"),
    ]


def _footnotes(report: Report, rows: Rows, sums: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    if isinstance(report.figures, Blocks):
        lines += _ahead(report, rows)
    if isinstance(report.figures, Groups) and report.query.group == "conversation":
        lines.append("a message that several conversations hold counts in each of them, and once in the total")
    if sums.get("unpriced_messages"):
        reasons = sorted(sums["unpriced"].items(), key=lambda pair: (-pair[1], pair[0]))
        named = ", ".join(f"{one_line(reason, 80)} ({count:,})" for reason, count in reasons[:REASONS])
        more = f" and {len(reasons) - REASONS} more reasons" if len(reasons) > REASONS else ""
        count = sums["unpriced_messages"]
        what = "1 message that has" if count == 1 else f"{count:,} messages that have"
        lines.append(f"cost is without {what} no price: {named}{more}")
    if sums.get("legacy_messages"):
        lines.append("COSTUSD is what old versions of Claude Code wrote themselves; it is no part of COST")
    if report.prices is not None:
        times = "times" if isinstance(report.figures, Blocks) else "days"
        lines.append(f"prices: {report.prices}, as of {report.prices_date or 'an unknown day'}; {times}: {report.zone}")
    return lines


def _ahead(report: Report, rows: Rows) -> list[str]:
    active = next((row for row in rows if row["active"]), None)
    if active is None:
        return []
    end = datetime.fromisoformat(active["end"])
    left = duration(max(0, round((end - report.now).total_seconds() * 1000)))
    if active["projected_tokens"] is None:
        return [f"the block now ends at {report.calendar.shown(end)}, in {left}"]
    cost = "" if active["projected_cost_usd"] is None else f" and {money(active['projected_cost_usd'])}"
    ahead = f"{active['projected_tokens']:,} tokens{cost}"
    return [f"the block now ends at {report.calendar.shown(end)}, in {left}, and with {ahead} if it goes on so"]
