"""Replay: how fast one client gets what it missed, and what the others notice of it.

    python -m tests.bench.replay [--events 100000] [--size 512] [--clients 100] [--rounds 7] [--smoke] [--json FILE]

One client resumes from the beginning of a filled log, while others are live and get a message every 10 ms: a round
measures them once without and once with replays, one after the other as long as it takes. Exits with 1 when a floor
does not hold, or an event is missing, double or out of order.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from tests.bench.catching_up import PATIENCE, Server, expect, fill, result, serving, start
from tests.bench.facts import emit, parser, told
from tests.bench.fanout import build
from tests.bench.figures import median, median_ratio, shown, spread, table
from tests.bench.orders import Order, raise_fd_limit
from tests.bench.processes import NotMeasured

FLOOR_EVENTS_PER_S, GOAL_EVENTS_PER_S = 30_000, 50_000
FLOOR_RATIO = 1.3  # "unaffected": the floor that others have while slow clients are fed
LIVE_SIZE, LIVE_INTERVAL = 1024, 0.01
SETTLE_SECONDS = 0.3
HEADINGS = ["", "events/s", "spread", "live p50 ms", "live p99 ms", "p99 ÷ without"]


def replays(tools: Path, server: Server, epoch: str, events: int, until: float) -> list[float]:
    """Events per second of one replay after the other, at least one. Raises NotMeasured when one is not whole."""
    rates: list[float] = []
    while not rates or time.monotonic() < until:
        client = start(tools / "resume", server.port, 1, epoch, 0, events, PATIENCE, gives_way=True)
        expect(client, b"caught up")
        found = result(client)
        if found["wrong"] or found["caught_up"] != 1:
            raise NotMeasured(f"a replay is not whole: {found}")
        rates.append(events / found["all_caught_up_seconds"])
    return rates


def lap(tools: Path, server: Server, opts: argparse.Namespace, epoch: str | None) -> dict[str, Any]:
    """The live clients' times; with an epoch while replays go on."""
    live = start(tools / "load", server.port, opts.clients, opts.messages, server.process.pid, 5)
    expect(live, b"connected")
    server.order(Order(opts.messages, LIVE_SIZE, LIVE_INTERVAL))
    until = time.monotonic() + opts.messages * LIVE_INTERVAL - 1
    rates = replays(tools, server, epoch, opts.events, until) if epoch else []
    found = result(live)
    if found["got"] != found["want"] or found["disorder"]:
        raise NotMeasured(f"live clients got {found['got']} of {found['want']}, {found['disorder']} out of order")
    return {"rates": rates, "p50_ms": found["p50_ms"], "p99_ms": found["p99_ms"]}


def measure(tools: Path, opts: argparse.Namespace, log: IO[bytes]) -> list[dict[str, Any]]:
    """All rounds, on one server; every second one begins with the replays."""
    rounds = []
    with tempfile.TemporaryDirectory(prefix="replay-") as folder:
        epoch = fill(Path(folder), opts.events, opts.size)
        with serving(Path(folder), log) as server:
            time.sleep(SETTLE_SECONDS)
            for number in range(opts.rounds):
                order = ("without", "with") if number % 2 else ("with", "without")
                found = {name: lap(tools, server, opts, epoch if name == "with" else None) for name in order}
                rounds.append(found)
                told(f"round {number + 1}: {median(found['with']['rates']):,.0f} events/s, live p99"
                     f" {found['without']['p99_ms']:.2f} → {found['with']['p99_ms']:.2f} ms")  # fmt: skip
    return rounds


def failures(rounds: list[dict[str, Any]]) -> list[str]:
    """Floors that do not hold."""
    rate = median([rate for found in rounds for rate in found["with"]["rates"]]) or 0.0
    ratio = median_ratio(*([found[name]["p99_ms"] for found in rounds] for name in ("with", "without"))) or 0.0
    problems = []
    if rate < FLOOR_EVENTS_PER_S:
        problems.append(f"{rate:,.0f} events/s, the floor is {FLOOR_EVENTS_PER_S:,}")
    if ratio > FLOOR_RATIO:
        problems.append(f"the live clients' p99 is {ratio:.2f} × what it is without, the floor is {FLOOR_RATIO} ×")
    return problems


def rows(rounds: list[dict[str, Any]]) -> list[list[str]]:
    """Without and with replays."""
    made = []
    for name in ("without", "with"):
        rates = [rate for found in rounds for rate in found[name]["rates"]]
        times = [[found[name][key] for found in rounds] for key in ("p50_ms", "p99_ms")]
        ratio = median_ratio(times[1], [found["without"]["p99_ms"] for found in rounds])
        made.append([f"{name} replays", shown(median(rates), 0), spread(rates, 0), *map(shown, map(median, times)),
                     shown(ratio)])  # fmt: skip
    return made


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--events", type=int, default=100_000)
    made.add_argument("--size", type=int, default=512, help="bytes of an event in the backlog")
    made.add_argument("--clients", type=int, default=100, help="live ones")
    made.add_argument("--messages", type=int, default=600, help="for the live clients, one every 10 ms")
    made.add_argument("--rounds", type=int, default=7)
    opts = made.parse_args()
    if opts.smoke:
        opts.events, opts.clients, opts.messages, opts.rounds = 5000, 10, 60, 1
    return opts


def main() -> None:
    """Build, measure, print, and say whether the floors hold."""
    opts = options()
    raise_fd_limit()
    with tempfile.TemporaryDirectory(prefix="replay-tools-") as folder, tempfile.TemporaryFile() as log:
        try:
            build(Path(folder))
            rounds = measure(Path(folder), opts, log)
        except NotMeasured as obstacle:
            sys.exit(f"not measured: {obstacle}")
    print(f"\nreplay of {opts.events:,} events of {opts.size} B to one client, {opts.clients} live clients,"
          f" median of {opts.rounds} round(s)\n")  # fmt: skip
    print(table(HEADINGS, rows(rounds)))
    sizes = {name: getattr(opts, name) for name in ("events", "size", "clients", "messages", "rounds")}
    emit("replay", sizes, {"rounds": rounds}, opts)
    problems = [] if opts.smoke else failures(rounds)
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
