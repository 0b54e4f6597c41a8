"""Import: a whole history into a fresh archive: time, memory, size, completeness, and how fast a server starts on it.

    python -m tests.bench.import [--gigabytes 1.0] [--rounds 3] [--peer agentsview] [--live] [--kill N] [--smoke]

The history is the sample transcripts over and over with fresh ids (history_corpus.py). Rounds of ours and of the peer
take turns. Exits with 1 when a floor does not hold.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from tests.bench import history_kill, history_live
from tests.bench.facts import add_peers, emit, parser, told
from tests.bench.figures import median, median_ratio, shown, table
from tests.bench.history_corpus import Corpus, make
from tests.bench.history_runs import Run, Stored, agentsview, binary, complete, ours, start, stored
from tests.bench.processes import NotMeasured
from tests.ingest.growing import SAMPLES

MB = 1_000_000
# Of issue E. The ratio counts the peer's text index, which ours does not have yet; 3 x is the goal with one.
RATIO_FLOOR, MEMORY_FLOOR, SIZE_FLOOR, START_FLOOR, LIVE_FLOOR_MS = 2.0, 200 * MB, 0.5, 1.0, 5.0
SAMPLE_TOTALS: dict[str, Any] = {
    "conversations": 35, "records": 3503, "tokens": (3_783, 129_720, 3_479_833, 90_043_447)
}  # fmt: skip


@attrs.define
class Found:
    """All rounds: seconds of both; the rest of ours."""

    ours: list[Run | None] = attrs.field(factory=list)
    peer: list[Run | None] = attrs.field(factory=list)
    starts: list[float] = attrs.field(factory=list)
    archive: Stored | None = None
    missing: list[str] = attrs.field(factory=list)
    live: dict[str, Any] | None = None
    kill: dict[str, Any] | None = None


def measure(opts: argparse.Namespace, folder: Path) -> tuple[Corpus, Found]:
    """Make the history, and play the rounds."""
    corpus, found = make(SAMPLES, folder / "history", opts.gigabytes * 1e9), Found()
    told(f"{corpus.files:,} files, {corpus.size / MB:,.0f} MB, {corpus.copies} times the samples")
    for number in range(opts.rounds):
        turns = [_ours, _peer] if number % 2 == 0 else [_peer, _ours]
        for turn in turns:
            with tempfile.TemporaryDirectory(dir=folder) as home:
                turn(opts, corpus, Path(home), found)
    if opts.live:
        try:
            found.live = history_live.measure(corpus, opts.smoke)
        except NotMeasured as obstacle:
            found.missing.append(f"live: {obstacle}")
    if opts.kill:
        found.kill = history_kill.run(SAMPLES, folder, opts.kill, opts.seed)
    return corpus, found


def _ours(opts: argparse.Namespace, corpus: Corpus, home: Path, found: Found) -> None:
    run = ours(corpus, home)
    found.ours.append(run)
    found.archive = stored(home / "data/observatory.db")
    found.missing += complete(found.archive, SAMPLE_TOTALS, corpus.copies)
    found.starts += [start(home, corpus.projects) for _ in range(opts.starts)]
    told(f"ours: {run.seconds:.2f} s, {corpus.size / MB / run.seconds:.1f} MB/s, {run.memory / MB:.0f} MB; "
         f"a start in {found.starts[-1]:.2f} s")  # fmt: skip


def _peer(opts: argparse.Namespace, corpus: Corpus, home: Path, found: Found) -> None:
    if opts.peer == "none":
        return
    try:
        run = agentsview(corpus, home, opts.peers)
    except NotMeasured as obstacle:
        told(f"not measured: {obstacle}")
        found.peer.append(None)
        return
    found.peer.append(run)
    told(f"agentsview: {run.seconds:.2f} s, {corpus.size / MB / run.seconds:.1f} MB/s, {run.memory / MB:.0f} MB")


def figures(corpus: Corpus, found: Found) -> dict[str, Any]:
    """Medians."""
    seconds = {"ours": _seconds(found.ours), "peer": _seconds(found.peer)}
    size = found.archive.size / corpus.size if found.archive else None
    return {
        "bytes": corpus.size,
        "mb_per_s": _speed(corpus, median(seconds["ours"])),
        "peer_mb_per_s": _speed(corpus, median(seconds["peer"])),
        "ratio": median_ratio(seconds["peer"], seconds["ours"]) if found.peer else None,
        "memory": max(run.memory for run in found.ours if run),
        "peer_memory": max((run.memory for run in found.peer if run), default=None),
        "size": size,
        "peer_size": median(run.size / corpus.size if run else None for run in found.peer),
        "start": median(found.starts),
        "seconds": seconds,
        "starts": found.starts,
        "archive": attrs.asdict(found.archive) if found.archive else None,
        "live": found.live,
        "kill": found.kill,
    }


def _seconds(runs: list[Run | None]) -> list[float | None]:
    return [run.seconds if run else None for run in runs]


def _speed(corpus: Corpus, seconds: float | None) -> float | None:
    return corpus.size / MB / seconds if seconds else None


def faults(found: dict[str, Any], missing: list[str]) -> Iterator[str]:
    """What is wrong at any size."""
    yield from missing
    if found["kill"]:
        yield from found["kill"]["different"]


def failures(found: dict[str, Any]) -> Iterator[str]:
    """Floors that do not hold."""
    if found["ratio"] is not None and found["ratio"] < RATIO_FLOOR:
        yield f"{found['ratio']:.2f} times as fast as the peer, floor {RATIO_FLOOR}"
    if found["memory"] > MEMORY_FLOOR:
        yield f"{found['memory'] / MB:.0f} MB of memory, floor {MEMORY_FLOOR / MB:.0f}"
    if found["size"] > SIZE_FLOOR:
        yield f"the database has {found['size']:.2f} of the source bytes, floor {SIZE_FLOOR}"
    if found["start"] is not None and found["start"] > START_FLOOR:
        yield f"a start takes {found['start']:.2f} s, floor {START_FLOOR}"
    if found["live"] and found["live"]["during"]["p99_ms"] > LIVE_FLOOR_MS:
        yield f"live p99 while importing {found['live']['during']['p99_ms']:.1f} ms, floor {LIVE_FLOOR_MS}"


def rows(found: dict[str, Any]) -> list[list[str]]:
    """The table."""
    mine = ["ours", shown(found["mb_per_s"], 1), shown(found["memory"] / MB, 0), shown(found["size"])]
    made = [[*mine, shown(found["start"])]]
    if found["peer_mb_per_s"] is not None:
        theirs = [shown(found["peer_mb_per_s"], 1), shown(found["peer_memory"] / MB, 0), shown(found["peer_size"])]
        made += [["agentsview", *theirs, ""], ["**ours ÷ agentsview**", shown(found["ratio"]), "", "", ""]]
    return made


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    add_peers(made)
    made.add_argument("--gigabytes", type=float, default=1.0)
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--starts", type=int, default=3, help="starts of a server after each import of ours")
    made.add_argument("--peer", choices=["agentsview", "none"], default="none")
    made.add_argument("--live", action="store_true", help="what clients notice of an import in the server, too")
    made.add_argument("--kill", type=int, default=0, metavar="N", help="kill an import N times, and compare")
    made.add_argument("--seed", type=int, default=1, help="of the moments of --kill")
    made.add_argument("--directory", type=Path, help="where the data goes (default: a temporary directory)")
    opts = made.parse_args()
    if opts.smoke:
        opts.gigabytes, opts.rounds, opts.starts = 0.015, 1, 1
    if not SAMPLES.is_dir():
        made.error(f"there are no sample transcripts at {SAMPLES}; set OBSERVATORY_SAMPLES")
    if opts.peer != "none":
        try:
            binary(opts.peers or Path("nowhere"))
        except NotMeasured as obstacle:
            told(f"not measured: {obstacle}")
            opts.peer = "none"
    return opts


def main() -> None:
    """Print the table and the JSON line."""
    opts = options()
    with tempfile.TemporaryDirectory(prefix="history-", dir=opts.directory) as folder:
        corpus, all_found = measure(opts, Path(folder))
    found = figures(corpus, all_found)
    headings = ["", "MB/s", "peak PSS MB", "database ÷ source", "start s"]
    print(f"\n{corpus.size / MB:,.0f} MB in {corpus.files:,} files, median of {opts.rounds} round(s)\n")
    print(table(headings, rows(found)))
    for name in ("live", "kill"):
        if found[name]:
            print(f"\n{name}: {found[name]}")
    emit("import", {"gigabytes": opts.gigabytes, "rounds": opts.rounds}, found, opts)
    bad = [*faults(found, all_found.missing), *(() if opts.smoke else failures(found))]
    for line in bad:
        told(f"FAILED: {line}")
    sys.exit(1 if bad else 0)
