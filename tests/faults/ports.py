"""The ports of a node at level 0, with failpoints: commits and the reading side of the log, on the loop."""

from collections.abc import Callable
from typing import TypeVar

import attrs
import trio

from actors.turn import Turn
from observatory.core.batch import Batch
from observatory.core.events import Event, LogPosition
from observatory.core.forgetting import Removal, Target
from observatory.storage.log import EventLog
from observatory.storage.reader import LogReader

R = TypeVar("R")
Failpoint = Callable[[], None]  # may raise


class Killed(BaseException):
    """The process ends here, without a last word."""


class Defect(Exception):
    """An error that no part of the node expects."""


@attrs.define(eq=False)
class Points:
    """Failpoints: what happens at the n-th call (from 1) of a named port."""

    calls: dict[str, int] = attrs.field(factory=dict)
    armed: dict[tuple[str, int], Failpoint] = attrs.field(factory=dict)

    def at(self, name: str, nth: int, what: Failpoint) -> None:
        """Arm one, counted from now; it is the only one."""
        self.armed.clear()
        self.armed[name, self.calls.get(name, 0) + nth] = what

    def pass_(self, name: str) -> None:
        """A port was called."""
        self.calls[name] = count = self.calls.get(name, 0) + 1
        if (what := self.armed.pop((name, count), None)) is not None:
            what()


@attrs.define(eq=False)
class SimCommits:
    """Commits on the loop. dead: as after a kill, nothing is written any more. delay: virtual seconds each takes."""

    log: EventLog
    wall_ms: Callable[[], int]
    points: Points
    dead: bool = False
    delay: float = 0.0
    turn: Turn = attrs.field(factory=Turn)
    _busy: trio.Lock = attrs.field(factory=trio.Lock)

    def append_nowait(self, batch: Batch) -> tuple[Event, ...] | None:
        """Commit now."""
        return None if self.dead or self.delay or self._busy.locked() else self._append(batch)

    async def append(self, batch: Batch) -> tuple[Event, ...]:
        """Commit after the delay."""
        async with self._busy:
            await trio.sleep(self.delay)
            if self.dead:
                await trio.sleep_forever()
            return self._append(batch)

    async def forget(self, target: Target) -> Removal:
        """Nothing is forgotten here."""
        raise NotImplementedError

    async def scrub(self) -> bool:
        """Nothing was forgotten here."""
        raise NotImplementedError

    def _append(self, batch: Batch) -> tuple[Event, ...]:
        self.points.pass_("before commit")
        events = self.log.append(batch, self.wall_ms())
        self.points.pass_("after commit")
        return events


class InlineReader(LogReader):
    """The reading side without its thread."""

    points: Points

    @property
    def position(self) -> LogPosition:
        """As it is; whoever asks may be failed."""
        self.points.pass_("position")
        return super().position

    async def _in_thread(self, call: Callable[[], R]) -> R:
        await trio.lowlevel.checkpoint()
        self.points.pass_("read")
        return call()
