"""Fan-out: what one delivery costs the server, next to the websockets library and to a bare loop of send() in C.

    python -m tests.bench.fanout [--clients 1000] [--messages 300] [--size 1024] [--interval-us 20000] [--rounds 5]
                                 [--smoke] [--profile] [--json FILE] [--peers DIR]

Ours is the product with its log commit, limits, deadline and timers (fanout_server.py). Rounds are interleaved.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.facts import add_peers, emit, parser, told
from tests.bench.figures import median, median_ratio, shown, spread, table
from tests.bench.orders import Order, raise_fd_limit
from tests.bench.processes import ROOT, NotMeasured, running
from tests.running import free_port

PROFILE = "profile.txt"  # left in its directory by fanout_server.py
HERE = Path(__file__).resolve().parent
Round = dict[str, Any] | None
Command = Callable[[int, Path], list[object]]  # port, an empty directory → how to start the server
REFERENCE = "websockets"
QUIET_SECONDS = 5  # a run ends when nothing came for so long
SETTLE_SECONDS = 0.3
HEADINGS = ["server", "CPU µs per delivery", "spread", f"× {REFERENCE}", "user µs", "kernel µs", "p50 ms", "p99 ms",
            "max ms", "delivered", "RSS per client KB"]  # fmt: skip


def build(target: Path) -> None:
    """Compile our C programs. Raises NotMeasured."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise NotMeasured("this bench needs a C compiler (cc) for its load client, and there is none")
    for name in ("load", "limit", "resume"):
        subprocess.run([compiler, "-O2", "-o", target / name, HERE / f"{name}.c"], check=True)


def servers(tools: Path, opts: argparse.Namespace) -> dict[str, Command]:
    """What is measured; a peer that is not there is left out with one line."""

    def ours(port: int, folder: Path) -> list[object]:
        profile = ["--profile"] if opts.profile else []
        return [sys.executable, "-m", "tests.bench.fanout_server", port, folder, *profile]

    found: dict[str, Command] = {"ours": ours}
    if opts.profile:
        return found
    python = opts.peers / "peers/bin/python" if opts.peers else None
    if python is None:
        told(
            f"not measured: {REFERENCE}: no directory of peers (--peers DIR or BENCH_PEERS; see tests/bench/README.md)"
        )
    elif not python.exists():
        told(f"not measured: {REFERENCE}: not installed in {opts.peers} (python -m tests.bench.peers {opts.peers})")
    else:
        found[REFERENCE] = lambda port, _: [python, "-m", "tests.bench.peer_websockets", port]
    found["limit (C)"] = lambda port, _: [tools / "limit", port]
    return found


def measure(command: Command, load: Path, opts: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """One run against a fresh server; its figures, and its profile if it made one. Raises NotMeasured."""
    order = Order(opts.messages, opts.size, opts.interval_us / 1e6)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="fanout-") as folder, tempfile.TemporaryFile() as log:
        with running(command(port, Path(folder)), port, log) as process:
            time.sleep(SETTLE_SECONDS)
            assert process.stdin is not None
            argv = [load, port, opts.clients, opts.messages, process.pid, QUIET_SECONDS]
            client = subprocess.Popen(list(map(str, argv)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
            assert client.stdout is not None
            if client.stdout.readline() == b"connected\n":
                process.stdin.write(order.line())
                process.stdin.flush()
            out, problem = client.communicate()
            process.stdin.close()
            try:
                process.wait(QUIET_SECONDS)
            except subprocess.TimeoutExpired:
                told("a server did not end by itself")
        if client.returncode:
            raise NotMeasured(problem.decode(errors="replace").strip() or "the load client failed")
        profile = Path(folder) / PROFILE
        said = profile.read_text() if profile.exists() else ""
    found: dict[str, Any] = json.loads(out)
    return found, said


def rounds(found: dict[str, Command], load: Path, opts: argparse.Namespace) -> dict[str, list[Round]]:
    """All rounds, each beginning with another server."""
    results: dict[str, list[Round]] = {name: [] for name in found}
    names = list(found)
    for number in range(opts.rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            try:
                result, said = measure(found[name], load, opts)
            except (NotMeasured, OSError) as obstacle:
                told(f"not measured: {name}: {obstacle}")
                results[name].append(None)
                continue
            results[name].append(result)
            told(f"round {number + 1}, {name}: {result['cpu_us']:.2f} µs per delivery")
            if result["disorder"]:
                told(f"{name}: {result['disorder']} messages came out of order or twice")
            print(said, end="")
    return results


def rows(results: dict[str, list[Round]], clients: int) -> list[list[str]]:
    """One row per server, the cheapest first."""

    def column(name: str, server: str) -> list[float | None]:
        return [found[name] if found else None for found in results[server]]

    def row(server: str) -> list[str]:
        cpu = column("cpu_us", server)
        ratio = median_ratio(cpu, column("cpu_us", REFERENCE)) if REFERENCE in results else None
        costs = [shown(median(column(name, server))) for name in ("user_us", "kernel_us")]
        laps = [shown(median(column(name, server)), 1) for name in ("p50_ms", "p99_ms", "max_ms")]
        whole = [found["got"] / found["want"] for found in results[server] if found]
        memory = [(found["rss_open_kb"] - found["rss_before_kb"]) / clients for found in results[server] if found]
        return [server, shown(median(cpu)), spread(cpu, 2), shown(ratio), *costs, *laps,
                f"{min(whole):.2%}", shown(median(memory), 1)]  # fmt: skip

    measured = [server for server in results if any(results[server])]
    return [row(server) for server in sorted(measured, key=lambda server: median(column("cpu_us", server)) or 0)]


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    add_peers(made)
    made.add_argument("--clients", type=int, default=1000)
    made.add_argument("--messages", type=int, default=300)
    made.add_argument("--size", type=int, default=1024, help="bytes of a message, 256 to 65535")
    made.add_argument("--interval-us", type=int, default=20_000, help="between two messages; 0 = as fast as possible")
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--profile", action="store_true", help="one round of ours only, and where its time goes")
    opts = made.parse_args()
    if not 256 <= opts.size <= 65535:
        made.error("--size must be from 256 to 65535")
    if opts.smoke:
        opts.clients, opts.messages, opts.interval_us, opts.rounds = 50, 40, 5000, 1
    if opts.profile:
        opts.rounds = 1
    return opts


def main() -> None:
    """Build, measure, print the table and the JSON line."""
    opts = options()
    raise_fd_limit()
    with tempfile.TemporaryDirectory(prefix="fanout-tools-") as folder:
        try:
            build(Path(folder))
        except NotMeasured as obstacle:
            print(f"not measured: {obstacle}")
            return
        results = rounds(servers(Path(folder), opts), Path(folder) / "load", opts)
    sizes = {name: getattr(opts, name) for name in ("clients", "messages", "size", "interval_us", "rounds")}
    print(f"\nfan-out, {opts.clients} clients × {opts.messages} messages of {opts.size} B every {opts.interval_us} µs,"
          f" median of {opts.rounds} round(s), ratio within a round\n")  # fmt: skip
    print(table(HEADINGS, rows(results, opts.clients)))
    if not opts.profile:
        emit("fanout", sizes, results, opts)
    if not any(results["ours"]):
        sys.exit(1)


if __name__ == "__main__":
    main()
