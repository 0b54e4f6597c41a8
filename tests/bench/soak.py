"""Soak: a long day in short. Does anything grow that should not, and does everybody get everything?

    python -m tests.bench.soak [--minutes 30] [--plot FILE.png] [--seed 1] [--smoke]

Writers append to transcripts that come and go; clients are fast, slow, leave and resume. Sampled every second: memory,
descriptors and tasks of the server, and how far the slowest client lags. Exits with 1 when the last third is above the
second beyond noise, or an event is lost, doubled, out of order or altered.
"""

import argparse
import hashlib
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import attrs
import trio

from observatory.cli.status import ask
from observatory.core.topics import EVERYONE
from tests.bench.facts import emit, parser, told
from tests.bench.figures import shown, table
from tests.bench.processes import rss_kb
from tests.faults.peer import Pace, Peer
from tests.faults.sockets import TcpWire, connected
from tests.faults.transcripts import prompt
from tests.oracle import Published, Received, read_log
from tests.running import Server, free_port

FILES, LINES_PER_S, FILE_SECONDS = 12, 25.0, 20.0
FAST, SLOW, LEAVING = 6, 3, 6
SLOW_PACE = Pace(chunk=2048, pause=0.25)
STAY_SECONDS = (1.0, 15.0)
SETTLE_SECONDS, QUIET_SECONDS = 120.0, 3
NOISE = {"rss_kb": (1.03, 2048), "fds": (1.0, 3), "tasks": (1.0, 4)}  # factor, and what is added


@attrs.define(eq=False)
class Heard:
    """What a client got, without keeping it: a hash over its frames in order, and their number."""

    digest: Any = attrs.field(factory=hashlib.blake2b)
    count: int = 0
    last: int = 0
    faults: list[str] = attrs.field(factory=list)

    def append(self, frame: Received) -> None:
        """One event more."""
        if frame.seq <= self.last:
            self.faults.append(f"{frame.seq} after {self.last}")
        self.digest.update(frame.payload)
        self.last, self.count = frame.seq, self.count + 1


class Forgetful(dict[tuple[str, int], bytes]):
    """Keeps nothing: the log is compared at the end."""

    def setdefault(self, key: tuple[str, int], value: bytes = b"") -> bytes:
        """The value."""
        return value


@attrs.frozen
class Sample:
    """The server at one moment."""

    at: float
    rss_kb: int
    fds: int
    tasks: int
    lag: int
    behind: int


@attrs.define(eq=False)
class Soak:
    """One run."""

    server: Server
    root: Path
    seconds: float
    draw: random.Random
    peers: list[Peer] = attrs.field(factory=list)
    samples: list[Sample] = attrs.field(factory=list)
    written: int = 0
    start: float = attrs.field(factory=time.monotonic)

    async def run(self) -> None:
        """Load, then rest until all is there."""
        async with trio.open_nursery() as nursery:
            for number in range(FAST + SLOW + LEAVING):
                await self._add(nursery, number)
            nursery.start_soon(self._sample)
            with trio.move_on_after(self.seconds):
                async with trio.open_nursery() as load:
                    load.start_soon(self._write)
                    for peer in self.peers[FAST : FAST + SLOW]:
                        load.start_soon(self._tire, peer)
                    for peer in self.peers[FAST + SLOW :]:
                        load.start_soon(self._leave_and_come_back, peer)
            await self._settle()
            for peer in self.peers:
                peer.leave()
            nursery.cancel_scope.cancel()

    async def _add(self, nursery: trio.Nursery, number: int) -> None:
        topics = ("all_conversations",) if number % 2 else ("all_conversations", "project_updates", "file_events")
        buffer = 8192 if FAST <= number < FAST + SLOW else None

        async def dial() -> TcpWire:
            return await connected(self.server.url, buffer)

        peer = Peer(f"c{number}", dial, topics, contents=Forgetful())
        peer.witness.frames = cast(Any, Heard())
        self.peers.append(peer)
        nursery.start_soon(peer.run)
        await peer.confirmed.wait()

    async def _write(self) -> None:
        numbers = [0] * FILES
        for count in range(10**9):
            await trio.sleep_until(self._begin + count / LINES_PER_S)
            file = self.draw.randrange(FILES)
            name = f"s{file}-{int(count / LINES_PER_S / FILE_SECONDS)}"
            size = self.draw.choice((20, 400, 400, 6000))
            path = self.root / "-w" / f"{name}.jsonl"
            path.parent.mkdir(exist_ok=True)
            with path.open("ab", buffering=0) as out:
                out.write(prompt(name, numbers[file], size))
            numbers[file] += 1
            self.written += 1
            if not count % 400 and (old := sorted(path.parent.iterdir(), key=lambda one: one.stat().st_mtime))[:-50]:
                old[0].unlink()

    async def _leave_and_come_back(self, peer: Peer) -> None:
        while True:
            await trio.sleep(self.draw.uniform(*STAY_SECONDS))
            peer.session.wire.reset()

    async def _sample(self) -> None:
        while True:
            status = await ask(self.server.url)
            pid, gauges = self.server.pid, status["gauges"]
            fds = len(os.listdir(f"/proc/{pid}/fd"))
            at = time.monotonic() - self.start
            lag, behind = gauges["client_lag_events"], status["clients"]["behind"]
            self.samples.append(Sample(at, rss_kb(pid), fds, gauges["tasks"], lag, behind))
            await trio.sleep(1.0)

    async def _tire(self, peer: Peer) -> None:
        """Slow for a while, then quick, so that it falls behind and catches up."""
        while True:
            peer.set_pace(SLOW_PACE)
            await trio.sleep(self.draw.uniform(*STAY_SECONDS))
            peer.set_pace(Pace())
            await trio.sleep(self.draw.uniform(*STAY_SECONDS))

    async def _settle(self) -> None:
        """Until all are there, and nothing has come for a while."""
        for peer in self.peers:
            peer.set_pace(Pace())
        counts, quiet = [0], 0
        with trio.move_on_after(SETTLE_SECONDS):
            while quiet < QUIET_SECONDS:
                await trio.sleep(1.0)
                before, counts = counts, [cast(Heard, peer.witness.frames).count for peer in self.peers]
                here = all(peer.confirmed.is_set() for peer in self.peers)
                quiet = quiet + 1 if here and counts == before else 0

    _begin: float = attrs.field(factory=trio.current_time)


def faults(log: Sequence[Published], peers: Sequence[Peer]) -> list[str]:
    """What the clients got against the log."""
    found = []
    for peer in peers:
        heard = cast(Heard, peer.witness.frames)
        first, held = peer.witness.changes[0], {*peer.topics, EVERYONE}
        digest, due = hashlib.blake2b(), 0
        for event in log:
            if event.seq > first.after and not event.topics.isdisjoint(held):
                digest.update(event.payload)
                due += 1
        if heard.faults or heard.digest.digest() != digest.digest():
            found.append(f"{peer.name}: got {heard.count} of {due} events; {heard.faults[:3]}")
    return found


def risen(samples: Sequence[Sample]) -> list[str]:
    """What is higher in the last third than in the second, beyond noise."""
    third = len(samples) // 3
    found = []
    for name, (factor, more) in NOISE.items():
        second, last = (median_of(part, name) for part in (samples[third : 2 * third], samples[2 * third :]))
        if last > second * factor + more:
            found.append(f"{name} rose from {second:.0f} to {last:.0f}")
    return found


def median_of(samples: Sequence[Sample], name: str) -> float:
    """Of one figure."""
    return float(statistics.median(getattr(sample, name) for sample in samples))


def plot(samples: Sequence[Sample], path: Path) -> None:
    """The figures over time, as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    minutes = [sample.at / 60 for sample in samples]
    figure, axes = plt.subplots(4, 1, sharex=True, figsize=(10, 9), layout="constrained")
    shown_as = {"memory, MiB": [s.rss_kb / 1024 for s in samples], "descriptors": [s.fds for s in samples],
                "tasks": [s.tasks for s in samples], "largest lag, events": [s.lag for s in samples]}  # fmt: skip
    for axis, (title, values) in zip(axes, shown_as.items(), strict=True):
        axis.plot(minutes, values, linewidth=0.8)
        axis.set_ylabel(title)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("minutes")
    figure.savefig(path, dpi=110)


async def soak(opts: argparse.Namespace) -> tuple[Soak, list[str]]:
    """Play it; returns what happened and what is wrong."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        root = Path(folder) / "projects"
        root.mkdir()
        server = Server(root, Path(folder) / "data", free_port())
        await server.start()
        try:
            run = Soak(server, root, opts.minutes * 60, random.Random(opts.seed))
            await run.run()
            await server.terminate()
            return run, faults(read_log(server.database), run.peers)
        finally:
            await server.clean_up()


def main() -> None:
    """Print the table, draw the picture, say what is wrong."""
    made = parser(__doc__)
    made.add_argument("--minutes", type=float, default=30.0)
    made.add_argument("--plot", type=Path, metavar="FILE.png")
    made.add_argument("--seed", type=int, default=1)
    opts = made.parse_args()
    opts.minutes = 0.2 if opts.smoke else opts.minutes
    run, wrong = trio.run(soak, opts)
    third = len(run.samples) // 3
    parts = [run.samples[:third], run.samples[third : 2 * third], run.samples[2 * third :]]
    headings = ["figure", "first third", "second", "last", "highest"]
    rows = []
    for name in ("rss_kb", "fds", "tasks", "lag", "behind"):
        highest = max(getattr(sample, name) for sample in run.samples)
        rows.append([name, *(shown(median_of(part, name), 0) for part in parts), shown(highest, 0)])
    events = sum(cast(Heard, peer.witness.frames).count for peer in run.peers)
    connections = sum(len(peer.sessions) for peer in run.peers)
    print(f"\n{run.written:,} lines in {opts.minutes:g} min; {events:,} events over {connections:,} connections\n")
    print(table(headings, rows))
    if opts.plot is not None:
        plot(run.samples, opts.plot)
    wrong += [] if opts.smoke else risen(run.samples)
    sizes = {"minutes": opts.minutes, "seed": opts.seed, "lines": run.written, "events": events}
    emit("soak", sizes, {"wrong": wrong, "samples": len(run.samples)}, opts)
    for line in wrong:
        told(f"FAILED: {line}")
    if not wrong:
        print("nothing rose, nothing was lost or doubled")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
