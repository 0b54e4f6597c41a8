"""The copy at Supabase: how fast it is by both ways, what live clients notice of it, and whether kills leave it equal.

Run: python -m tests.bench.sink [--records N] [--kills N] [--pairs N] [--smoke]. It starts a PostgreSQL of its own and,
for the API, a stand-in of PostgREST in a process of its own. Exit code 1: a floor does not hold.
"""

import argparse
import gc
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import trio

from observatory.config import SUPABASE
from observatory.sinks.copying import Settings
from tests.bench.figures import median, quantile
from tests.bench.latency_run import Writer, measure, ours
from tests.bench.processes import environment, running
from tests.bench.transcript import Conversation
from tests.bench.wire import Audience
from tests.postgres import SECRET, Cluster, cluster
from tests.running import Server, free_port
from tests.sinks.stage import Stage

DIRECT, API, LIVE = 20_000, 10_000, 1.1  # floors: records a second, records a second, ratio of p99
FILES = 20
CLIENTS, LINES = 10, 300
ARCHIVE = ".local/share/claude-code-observatory"


def main() -> None:
    """Measure what was asked for."""
    made = argparse.ArgumentParser()
    made.add_argument("--records", type=int, default=100_000)
    made.add_argument("--kills", type=int, default=100)
    made.add_argument("--pairs", type=int, default=7)
    made.add_argument("--smoke", action="store_true")
    given = made.parse_args()
    records, kills, pairs = (2_000, 2, 0) if given.smoke else (given.records, given.kills, given.pairs)
    with cluster() as postgres, tempfile.TemporaryDirectory() as directory:
        held = [trio.run(throughput, postgres, Path(directory) / "t", records, given.smoke)]
        if pairs:
            held.append(live(postgres, Path(directory) / "l", records, pairs))
        if kills:
            held.append(trio.run(killed, postgres, Path(directory) / "k", records, kills))
    sys.exit(0 if all(held) else 1)


def fill(projects: Path, records: int) -> None:
    """A history: prompts and answers, half of each."""
    for seed in range(FILES):
        one = Conversation(1000 + seed, f"/home/dev/app{seed}")
        path = projects / one.folder / f"{one.session_id}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.writelines(one.prompt() if n % 2 else one.answer() for n in range(records // FILES))


# -- throughput --------------------------------------------------------------------------------------------------------


async def throughput(postgres: Cluster, directory: Path, records: int, smoke: bool) -> bool:
    """Records a second into an empty database, and the memory that this process grew by."""
    stage = Stage(directory, postgres, postgres.supabase())
    fill(stage.root, records)
    await stage.archived()
    rates = {}
    for way in ("direct", "api"):
        stage.database = postgres.supabase()
        url = stage.set_up()
        for file in stage.data.glob("supabase.*"):
            file.unlink()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with standing(postgres.url(stage.database, "authenticator", "authenticator")) as address:
            settings = stage.settings("direct", url)
            if way == "api":
                settings = Settings(str(stage.data), url=address, key=stage.key())
            begun = time.perf_counter()
            done = await stage.copy(settings)
            rates[way] = records / (time.perf_counter() - begun)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        assert done.sent["messages"] == records, done
        assert stage.differences() == []
        print(f"{way}: {rates[way]:,.0f} records/s, {grown:.0f} MiB more memory, equal by checksum", flush=True)
    return smoke or (rates["direct"] >= DIRECT and rates["api"] >= API)


@contextmanager
def standing(dsn: str) -> Iterator[str]:
    """A stand-in in a process of its own, for the block."""
    command = [sys.executable, "-m", "tests.postgrest.server", dsn, SECRET]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


# -- live --------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Trial:
    """One server: a home with an archive, and where its copy is, if it keeps one."""

    home: Path
    url: str | None


def live(postgres: Cluster, directory: Path, records: int, pairs: int) -> bool:
    """p99 from a write to the last of some clients: while a history is copied, and while the database is away."""
    template = directory / "template"
    fill(template / ".claude/projects", records)
    subprocess.run(
        [sys.executable, "-c", "from observatory.cli.main import main; main()", "import"],
        env=environment(template), check=True, capture_output=True,
    )  # fmt: skip
    for pid in [postgres.pid, *postgres.children()]:
        os.setpriority(os.PRIO_PROCESS, pid, 19)  # it is on another machine as a rule; its children follow
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/x"
    ratios: dict[str, list[float]] = {"saturated": [], "down": []}
    for number in range(pairs):
        stage = Stage(directory, postgres, postgres.supabase())
        (directory / "data").unlink(missing_ok=True)
        (directory / "data").symlink_to(template / ARCHIVE)
        full = stage.set_up()
        without = p99(copied(template, directory / f"a{number}", None))
        for name, url in (("saturated", full), ("down", nowhere)):
            ratios[name].append(p99(copied(template, directory / f"{name}{number}", url)) / without)
        shown = ", ".join(f"{name} × {values[-1]:.2f}" for name, values in ratios.items())
        print(f"pair {number + 1}: without a copy p99 {without * 1e3:.2f} ms; {shown}", flush=True)
    middle = {name: median(values) or 0.0 for name, values in ratios.items()}
    for name, value in middle.items():
        print(f"live p99, {name} ÷ without: {value:.2f}, median of {pairs} (floor {LIVE})", flush=True)
    return all(value <= LIVE for value in middle.values())


def copied(template: Path, home: Path, url: str | None) -> Trial:
    """A home of its own with the same archive."""
    (home / ".claude/projects").mkdir(parents=True)
    shutil.copytree(template / ARCHIVE, home / ARCHIVE)
    if url is not None:
        (home / ARCHIVE / SUPABASE).write_text(url)
    return Trial(home, url)


def p99(trial: Trial) -> float:
    """Seconds, over lines with random gaps, right from the start."""
    port = free_port()
    with tempfile.TemporaryFile() as log:
        server, writer = ours(trial.home, port), Writer(trial.home, 1)
        with running(server.command, port, log, environment(trial.home)):
            audience = Audience(port, CLIENTS, server.subprotocol, server.hello)
            audience.settle(server.ready, 60.0)
            gc.disable()
            laps = measure(audience, writer, server.kind, LINES, 1)
            gc.enable()
            audience.close()
    shutil.rmtree(trial.home, ignore_errors=True)
    assert None not in laps
    return quantile([lap.last for lap in laps if lap is not None], 0.99)


# -- kills -------------------------------------------------------------------------------------------------------------


async def killed(postgres: Cluster, directory: Path, records: int, kills: int) -> bool:
    """Kill the server or the database at random moments of a push, and compare at the end."""
    stage, draw = Stage(directory, postgres, postgres.supabase()), random.Random(7)
    fill(stage.root, records)
    await stage.archived()
    (stage.data / SUPABASE).write_text(stage.set_up())
    server = Server(stage.root, stage.data)
    await server.start()
    for _ in range(kills):
        await trio.sleep(draw.uniform(0.05, 1.0))
        if draw.random() < 0.5:
            await server.kill()
            await server.start()
        else:
            await trio.to_thread.run_sync(postgres.kill, signal.SIGKILL)
            await trio.to_thread.run_sync(postgres.start)
    begun = time.monotonic()
    while stage.rows("SELECT count(*) FROM messages")[0][0] < records and time.monotonic() - begun < 300:  # noqa: ASYNC110
        await trio.sleep(0.5)
    await trio.sleep(2.0)
    await server.terminate()
    wrong = stage.differences()
    doubled = stage.rows("SELECT count(*) - count(DISTINCT (source_id, generation, byte_offset)) FROM messages")[0][0]
    print(f"{kills} kills over {records:,} records: {wrong or 'equal by checksum'}, {doubled} twice", flush=True)
    return not wrong and not doubled


if __name__ == "__main__":
    main()
