"""Idle: what `observatory serve` costs while nothing happens, with many files and connected clients.

    python -m tests.bench.idle [--files 1000] [--clients 100] [--seconds 20] [--smoke] [--json FILE]

The clients are subscribed to everything and answer pings; one round of pings falls into the time measured.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.facts import emit, parser, told
from tests.bench.figures import table
from tests.bench.latency_run import ours
from tests.bench.processes import cpu_seconds, environment, rss_kb, running
from tests.bench.status import wait_for_history
from tests.bench.transcript import write_history
from tests.bench.wire import Audience
from tests.running import free_port

PING_AT = 25.0  # seconds after its connection a client is pinged first: the default of --ping-seconds
BEFORE_PING = 0.5  # share of the time measured that lies before the pings


def watch(audience: Audience, seconds: float) -> int:
    """Stay connected; returns how many events came."""
    return sum(1 for _ in audience.frames(time.perf_counter() + seconds))


def measure(opts: argparse.Namespace) -> dict[str, Any]:
    """Start, read the history, connect, settle, measure."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="idle-") as folder, tempfile.TemporaryFile() as log:
        home = Path(folder)
        write_history(home, opts.files)
        server = ours(home, port)
        with running(server.command, port, log, environment(home)) as process:
            started = time.monotonic()
            wait_for_history(port, opts.files)
            told(f"{opts.files} files read {time.monotonic() - started:.1f} s after the start")
            rss_alone = rss_kb(process.pid)
            audience = Audience(port, opts.clients, server.subprotocol, server.hello)
            audience.settle(server.ready, 20.0)
            watch(audience, opts.settle)
            before, start, pings = cpu_seconds(process.pid), time.monotonic(), audience.pings
            events = watch(audience, opts.seconds)
            cpu, seconds = cpu_seconds(process.pid) - before, time.monotonic() - start
            rss, pings = rss_kb(process.pid), audience.pings - pings
            audience.close()
    return {
        "cpu_percent": round(cpu / seconds * 100, 3),
        "seconds": round(seconds, 2),
        "pings": pings,
        "events": events,
        "rss_alone_kb": rss_alone,
        "rss_kb": rss,
    }


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--files", type=int, default=1000)
    made.add_argument("--clients", type=int, default=100)
    made.add_argument("--seconds", type=float, default=20.0)
    opts = made.parse_args()
    if opts.smoke:
        opts.files, opts.clients, opts.seconds = 60, 5, 3.0
    opts.settle = 1.0 if opts.smoke else max(1.0, PING_AT - opts.seconds * BEFORE_PING)
    return opts


def main() -> None:
    """Print the table and the JSON line."""
    opts = options()
    found = measure(opts)
    headings = ["files", "clients", "% of a core", "RSS MiB", "before the clients", "pings answered", "events"]
    memory = [f"{found[name] / 1024:.1f}" for name in ("rss_kb", "rss_alone_kb")]
    row = [opts.files, opts.clients, f"{found['cpu_percent']:.2f}", *memory, found["pings"], found["events"]]
    print(f"\nidle for {found['seconds']:.0f} s\n")
    print(table(headings, [list(map(str, row))]))
    emit("idle", {"files": opts.files, "clients": opts.clients, "seconds": opts.seconds}, found, opts)


if __name__ == "__main__":
    main()
