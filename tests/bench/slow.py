"""Slow: what the others notice of clients that read 1 KiB a second, and what such a client costs in memory.

    python -m tests.bench.slow [--clients 1000] [--slow 100] [--messages 400] [--rounds 7] [--smoke] [--json FILE]

A round is a pair, in turns: without the slow clients, and with them. Before what is measured comes a burst that
fills the slow ones' sockets and outboxes, so that they are behind. Memory is measured once more for clients that have
stopped reading what they resumed, each at a place of its own, so that they share nothing. Exits with 1 when a floor
does not hold.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.catching_up import expect, fill, result, serving, start
from tests.bench.facts import emit, parser, told
from tests.bench.fanout import build
from tests.bench.figures import median, median_ratio, shown, spread, table
from tests.bench.orders import Order, raise_fd_limit
from tests.bench.processes import NotMeasured, rss_kb
from tests.bench.status import status
from tests.bench.wire import Audience, Refused

FLOOR_RATIO, GOAL_RATIO = 1.3, 1.2
FLOOR_KB = 192
SIZE, INTERVAL = 1024, 0.02
BURST = Order(120, 60_000, 0.02)  # 7 MB: a loopback socket takes 2.5 or 4 of them, an outbox 1
QUIET_SECONDS = 10  # a run ends when nothing came for so long
SETTLE_SECONDS = 0.3
APART_STEP = 300  # events between two clients' places: more than a page
APART_SPAN = 8000  # more than a loopback socket takes
SLOW_BUFFER = 4096
ASK = b'{"type":"subscribe","data":{"topics":["project:p-bench"],"resume":{"epoch":"%s","seq":%d}}}'
HEADINGS = ["slow", "p50 ms", "p99 ms", "spread", "max ms", "p99 ÷ without", "CPU µs per delivery", "behind",
            "largest outbox KiB", "KiB per slow client"]  # fmt: skip


def measure(tools: Path, opts: argparse.Namespace, slow: int) -> dict[str, Any]:
    """One run against a fresh server, after a burst; its figures. Raises NotMeasured."""
    burst = Order(opts.burst, BURST.size, BURST.interval)
    with (
        tempfile.TemporaryDirectory(prefix="slow-") as folder,
        tempfile.TemporaryFile() as log,
        serving(Path(folder), log) as server,
    ):
        time.sleep(SETTLE_SECONDS)
        others = opts.clients - opts.slow
        times = (opts.messages, server.process.pid, QUIET_SECONDS)
        client = start(tools / "load", server.port, others, *times, burst.messages, slow)
        expect(client, b"connected")
        server.order(burst)
        expect(client, b"skipped")
        time.sleep(SETTLE_SECONDS)
        before = status(server.port)
        server.order(Order(opts.messages, SIZE, INTERVAL))
        found = result(client)
    if found["got"] != found["want"] or found["disorder"]:
        raise NotMeasured(f"clients got {found['got']} of {found['want']}, {found['disorder']} out of order")
    return {**found, "behind": before["clients"]["behind"], "outbox": before["largest_outbox_behind"],
            "reads": before["pages"]["reads"]}  # fmt: skip


def rounds(tools: Path, opts: argparse.Namespace) -> list[dict[str, Any]]:
    """All pairs; every second one begins with the slow clients."""
    pairs = []
    for number in range(opts.rounds):
        order = ("without", "with") if number % 2 else ("with", "without")
        pair = {name: measure(tools, opts, opts.slow if name == "with" else 0) for name in order}
        pair["kb"] = max(0.0, pair["with"]["rss_end_kb"] - pair["without"]["rss_end_kb"]) / opts.slow
        pairs.append(pair)
        told(f"round {number + 1}: p99 {pair['without']['p99_ms']:.2f} → {pair['with']['p99_ms']:.2f} ms,"
             f" {pair['kb']:.0f} KiB per slow client, {pair['with']['behind']} behind,"
             f" {pair['with']['slow_open']} still connected")  # fmt: skip
    return pairs


def apart(opts: argparse.Namespace) -> dict[str, Any]:
    """Memory of clients that have stopped reading, each at a place of its own. Raises NotMeasured, Refused."""
    with (
        tempfile.TemporaryDirectory(prefix="slow-") as folder,
        tempfile.TemporaryFile() as log,
    ):
        epoch = fill(Path(folder), opts.apart * APART_STEP + APART_SPAN, SIZE)
        with serving(Path(folder), log) as server:
            time.sleep(SETTLE_SECONDS)
            before = rss_kb(server.process.pid)
            hello = [ASK % (epoch.encode(), number * APART_STEP) for number in range(opts.apart)]
            clients = Audience(server.port, opts.apart, "observatory.v1", hello, SLOW_BUFFER)
            end = time.monotonic() + QUIET_SECONDS
            reads, found = -1, status(server.port)
            while found["pages"]["reads"] != reads and time.monotonic() < end:
                time.sleep(SETTLE_SECONDS)
                reads, found = found["pages"]["reads"], status(server.port)
            used = rss_kb(server.process.pid) - before
            clients.close()
    if found["clients"]["behind"] != opts.apart:
        raise NotMeasured(f"{found['clients']['behind']} of {opts.apart} clients are behind")
    return {"clients": opts.apart, "kb": used / opts.apart, "outbox": found["largest_outbox_behind"]}


def failures(pairs: list[dict[str, Any]], alone: dict[str, Any], slow: int) -> list[str]:
    """Floors that do not hold."""
    ratio = median_ratio(*([pair[name]["p99_ms"] for pair in pairs] for name in ("with", "without"))) or 0.0
    memory = median(pair["kb"] for pair in pairs) or 0.0
    problems = []
    if ratio > FLOOR_RATIO:
        problems.append(f"the others' p99 is {ratio:.2f} × what it is without, the floor is {FLOOR_RATIO} ×")
    if max(memory, alone["kb"]) > FLOOR_KB:
        problems.append(f"{max(memory, alone['kb']):.0f} KiB per slow client, the floor is {FLOOR_KB}")
    for pair in pairs:
        if (pair["with"]["behind"], pair["with"]["slow_open"]) != (slow, slow):
            behind, still = pair["with"]["behind"], pair["with"]["slow_open"]
            problems.append(f"of {slow} slow clients {behind} were behind and {still} stayed connected")
    return problems


def rows(pairs: list[dict[str, Any]], slow: int) -> list[list[str]]:
    """Without and with slow clients."""
    made = []
    for name, count in (("without", 0), ("with", slow)):
        column = {key: [pair[name][key] for pair in pairs] for key in pairs[0][name]}
        ratio = median_ratio(column["p99_ms"], [pair["without"]["p99_ms"] for pair in pairs])
        memory = shown(median(pair["kb"] for pair in pairs), 0) if count else ""
        made.append([str(count), shown(median(column["p50_ms"])), shown(median(column["p99_ms"])),
                     spread(column["p99_ms"]), shown(median(column["max_ms"]), 1), shown(ratio),
                     shown(median(column["cpu_us"])), shown(median(column["behind"]), 0),
                     shown((median(column["outbox"]) or 0) / 1024, 0), memory])  # fmt: skip
    return made


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--clients", type=int, default=1000, help="all of them")
    made.add_argument("--slow", type=int, default=100)
    made.add_argument("--messages", type=int, default=400, help="of 1 KiB, one every 20 ms")
    made.add_argument("--burst", type=int, default=BURST.messages, help="messages of 60 kB before that")
    made.add_argument("--apart", type=int, default=400, help="clients at places of their own")
    made.add_argument("--rounds", type=int, default=7)
    opts = made.parse_args()
    if opts.smoke:
        opts.clients, opts.slow, opts.messages, opts.apart, opts.rounds = 30, 3, 60, 10, 1
    if not 0 < opts.slow < opts.clients:
        made.error("--slow must be less than --clients, and more than 0")
    return opts


def main() -> None:
    """Build, measure, print, and say whether the floors hold."""
    opts = options()
    raise_fd_limit()
    with tempfile.TemporaryDirectory(prefix="slow-tools-") as folder:
        try:
            build(Path(folder))
            alone = apart(opts)
            told(f"{alone['kb']:.0f} KiB for each of {opts.apart} clients that share nothing")
            pairs = rounds(Path(folder), opts)
        except (NotMeasured, Refused) as obstacle:
            sys.exit(f"not measured: {obstacle}")
    print(f"\n{opts.clients} clients, {opts.messages} messages of {SIZE} B every {INTERVAL * 1e3:.0f} ms,"
          f" median of {opts.rounds} pair(s)\n")  # fmt: skip
    print(table(HEADINGS, rows(pairs, opts.slow)))
    print(f"\n{opts.apart} clients that stopped reading at places of their own: {alone['kb']:.0f} KiB each in all;"
          f" the largest outbox holds {alone['outbox'] / 1024:.0f} KiB")  # fmt: skip
    sizes = {name: getattr(opts, name) for name in ("clients", "slow", "messages", "burst", "apart", "rounds")}
    emit("slow", sizes, {"pairs": pairs, "apart": alone}, opts)
    problems = [] if opts.smoke else failures(pairs, alone, opts.slow)
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
