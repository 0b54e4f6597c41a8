"""Catching up: a log that was filled before its server starts, and clients in C that resume from it or read slowly."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import attrs

from observatory.core.batch import Batch
from observatory.core.events import Draft, encode
from observatory.storage.log import EventLog
from tests.bench.fanout_server import KIND, TOPICS
from tests.bench.orders import Order
from tests.bench.processes import ROOT, NotMeasured, running
from tests.running import free_port

EVENTS_A_COMMIT = 1000
GIVING_WAY = ("nice", "-n", "19")
PATIENCE = 60  # seconds after which a client of ours gives up


def fill(data_dir: Path, count: int, size: int) -> str:
    """Store `count` events of `size` bytes, as a server before this one would have; returns the log's epoch."""
    log = EventLog(data_dir, None)
    data = {"stamp": 1, "pad": ""}
    data["pad"] = "x" * (size - len(encode(KIND, data, 1_700_000_000_000, count, log.position.epoch)))
    for begin in range(0, count, EVENTS_A_COMMIT):
        drafts = [Draft(KIND, data, TOPICS)] * min(EVENTS_A_COMMIT, count - begin)
        log.append(Batch(drafts=drafts), time.time_ns() // 1_000_000)
    log.close()
    return log.position.epoch


@attrs.define
class Server:
    """The fan-out server on a log of the bench's."""

    process: subprocess.Popen[bytes]
    port: int

    def order(self, order: Order) -> None:
        """Have it publish."""
        assert self.process.stdin is not None
        self.process.stdin.write(order.line())
        self.process.stdin.flush()


@contextmanager
def serving(data_dir: Path, log: IO[bytes]) -> Iterator[Server]:
    """A fan-out server; ends with the block. Raises NotMeasured."""
    port = free_port()
    with running([sys.executable, "-m", "tests.bench.fanout_server", port, data_dir], port, log) as process:
        yield Server(process, port)


def start(program: Path, *args: object, gives_way: bool = False) -> subprocess.Popen[bytes]:
    """One of the clients in C; one that is not measured itself gives way to those that are."""
    command = [*(GIVING_WAY if gives_way else ()), str(program), *map(str, args)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)


def expect(client: subprocess.Popen[bytes], line: bytes) -> None:
    """Wait until a client has said this. Raises NotMeasured with what it said instead."""
    assert client.stdout is not None
    said = client.stdout.readline()
    if said != line + b"\n":
        rest, problem = client.communicate()
        raise NotMeasured((problem or said + rest).decode(errors="replace").strip() or "a client ended without a word")


def result(client: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What a client measured; closing its input ends it. Raises NotMeasured."""
    out, problem = client.communicate(timeout=PATIENCE * 2)
    if client.returncode:
        raise NotMeasured(problem.decode(errors="replace").strip() or "a client failed")
    found: dict[str, Any] = json.loads(out.split(b"\n")[-2])
    return found
