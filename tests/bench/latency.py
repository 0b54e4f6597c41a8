"""Latency: a line written to a transcript → the first and the last of N WebSocket clients, our commit inside.

    python -m tests.bench.latency [--clients 1,100] [--lines 150] [--rounds 5] [--peer ctrl-daemon|none] [--smoke]

Each measurement is a process in a network namespace with loopback only, for us as for the peer; rounds are interleaved.
"""

import argparse
import json
import subprocess
import sys
from typing import Any

from tests.bench.facts import add_peers, emit, parser, told
from tests.bench.figures import median, median_ratio, shown, table
from tests.bench.latency_run import ctrl_daemon
from tests.bench.processes import LOOPBACK_ONLY, ROOT, NotMeasured, can_unshare

Round = dict[str, Any] | None
COLUMNS = ("first_p50_ms", "first_p99_ms", "last_p50_ms", "last_p99_ms")
SETTLE_SECONDS, SMOKE_SETTLE_SECONDS = 2.0, 0.7


def measure(server: str, clients: int, seed: int, isolated: bool, opts: argparse.Namespace) -> Round:
    """One measurement; None, and a line that says why, when there is none."""
    words = ["--server", server, "--clients", clients, "--lines", opts.lines, "--seed", seed, "--settle", opts.settle]
    words += ["--pin"] if opts.pin else []
    if opts.peers is not None:
        words += ["--peers", opts.peers]
    argv = [sys.executable, "-m", "tests.bench.latency_run", *map(str, words)]
    done = subprocess.run([*(LOOPBACK_ONLY if isolated else ()), *argv], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        told(f"not measured: {server}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no output'}")
        return None
    found: dict[str, Any] = json.loads(done.stdout)
    told(f"{clients} client(s), {server}: first {found['first_p50_ms']:.2f} ms, last {found['last_p50_ms']:.2f} ms")
    return found


def peer_of(opts: argparse.Namespace, isolated: bool) -> str | None:
    """The peer to measure, or None and a line that says why not."""
    if opts.peer == "none":
        return None
    if opts.peers is None:
        told(
            f"not measured: {opts.peer}: no directory of peers (--peers DIR or BENCH_PEERS; see tests/bench/README.md)"
        )
        return None
    if not isolated:
        told(f"not measured: {opts.peer}: it would reach for the internet, and unshare -rn is not allowed here")
        return None
    try:
        ctrl_daemon(opts.peers, 0)
    except NotMeasured as obstacle:
        told(f"not measured: {opts.peer}: {obstacle}")
        return None
    return str(opts.peer)


def rows(clients: int, results: dict[str, list[Round]]) -> list[list[str]]:
    """One row per server, and one with the ratios."""
    made = []
    for server, rounds in results.items():
        numbers = [shown(median(_column(rounds, name))) for name in COLUMNS]
        missed = sum(found["missed"] for found in rounds if found)
        made.append([str(clients), server, *numbers, str(missed), shown(median(_column(rounds, "cpu_us_per_line")), 0)])
    if len(results) == 2:
        mine, theirs = results.values()
        compared = [shown(median_ratio(_column(mine, name), _column(theirs, name))) for name in COLUMNS]
        cpu = shown(median_ratio(_column(mine, "cpu_us_per_line"), _column(theirs, "cpu_us_per_line")))
        made.append([str(clients), "**ours / peer**", *compared, "", cpu])
    return made


def _column(rounds: list[Round], name: str) -> list[float | None]:
    return [found[name] if found else None for found in rounds]


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    add_peers(made)
    made.add_argument("--clients", type=lambda text: [int(part) for part in text.split(",")], default=[1, 100])
    made.add_argument("--lines", type=int, default=150)
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--peer", choices=["ctrl-daemon", "none"], default="ctrl-daemon")
    made.add_argument("--pin", action="store_true", help="keep the clients on one core; the servers may use all")
    opts = made.parse_args()
    opts.settle = SETTLE_SECONDS
    if opts.smoke:
        opts.clients, opts.lines, opts.rounds, opts.settle = [1, 10], 20, 1, SMOKE_SETTLE_SECONDS
    return opts


def main() -> None:
    """Measure, print the table and the JSON line."""
    opts = options()
    isolated = can_unshare()
    servers = [name for name in ("ours", peer_of(opts, isolated)) if name]
    results: dict[int, dict[str, list[Round]]] = {}
    for clients in opts.clients:
        found: dict[str, list[Round]] = {name: [] for name in servers}
        for number in range(opts.rounds):
            for name in servers if number % 2 == 0 else servers[::-1]:
                found[name].append(measure(name, clients, number + 1, isolated, opts))
        results[clients] = {name: rounds for name, rounds in found.items() if any(rounds)}
    headings = [
        "clients",
        "server",
        "first p50 ms",
        "first p99",
        "last p50",
        "last p99",
        "late or lost",
        "CPU µs a line",
    ]
    print(f"\nfile → client, {opts.lines} lines, median of {opts.rounds} round(s), ratio within a round\n")
    print(table(headings, [row for clients, found in results.items() for row in rows(clients, found)]))
    sizes = {"clients": opts.clients, "lines": opts.lines, "rounds": opts.rounds, "isolated": isolated, "pin": opts.pin}
    emit("latency", sizes, {str(clients): found for clients, found in results.items()}, opts)
    if not all(found.get("ours") for found in results.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
