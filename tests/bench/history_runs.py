"""Single runs of the history bench: one import of ours or of the peer, its time and memory; and what came of it."""

import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import attrs

from tests.bench.history_corpus import Corpus
from tests.bench.latency_run import SUBSCRIBE
from tests.bench.processes import ROOT, SERVE, NotMeasured, environment, listening, stop
from tests.bench.wire import Audience
from tests.running import free_port

AGENTSVIEW = "peers/bin/agentsview"
SAMPLE_SECONDS = 0.1
START_SECONDS = 60.0
LONGEST = 3600.0  # of one run
TOKENS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


@attrs.frozen
class Run:
    """One import. memory: the highest sum of PSS over the process and all its children, in bytes, sampled at 10 Hz."""

    seconds: float
    memory: int
    size: int  # bytes of all its files at the end


@attrs.frozen
class Stored:
    """What an archive of ours holds. size: of the database without the events table, in bytes."""

    conversations: int
    records: int
    tokens: tuple[int, ...]  # each message id once, per field the maximum
    size: int


def ours(corpus: Corpus, home: Path) -> Run:
    """`observatory import` of this tree into a fresh data directory, home/data."""
    command = [*import_command(corpus.projects, home / "data")]
    return _run(command, environment(home), home / "data")


def import_command(projects: Path, data_dir: Path) -> list[str]:
    """How an import is started."""
    return [sys.executable, "-c", SERVE, "import", "--root", str(projects), "--data-dir", str(data_dir)]


def agentsview(corpus: Corpus, home: Path, peers: Path) -> Run:
    """The peer's import into a fresh data directory, its text index included."""
    places = {"CLAUDE_PROJECTS_DIR": str(corpus.projects), "AGENTSVIEW_DATA_DIR": str(home / "data")}
    (home / "data").mkdir()
    return _run(
        [str(binary(peers)), "sync"], {**environment(home), **places, "AGENTSVIEW_NO_DAEMON": "1"}, home / "data"
    )


def binary(peers: Path) -> Path:
    """The peer as pip installed it. Raises NotMeasured."""
    found = peers / AGENTSVIEW
    if not found.exists():
        raise NotMeasured(f"agentsview is not installed in {peers} (python -m tests.bench.peers {peers})")
    return found


def _run(command: Sequence[str], env: Mapping[str, str], data: Path) -> Run:
    os.sync()
    with tempfile.TemporaryFile() as log:
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=env, start_new_session=True)
        peak = Peak(process.pid)
        try:
            code = process.wait(LONGEST)
        finally:
            seconds = time.perf_counter() - begun
            memory = peak.end()
            stop(process)
        if code:
            log.seek(0)
            raise NotMeasured(f"{command[-1]} ended with {code}: {log.read().decode(errors='replace')[-500:]}")
    return Run(seconds, memory, sum(path.stat().st_size for path in data.rglob("*") if path.is_file()))


class Peak:
    """The most memory that a process and its children had together, looked at now and then by a thread."""

    def __init__(self, pid: int) -> None:
        self._pid, self._over, self._most = pid, threading.Event(), 0
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> int:
        """Bytes."""
        self._over.set()
        self._thread.join()
        return self._most

    def _look(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self._most = max(self._most, sum(map(pss, tree(self._pid))))


def tree(pid: int) -> list[int]:
    """A process and all that came of it."""
    found, at = [pid], 0
    while at < len(found):
        with suppress(OSError):
            for task in Path(f"/proc/{found[at]}/task").iterdir():
                with suppress(OSError):
                    found += map(int, (task / "children").read_text().split())
        at += 1
    return found


def pss(pid: int) -> int:
    """Resident bytes of a process; what it shares with others, in parts."""
    with suppress(OSError):  # it has ended
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def stored(database: Path) -> Stored:
    """Look into an archive at rest."""
    each = ", ".join(f"max({name}) AS {name}" for name in TOKENS)
    sums = ", ".join(f"sum({name})" for name in TOKENS)
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as db:
        (conversations,) = db.execute("SELECT count(*) FROM conversations").fetchone()
        (records,) = db.execute("SELECT count(*) FROM records").fetchone()
        tokens = db.execute(f"SELECT {sums} FROM (SELECT {each} FROM usage GROUP BY message_id)").fetchone()
        (size,) = db.execute("SELECT sum(pgsize) FROM dbstat WHERE name <> 'events'").fetchone()
    return Stored(conversations, records, tokens, size)


def start(home: Path, projects: Path) -> float:
    """Seconds from the start of a server over an archive in home/data until it has confirmed a subscription."""
    port = free_port()
    flags = ["--root", projects, "--data-dir", home / "data", "--port", port, "--log-format", "json"]
    command = [sys.executable, "-c", SERVE, "serve", *map(str, flags)]
    begun = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=environment(home),
        start_new_session=True,
    )
    try:
        while not listening(port):
            if process.poll() is not None or time.perf_counter() > begun + START_SECONDS:
                raise NotMeasured("the server did not start")
            time.sleep(0.005)
        audience = Audience(port, 1, "observatory.v1", SUBSCRIBE)
        try:
            return next(
                at - begun
                for _, at, text in audience.frames(begun + START_SECONDS)
                if b'"subscription_confirmed"' in text
            )
        finally:
            audience.close()
    finally:
        stop(process)


def complete(found: Stored, samples: dict[str, Any], copies: int) -> list[str]:
    """What an archive lacks of so many copies of the samples, or has too much."""
    wanted = Stored(
        samples["conversations"] * copies,
        samples["records"] * copies,
        tuple(count * copies for count in samples["tokens"]),
        found.size,
    )
    return [
        f"{name}: {getattr(found, name)} and not {getattr(wanted, name)}"
        for name in ("conversations", "records", "tokens")
        if getattr(found, name) != getattr(wanted, name)
    ]
