"""Storm: after a restart all clients come back at once and resume. How late is what is published meanwhile?

    python -m tests.bench.storm [--clients 1000] [--missed 200] [--witnesses 50] [--rounds 5] [--smoke] [--json FILE]

A server starts on a log that another one left. A few witnesses are live, and a message goes out every 20 ms; then all
clients connect within a moment and resume from one place, `--missed` events before. An event counts as live for a
client when it was published after the ping that told it so (protocol.md, Resume). Exits with 1 when a floor does not
hold, or a client's events are not whole.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.catching_up import PATIENCE, expect, fill, result, serving, start
from tests.bench.facts import emit, parser, told
from tests.bench.fanout import build
from tests.bench.figures import median, shown, spread, table
from tests.bench.orders import Order, raise_fd_limit
from tests.bench.processes import NotMeasured
from tests.bench.status import status
from tests.bench.wire import Refused

FLOOR_MS, GOAL_MS = 250, 100
SIZE, INTERVAL = 1024, 0.02
CALM_SECONDS = 0.5  # of live messages before the storm
SETTLE_SECONDS = 0.3
HEADINGS = ["latest live event, any client ms", "spread", "witnesses p50 ms", "p99 ms", "max ms", "all caught up s",
            "pages read"]  # fmt: skip


def measure(tools: Path, opts: argparse.Namespace) -> dict[str, Any]:
    """One storm against a fresh server. Raises NotMeasured, Refused."""
    with (
        tempfile.TemporaryDirectory(prefix="storm-") as folder,
        tempfile.TemporaryFile() as log,
    ):
        epoch = fill(Path(folder), opts.missed, SIZE)
        with serving(Path(folder), log) as server:
            time.sleep(SETTLE_SECONDS)
            times = (opts.messages, server.process.pid, PATIENCE)
            witnesses = start(tools / "load", server.port, opts.witnesses, *times)
            expect(witnesses, b"connected")
            server.order(Order(opts.messages, SIZE, INTERVAL))
            time.sleep(CALM_SECONDS)
            clients = start(tools / "resume", server.port, opts.clients, epoch, 0, opts.missed, PATIENCE)
            expect(clients, b"caught up")
            seen = result(witnesses)
            reads = status(server.port)["pages"]["reads"]
            found = result(clients)
    if found["wrong"] or found["closed"] or found["caught_up"] != opts.clients or seen["got"] != seen["want"]:
        raise NotMeasured(f"somebody's events are not whole: {found}, {seen}")
    return {**found, "reads": reads, "witnesses": {name: seen[name] for name in ("p50_ms", "p99_ms", "max_ms")},
            "latest_ms": max(found["live_worst_ms"], seen["max_ms"])}  # fmt: skip


def rounds(tools: Path, opts: argparse.Namespace) -> list[dict[str, Any]]:
    """Storm after storm."""
    storms = []
    for number in range(opts.rounds):
        found = measure(tools, opts)
        storms.append(found)
        told(f"round {number + 1}: {found['live']:,} live events, the latest after {found['latest_ms']:.0f} ms;"
             f" all caught up after {found['all_caught_up_seconds']:.2f} s")  # fmt: skip
    return storms


def failures(storms: list[dict[str, Any]]) -> list[str]:
    """Floors that do not hold."""
    latest = median(found["latest_ms"] for found in storms) or 0.0
    if latest > FLOOR_MS:
        return [f"a live event came after {latest:.0f} ms (median of the rounds' latest), the floor is {FLOOR_MS} ms"]
    return []


def row(storms: list[dict[str, Any]]) -> list[str]:
    """Medians over the rounds."""
    latest = [found["latest_ms"] for found in storms]
    seen = [shown(median(found["witnesses"][name] for found in storms)) for name in ("p50_ms", "p99_ms", "max_ms")]
    whole = [shown(median(found[name] for found in storms), digits)
             for name, digits in (("all_caught_up_seconds", 2), ("reads", 0))]  # fmt: skip
    return [shown(median(latest), 0), spread(latest, 0), *seen, *whole]


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--clients", type=int, default=1000)
    made.add_argument("--missed", type=int, default=200, help="events of 1 KiB that each client missed")
    made.add_argument("--witnesses", type=int, default=50, help="clients that were live before the storm")
    made.add_argument("--messages", type=int, default=600, help="one every 20 ms")
    made.add_argument("--rounds", type=int, default=5)
    opts = made.parse_args()
    if opts.smoke:
        opts.clients, opts.witnesses, opts.messages, opts.rounds = 30, 3, 60, 1
    return opts


def main() -> None:
    """Build, measure, print, and say whether the floor holds."""
    opts = options()
    raise_fd_limit()
    with tempfile.TemporaryDirectory(prefix="storm-tools-") as folder:
        try:
            build(Path(folder))
            storms = rounds(Path(folder), opts)
        except (NotMeasured, Refused) as obstacle:
            sys.exit(f"not measured: {obstacle}")
    print(f"\n{opts.clients} clients resume at once, {opts.missed} events missed, median of {opts.rounds} round(s)\n")
    print(table(HEADINGS, [row(storms)]))
    sizes = {name: getattr(opts, name) for name in ("clients", "missed", "witnesses", "messages", "rounds")}
    emit("storm", sizes, {"storms": storms}, opts)
    problems = [] if opts.smoke else failures(storms)
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
