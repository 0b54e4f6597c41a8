"""World: what a scenario plays in. A node, its clients, the transcripts they write, and all that must hold afterwards.

The same scenario can be played in virtual time (simworld.py), over real sockets, and against a child process (both in
sockets.py); each says how to start, stop and wait there.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import orjson
import trio

from observatory.core.identity import is_transcript
from observatory.doctor.account import accounts
from observatory.storage.accounting import reading
from tests.faults.peer import Pace, Peer, Wire
from tests.faults.transcripts import prompt
from tests.oracle import Published, Witness, check, judge, read_log

PROBE_SECONDS = 1.0


@attrs.define(eq=False)
class World(ABC):
    """Made for one run of one scenario, with one seed.

    aimed: names of the clients that the fault hits; all others must not notice it. logged: what the node logged.
    """

    directory: Path
    seed: int
    nursery: trio.Nursery
    draw: random.Random = attrs.field(init=False)
    peers: dict[str, Peer] = attrs.field(factory=dict)
    aimed: set[str] = attrs.field(factory=set)
    restarts: int = 0
    logged: list[dict[str, Any]] = attrs.field(factory=list)
    baseline: Any = None
    disordered: bool = False  # transcripts were cut or rewritten: the account need not be clean
    _log: dict[int, Published] = attrs.field(factory=dict)  # all that was ever seen of it: retention trims it
    _contents: dict[tuple[str, int], bytes] = attrs.field(factory=dict)
    _written: dict[str, int] = attrs.field(factory=dict)
    _live_lines: dict[str, set[str]] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        self.root.mkdir(exist_ok=True)

    @property
    def token(self) -> str | None:
        """What the node asks its clients for."""
        return None

    @property
    def root(self) -> Path:
        """Where transcripts are."""
        return self.directory / "projects"

    @property
    def data_dir(self) -> Path:
        """Where the log is."""
        return self.directory / "data"

    # -- what each level does in its own way ---------------------------------------------------------------------------

    settle_seconds: float = attrs.field(default=3600.0, init=False)

    @abstractmethod
    async def start(self) -> None:
        """Start the node."""

    @abstractmethod
    async def kill(self) -> None:
        """End it by SIGKILL, or as if."""

    @abstractmethod
    async def dial(self) -> Wire:
        """A connection to the node that runs now. Raises OSError when there is none."""

    @abstractmethod
    async def calm(self) -> None:
        """Let everything happen that needs no time."""

    @abstractmethod
    async def pause(self, seconds: float) -> None:
        """Let time pass between two looks."""

    @abstractmethod
    async def status(self) -> dict[str, Any]:
        """Gauges and clients by mode."""

    @abstractmethod
    async def stop(self) -> None:
        """End the node in order."""

    def hint(self, path: Path) -> None:  # noqa: B027 - real watchers need no hint
        """A transcript changed."""

    def clean_up(self) -> None:  # noqa: B027
        """Leave nothing behind, whatever happened."""

    async def restart(self) -> None:
        """Kill it, and start it again."""
        await self.kill()
        self.restarts += 1
        await self.start()

    # -- clients -------------------------------------------------------------------------------------------------------

    async def client(self, name: str, *topics: str, **options: Any) -> Peer:
        """A client that is connected and subscribed; see Peer for the options."""
        options.setdefault("token", self.token)
        peer = Peer(name, self.dial, topics or ("all_conversations",), contents=self._contents, **options)
        self.peers[name] = peer
        self.nursery.start_soon(peer.run)
        await peer.confirmed.wait()
        return peer

    async def target(self, name: str, *topics: str, **options: Any) -> Peer:
        """A client that the fault is aimed at."""
        self.aimed.add(name)
        return await self.client(name, *topics, **options)

    # -- transcripts ---------------------------------------------------------------------------------------------------

    def write(self, file: str, count: int = 1, size: int = 20) -> None:
        """Append prompts to a transcript."""
        start = self._written.get(file, 0)
        self._written[file] = start + count
        self._live_lines.setdefault(file, set()).update(f"{file}-{n}" for n in range(start, start + count))
        self.append(file, b"".join(prompt(file, n, size) for n in range(start, start + count)))

    def owe(self, file: str, *uuids: str) -> None:
        """Lines with these uuids, written otherwise, have to be published once, like those of `write`."""
        self._live_lines.setdefault(file, set()).update(uuids)

    def append(self, file: str, data: bytes) -> None:
        """Append bytes to a transcript."""
        path = self.path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as out:
            out.write(data)
        self.hint(path)

    def drip(self, file: str, count: int = 1) -> None:
        """Append prompts, one byte a write."""
        start = self._written.get(file, 0)
        self._written[file] = start + count
        for number in range(start, start + count):
            self._live_lines.setdefault(file, set()).add(f"{file}-{number}")
            for byte in prompt(file, number):
                self.append(file, bytes((byte,)))

    def path(self, file: str) -> Path:
        """Where it is."""
        return self.root / "-w" / f"{file}.jsonl"

    # -- waiting -------------------------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], bool], seconds: float | None = None) -> None:
        """Until something holds."""
        deadline = trio.current_time() + (seconds or self.settle_seconds)
        while not condition():
            assert trio.current_time() < deadline, f"it did not come about in {seconds or self.settle_seconds} s"
            await self.pause(0.01)

    async def settle(self) -> None:
        """Until every client that is there has everything, however slowly it reads. What it lacks then is missing."""
        deadline, pause = trio.current_time() + self.settle_seconds, 0.1  # the books close within that
        while True:
            await self.calm()
            await self.pause(pause)
            await self.calm()
            if await self._all_there():
                return
            if trio.current_time() > deadline:
                self.delivered()  # says what is missing
                raise AssertionError(f"no rest: {await self.status()}")
            pause = min(pause * 2, 60.0 if self.settle_seconds > 1000 else 0.4)

    async def _all_there(self) -> bool:
        here = [peer for peer in self.peers.values() if peer.here]
        status = await self.status()
        assert all(status["gauges"][name] >= 0 for name in GAUGES), f"V3: gauges below zero: {status['gauges']}"
        if not all(peer.confirmed.is_set() for peer in here) or status["clients"]["behind"]:
            return False
        log = self.published()
        return self._archived(log) and all(judge(log, peer.witness) for peer in here)

    def _archived(self, log: tuple[Published, ...]) -> bool:
        return not self._live_lines or not self._missing_lines(log)

    # -- what must hold ------------------------------------------------------------------------------------------------

    def published(self) -> tuple[Published, ...]:
        """The log as it is on disk, behind what was seen of it before it was trimmed; its seqs are dense (V6)."""
        self._log.update((event.seq, event) for event in read_log(self.data_dir / "observatory.db"))
        return tuple(self._log[seq] for seq in sorted(self._log))

    def delivered(self) -> None:
        """The oracle: every client got what it was due, once, in order (V4, V5); every line is in the log, once."""
        log = self.published()
        missing = self._missing_lines(log)
        assert not missing, f"V6: lines that were never published: {sorted(missing)[:5]}, {len(missing)} in all"
        self._same_contents(log)
        for peer in self.peers.values():
            try:
                check(log, peer.witness, peer.last.seq if not peer.here and peer.last is not None else None)
            except AssertionError as error:
                raise AssertionError(f"{peer.name}: {error}") from None

    def _same_contents(self, log: tuple[Published, ...]) -> None:
        """What clients hold under a seq of this log is what the log holds: a seq has one content for ever."""
        for event in log:
            if event.payload:  # … which forgotten ones have not
                epoch = orjson.loads(event.payload)["epoch"]
                held = self._contents.get((epoch, event.seq), event.payload)
                assert held == event.payload, f"clients hold another event as seq {event.seq} of {epoch} than the log"

    def new_log(self) -> None:
        """The log is lost from here on: what was due of it is judged now, and the clients begin anew."""
        self.delivered()
        self.begin_anew()

    def begin_anew(self) -> None:
        """What was written and published before is not asked for any more."""
        self._log.clear()
        self._live_lines.clear()  # the archive holds them, and the account says so; the new log need not
        for peer in self.peers.values():
            peer.witness = Witness()

    def _missing_lines(self, log: tuple[Published, ...]) -> set[str]:
        seen = [
            orjson.loads(event.payload)["data"]["record"]["uuid"]
            for event in log
            if event.payload.startswith(b'{"type":"message_added"')
        ]
        wanted = set().union(*self._live_lines.values()) if self._live_lines else set()
        doubled = len([uuid for uuid in seen if uuid in wanted]) - len(wanted & set(seen))
        assert not doubled, f"V6: {doubled} lines were published twice"
        return wanted - set(seen)

    def spared(self) -> None:
        """V4: those that the fault is not aimed at are on their first connection, and were never behind."""
        for peer in self.peers.values():
            if peer.name not in self.aimed and not self.restarts:
                codes = [session.code for session in peer.sessions]
                assert len(peer.sessions) == 1, f"V4: {peer.name} was cut off: {codes}"

    def accounted(self) -> None:
        """V6: the archive and the transcripts agree, byte for byte."""
        if self.disordered:
            return
        with reading(self.data_dir) as archive:
            paths = (str(path) for path in sorted(self.root.rglob("*")) if is_transcript(str(path)) and path.is_file())
            unclean = [file for file in accounts(archive, paths) if not file.clean]
        assert not unclean, f"V6: the account is not clean: {unclean[0]}"

    async def finish(self, may_log: frozenset[str]) -> None:
        """All checks that hold after every scenario."""
        await self.settle()
        self.delivered()
        self.spared()
        self.accounted()
        await self.probe()
        await self.part()
        await self.stop()
        bad = [entry for entry in self.logged if entry["log_level"] == "error" and entry["event"] not in may_log]
        assert not bad, f"V8: logged as an error: {bad[0]}"

    async def probe(self) -> None:
        """V9: a new line reaches a new client within a second."""
        probe = await self.client("probe")
        count = len(probe.witness.frames)
        self.write("probe-file")
        await self.until(lambda: len(probe.witness.frames) > count, PROBE_SECONDS * (1 if self.virtual else 10))

    @property
    def virtual(self) -> bool:
        """Whether time is virtual."""
        return True

    async def part(self) -> None:
        """V1 and V3: when the clients have gone, nothing of them is left."""
        for peer in self.peers.values():
            peer.leave()
        deadline = trio.current_time() + 60
        while True:
            status = await self.status()
            gauges = {**status["clients"], **{name: status["gauges"][name] for name in GAUGES}}
            if not any(gauges.values()):
                break
            assert trio.current_time() < deadline, f"V3: gauges do not settle: {gauges}"
            await self.pause(0.01)
        await self.calm()


GAUGES = ("topics_held", "outbox_frames", "outbox_bytes", "replies_waiting")

__all__ = ["Pace", "Peer", "World"]
