"""One measurement of file → clients, in a process (and network namespace) of its own; prints one JSON object.

Started by tests.bench.latency. Server, clients and the writer of the lines live in the same namespace.
"""

import argparse
import gc
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import attrs

from tests.bench.facts import CTRL_DAEMON
from tests.bench.figures import quantile
from tests.bench.processes import NotMeasured, cpu_seconds, environment, running, serve_command
from tests.bench.transcript import Conversation
from tests.bench.wire import Audience, Refused
from tests.running import free_port

PATIENCE = 1.0  # seconds until a line that has not reached everyone counts as late or lost
GAP_SECONDS = (0.005, 0.015)
PROMPT_EVERY = 10  # lines between two prompts, which are not timed: ctrl-daemon does not send their text
LINES_BEFORE = 20  # what the conversation held before the server started
KIND_BYTES = 40  # a frame's type is told within its first bytes
SUBSCRIBE = b'{"id":1,"type":"subscribe","data":{"topics":["all_conversations"]}}'


@attrs.frozen
class Server:
    """How to start one, how to ask it for everything, and which of its frames carries a line's text."""

    command: list[str]
    subprotocol: str | None
    hello: bytes | None
    ready: bytes | None
    kind: bytes


def ours(home: Path, port: int) -> Server:
    """`observatory serve` of this tree, for a v1 client."""
    return Server(
        serve_command(home, port), "observatory.v1", SUBSCRIBE, b'"subscription_confirmed"', b'"message_added"'
    )


def ctrl_daemon(peers: Path, port: int) -> Server:
    """The peer: its binary as npm installed it, for any client."""
    binary = peers / f"{CTRL_DAEMON}-linux-x64/bin/ctrl-daemon"
    if not binary.exists():
        raise NotMeasured(f"not installed in {peers} (python -m tests.bench.peers {peers})")
    flags = ["--port", str(port), "--host", "127.0.0.1", "--no-tui", "--no-open", "--no-lock"]
    return Server([str(binary), *flags], None, None, b'"existingAgents"', b'"agentText"')


@attrs.frozen
class Lap:
    """Seconds from just before the write until the first and the last client had the line."""

    first: float
    last: float


class Writer:
    """Appends lines to one transcript; each line is one write."""

    def __init__(self, home: Path, seed: int) -> None:
        self._conversation = Conversation(seed)
        folder = home / ".claude/projects" / self._conversation.folder
        folder.mkdir(parents=True)
        path = folder / f"{self._conversation.session_id}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in range(LINES_BEFORE):
            self.write(self._conversation.answer() if number % PROMPT_EVERY else self._conversation.prompt())

    def write(self, line: bytes) -> float:
        """The moment before the write."""
        at = time.perf_counter()
        os.write(self._file, line)
        return at

    def prompt(self) -> None:
        """A line that is not timed."""
        self.write(self._conversation.prompt())

    def answer(self, mark: str) -> float:
        """A line to be timed."""
        line = self._conversation.answer(mark)
        return self.write(line)


def lap(audience: Audience, writer: Writer, mark: str, kind: bytes) -> Lap | None:
    """Write a line and wait for the frame with its text at every client; None: late or lost."""
    wanted, waiting = mark.encode(), set(range(len(audience)))
    first = last = 0.0
    start = writer.answer(mark)
    for client, at, text in audience.frames(start + PATIENCE):
        if wanted in text and kind in text[:KIND_BYTES]:
            first = first or at
            last = at
            waiting.discard(client)
            if not waiting:
                return Lap(first - start, last - start)
    return None


def measure(audience: Audience, writer: Writer, kind: bytes, lines: int, seed: int) -> list[Lap | None]:
    """The laps of `lines` lines with random gaps between them."""
    draw, laps = random.Random(seed), list[Lap | None]()
    for number in range(lines):
        if number % PROMPT_EVERY == 0:
            writer.prompt()
            pause(audience, draw)
        laps.append(lap(audience, writer, f"line-{number:05}-{draw.getrandbits(32):08x}", kind))
        pause(audience, draw)
    return laps


def pause(audience: Audience, draw: random.Random) -> None:
    """Let time pass, and read what comes meanwhile."""
    for _ in audience.frames(time.perf_counter() + draw.uniform(*GAP_SECONDS)):
        pass


def run(opts: argparse.Namespace) -> dict[str, float]:
    """Start the server, connect, settle, measure."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="latency-") as folder, tempfile.TemporaryFile() as log:
        home = Path(folder)
        server = ours(home, port) if opts.server == "ours" else ctrl_daemon(opts.peers, port)
        writer = Writer(home, opts.seed)
        with running(server.command, port, log, environment(home)) as process:
            time.sleep(opts.settle)
            audience = Audience(port, opts.clients, server.subprotocol, server.hello)
            audience.settle(server.ready, 20.0)
            time.sleep(opts.settle)
            gc.disable()
            if opts.pin:
                os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
            before = cpu_seconds(process.pid)
            laps = measure(audience, writer, server.kind, opts.lines, opts.seed)
            cpu = cpu_seconds(process.pid) - before
            audience.close()
    return figures(laps, cpu)


def figures(laps: list[Lap | None], cpu: float) -> dict[str, float]:
    """Quantiles in ms; `missed`: lines late or lost."""
    whole = [one for one in laps if one is not None]
    if not whole:
        raise NotMeasured("no line reached every client in time")
    found = {"missed": len(laps) - len(whole), "cpu_us_per_line": round(cpu / len(laps) * 1e6, 1)}
    for name, values in (("first", [one.first for one in whole]), ("last", [one.last for one in whole])):
        for label, q in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
            found[f"{name}_{label}_ms"] = round(quantile(values, q) * 1e3, 4)
    return found


def main() -> None:
    """Print the figures, or why there are none."""
    made = argparse.ArgumentParser()
    made.add_argument("--server", choices=["ours", "ctrl-daemon"], required=True)
    for name in ("clients", "lines", "seed"):
        made.add_argument(f"--{name}", type=int, required=True)
    made.add_argument("--settle", type=float, required=True)
    made.add_argument("--pin", action="store_true")
    made.add_argument("--peers", type=Path, default=Path())
    try:
        print(json.dumps(run(made.parse_args())))
    except (NotMeasured, Refused, OSError) as obstacle:
        print(obstacle, file=sys.stderr)
        sys.exit(3)


if __name__ == "__main__":
    main()
