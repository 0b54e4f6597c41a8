"""The probe: takes a record's way through the parts, one hop after the other, and tells where it does not get on."""

import time
from collections.abc import Awaitable, Callable, Mapping

import attrs
import trio

from actors.router import Router
from observatory.core.batch import Batch
from observatory.core.events import Event
from observatory.core.ports import EventSource
from observatory.ingest.importing import WhenImported
from observatory.publishing import Publishing

Hop = Callable[[], Awaitable[None]]
FRESH_SECONDS = 0.5  # for which an answer is good: whoever asks often must not be a load


@attrs.frozen
class Probed:
    """seconds: what each hop took, in their order. stuck: the first that did not answer in time."""

    seconds: Mapping[str, float]
    stuck: str | None = None


@attrs.define(eq=False)
class Probe:
    """`run` takes the hops when somebody asks; a hop that hangs holds it up, and nobody else."""

    hops: Mapping[str, Hop]
    _asked: trio.Event = attrs.field(factory=trio.Event)
    _answered: trio.Event = attrs.field(factory=trio.Event)
    _now: str = ""  # the hop that is being taken
    _last: Probed | None = None
    _at: float = 0.0

    async def run(self) -> None:
        """Until cancelled. Raises as the hops do."""
        while True:
            await self._asked.wait()
            seconds: dict[str, float] = {}
            for self._now, hop in self.hops.items():  # noqa: B020 - it is told while the hop is taken
                began = time.perf_counter()
                await hop()
                seconds[self._now] = time.perf_counter() - began
            self._last, self._at = Probed(seconds), trio.current_time()
            self._asked = trio.Event()
            self._answered.set()
            self._answered = trio.Event()

    async def ask(self, patience: float) -> Probed:
        """How it goes: an answer of just now, or one within `patience` seconds."""
        if self._last is not None and trio.current_time() - self._at < FRESH_SECONDS:
            await trio.lowlevel.checkpoint()
            return self._last
        self._now = self._now if self._asked.is_set() else next(iter(self.hops))
        self._asked.set()
        with trio.move_on_after(patience):
            await self._answered.wait()
            assert self._last is not None
            return self._last
        return Probed({}, self._now)


def way(
    send: Callable[[tuple[WhenImported, ...]], Awaitable[None]],
    publishing: Publishing,
    events: EventSource,
    router: Router[str],
) -> dict[str, Hop]:
    """The hops of a record. send: to the ingest."""

    async def ingest() -> None:
        asked = WhenImported(trio.Event(), at_once=True)
        await send((asked,))
        await asked.done.wait()

    async def log() -> None:
        async def commit_nothing() -> tuple[None, tuple[Event, ...]]:
            return None, await publishing.commits.append(Batch())

        await publishing.carry_out(commit_nothing)

    async def reader() -> None:
        await events.read(events.position.head, events.position.head)

    return {"ingest": ingest, "log": log, "reader": reader, "router": router.wait_turn}
