"""Level 0: a whole node in virtual time. Real log, ingest, Router, Senders and protocol; made-up kernel around them.

No thread and no socket, so a seed decides everything: the store runs inline, the watcher's hints come from whoever
writes, and clients hang on Lines.
"""

import random
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import trio

from actors.commands import Publish
from actors.router import Router
from actors.sender import OutboxLimits
from actors.watch_outlet import Outlet
from actors.watcher import Change, FileChanged, FileGone, FileSeen, FileStat, RootScanned
from observatory.core.drain import Pace
from observatory.core.facts import facts_of_frame
from observatory.core.handshake import Policy
from observatory.core.replies import Timing
from observatory.core.topics import EVERYONE, members
from observatory.ingest.actor import Ingest
from observatory.server.connections import ConnectionManager
from observatory.server.peer import Address
from observatory.storage.log import EventLog, Retention
from tests.faults.line import Line
from tests.faults.ports import Defect, InlineReader, Killed, Points, SimCommits
from tests.storage.damage import kill

START_MS = 1_795_381_200_000  # 2026-11-22T21:00:00Z


@attrs.define(eq=False)
class Doors(trio.abc.Listener[Any]):
    """Where clients come in."""

    _put: trio.MemorySendChannel[Line] = attrs.field(init=False)
    _get: trio.MemoryReceiveChannel[Line] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._put, self._get = trio.open_memory_channel[Line](10_000)

    async def accept(self) -> Line:
        """The next client."""
        try:
            return await self._get.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError from None

    async def aclose(self) -> None:
        """Nobody comes in any more."""
        self._get.close()
        await trio.lowlevel.checkpoint()

    def enter(self, line: Line) -> None:
        """A client comes in. Raises OSError when there is no server."""
        try:
            self._put.send_nowait(line)
        except trio.BrokenResourceError:
            raise ConnectionRefusedError from None


@attrs.frozen
class Settings:
    """What a scenario may set of a node."""

    outbox: OutboxLimits = attrs.field(factory=OutboxLimits)
    timing: Timing = attrs.field(factory=Timing)
    retention: Retention = attrs.field(factory=Retention)
    max_clients: int = 10_000
    pace: Pace = attrs.field(factory=Pace)
    boot_id: str = "boot-1"
    token: Callable[[], str] | None = attrs.field(default=None, repr=False)
    owner_of: Callable[[Address, Address], int | None] = lambda theirs, ours: 0
    policy: Policy = attrs.field(factory=Policy)


@attrs.define(eq=False)
class LineWire:
    """A Line seen by its peer."""

    line: Line

    async def put(self, data: bytes) -> None:
        """Send to the server."""
        await trio.lowlevel.checkpoint()
        self.line.put(data)

    async def take(self, count: int) -> bytes:
        """What came."""
        return await self.line.take(count)

    def reset(self) -> None:
        """Go away."""
        self.line.reset()

    def close(self) -> None:
        """Nothing is held."""


@attrs.define(eq=False)
class SimNode:
    """One node. `start` and `kill` are the lives of its process over one data directory."""

    directory: Path
    settings: Settings
    draw: random.Random
    points: Points = attrs.field(factory=Points)
    incarnation: int = 0
    defects: list[BaseException] = attrs.field(factory=list)  # that ended an incarnation
    wall_skew_ms: int = 0
    odd_stats: dict[str, Any] = attrs.field(factory=dict)  # of the status, beside what belongs there
    spoiled: bool = False  # whoever asks a filter about a new event is failed
    facts_read: int = 0
    lines: list[Line] = attrs.field(factory=list)  # of this incarnation
    all_lines: list[Line] = attrs.field(factory=list)
    new_line: Callable[[], Line] = Line
    _doors: Doors | None = None
    _task: trio.lowlevel.Task | None = None
    _scope: trio.CancelScope | None = None
    _ended: trio.Event = attrs.field(factory=trio.Event)

    # -- what a Feed is ------------------------------------------------------------------------------------------------

    router: Router[str] = attrs.field(init=False)
    events: InlineReader = attrs.field(init=False)
    commits: SimCommits = attrs.field(init=False)
    log: EventLog = attrs.field(init=False)
    ingest: Ingest = attrs.field(init=False)
    manager: ConnectionManager = attrs.field(init=False)
    outlet: Outlet[Change] = attrs.field(init=False)

    def on_written(self, publish: object) -> None:
        """As in a FileMonitor."""
        assert isinstance(publish, Publish)
        self.points.pass_("written")

    def announce(self, url: str | None) -> None:
        """Nobody looks."""

    def stats(self) -> dict[str, Any]:
        """Its part of the status."""
        self.points.pass_("stats")
        return {"gauges": self.ingest.gauges(), "counters": {}, **self.odd_stats}

    def _facts(self, frame: bytes) -> object:
        """What filters are asked about."""
        self.facts_read += 1
        return None if self.spoiled else facts_of_frame(frame)

    def _owner(self, theirs: Address, ours: Address) -> int | None:
        self.points.pass_("owner")
        return self.settings.owner_of(theirs, ours)

    # -- life ----------------------------------------------------------------------------------------------------------

    @property
    def root(self) -> Path:
        """Where transcripts are."""
        return self.directory / "projects"

    def wall_ms(self) -> int:
        """The wall clock: virtual, and skewed on demand."""
        return START_MS + round(trio.current_time() * 1000) + self.wall_skew_ms

    async def start(self, nursery: trio.Nursery) -> None:
        """Start the process."""
        self.incarnation += 1
        self._ended = trio.Event()
        await nursery.start(self._life)

    async def _life(self, task_status: trio.TaskStatus[None]) -> None:
        data = self.directory / "data"
        data.mkdir(exist_ok=True)
        self.root.mkdir(exist_ok=True)
        self._task = trio.lowlevel.current_task()
        try:
            with trio.CancelScope() as self._scope, self._parts(data):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.router.run)
                    nursery.start_soon(self.ingest.run)
                    nursery.start_soon(self.outlet.run)
                    nursery.start_soon(self._trim)
                    assert self._doors is not None
                    nursery.start_soon(self.manager.serve, cast(Any, [self._doors]))
                    self.outlet.put("root", self._look())
                    self.outlet.flush_nowait()
                    task_status.started()
        except* Killed:
            pass
        except* Defect as errors:  # a real process would end with exit code 1
            self.defects.append(errors)
        finally:
            self._ended.set()

    @contextmanager
    def _parts(self, data: Path) -> Any:
        self.log = EventLog(data, self.settings.boot_id)
        self.events = InlineReader(self.log)
        self.events.points = self.points
        self.commits = SimCommits(self.log, self.wall_ms, self.points)
        self.router = Router(EVERYONE, self.log.position.head, 64, lambda: 0, self.on_written, members, self._facts)
        self.ingest = Ingest(self.log, self.commits, self.router, self.wall_ms)
        self.outlet = Outlet(self.ingest)
        self.manager = ConnectionManager(
            self,
            outbox=self.settings.outbox,
            timing=self.settings.timing,
            max_clients=self.settings.max_clients,
            pace=self.settings.pace,
            jitter=self.draw.randint,
            token=self.settings.token,
            transport_of=lambda line: cast(Any, line),
            policy=self.settings.policy,
            owner_of=self._owner,
        )
        self._doors = Doors()
        try:
            yield
        finally:
            self._doors = None
            for line in self.lines:
                line.abort()
            self.lines.clear()
            self.events.close()
            if self.commits.dead:
                kill(self.log)  # without a last word
            else:
                self.log.close()

    async def _trim(self) -> None:
        while True:
            await trio.sleep(1.0)
            self.log.trim(self.settings.retention, self.wall_ms())

    async def kill(self) -> None:
        """SIGKILL: not a byte is written any more."""
        self.commits.dead = True
        await self.stop()

    def fail_at(self, point: str, nth: int) -> None:
        """A defect at the n-th call of a port from now on."""

        def fail() -> None:
            raise Defect(point)

        self.points.at(point, nth, fail)

    def die_at(self, point: str, nth: int) -> None:
        """SIGKILL at the n-th call of a port from now on."""

        def die() -> None:
            self.commits.dead = True
            raise Killed

        self.points.at(point, nth, die)

    async def stop(self) -> None:
        """Cancel everything, and wait for the end."""
        assert self._scope is not None
        self._scope.cancel()
        await self._ended.wait()

    def connections(self) -> tuple[Any, ...]:
        """The clients it serves now."""
        return () if self._doors is None else tuple(self.manager._server.connections)

    def tasks(self) -> int:
        """Of its process."""
        return 0 if self._task is None else _count(self._task)

    # -- from outside --------------------------------------------------------------------------------------------------

    async def dial(self) -> LineWire:
        """A client's connection. Raises OSError when nobody listens."""
        await trio.lowlevel.checkpoint()
        if self._doors is None:
            raise ConnectionRefusedError
        line = self.new_line()
        self._doors.enter(line)
        self.lines.append(line)
        self.all_lines.append(line)
        return LineWire(line)

    def hint(self, path: Path) -> None:
        """The watcher noticed a change. A node that is down looks when it starts."""
        if self._doors is None:
            return
        change = FileChanged(str(path), 0) if path.exists() else FileGone(str(path), 0)
        self.outlet.put(change.path, change)
        try:
            self.outlet.flush_nowait()
        except Killed:  # an idle Ingest works in the task that brings the hint
            assert self._scope is not None
            self._scope.cancel()
        except Defect as error:  # the watcher's task, and with it the process
            assert self._scope is not None
            self.defects.append(error)
            self._scope.cancel()

    def _look(self) -> RootScanned:
        files = sorted(path for path in self.root.rglob("*.jsonl") if path.is_file())
        return RootScanned(str(self.root), tuple(FileSeen(str(path), _stat(path)) for path in files))


def _count(task: trio.lowlevel.Task) -> int:
    """A task and all below it."""
    return 1 + sum(_count(child) for nursery in task.child_nurseries for child in nursery.child_tasks)


def _stat(path: Path) -> FileStat:
    found = path.stat()
    return FileStat(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
