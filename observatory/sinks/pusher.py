"""Pusher: takes steps from the archive to the database, in order, and goes on only after an answer.

What cannot be sent now is sent later, for as long as it takes; a row that the database will not take is put aside with
its reason, and the rest goes on. While one step is sent the next one is read.
"""

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import attrs
import trio

from observatory.core.mirror_rows import KEYS, Row
from observatory.core.mirror_verdict import INIT, MIGRATE, Again, Paused, Rejected, Verdict
from observatory.core.reconnect import Backoff
from observatory.sinks.destination import Destination, Failed
from observatory.sinks.follower import Follower
from observatory.sinks.state import Ref, State
from observatory.sinks.step import Step

LOOK_EVERY = 0.5  # seconds between two looks for what is new
FIRST_DELAY, LONGEST_DELAY = 0.5, 60.0  # seconds after a failure: full jitter
PAUSED_DELAY = 30.0  # … and after one that waits for a person
LONGEST_ASKED = 3600.0  # a number from the network may be nonsense
ASKED_EVERY = 2.0  # seconds between two looks whether parked rows are wanted again
TOLD_EVERY = 1.0
SKEW = 120.0  # seconds between two clocks that are worth a word
VERSION = 3  # of the tables: as many as there are files in migrations
SUSPICIOUS = 20  # rows in a row that are put aside: then it may be more than the rows, and there is no hurry
R = TypeVar("R")


@attrs.define
class Progress:
    """How it goes. reason, hint: what is wrong now. sent: rows by table. lag_since: when it began to be behind."""

    reason: str | None = None
    hint: str | None = None
    cursor: int = 0
    lag_changes: int = 0
    lag_bytes: int = 0
    lag_since: float | None = None
    parked: int = 0
    sent: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(KEYS, 0))
    retries: dict[str, int] = attrs.field(factory=lambda: {"again": 0, "paused": 0, "rejected": 0})
    warning: str | None = None
    caught_up: bool = False


class Pusher:
    """`run` is the task. tell: is told how it goes, when that has changed. identity: what the copy is of.

    follower, state: used in one thread at a time.
    """

    def __init__(
        self,
        follower: Follower,
        state: State,
        destination: Destination,
        identity: str,
        tell: Callable[[Progress], Awaitable[None]],
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._follower = follower
        self._state = state
        self._destination = destination
        self._identity = identity
        self._tell = tell
        self._backoff = partial(Backoff, uniform, FIRST_DELAY, LONGEST_DELAY)
        self._waits = self._backoff()
        self._thread = trio.CapacityLimiter(1)
        self._limit: int | None = None  # rows at a time, while the other side wants fewer
        self._told = -TOLD_EVERY
        self._put_aside: set[Ref] = set()  # of the step that is sent
        self._in_a_row = 0  # rows put aside since anything was taken
        self.progress = Progress()

    async def run(self, *, once: bool = False) -> None:
        """Until cancelled; once: until all is there. Raises StoreError."""
        await self._begin()
        asked = -ASKED_EVERY
        while True:
            again: list[Ref] = []
            if trio.current_time() - asked >= ASKED_EVERY or once:
                asked, again = trio.current_time(), await self._in_thread(self._state.asked_again)
            stale = await self._in_thread(self._follower.is_stale)
            if again or stale or not self.progress.caught_up:
                await self._catch_up(again)
                if once:
                    return
            await trio.sleep(LOOK_EVERY)

    async def _begin(self) -> None:
        """Until the other side is as it must be; then it is decided whether the copy goes on or begins anew."""
        while True:
            about = await self._insist(lambda: self._destination.look(self._follower.machine_id))
            trouble = _trouble(about.version, registered=about.registered)
            if trouble is None:
                break
            await self._wait(trouble)
        if abs(about.skew) > SKEW:
            self.progress.warning = f"its clock is {about.skew:+.0f} seconds off ours"
        elif about.privileged:
            self.progress.warning = "this login may do anything there; observatory supabase init makes one that may not"
        if self._state.get("identity") != self._identity:
            await self._in_thread(partial(self._state.begin_anew, self._identity, over=about.rows))
        state = self._state
        if state.over and not state.cursor and not state.places():  # also when it was killed right here before
            await self._send(await self._in_thread(self._follower.clearing))
        self._follower.begin(state.cursor, state.places(), over=state.over)
        self.progress.cursor = state.cursor
        await self._was_well(force=True)

    # -- a pass --------------------------------------------------------------------------------------------------------

    async def _catch_up(self, again: list[Ref]) -> None:
        self.progress.caught_up = False
        async with _ahead(self._follower.steps(again), self._in_thread) as steps:
            async for step in steps:
                await self._send(step)
                await self._in_thread(partial(self._keep, step))
                await self._was_well()
        if self._follower.over:
            await self._in_thread(self._state.settle)
            self._follower.over = False
        self.progress.caught_up = True
        await self._was_well(force=True)

    def _keep(self, step: Step) -> None:
        if step.cursor is not None:
            self.progress.cursor = step.cursor
        fine = step.fine if not self.progress.parked else [*step.fine, *(ref for _, ref, _ in step.flat())]
        self._state.advance(step.cursor, step.places, step.gone, [ref for ref in fine if ref not in self._put_aside])
        self._put_aside.clear()

    async def _was_well(self, *, force: bool = False) -> None:
        progress = self.progress
        progress.reason = progress.hint = None
        if not force and trio.current_time() - self._told < TOLD_EVERY:
            return
        self._told = trio.current_time()
        progress.lag_changes, progress.lag_bytes = await self._in_thread(partial(self._follower.lag, progress.cursor))
        progress.parked = len(await self._in_thread(self._state.parked))
        if not progress.lag_changes:
            progress.lag_since = None
        elif progress.lag_since is None:
            progress.lag_since = time.time()
        await self._tell(progress)

    # -- sending -------------------------------------------------------------------------------------------------------

    async def _send(self, step: Step) -> None:
        """Until it is there, but for rows that cannot be."""
        self._put_aside = set()
        if step.empty:
            return
        if step.deletes:
            await self._send_rows(Step(deletes=step.deletes), [])
        rows = [*step.flat()]
        while rows:
            some, rows = rows[: self._limit], rows[self._limit :] if self._limit else []
            await self._send_rows(_step_of(some), some)

    async def _send_rows(self, step: Step, rows: list[tuple[str, Ref, Row]]) -> None:
        while True:
            try:
                await self._destination.write(step)
            except Failed as failed:
                verdict = failed.verdict
                if isinstance(verdict, Rejected) and not rows:  # deletes: nothing in them can be wrong but the tables
                    verdict = Paused(verdict.reason, MIGRATE)
                if isinstance(verdict, Rejected) or (isinstance(verdict, Again) and verdict.smaller and len(rows) > 1):
                    if isinstance(verdict, Again):
                        self._limit = max(1, len(rows) // 2)
                        await self._wait(verdict)
                    else:
                        self.progress.retries["rejected"] += 1
                    await self._divide(rows, verdict)
                    return
                await self._wait(verdict)
                continue
            self._count(step)
            return

    async def _divide(self, rows: list[tuple[str, Ref, Row]], verdict: Rejected | Again) -> None:
        """Which of them it is, is found out by halves."""
        if len(rows) == 1:
            _, ref, _ = rows[0]
            self._in_a_row += 1
            if self._in_a_row > SUSPICIOUS:
                await self._wait(Paused(verdict.reason, "it takes none of these rows; see docs/supabase.md"))
            self._put_aside.add(ref)
            self.progress.parked += 1
            await self._in_thread(partial(self._state.park, [(ref, verdict.reason)], round(time.time() * 1000)))
            return
        middle = len(rows) // 2
        for half in (rows[:middle], rows[middle:]):
            await self._send_rows(_step_of(half), half)

    def _count(self, step: Step) -> None:
        self._waits, self._in_a_row = self._backoff(), 0
        if self._limit is not None:
            self._limit = self._limit * 2 if self._limit < 1000 else None
        for table, sent in step.rows.items():
            self.progress.sent[table] += len(sent)

    # -- failures ------------------------------------------------------------------------------------------------------

    async def _insist(self, call: Callable[[], Awaitable[R]]) -> R:
        while True:
            try:
                return await call()
            except Failed as failed:
                await self._wait(failed.verdict)

    async def _wait(self, verdict: Verdict) -> None:
        progress = self.progress
        progress.reason, progress.hint = verdict.reason, verdict.hint if isinstance(verdict, Paused) else None
        progress.retries["paused" if isinstance(verdict, Paused) else "again"] += 1
        if progress.lag_since is None:
            progress.lag_since = time.time()
        self._told = trio.current_time()
        await self._tell(progress)
        delay = self._waits.draw()
        if isinstance(verdict, Paused):
            delay += min(PAUSED_DELAY, self._waits.longest)
        elif isinstance(verdict, Again) and verdict.after is not None:
            delay += min(verdict.after, LONGEST_ASKED)
        await trio.sleep(delay)

    async def _in_thread(self, call: Callable[[], R]) -> R:
        return await trio.to_thread.run_sync(call, limiter=self._thread)


def _trouble(version: int, *, registered: bool) -> Paused | None:
    if version < VERSION:
        return Paused(f"its tables are of version {version}, and this program needs {VERSION}", MIGRATE)
    if version > VERSION:
        return Paused(f"its tables are of version {version}, and this program knows {VERSION}", "upgrade observatory")
    return None if registered else Paused("it does not know this machine", INIT)


def _step_of(rows: list[tuple[str, Ref, Row]]) -> Step:
    step = Step()
    for table, ref, row in rows:
        step.rows[table][ref] = row
    return step


@asynccontextmanager
async def _ahead(
    steps: Iterator[Step], in_thread: Callable[[Callable[[], Any]], Awaitable[Any]]
) -> AsyncIterator[AsyncIterator[Step]]:
    """The steps, each read while the one before is dealt with."""
    send, receive = trio.open_memory_channel[Step](0)

    async def read() -> None:
        with send:
            while (step := await in_thread(partial(next, steps, None))) is not None:
                await send.send(step)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        with receive:
            yield receive
        nursery.cancel_scope.cancel()
