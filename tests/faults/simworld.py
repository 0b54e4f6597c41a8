"""Level 0: the whole node in virtual time; a seed decides the order of tasks, and everything drawn."""

from typing import Any

import attrs
import trio
import trio.testing

from observatory.storage.reader import PAGE_BYTES
from tests.faults.line import Line
from tests.faults.sim import LineWire, Settings, SimNode
from tests.faults.world import World

TURN_EVENTS = 4096  # of one transaction: an empty outbox takes them as one, shared with all others who get them
TURN_BYTES = 1024 * 1024


@attrs.define(eq=False)
class SimWorld(World):
    """A World in memory. `settings` of the node may be changed before it starts."""

    settings: Settings = attrs.field(factory=Settings)
    overfull: list[str] = attrs.field(factory=list)
    deaf: bool = False  # hints are lost
    page_bytes: int = PAGE_BYTES + TURN_BYTES
    look_every: int = 25  # steps of tasks; a crowd makes a look dear
    node: SimNode = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.node = SimNode(self.directory, self.settings, self.draw)

    @property
    def token(self) -> str | None:
        """By the node's settings."""
        return None if self.settings.token is None else self.settings.token()

    def configure(self, **changes: Any) -> None:
        """Settings of the node: outbox, timing, retention …"""
        self.settings = self.node.settings = attrs.evolve(self.settings, **changes)

    async def start(self) -> None:
        """Start the node."""
        await self.node.start(self.nursery)
        await self.calm()
        self.baseline = self.node.tasks()

    async def part(self) -> None:
        """V1: and no task of theirs."""
        await super().part()
        await self.until(lambda: self.node.tasks() <= self.baseline, 60)
        for fault in self.overfull:
            raise AssertionError(f"V7: {fault}")

    def look(self) -> None:
        """Between two steps of tasks: is any outbox beyond its bounds? (V7)"""
        limits = self.settings.outbox
        for connection in self.node.connections():
            found = connection.sender.statistics()
            if found.queued_frames > limits.frames + TURN_EVENTS or found.queued_bytes > limits.bytes + self.page_bytes:
                self.overfull.append(f"an outbox of {found}, with limits of {limits}")

    async def kill(self) -> None:
        """Nothing is written any more."""
        self.node.points.armed.clear()
        await self.node.kill()

    async def stop(self) -> None:
        """Cancel it; it closes its log."""
        await self.node.stop()
        for line in self.node.all_lines:
            assert not line.after_end, f"V10: bytes after the end: {bytes(line.after_end[:40])!r}"

    async def dial(self) -> LineWire:
        """A Line to it."""
        return await self.node.dial()

    async def calm(self) -> None:
        """Until all tasks wait for time to pass."""
        await trio.testing.wait_all_tasks_blocked()

    async def pause(self, seconds: float) -> None:
        """Virtual."""
        await trio.sleep(seconds)

    async def status(self) -> dict[str, Any]:
        """Straight from the parts."""
        await trio.lowlevel.checkpoint()
        return self.node.manager.stats()

    def hint(self, path: Any) -> None:
        """The watcher's."""
        if not self.deaf:
            self.node.hint(path)

    async def publish(self, count: int = 1, size: int = 20, where: str | None = "all_conversations") -> None:
        """Broadcast messages."""
        for _ in range(count):
            await self.node.manager.broadcast({"type": "note", "data": {"text": "x" * size}}, where)


def line_of(peer: Any) -> Line:
    """The connection under a peer, to do something to it."""
    wire = peer.session.wire
    assert isinstance(wire, LineWire)
    return wire.line


@attrs.define(eq=False)
class Looker(trio.abc.Instrument):
    """Has the world look at itself after `look_every` steps, or more the more clients there are to look at."""

    world: SimWorld
    _steps: int = 0
    _due: int = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """One step was made."""
        self._steps += 1
        if self._steps >= self._due:
            self._due = self._steps + max(self.world.look_every, len(self.world.node.connections()))
            self.world.look()
