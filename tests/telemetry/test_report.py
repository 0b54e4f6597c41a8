"""The latency report: windows of several processes become one table."""

import io
import sys
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.histogram import LogHistogram
from observatory.telemetry.report import Report, Row, merge, report, table

MS = 1_000_000


def window(hop: str, *durations: int) -> bytes:
    histogram = LogHistogram()
    for ns in durations:
        histogram.add(ns)
    return orjson.dumps({"event": "latency.window", "hops": {hop: histogram.to_json()}}) + b"\n"


@given(st.lists(st.lists(st.integers(0, 10**12), max_size=20), min_size=1, max_size=5))
def test_merged_windows_equal_one_window_with_everything(parts: list[list[int]]) -> None:
    together = merge([window("detected_to_read", *[ns for part in parts for ns in part])])
    assert merge(window("detected_to_read", *part) for part in parts).rows == together.rows


def test_rows_come_in_the_order_of_the_pipeline() -> None:
    found = merge(
        window(hop, MS) for hop in ("detected_to_written", "detected_to_read", "new_hop", "routed_to_written")
    )
    assert [row.hop for row in found.rows] == [
        "new_hop",
        "detected_to_read",
        "routed_to_written",
        "detected_to_written",
    ]


def test_other_lines_are_ignored_and_broken_windows_counted() -> None:
    lines = [
        b"Traceback (most recent call last):\n",
        b'{"event":"server.started"}\n',
        b'{"event":"note.made","about":"latency.window"}\n',
        b'{"event":"latency.window","hops":{"detected_to_read":{"max":1,"buc',
        b'{"event":"latency.window"}\n',
        b'{"event":"latency.window","hops":{"detected_to_read":{"max":-1,"buckets":{}}}}\n',
        b'["latency.window"]\n',
        window("detected_to_read", MS),
    ]
    found = merge(lines)
    assert (found.windows, found.broken, [row.count for row in found.rows]) == (1, 3, [1])


def test_files_and_standard_input_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "node.log"
    path.write_bytes(window("detected_to_read", MS))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(window("detected_to_read", 3 * MS))))
    [row] = report([str(path), "-"]).rows
    assert (row.count, row.max) == (2, 0.003)


def test_the_table_is_aligned_and_in_milliseconds() -> None:
    rows = (Row("detected_to_read", 0.0001, 0.001, 0.002, 0.0025, 12345), Row("all", 1.0, 2.0, 3.0, 4.0, 5))
    assert table(Report(rows, windows=3, broken=1)).splitlines() == [
        "hop                 p50 ms    p99 ms  p99.9 ms    max ms  count",
        "detected_to_read     0.100     1.000     2.000     2.500  12345",
        "all               1000.000  2000.000  3000.000  4000.000      5",
        "3 windows, 1 broken lines",
    ]
    assert table(Report(rows, windows=3, broken=0)).endswith("3 windows")


def test_a_log_without_windows_says_so() -> None:
    assert table(merge([])) == "No latency.window line found (0 broken)."
