"""Measures: what parts count and time since the start, by the names under which docs/operations.md lists them.

One per server, given to the parts' constructors. All calls come from the event loop's thread.
"""

from collections.abc import Mapping

import attrs
import trio

from observatory.core.histogram import LogHistogram

# Name → its label ("" for none), and what it tells.
COUNTERS: Mapping[str, tuple[str, str]] = {
    "events_committed": ("type", "Events committed to the log"),
    "commit_retries": ("", "Commits that failed and were tried again"),
    "resumes": ("reason", "Resumes; without a reason nothing was missed"),
    "resyncs": ("reason", "Clients told to load a snapshot in the middle"),
    "requests_refused": ("code", "Requests over WebSocket answered by an error"),
}
TIMES: Mapping[str, str] = {
    "commit": "One transaction of the log",
    "fanout": "From the first client's offer to the last one's, of one publish",
    "ping_rtt": "From a ping to the client's pong",
    "loop_lag": "How late the event loop comes to what is due",
}


@attrs.define(eq=False)
class Measures:
    """counters: name → label's value → count. times: name → durations; fanouts: the same by size of the audience."""

    counters: dict[str, dict[str, int]] = attrs.field(factory=lambda: {name: {} for name in COUNTERS})
    times: dict[str, LogHistogram] = attrs.field(factory=lambda: {name: LogHistogram() for name in TIMES})
    fanouts: dict[str, LogHistogram] = attrs.field(factory=dict)

    def count(self, name: str, label: str = "", by: int = 1) -> None:
        """Count something, `by` times."""
        counts = self.counters[name]
        counts[label] = counts.get(label, 0) + by

    def fanout(self, audience: int, ns: int) -> None:
        """A publish was offered to so many clients. They are told apart by powers of ten."""
        self.times["fanout"].add(ns)
        label = str(10 ** len(str(max(0, audience - 1)))) if audience > 1 else "1"
        if label not in self.fanouts:
            self.fanouts[label] = LogHistogram()
        self.fanouts[label].add(ns)


LOOK_EVERY = 0.1  # seconds between two looks at the loop


async def watch_loop(lag: LogHistogram) -> None:
    """Measure how late the loop comes to a task that is due, until cancelled."""
    while True:
        due = trio.current_time() + LOOK_EVERY
        await trio.sleep_until(due)
        lag.add(int((trio.current_time() - due) * 1e9))
