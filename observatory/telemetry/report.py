"""Latency percentiles from log files: merges the windows of any number of processes into a table.

Merging is exact, because windows carry bucket counts. Other lines are passed over, broken windows counted.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs
import orjson

from observatory.core.histogram import LogHistogram
from observatory.telemetry.trace import HOPS

STDIN = "-"
MARK = b'"latency.window"'  # what a line must hold to be worth parsing
COLUMNS = ("p50 ms", "p99 ms", "p99.9 ms", "max ms", "count")


@attrs.frozen
class Row:
    """One hop; times in seconds."""

    hop: str
    p50: float
    p99: float
    p999: float
    max: float
    count: int


@attrs.frozen
class Report:
    """Rows in the order of the pipeline, end to end last; a hop that nobody observed has no row."""

    rows: tuple[Row, ...]
    windows: int
    broken: int


def report(paths: Sequence[str]) -> Report:
    """Merge log files; "-" is standard input.

    Raises: OSError: a file cannot be read.
    """
    return merge(line for path in paths for line in _lines(path))


def merge(lines: Iterable[bytes]) -> Report:
    """Merge all windows in lines of a log."""
    hops: dict[str, LogHistogram] = {}
    windows = broken = 0
    for line in lines:
        if MARK not in line:
            continue
        try:
            window = _window(line)
        except ValueError:
            broken += 1
            continue
        windows += window != {}
        for name, histogram in window.items():
            hops.setdefault(name, LogHistogram()).merge(histogram)
    return Report(tuple(_row(name, hops[name]) for name in _ordered(hops)), windows, broken)


def table(report: Report) -> str:
    """The report as aligned text."""
    if not report.rows:
        return f"No latency.window line found ({report.broken} broken)."
    lines = [("hop", *COLUMNS), *(_cells(row) for row in report.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    ]
    return "\n".join(
        [
            *text,
            f"{report.windows} window{'s' * (report.windows != 1)}"
            + (f", {report.broken} broken lines" if report.broken else ""),
        ]
    )


def _lines(path: str) -> Iterator[bytes]:
    if path == STDIN:
        yield from sys.stdin.buffer
        return
    with Path(path).open("rb") as file:
        yield from file


def _window(line: bytes) -> dict[str, LogHistogram]:
    data = orjson.loads(line)
    if not isinstance(data, dict) or data.get("event") != "latency.window":
        return {}
    hops = data.get("hops")
    if not isinstance(hops, dict):
        raise ValueError("a window without hops")
    return {str(name): LogHistogram.from_json(hop) for name, hop in hops.items()}


def _ordered(hops: Iterable[str]) -> list[str]:
    return sorted(hops, key=lambda name: (HOPS.index(name) if name in HOPS else -1, name))


def _row(hop: str, histogram: LogHistogram) -> Row:
    p50, p99, p999 = (histogram.quantile(q) for q in (0.5, 0.99, 0.999))
    return Row(hop, p50, p99, p999, histogram.max, histogram.count)


def _cells(row: Row) -> tuple[str, ...]:
    return (row.hop, *(f"{seconds * 1e3:.3f}" for seconds in (row.p50, row.p99, row.p999, row.max)), str(row.count))
