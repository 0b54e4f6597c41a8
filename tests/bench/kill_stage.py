"""The stage of `kill`: the plan of its rounds, and the server, the clients and the writer that play them."""

import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import attrs
import trio

from observatory.client.connection import connect
from tests.bench import kill_oracle
from tests.bench.kill_client import position_after, read_journal
from tests.bench.kill_oracle import Journal
from tests.bench.processes import ROOT
from tests.oracle import Published, read_log
from tests.running import Server, free_port

TOPICS: tuple[tuple[str, ...], ...] = (
    ("all_conversations", "project_updates", "file_events", "system"),
    ("all_conversations",),
    ("conversation:c1", "conversation:c2", "conversation:c3", "conversation:c4", "project_updates"),
    ("file_events",),
)
SETTINGS = {"OBSERVATORY_PING_SECONDS": "1", "OBSERVATORY_EVENT_RETENTION_BYTES": str(2**40)}
SETTINGS["OBSERVATORY_EVENT_RETENTION_COUNT"] = str(10**9)  # the reopened log must hold all that was ever published
SEED_LINE = b'{"type":"user","uuid":"first","sessionId":"s","cwd":"/p","message":{"role":"user","content":"first"}}\n'
LONGEST_PAUSE, LONGEST_ABSENCE, LONGEST_START = 0.8, 0.5, 0.6  # seconds; a start takes about as long
SETTLE_SECONDS = 60.0  # never reached when all is well
LOOK_SECONDS = 0.1  # other processes' files can only be looked at again
END_SECONDS = 15.0
Kind = Literal["server", "clients", "both", "start", "terminate"]
WEIGHTS: dict[Kind, int] = {"server": 30, "clients": 25, "both": 20, "start": 15, "terminate": 10}


class Fault(Exception):
    """Something that must not be; one line."""


@attrs.frozen
class Round:
    """What is killed, `pause` seconds after the last round, and how long it is away. in_start: when a start is cut."""

    kind: Kind
    pause: float
    absence: float
    in_start: float
    clients: tuple[int, ...]
    forgetful: frozenset[int]  # those of them that claim to come from another log


def plan(seed: int, rounds: int, clients: int) -> Iterator[Round]:
    """The rounds that a seed stands for."""
    dice = random.Random(f"{seed}/plan")
    for _ in range(rounds):
        (kind,) = dice.choices([*WEIGHTS], [*WEIGHTS.values()])
        some = tuple(sorted(dice.sample(range(clients), dice.randint(1, max(1, clients // 2)))))
        yield Round(
            kind,
            dice.uniform(0.0, LONGEST_PAUSE),
            dice.choice([0.0, dice.uniform(0.0, LONGEST_ABSENCE)]),
            dice.uniform(0.0, LONGEST_START),
            some if kind in ("clients", "both") else (),
            frozenset(one for one in some if dice.random() < 0.1),
        )


@attrs.define(eq=False)
class Client:
    """One client through all its processes."""

    number: int
    directory: Path
    url: str
    process: trio.Process | None = None

    @property
    def topics(self) -> tuple[str, ...]:
        return TOPICS[self.number % len(TOPICS)]

    @property
    def stores(self) -> bool:
        """Whether it keeps its place in a file, and not in its journal."""
        return self.number % 2 == 1

    @property
    def journal(self) -> Path:
        return self.directory / f"client{self.number}.journal"

    async def start(self, forget: bool = False) -> None:
        """Begin a process that goes on where the journal ends."""
        options = [word for word, wanted in (("--store", self.stores), ("--forget", forget)) if wanted]
        program = [sys.executable, "-m", "tests.bench.kill_client", self.url, str(self.journal), *options, *self.topics]
        with self.journal.with_suffix(".stderr").open("ab") as stderr:
            self.process = await trio.lowlevel.open_process(program, cwd=ROOT, stderr=stderr)

    async def kill(self) -> None:
        """By SIGKILL. Raises Fault when it had ended by itself."""
        process, self.process = self.process, None
        if process is None:
            return
        ended = process.poll()
        process.kill()
        await process.wait()
        if ended is not None:
            said = self.journal.with_suffix(".stderr").read_text(errors="replace").strip().splitlines()[-1:]
            raise Fault(f"client {self.number} ended by itself with {ended}: {''.join(said)}")

    def read(self) -> Journal:
        """What it has got so far."""
        return kill_oracle.read(self.journal, self.topics)

    def last(self) -> int:
        """The seq it would resume from."""
        position = position_after(read_journal(self.journal))
        return 0 if position is None else position.seq


@attrs.define(eq=False)
class Stage:
    """The server, the writer and the clients of one run."""

    directory: Path
    server: Server
    clients: list[Client]
    writer: trio.Process
    snapshots: list[tuple[int, dict[str, Any]]] = attrs.field(factory=list)

    @property
    def root(self) -> Path:
        return self.server.root

    async def play(self, one: Round) -> None:
        """One round."""
        await trio.sleep(one.pause)
        if one.kind == "terminate":
            await self.server.terminate()
        elif one.kind != "clients":
            await self.server.kill()
        for number in one.clients:
            await self.clients[number].kill()
        await trio.sleep(one.absence)
        if one.kind == "start":
            with trio.move_on_after(one.in_start):
                await self.server.start()
            await self.server.clean_up()
        for number in one.clients:
            await self.clients[number].start(number in one.forgetful)
        if one.kind != "clients":
            await self.server.start()

    async def settle(self) -> int:
        """End the writer; return how many lines it wrote, when everything is published and every client has it."""
        self.writer.send_signal(signal.SIGTERM)
        assert self.writer.stdout is not None
        said = b""
        while data := await self.writer.stdout.receive_some():
            said += data
        await self.writer.wait()
        written = int(said or 0)
        due = len(kill_oracle.due_lines(self.root))
        with trio.move_on_after(SETTLE_SECONDS):
            await _seen(lambda: sum(1 for _ in kill_oracle.messages_of(self.log())) >= due)
            await self._snapshot()
            await _seen(self._everybody_is_there)
        return written

    def _everybody_is_there(self) -> bool:
        log = self.log()
        return all(client.last() >= last_due(log, client.topics) for client in self.clients)

    async def _snapshot(self) -> None:
        async with connect(self.server.url) as connection:
            data = (await connection.request("get_snapshot")).data
        self.snapshots.append((data["position"]["seq"], data))

    def log(self) -> tuple[Published, ...]:
        """The log as it is now."""
        return read_log(self.server.database)

    async def clean_up(self) -> None:
        """Leave no process behind."""
        for process in (self.writer, *(client.process for client in self.clients)):
            if process is not None and process.poll() is None:
                process.kill()
                await process.wait()
        await self.server.clean_up()


def last_due(log: Sequence[Published], topics: Sequence[str]) -> int:
    """The seq of the last event for these topics."""
    return next((event.seq for event in reversed(log) if not event.topics.isdisjoint(topics)), 0)


@asynccontextmanager
async def stage(directory: Path, seed: int, clients: int, rate: float) -> AsyncIterator[Stage]:
    """A server that has seen its root, the clients on it, then the writer; none of them outlives the block."""
    root = directory / "projects"
    (root / "-p").mkdir(parents=True)
    (root / "-p" / "first.jsonl").write_bytes(SEED_LINE)
    port = free_port()
    server = Server(root, directory / "data", port, SETTINGS)
    url = f"ws://127.0.0.1:{port}"
    made = [Client(number, directory, url) for number in range(clients)]
    nobody = await trio.lowlevel.open_process(["true"])
    on = Stage(directory, server, made, nobody)
    try:
        await server.start()
        with trio.fail_after(SETTLE_SECONDS):  # what comes after the first scan is news
            await _seen(lambda: any(b"conversation_started" in event.payload for event in on.log()))
            for client in made:
                await client.start()
            await _seen(lambda: all(client.read().witness.changes for client in made))
        words = [sys.executable, "-m", "tests.bench.kill_writer", str(root), str(seed), str(rate)]
        on.writer = await trio.lowlevel.open_process(words, cwd=ROOT, stdout=subprocess.PIPE)
        yield on
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(END_SECONDS):
            await on.clean_up()


async def _seen(there: Callable[[], bool]) -> None:
    """Wait for what other processes write into files."""
    while not there():  # noqa: ASYNC110 - nobody would set an event
        await trio.sleep(LOOK_SECONDS)
