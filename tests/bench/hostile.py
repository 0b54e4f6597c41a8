"""Hostile: a million lines of a seeded grammar through `observatory serve`. Nothing crashes, nothing is lost.

    python -m tests.bench.hostile [--lines 1000000] [--seed 1] [--smoke] [--json FILE]

The lines come in batches; after each, the rows of the archive are counted line by line against what the grammar put
there, and the frames that a client got against the rows. Exits with 1 when anything differs, or memory grows.
"""

import argparse
import sqlite3
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from statistics import median

import attrs
import orjson

from observatory.core.batch import Flag, record_key, split_key
from tests.bench.facts import emit, parser, told
from tests.bench.figures import table
from tests.bench.hostile_lines import LINE_CAP, Grammar, Hostile
from tests.bench.latency_run import SUBSCRIBE
from tests.bench.processes import SERVE, cpu_seconds, environment, peak_kb, rss_kb, running, serve_command
from tests.bench.status import status
from tests.bench.wire import Audience, Refused
from tests.running import free_port

FILES = 5  # that grow in one batch
LINES = 1000  # of each
BATCHES_A_FILE = 10
PROJECT = ".claude/projects/-w"
PATIENCE = 60.0  # seconds until a batch that has not come through counts as lost
DYING_SECONDS = 3.0  # a server that disconnects its clients may be on its way out
GROWTH = 1.10  # of the last third's median memory over the second third's
SHOWN = 5  # of each kind of fault
LOWERED_CAP = f"from observatory.ingest import reading; reading.MAX_LINE = {LINE_CAP}; "
Fault = tuple[str, str]  # kind of line, what is wrong


@attrs.define
class Part:
    """What one file got in one batch. start: where in the file; last: the mark of its last line."""

    path: Path
    start: int
    lines: list[Hostile]
    last: bytes

    def write(self) -> None:
        """Append the lines."""
        with self.path.open("ab") as file:
            file.write(b"".join(line.data + b"\n" for line in self.lines))

    @property
    def offsets(self) -> list[int]:
        """Where each line begins, and where the part ends."""
        found = [self.start]
        for line in self.lines:
            found.append(found[-1] + len(line.data) + 1)
        return found


def part(grammar: Grammar, path: Path, count: int, mark: str) -> Part:
    """`count` lines, and a good one by which its arrival is known."""
    lines = [grammar.line() for _ in range(count - 1)]
    lines.append(Hostile("good", grammar.whole(mark), 1, 0))
    start = path.stat().st_size if path.exists() else 0
    if start == 0 and lines[0].kind == "bom":  # there it belongs
        lines[0] = attrs.evolve(lines[0], errors=0)
    return Part(path, start, lines, mark.encode())


def batches(grammar: Grammar, folder: Path, total: int) -> Iterator[list[Part]]:
    """The lines, in batches of FILES parts."""
    lines = min(LINES, -(-total // FILES))
    for number in range(-(-total // (FILES * lines))):
        generation = number // BATCHES_A_FILE
        paths = [folder / f"{generation:04}-{file}.jsonl" for file in range(FILES)]
        yield [part(grammar, path, lines, f"part-{number}-{file}-") for file, path in enumerate(paths)]


# -- judging -----------------------------------------------------------------------------------------------------------


def faults(part: Part, rows: Iterable[tuple[int, str | None]]) -> Iterator[Fault]:
    """Lines whose rows are not those that the grammar put there. rows: (offset, error) of the part's rows."""
    offsets = part.offsets
    found = [[0, 0] for _ in part.lines]
    for offset, error in rows:
        found[bisect_right(offsets, offset) - 1][error is not None] += 1
    for line, (records, errors) in zip(part.lines, found, strict=True):
        if line.records is None:
            if not records + errors:
                yield line.kind, f"no row for {line.data[:200]!r}"
        elif (records, errors) != (line.records, line.errors):
            wanted = f"{line.records} records and {line.errors} errors"
            yield line.kind, f"{records} and {errors} instead of {wanted}: {line.data[:200]!r}"


def rows_of(database: Path, part: Part) -> tuple[list[tuple[int, str | None]], int]:
    """(offset, error) of a part's rows in the archive, and how many of them are copies: those are not published.

    Two lines are copies when what was done to their types left them alike, uuid and all.
    """
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as db:
        ((source,),) = db.execute("SELECT id FROM sources WHERE path = ?", (str(part.path),)).fetchall()
        keys = record_key(source, 0, part.start), record_key(source, 0, part.offsets[-1] - 1)
        found = db.execute("SELECT id, error, flags FROM records WHERE id BETWEEN ? AND ? ORDER BY id", keys).fetchall()
    copies = sum(flags & Flag.COPY for _, _, flags in found)
    return [(split_key(key)[2], error) for key, error, _ in found], copies


def bounded(memory: list[int]) -> tuple[float, float, bool]:
    """Median memory of the second and of the last third, and whether it has stopped growing."""
    third = max(1, len(memory) // 3)
    second, last = median(memory[third : 2 * third] or memory), median(memory[2 * third :] or memory)
    return second, last, last <= second * GROWTH


# -- the run -----------------------------------------------------------------------------------------------------------


@attrs.define
class Tally:
    """Totals of a run. memory: KiB after each batch; kinds: lines per kind."""

    lines: int = 0
    bytes: int = 0
    records: int = 0
    errors: int = 0
    copies: int = 0
    frames: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    peak_kb: int = 0
    memory: list[int] = attrs.field(factory=list)
    kinds: Counter[str] = attrs.field(factory=Counter)
    faults: list[Fault] = attrs.field(factory=list)


def pass_through(audience: Audience, parts: list[Part], tally: Tally) -> int:
    """Write a batch and wait until its last lines have come; returns how many message_added frames did."""
    waiting, came, start = {one.last for one in parts}, 0, time.perf_counter()
    for one in parts:
        one.write()
    with suppress(Refused):  # told below
        for _, at, text in audience.frames(start + PATIENCE):
            tally.frames += 1
            event = orjson.loads(text)  # strict: UTF-8 and JSON, or an exception
            if event["type"] != "message_added":
                continue
            came += 1
            waiting -= {mark for mark in waiting if mark in text}
            if not waiting:
                tally.seconds += at - start
                return came
    tally.faults.append(("batch", f"{len(waiting)} parts did not come through in {PATIENCE:.0f} s"))
    return came


def judge(database: Path, parts: list[Part], came: int, tally: Tally) -> None:
    """Count a batch's rows, and compare."""
    stored = 0
    for one in parts:
        rows, copies = rows_of(database, one)
        tally.faults.extend(faults(one, rows))
        errors = sum(error is not None for _, error in rows)
        stored, tally.copies = stored + len(rows) - copies, tally.copies + copies
        tally.errors, tally.records = tally.errors + errors, tally.records + len(rows) - errors
        tally.lines, tally.bytes = tally.lines + len(one.lines), tally.bytes + one.offsets[-1] - one.start
        tally.kinds.update(line.kind for line in one.lines)
    if came != stored:
        tally.faults.append(("batch", f"{came} frames for {stored} rows that are no copies"))


def feed(process: "subprocess.Popen[bytes]", port: int, home: Path, opts: argparse.Namespace) -> Tally:
    """Batch by batch; stops at the first one that does not come through."""
    tally, audience = Tally(), Audience(port, 1, "observatory.v1", SUBSCRIBE)
    audience.settle(b'"subscription_confirmed"', 20.0)
    before = cpu_seconds(process.pid)
    for parts in batches(Grammar(opts.seed), home / PROJECT, opts.lines):
        came = pass_through(audience, parts, tally)
        if not any(kind == "batch" for kind, _ in tally.faults):
            judge(home / "data/observatory.db", parts, came, tally)
        if process.poll() is None:
            tally.memory.append(rss_kb(process.pid))
        if any(kind == "batch" for kind, _ in tally.faults):
            with suppress(subprocess.TimeoutExpired):
                process.wait(DYING_SECONDS)
            break
        if len(tally.memory) % 20 == 0:
            told(f"{tally.lines:,} lines, {tally.memory[-1] / 1024:.0f} MiB, {len(tally.faults)} faults")
    audience.close()
    if process.poll() is None:
        tally.cpu, tally.peak_kb = cpu_seconds(process.pid) - before, peak_kb(process.pid)
        failures = status(port)["counters"]["failures"]
        tally.faults.extend([("server", f"{failures} clients failed")] if failures else [])
    else:
        tally.faults.append(("server", f"it ended with {process.returncode}"))
    return tally


def measure(opts: argparse.Namespace) -> Tally:
    """Feed a server, and look at what it said."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder, tempfile.TemporaryFile() as log:
        home = Path(folder)
        (home / PROJECT).mkdir(parents=True)
        command = [word.replace(SERVE, LOWERED_CAP + SERVE) for word in serve_command(home, port)]
        with running(command, port, log, environment(home)) as process:
            tally = feed(process, port, home, opts)
        log.seek(0)
        said = log.read().decode(errors="replace")
    if "Traceback" in said or any(kind == "batch" for kind, _ in tally.faults):
        tally.faults.append(("server", f"it said: …{said[-3000:]}"))
    return tally


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--lines", type=int, default=1_000_000)
    made.add_argument("--seed", type=int, default=1)
    opts = made.parse_args()
    if opts.smoke:
        opts.lines = 20_000
    return opts


def main() -> None:
    """Print the table and the JSON line."""
    opts = options()
    tally = measure(opts)
    cpu_us = tally.cpu / max(1, tally.lines) * 1e6
    second, last, stopped = bounded(tally.memory)
    stopped |= opts.smoke  # a short run is still warming up
    headings = ["lines", "MiB", "records", "error rows", "frames", "lines/s", "CPU µs a line", "RSS MiB: 2nd third"]
    row = [f"{n:,}" for n in (tally.lines, tally.bytes >> 20, tally.records, tally.errors, tally.frames)]
    row += [f"{tally.lines / max(tally.seconds, 1e-9):,.0f}", f"{cpu_us:.0f}", f"{second / 1024:.0f}"]
    print(f"\nhostile lines, seed {opts.seed}; kinds: {', '.join(f'{n} {k}' for k, n in tally.kinds.most_common())}\n")
    print(
        table(
            [*headings, "last third", "peak", "faults"],
            [[*row, f"{last / 1024:.0f}", f"{tally.peak_kb / 1024:.0f}", str(len(tally.faults))]],
        )
    )
    results = {"cpu_us_per_line": cpu_us, "rss_second_kb": second, "rss_last_kb": last, "faults": len(tally.faults)}
    results |= {
        name: getattr(tally, name)
        for name in ("lines", "bytes", "records", "errors", "copies", "frames", "seconds", "peak_kb")
    }
    emit("hostile", {"lines": opts.lines, "seed": opts.seed}, results, opts)
    for kind, number in Counter(kind for kind, _ in tally.faults).items():
        told(f"FAILED: {number} × {kind}")
        for text in [text for found_kind, text in tally.faults if found_kind == kind][:SHOWN]:
            told(f"    {text}")
    if not stopped:
        told(f"FAILED: memory grows: {second / 1024:.0f} → {last / 1024:.0f} MiB")
    sys.exit(1 if tally.faults or not stopped else 0)


if __name__ == "__main__":
    main()
