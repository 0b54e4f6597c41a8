"""Longline: a gigabyte without a newline, while another transcript goes on. Memory stays small, and nobody waits.

    python -m tests.bench.longline [--mib 1024] [--under 60] [--smoke] [--json FILE]

Two lines, each written by a process of its own as fast as it can: one of `--mib` MiB, one of `--under` MiB, less than
the reader's cap. A good line follows each and must arrive; the first must become one oversize record and the server
stay within 4 × the cap meanwhile. Lines of another file, a hundred a second, are timed all the while: a p99 above 50 ms
fails.
"""

import argparse
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs

from observatory.ingest.reading import MAX_LINE
from tests.bench.arrivals import Arrivals
from tests.bench.facts import emit, parser, told
from tests.bench.figures import quantile, shown, table
from tests.bench.latency_run import SUBSCRIBE, ours
from tests.bench.processes import ROOT, NotMeasured, environment, peak_kb, reset_peak, running
from tests.bench.status import wait_for_history
from tests.bench.transcript import WORDS, Conversation, write_history
from tests.bench.wire import Audience
from tests.running import free_port

MIB = 1024 * 1024
CAPS = 4  # times the line cap that the server may use
FLOOR_SECONDS = 0.050  # the other file's p99
RATE = 100  # lines a second of the other file
QUIET_SECONDS, SMOKE_QUIET_SECONDS = 5.0, 1.0  # timed before anything long is written
STEP = 0.05  # seconds of listening between two looks at the clock: what was read is never left lying
PASS_SECONDS = 120.0  # until the good line behind a long one must have come
LONG, UNDER = 1, 2  # seeds, and marks
WRITE = "from sys import argv; from tests.bench.longline import write_long; write_long(argv[1], *map(int, argv[2:]))"


def good_mark(seed: int) -> str:
    """In the good line behind a long one."""
    return f"behind-the-long-line-{seed}"


def write_long(path: str, mib: int, seed: int) -> None:
    """Append an answer whose text has so many MiB, and a good line behind it."""
    conversation = Conversation(seed, cwd="/home/dev/long")
    head, tail = conversation.answer("HERE").split(b"HERE")
    block = " ".join(random.Random(seed).choices(WORDS, k=MIB // 2)).encode()[:MIB]
    with open(path, "ab", buffering=0) as file:
        file.write(head)
        for _ in range(mib):
            file.write(block)
        file.write(tail + conversation.answer(good_mark(seed)))


@contextmanager
def beat(home: Path) -> Iterator[None]:
    """The other file grows meanwhile."""
    words = ["--projects", home / ".claude/projects", "--files", 1, "--rate", RATE, "--seconds", 3600, "--seed", 1]
    argv = [sys.executable, "-m", "tests.bench.files_writer", *map(str, words)]
    with subprocess.Popen(argv, cwd=ROOT) as process:
        try:
            yield
        finally:
            process.terminate()


@attrs.define
class Phase:
    """One part of the run. seconds: it took; delays: of the other file's lines in it; peak_kb: of the server."""

    name: str
    seconds: float = 0.0
    delays: list[float] = attrs.field(factory=list)
    peak_kb: int = 0
    passed: bool = False


@attrs.define
class Bench:
    """A server's process, its one client, and what came so far."""

    pid: int
    audience: Audience
    folder: Path
    arrivals: Arrivals = attrs.field(factory=Arrivals)

    def phase(self, name: str, seconds: float, wanted: bytes | None = None) -> Phase:
        """Listen until the wanted text comes (then it passed), or the time is over."""
        reset_peak(self.pid)
        found, start, before = Phase(name), time.perf_counter(), self.arrivals.total
        end = start + seconds
        while not found.passed and time.perf_counter() < end:
            for _, at, text in self.audience.frames(min(end, time.perf_counter() + STEP)):
                if not self.arrivals.take(text, at) and wanted is not None and wanted in text:
                    found.passed, end = True, at
        found.seconds, found.peak_kb = end - start, peak_kb(self.pid)
        found.delays = list(self.arrivals.seconds.get(0, ()))[before:]
        return found

    def long_line(self, name: str, mib: int, seed: int) -> Phase:
        """A line of so many MiB is written and passed."""
        path = self.folder / f"long-{seed}.jsonl"
        with subprocess.Popen([sys.executable, "-c", WRITE, str(path), str(mib), str(seed)], cwd=ROOT):
            return self.phase(name, PASS_SECONDS, good_mark(seed).encode())

    def finish(self, written: int) -> str:
        """Listen to the end; what is wrong with the other file's lines, if anything."""
        self.phase("end", 1.0)
        one = self.arrivals
        faults = {"missing": one.missing({0: written}), "doubled": one.doubled, "out of order": one.out_of_order}
        return ", ".join(f"{count} {name}" for name, count in faults.items() if count)


def measure(opts: argparse.Namespace) -> tuple[list[Phase], list[tuple[Any, ...]], str]:
    """The phases, the long files' records as (file, length, error), and what is wrong with the other file's lines."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="longline-") as name, tempfile.TemporaryFile() as log:
        home = Path(name)
        if shutil.disk_usage(home).free < 3 * (opts.mib + opts.under) * MIB:
            raise NotMeasured(f"{home} has no room for {opts.mib} MiB; point TMPDIR elsewhere")
        write_history(home, 1, 2)
        other = next((home / ".claude/projects").rglob("*.jsonl"))
        folder = home / ".claude/projects/-home-dev-long"
        folder.mkdir()
        server = ours(home, port)
        with running(server.command, port, log, environment(home)) as process:
            wait_for_history(port, 1)
            audience = Audience(port, 1, server.subprotocol, SUBSCRIBE)
            audience.settle(server.ready, 20.0)
            bench = Bench(process.pid, audience, folder)
            with beat(home):
                phases = [bench.phase("quiet", opts.quiet)]
                phases.append(bench.long_line(f"{opts.mib} MiB", opts.mib, LONG))
                phases.append(bench.long_line(f"{opts.under} MiB", opts.under, UNDER))
            wrong = bench.finish(other.read_bytes().count(b"\n") - 2)
            audience.close()
        return phases, stored(home / "data/observatory.db"), wrong


def stored(database: Path) -> list[tuple[Any, ...]]:
    """(file, length, error) of the long files' records, in order."""
    query = (
        "SELECT s.path, r.length, r.error FROM records AS r JOIN sources AS s ON s.id = r.id >> 43"
        " WHERE s.path LIKE '%/long-_.jsonl' ORDER BY s.path, r.id"
    )
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as db:
        return [(Path(path).name, length, error) for path, length, error in db.execute(query)]


def failures(phases: list[Phase], rows: list[tuple[Any, ...]], wrong: str) -> list[str]:
    """What is not as it must be."""
    bad = [f"the other file's lines: {wrong}"] if wrong else []
    bad += [f"{one.name}: the line behind it did not come" for one in phases[1:] if not one.passed]
    errors = [(name, error) for name, _, error in rows]
    if errors != [
        ("long-1.jsonl", "oversize line"),
        ("long-1.jsonl", None),
        ("long-2.jsonl", None),
        ("long-2.jsonl", None),
    ]:
        bad.append(f"stored as {rows}")
    if phases[1].peak_kb * 1024 > CAPS * MAX_LINE:
        bad.append(f"{phases[1].peak_kb // 1024} MiB of memory, more than {CAPS} × {MAX_LINE // MIB}")
    if quantile(phases[1].delays, 0.99) > FLOOR_SECONDS:
        bad.append(f"the other file's p99 is {quantile(phases[1].delays, 0.99) * 1e3:.1f} ms meanwhile")
    return bad


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--mib", type=int, default=1024, help="length of the line without a newline")
    made.add_argument("--under", type=int, default=60, help="length of a line just below the cap")
    opts = made.parse_args()
    opts.quiet = SMOKE_QUIET_SECONDS if opts.smoke else QUIET_SECONDS
    if opts.smoke:
        opts.mib, opts.under = MAX_LINE // MIB + 16, 4
    return opts


def main() -> None:
    """Print the table and the JSON line."""
    opts = options()
    try:
        phases, rows, wrong = measure(opts)
    except NotMeasured as obstacle:
        sys.exit(f"longline: {obstacle}")
    shown_rows = [
        [
            one.name,
            shown(one.seconds),
            *(shown(quantile(one.delays, q) * 1e3) for q in (0.5, 0.99, 1)),
            str(len(one.delays)),
            shown(one.peak_kb / 1024, 0),
        ]
        for one in phases
    ]
    headings = ["long line", "seconds", "other file: p50 ms", "p99", "max", "its lines", "peak RSS MiB"]
    print(f"\na line without an end, cap {MAX_LINE // MIB} MiB; another file at {RATE} lines/s\n")
    print(table(headings, shown_rows))
    emit("longline", {"mib": opts.mib, "under": opts.under}, {row[0]: row[1:] for row in shown_rows}, opts)
    bad = failures(phases, rows, wrong)
    for line in bad:
        told(f"FAILED: {line}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
