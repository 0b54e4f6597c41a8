"""Metrics for Prometheus: the server's own numbers as text, under the names that docs/operations.md lists."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from observatory import __version__
from observatory.core.contracts import STATUSES
from observatory.core.histogram import NS_PER_SECOND, LogHistogram
from observatory.telemetry.measures import COUNTERS, TIMES, Measures

PREFIX = "observatory_"
BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
HOPS = {
    "detected_to_read": ("change_to_read", "From a file's change to its lines being read"),
    "read_to_committed": ("read_to_commit", "From a line's reading to its commit"),
    "committed_to_routed": ("commit_to_routed", "From a commit to the Router's turn"),
    "routed_to_written": ("routed_to_written", "From the Router's turn to a client's socket"),
    "detected_to_written": ("change_to_written", "From a file's change to a client's socket: the promise"),
}
# Name → where it stands among the status's gauges, and what it tells.
GAUGES = {
    "topics_held": ("topics_held", "Topics that live clients hold"),
    "outbox_frames": ("outbox_frames", "Frames that wait for clients"),
    "outbox_bytes": ("outbox_bytes", "Bytes that wait for clients"),
    "replies_waiting": ("replies_waiting", "Replies that wait to be written"),
    "client_lag_events": ("client_lag_events", "Events that the client furthest behind has to catch up with"),
    "drain_remaining": ("drain_remaining", "Clients that a drain still has to send away"),
    "source_bytes_behind": ("source_bytes_behind", "Bytes of transcripts that are not in the log yet"),
    "log_bytes": ("database_bytes", "Size of the database"),
    "wal_bytes": ("wal_bytes", "Size of its write-ahead file"),
    "disk_free_bytes": ("disk_free_bytes", "Free space where the data directory is"),
    "search_lag_records": ("search_lag_records", "Records that are not in the full-text index yet"),
    "sources": ("sources", "Transcript files that are known"),
    "unreadable_files": ("unreadable_files", "Transcript files that cannot be read"),
    "tasks": ("tasks", "Tasks of the event loop"),
    "sink_lag_events": ("supabase_lag_changes", "Changes that are not in the copy at Supabase yet"),
    "sink_lag_bytes": ("supabase_lag_bytes", "Bytes of transcripts that are not in the copy yet"),
    "sink_lag_seconds": ("supabase_lag_seconds", "Time since the copy was up to date"),
    "sink_parked": ("supabase_parked", "Things that the copy's database would not take"),
}
# Name → its label, where it stands among the status's counters, and what it tells.
TOTALS = {
    "frames_sent": ("", "frames_sent", "Events handed to clients"),
    "bytes_sent": ("", "bytes_sent", "Bytes written to clients"),
    "filtered": ("", "filtered", "Questions to where-filters that were answered by no"),
    "accepted": ("", "accepted", "WebSocket clients accepted"),
    "closes": ("code", "closes", "Connections closed, by the close frame's code"),
    "resets": ("reason", "reset", "Connections that ended without a goodbye"),
    "behind": ("", "behind", "Times that a client began to be fed from the log"),
    "caught_up": ("", "caught_up", "Times that one was live again"),
    "replayed_events": ("", "replayed", "Events handed to clients from the log"),
    "handshakes_refused": ("status", "refused", "Handshakes refused, by HTTP status"),
    "client_failures": ("", "failures", "Connections that ended over a defect of the server"),
    "bad_lines": ("kind", "bad_lines", "Lines that were no record"),
    "sink_rows": ("table", "supabase_rows", "Rows written to the copy at Supabase"),
    "sink_retries": ("status", "supabase_retries", "Times that the copy's database did not take what was sent"),
    "actor_restarts": ("actor", "actor_restarts", "Times that an optional part was started again"),
}


@attrs.frozen
class Told:
    """What a scrape shows. status: as get_status; lag_seconds: age of what the client furthest behind gets next.

    answers: HTTP answers by route and status. connections: of HTTP, now. modes: clients by mode. dropped: lines of the
    log that were lost.
    """

    status: Mapping[str, Any]
    measures: Measures
    hops: Mapping[str, LogHistogram]
    answers: Mapping[tuple[str, int], int]
    connections: int
    modes: Mapping[str, int]
    lag_seconds: float
    dropped: int


def text(told: Told) -> bytes:
    """The metrics as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(_Scrape(told))
    return generate_latest(registry)


@attrs.frozen(eq=False)
class _Scrape(Collector):
    told: Told

    def collect(self) -> Iterable[Metric]:
        """As prometheus-client asks for it."""
        told = self.told
        yield from _gauges(told)
        yield from _totals(told)
        for name, (label, about) in COUNTERS.items():
            if name != "resumes":
                yield _counter(name, label, about, told.measures.counters[name])
        yield _resumes(told.measures.counters["resumes"])
        for hop, (name, about) in HOPS.items():
            yield _histogram(name, about, {"": told.hops[hop]}, "")
        for name, about in TIMES.items():
            by = told.measures.fanouts if name == "fanout" else {"": told.measures.times[name]}
            yield _histogram(name, about, by, "audience" if name == "fanout" else "")


def _gauges(told: Told) -> Iterable[Metric]:
    status = told.status
    info = GaugeMetricFamily(f"{PREFIX}build_info", "The version that runs", labels=["version"])
    info.add_metric([__version__], 1)
    yield info
    clients = GaugeMetricFamily(f"{PREFIX}clients", "WebSocket clients by mode", labels=["mode"])
    for mode, count in told.modes.items():
        clients.add_metric([mode], count)
    yield clients
    for name, (place, about) in GAUGES.items():
        yield GaugeMetricFamily(f"{PREFIX}{name}", about, status["gauges"].get(place, 0))
    position = status["position"]
    yield GaugeMetricFamily(f"{PREFIX}log_head", "The last event of the log", position["head"])
    yield GaugeMetricFamily(f"{PREFIX}log_oldest", "The first event that can be replayed", position["oldest"])
    yield GaugeMetricFamily(f"{PREFIX}client_lag_seconds", "Age of what the client furthest behind gets next",
                            told.lag_seconds)  # fmt: skip
    yield GaugeMetricFamily(f"{PREFIX}uptime_seconds", "Time since the start", status["uptime_seconds"])
    yield GaugeMetricFamily(f"{PREFIX}open_fds", "Descriptors of the process", open_fds())
    yield GaugeMetricFamily(f"{PREFIX}http_connections", "HTTP connections", told.connections)
    parts = GaugeMetricFamily(f"{PREFIX}component_status", "Parts that are or were not well: 0 ok, 1 degraded,"
                              " 2 unavailable", labels=["component"])  # fmt: skip
    for part in status["components"]:
        parts.add_metric([part["component_name"]], STATUSES.index(part["status"]))
    yield parts


def open_fds() -> int:
    """Descriptors of this process; 0 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def _totals(told: Told) -> Iterable[Metric]:
    counters, watcher = told.status["counters"], told.status["watcher"]
    for name, (label, place, about) in TOTALS.items():
        found = counters.get(place, {} if label else 0)
        yield _counter(name, label, about, found if label else {"": found})
    yield _counter("broadcasts_refused", "error", "Broadcasts that nobody got", counters["broadcasts"]["failed"])
    yield _counter("watcher_overflows", "", "Times that the kernel dropped notices of changes",
                   {"": watcher["overflows"]})  # fmt: skip
    yield _counter("rescans", "", "Directories looked through again", {"": watcher["rescans"]})
    yield _counter("log_lines_dropped", "", "Lines of the server's own log that were lost", {"": told.dropped})
    http = CounterMetricFamily(f"{PREFIX}http_answers", "HTTP answers", labels=["route", "status"])
    for (route, status), count in told.answers.items():
        http.add_metric([route, str(status)], count)
    yield http


def _counter(name: str, label: str, about: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"{PREFIX}{name}", about, labels=[label] if label else [])
    for value, count in counts.items() if label else [("", counts.get("", 0))]:
        family.add_metric([value] if label else [], count)
    return family


def _resumes(counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"{PREFIX}resumes", COUNTERS["resumes"][1], labels=["recovered", "reason"])
    for reason, count in counts.items():
        family.add_metric(["false" if reason else "true", reason], count)
    return family


def _histogram(name: str, about: str, by: Mapping[str, LogHistogram], label: str) -> Metric:
    family = HistogramMetricFamily(f"{PREFIX}{name}_seconds", about, labels=[label] if label else [])
    for value, one in by.items():
        buckets = [(f"{bound:g}", float(count)) for bound, count in zip(BOUNDS, one.below(BOUNDS), strict=True)]
        buckets.append(("+Inf", float(one.count)))
        family.add_metric([value] if label else [], buckets, one.total_ns / NS_PER_SECOND)
    return family
