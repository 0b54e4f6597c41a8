"""Latency of every record, hop by hop: histograms in memory, one log line per window, one per slow event.

A record is born with a monotonic stamp and gets one more at each stage; the stamps travel in the message, because a
memory channel carries no context. No line per event: at thousands of events a second that would be the load itself.
"""

import time
from itertools import pairwise
from typing import Final

import attrs
import trio
from structlog.typing import FilteringBoundLogger

from observatory.core.histogram import LogHistogram

SLOW_LINES_PER_WINDOW = 10  # enough to see what a bad moment looks like; the rest is a number in the window's line
NS_PER_MS = 1e6
HOPS: Final = (
    "detected_to_read",
    "read_to_committed",
    "committed_to_routed",
    "routed_to_written",
    "detected_to_written",
)
END_TO_END: Final = "detected_to_written"


@attrs.frozen
class Stamps:
    """`time.monotonic_ns()` at each stage of a record, up to the Router."""

    detected: int
    read: int
    committed: int
    routed: int


@attrs.define(eq=False)
class LatencyTrace:
    """Latencies of one process. All calls come from the event loop's thread; `run` only flushes."""

    _log: FilteringBoundLogger
    _slow_seconds: float = 0.05
    _window_seconds: float = 10.0
    _slow_ns: int = attrs.field(init=False)
    _hops: tuple[LogHistogram, ...] = attrs.field(factory=lambda: tuple(LogHistogram() for _ in HOPS), init=False)
    _window: tuple[LogHistogram, ...] = attrs.field(factory=lambda: tuple(LogHistogram() for _ in HOPS), init=False)
    _past: tuple[LogHistogram, ...] = attrs.field(factory=lambda: tuple(LogHistogram() for _ in HOPS), init=False)
    _slow: int = attrs.field(default=0, init=False)
    _since: int = attrs.field(factory=time.monotonic_ns, init=False)

    @_slow_ns.default
    def _slow_as_ns(self) -> int:
        return int(self._slow_seconds * 1e9)

    def observe(self, stamps: Stamps, written: int, events: int = 1) -> None:
        """Count the hops of `events` records that were handed to a client's socket together, at `written`."""
        detected, read, committed, routed = stamps.detected, stamps.read, stamps.committed, stamps.routed
        to_read, to_committed, to_routed, to_written, whole = self._hops
        to_read.add(read - detected, events)
        to_committed.add(committed - read, events)
        to_routed.add(routed - committed, events)
        to_written.add(written - routed, events)
        whole.add(written - detected, events)
        if written - detected > self._slow_ns:
            self._tell_slow(stamps, written, events)

    def flush(self) -> None:
        """Log the window that ends now, if anything was observed in it, and begin the next."""
        now = time.monotonic_ns()
        count = self._hops[-1].count
        if count:
            self._log.info(
                "latency.window",
                seconds=round((now - self._since) / 1e9, 3),
                count=count,
                slow=self._slow,
                slow_suppressed=max(0, self._slow - SLOW_LINES_PER_WINDOW),
                hops={name: hop.to_json() for name, hop in zip(HOPS, self._hops, strict=True)},
            )
            self._window, self._hops = self._hops, tuple(LogHistogram() for _ in HOPS)
            for past, hop in zip(self._past, self._window, strict=True):
                past.merge(hop)
        else:
            self._window = self._hops
        self._slow = 0
        self._since = now

    def totals(self) -> dict[str, LogHistogram]:
        """Each hop since the start."""
        found = {}
        for name, past, hop in zip(HOPS, self._past, self._hops, strict=True):
            found[name] = LogHistogram()
            found[name].merge(past)
            found[name].merge(hop)
        return found

    def recent(self) -> dict[str, dict[str, float]]:
        """Each hop in the window that ended last, with the one that goes on: seconds, and how many records."""
        found = {}
        for name, last, hop in zip(HOPS, self._window, self._hops, strict=True):
            both = LogHistogram()
            both.merge(last)
            both.merge(hop)
            quantiles = {key: round(both.quantile(q), 6) for key, q in (("p50", 0.5), ("p99", 0.99))}
            found[name] = {**quantiles, "max": round(both.max, 6), "count": both.count}
        return found

    async def run(self) -> None:
        """Flush every window until cancelled, and once more then."""
        try:
            while True:
                await trio.sleep(self._window_seconds)
                self.flush()
        finally:
            self.flush()

    def _tell_slow(self, stamps: Stamps, written: int, events: int) -> None:
        self._slow += 1
        if self._slow > SLOW_LINES_PER_WINDOW:
            return
        times = (stamps.detected, stamps.read, stamps.committed, stamps.routed, written)
        spans = [after - before for before, after in pairwise(times)]
        hops = {f"{name}_ms": _ms(span) for name, span in zip(HOPS, [*spans, written - times[0]], strict=True)}
        self._log.warning("event.slow", events=events, **hops)


def _ms(ns: int) -> float:
    return round(ns / NS_PER_MS, 3)
