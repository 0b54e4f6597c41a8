"""Kill: random `kill -9` of the server and of its clients while a writer goes on; nothing is lost, nothing doubled.

    python -m tests.bench.kill [--rounds 200] [--seed N] [--clients 6] [--rate 100] [--directory DIR]

Each round kills something at a moment that the seed draws: the server (also in the middle of its start, and now and
then by SIGTERM), some clients, or both. What must hold is said in `kill_oracle.py`. A progress line per round, a table
at the end, exit code 1 on any fault; then the data directory is kept, and the seed is told. The seed fixes what is
killed, when, and what is written; how the processes interleave is up to the kernel.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any

import orjson
import trio

from tests.bench import kill_oracle
from tests.bench.facts import emit, parser, told
from tests.bench.figures import table
from tests.bench.kill_oracle import Journal
from tests.bench.kill_stage import Client, Fault, Round, Stage, plan, stage
from tests.oracle import Published

CHECK_EVERY = 25  # rounds


def wrong(on: Stage, read: Callable[[], Sequence[Published]], written: int | None) -> tuple[list[str], list[Journal]]:
    """All that is not as it must be. written: lines of the writer; None while the run goes on."""
    journals = [client.read() for client in on.clients]
    log = read()  # after the journals: what is in them must be in it
    found, snapshots = [], list(on.snapshots)
    for client, journal in zip(on.clients, journals, strict=True):
        frames = journal.witness.frames
        upto = None if written is not None else (frames[-1].seq if frames else 0)
        found += [f"client {client.number}: {what}" for what in kill_oracle.wrong_delivery(log, journal, upto)]
        snapshots += journal.snapshots
    found += kill_oracle.wrong_snapshots(log, snapshots)
    found += [f"the server logged an error: {line}" for line in errors_of(on.server.stderr)]
    if written is not None:
        found += kill_oracle.wrong_sources(log, on.root, written)
    return found, journals


def errors_of(stderr: str) -> list[str]:
    """Lines of the server's log that tell of a defect, and whatever is no line of a log."""
    found = []
    for line in stderr.splitlines():
        try:
            entry = orjson.loads(line)
        except ValueError:
            found.append(line)
            continue
        if not isinstance(entry, dict) or entry.get("level") in ("error", "critical"):
            found.append(line)
    return found


def row(client: Client, journal: Journal) -> list[str]:
    """A client's row of the table."""
    counts = (journal.lives, journal.connections, len(journal.witness.frames), len(journal.witness.holes))
    kind = "at least once" if client.stores else "exactly once"
    return [str(client.number), ", ".join(client.topics), kind, *map(str, counts), str(journal.repeated)]


async def run(directory: Path, seed: int, rounds: int, clients: int, rate: float) -> tuple[list[str], dict[str, Any]]:
    """Play the rounds and judge: faults, and the figures. Progress goes to stderr."""
    kinds: dict[str, int] = {}
    async with stage(directory, seed, clients, rate) as on:
        try:
            for number, one in enumerate(plan(seed, rounds, clients), 1):
                await on.play(one)
                kinds[one.kind] = kinds.get(one.kind, 0) + 1
                _progress(on, number, rounds, one)
                if number % CHECK_EVERY == 0 and (found := wrong(on, on.log, None)[0]):
                    return found, {}
            written = await on.settle()
        except (Fault, AssertionError) as error:
            return [str(error)], {}
        for client in on.clients:
            await client.kill()
        await on.server.kill()
        found, journals = wrong(on, on.log, written)
        rows = [row(client, journal) for client, journal in zip(on.clients, journals, strict=True)]
    figures = {"kills": kinds, "lines": written, "events": len(on.log()), "clients": rows}
    return found, figures


def _progress(on: Stage, number: int, rounds: int, one: Round) -> None:
    who = ", ".join(f"client {client}" for client in one.clients)
    what = {"start": "server, and again in its start", "terminate": "server by SIGTERM"}.get(one.kind, "server")
    killed = " and ".join(word for word in ("" if one.kind == "clients" else what, who) if word)
    sizes = sum(client.journal.stat().st_size for client in on.clients) // 1024
    told(f"round {number}/{rounds}: {killed}; journals {sizes:,} KiB")


def options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=200)
    made.add_argument("--seed", type=int, default=None, help="a number that a failing run told")
    made.add_argument("--clients", type=int, default=6)
    made.add_argument("--rate", type=float, default=100.0, help="lines a second")
    made.add_argument("--directory", type=Path, help="where the data goes (default: a temporary directory)")
    opts = made.parse_args(words)
    if opts.smoke:
        opts.rounds = 5
    if opts.seed is None:
        opts.seed = random.SystemRandom().randrange(1_000_000)
    return opts


def main() -> None:
    """Run, print the table, keep the data of a failure."""
    opts = options()
    made = opts.directory or Path(tempfile.gettempdir())
    directory = Path(tempfile.mkdtemp(prefix=f"kill-{opts.seed}-", dir=made))
    told(f"seed {opts.seed}, data in {directory}")
    found, figures = trio.run(run, directory, opts.seed, opts.rounds, opts.clients, opts.rate)
    if figures:
        headings = ["client", "topics", "kind", "lives", "connections", "events", "declared holes", "repeated"]
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(figures["kills"].items()))
        print(f"\n{opts.rounds} rounds ({kinds}); {figures['lines']:,} lines, {figures['events']:,} events\n")
        print(table(headings, figures["clients"]))
        emit("kill", {"rounds": opts.rounds, "clients": opts.clients, "seed": opts.seed}, figures, opts)
    for line in found:
        told(f"FAILED: {line}")
    if found:
        told(f"replay: python -m tests.bench.kill --rounds {opts.rounds} --clients {opts.clients} --seed {opts.seed}")
        told(f"the data is kept in {directory}")
        sys.exit(1)
    rmtree(directory)
    print("0 lost, 0 doubled")


if __name__ == "__main__":
    main()
