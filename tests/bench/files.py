"""Files: a thousand transcripts that grow at once. Every line arrives once and in order, and no file has to wait.

    python -m tests.bench.files [--files 1000] [--rate 10] [--seconds 60] [--followers 0] [--profile FILE] [--smoke]

One client holds all_conversations, `--followers` clients one conversation each. Exits with 1 when a line is missing,
doubled or out of order, or when the 99th percentile of any file is above 50 ms.
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs

from tests.bench.arrivals import Arrivals, delay
from tests.bench.facts import emit, parser, told
from tests.bench.figures import shown, table
from tests.bench.latency_run import SUBSCRIBE, ours
from tests.bench.processes import ROOT, cpu_seconds, environment, peak_kb, rss_kb, running
from tests.bench.status import wait_for_history
from tests.bench.transcript import Conversation, project_of, write_history
from tests.bench.wire import Audience
from tests.running import free_port

FLOOR_SECONDS = 0.050  # no file's p99 above it
PATIENCE = 60.0  # seconds after the last write until what has not come counts as missing
QUIET = 1.0  # seconds without a line after which the rest is looked for in vain


def hellos(followers: int) -> list[bytes]:
    """What the clients say: the first wants everything, each of the others one conversation."""
    ids = [Conversation(number, cwd=project_of(number)).session_id for number in range(followers)]
    wanted = [{"id": 1, "type": "subscribe", "data": {"topics": [f"conversation:{one}"]}} for one in ids]
    return [SUBSCRIBE, *(json.dumps(one, separators=(",", ":")).encode() for one in wanted)]


def start_writer(opts: argparse.Namespace, home: Path) -> "subprocess.Popen[str]":
    """The writer, in a process of its own."""
    words = {"projects": home / ".claude/projects", "seed": 1}
    words |= {name: getattr(opts, name) for name in ("files", "rate", "seconds")}
    argv = [sys.executable, "-m", "tests.bench.files_writer", *(f"--{name}={value}" for name, value in words.items())]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def listen(audience: Audience, writer: "subprocess.Popen[str]", opts: argparse.Namespace) -> list[Arrivals]:
    """What each client gets, until all is there or nothing comes any more."""
    found = [Arrivals() for _ in range(len(audience))]
    total, came = round(opts.files * opts.rate * opts.seconds), 0
    last, deadline = time.perf_counter(), time.perf_counter() + opts.seconds + PATIENCE
    while came < total and time.perf_counter() < deadline:
        for client, at, text in audience.frames(time.perf_counter() + 0.2):
            if found[client].take(text, at):
                last, came = at, came + (client == 0)
        if writer.poll() is not None and time.perf_counter() > last + max(QUIET, opts.seconds):
            break
    for client, at, text in audience.frames(time.perf_counter() + QUIET):  # what comes twice comes late
        found[client].take(text, at)
    return found


def measure(opts: argparse.Namespace) -> dict[str, Any]:
    """Start the server over a history of the files, let them grow, judge what arrived."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="files-") as folder, tempfile.TemporaryFile() as log:
        home = Path(folder)
        write_history(home, opts.files, 2)
        server = ours(home, port)
        with running(server.command, port, log, environment(home)) as process:
            wait_for_history(port, opts.files)
            audience = Audience(port, 1 + opts.followers, server.subprotocol, hellos(opts.followers))
            audience.settle(server.ready, 20.0)
            gc.disable()
            before, start, rss = cpu_seconds(process.pid), time.monotonic(), rss_kb(process.pid)
            profiler = profile(process.pid, opts) if opts.profile else None
            with start_writer(opts, home) as writer:
                arrivals = listen(audience, writer, opts)
                written = json.loads(writer.communicate()[0])
            if profiler is not None:
                profiler.wait()
            cpu, seconds = cpu_seconds(process.pid) - before, time.monotonic() - start
            found = {"cpu_percent": round(cpu / seconds * 100, 1), "cpu_us_per_line": cpu / written["written"] * 1e6}
            found |= {"rss_before_kb": rss, "rss_kb": rss_kb(process.pid), "peak_kb": peak_kb(process.pid)}
            audience.close()
    return {"writer": written, **found, **judged(arrivals, opts)}


def profile(pid: int, opts: argparse.Namespace) -> "subprocess.Popen[bytes]":
    """py-spy, when it is asked for and installed, samples the server in the middle of the time."""
    spy = Path(sys.executable).with_name("py-spy")
    argv = [
        spy,
        "record",
        "-p",
        pid,
        "-o",
        opts.profile,
        "-f",
        "raw",
        "--gil",
        "-r",
        200,
        "-d",
        max(1, int(opts.seconds // 2)),
    ]
    return subprocess.Popen([str(word) for word in argv], stdout=subprocess.DEVNULL)


def judged(arrivals: list[Arrivals], opts: argparse.Namespace) -> dict[str, Any]:
    """Delays of the client that holds everything, and faults of all clients."""
    lines = round(opts.rate * opts.seconds)
    due = [dict.fromkeys(range(opts.files), lines), *({number: lines} for number in range(opts.followers))]
    seconds = attrs.asdict(delay(arrivals[0]))
    return {
        "arrived": arrivals[0].total,
        "missing": sum(one.missing(files) for one, files in zip(arrivals, due, strict=True)),
        "doubled": sum(one.doubled for one in arrivals),
        "out_of_order": sum(one.out_of_order for one in arrivals),
        **{f"{name}_ms": round(value * 1e3, 3) for name, value in seconds.items()},
    }


def failures(found: dict[str, Any]) -> list[str]:
    """What is not as it must be."""
    bad = [
        f"{found[name]} lines {name.replace('_', ' ')}"
        for name in ("missing", "doubled", "out_of_order")
        if found[name]
    ]
    if found["worst_p99_ms"] > FLOOR_SECONDS * 1e3:
        bad.append(f"the worst file's p99 is {found['worst_p99_ms']:.1f} ms, more than {FLOOR_SECONDS * 1e3:.0f}")
    return bad


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--files", type=int, default=1000)
    made.add_argument("--rate", type=float, default=10.0, help="lines a second in each file")
    made.add_argument("--seconds", type=float, default=60.0)
    made.add_argument("--followers", type=int, default=0, help="clients that hold one conversation each")
    made.add_argument("--profile", type=Path, metavar="FILE", help="have py-spy write collapsed stacks of the server")
    opts = made.parse_args()
    if opts.smoke:
        opts.files, opts.rate, opts.seconds, opts.followers = 50, 4.0, 3.0, 3
    return opts


def main() -> None:
    """Print the table and the JSON line."""
    opts = options()
    found = measure(opts)
    writer = found["writer"]
    headings = ["lines", "p50 ms", "p99", "worst file's p99", "max", "% of a core", "CPU µs a line", "RSS MiB", "peak"]
    row = [f"{found['arrived']:,}", *(shown(found[f"{name}_ms"]) for name in ("p50", "p99", "worst_p99", "longest"))]
    row += [shown(found["cpu_percent"], 0), shown(found["cpu_us_per_line"], 0)]
    row += [shown(found[name] / 1024, 0) for name in ("rss_kb", "peak_kb")]
    print(f"\n{opts.files:,} files × {opts.rate:g} lines/s for {opts.seconds:g} s, write → client\n")
    print(table(headings, [row]))
    print(f"\nwriter: {writer['written']:,} lines in {writer['seconds']} s; late {writer['late_p99_ms']} ms (p99)")
    sizes = {name: getattr(opts, name) for name in ("files", "rate", "seconds", "followers")}
    emit("files", sizes, found, opts)
    bad = failures(found)
    for line in bad:
        told(f"FAILED: {line}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
