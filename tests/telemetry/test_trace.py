"""Latency tracing: what a window and a slow event say."""

from typing import Any

import attrs
import pytest
import structlog
import trio
from structlog.testing import CapturingLogger
from structlog.typing import FilteringBoundLogger
from trio.testing import MockClock

from observatory.core.histogram import LogHistogram
from observatory.telemetry.trace import SLOW_LINES_PER_WINDOW, LatencyTrace, Stamps

MS = 1_000_000
STAMPS = Stamps(detected=0, read=1 * MS, committed=3 * MS, routed=6 * MS)


@attrs.define(eq=False)
class Lines:
    """A structlog logger that keeps its lines."""

    captured: CapturingLogger = attrs.field(factory=CapturingLogger)

    @property
    def log(self) -> FilteringBoundLogger:
        wrapper = structlog.make_filtering_bound_logger("debug")
        logger: FilteringBoundLogger = structlog.wrap_logger(self.captured, processors=[_split], wrapper_class=wrapper)
        return logger

    def of(self, event: str) -> list[dict[str, Any]]:
        return [dict(call.kwargs) for call in self.captured.calls if call.args == (event,)]


def _split(_log: object, _method: str, event: Any) -> Any:
    return (event.pop("event"),), event


@pytest.fixture
def lines() -> Lines:
    return Lines()


def test_a_window_holds_a_histogram_of_every_hop_and_of_the_whole(lines: Lines) -> None:
    trace = LatencyTrace(lines.log)
    trace.observe(STAMPS, written=10 * MS, events=4)
    trace.flush()
    [window] = lines.of("latency.window")
    hops = {name: LogHistogram.from_json(hop) for name, hop in window["hops"].items()}
    assert {name: hop.max for name, hop in hops.items()} == {
        "detected_to_read": 0.001,
        "read_to_committed": 0.002,
        "committed_to_routed": 0.003,
        "routed_to_written": 0.004,
        "detected_to_written": 0.010,
    }
    assert {hop.count for hop in hops.values()} == {4}
    assert (window["count"], window["slow"]) == (4, 0)


def test_a_window_without_observations_says_nothing(lines: Lines) -> None:
    LatencyTrace(lines.log).flush()
    assert lines.captured.calls == []


def test_a_flush_begins_a_new_window(lines: Lines) -> None:
    trace = LatencyTrace(lines.log)
    for _ in range(2):
        trace.observe(STAMPS, written=10 * MS)
        trace.flush()
    assert [window["count"] for window in lines.of("latency.window")] == [1, 1]


def test_a_slow_event_tells_its_hops(lines: Lines) -> None:
    LatencyTrace(lines.log, slow_seconds=0.009).observe(STAMPS, written=10 * MS, events=2)
    assert lines.of("event.slow") == [
        {
            "events": 2,
            "detected_to_read_ms": 1.0,
            "read_to_committed_ms": 2.0,
            "committed_to_routed_ms": 3.0,
            "routed_to_written_ms": 4.0,
            "detected_to_written_ms": 10.0,
        }
    ]


def test_slow_lines_are_limited_per_window_and_the_rest_is_counted(lines: Lines) -> None:
    trace = LatencyTrace(lines.log, slow_seconds=0.001)
    for _ in range(SLOW_LINES_PER_WINDOW + 5):
        trace.observe(STAMPS, written=10 * MS)
    assert len(lines.of("event.slow")) == SLOW_LINES_PER_WINDOW
    trace.flush()
    [window] = lines.of("latency.window")
    assert (window["slow"], window["slow_suppressed"]) == (SLOW_LINES_PER_WINDOW + 5, 5)
    trace.observe(STAMPS, written=10 * MS)
    assert len(lines.of("event.slow")) == SLOW_LINES_PER_WINDOW + 1


async def test_run_flushes_every_window_and_once_more_when_cancelled(lines: Lines, autojump_clock: MockClock) -> None:
    trace = LatencyTrace(lines.log, window_seconds=10.0)
    with trio.move_on_after(15):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trace.run)
            for second in (1, 11):
                await trio.sleep_until(second)
                trace.observe(STAMPS, written=10 * MS)
            await trio.sleep_until(12)
            assert len(lines.of("latency.window")) == 1
            await trio.sleep_forever()
    assert [window["count"] for window in lines.of("latency.window")] == [1, 1]


def test_totals_go_on_over_windows_and_recent_is_the_last_one_with_this() -> None:
    trace = LatencyTrace(Lines().log)
    trace.observe(STAMPS, 10 * MS, 2)
    trace.flush()
    trace.observe(STAMPS, 20 * MS)
    assert trace.totals()["detected_to_written"].count == 3
    assert trace.recent()["detected_to_written"]["count"] == 3
    trace.flush()
    trace.flush()
    assert trace.totals()["detected_to_written"].count == 3
    recent = trace.recent()["detected_to_written"]
    assert (recent["count"], recent["max"]) == (0, 0.0)
