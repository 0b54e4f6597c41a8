"""Notifier: follows the log, decides what is worth a notice, and hands it to each way; it holds up nobody.

It reads what was committed, as a client that is behind does. Each way has a short queue and a task of its own: one that
hangs costs its own notices only, and they are counted.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import attrs
import orjson
import structlog
import trio

from observatory.core.contracts import Report
from observatory.core.errors import StoreError
from observatory.core.notices import Notice, Notices, Spending
from observatory.core.ports import EventSource
from observatory.notify.ways import Failed, Way, deliver

log = structlog.get_logger()
LOOK_EVERY = 0.5  # seconds
WAITING = 32  # notices of one way that wait
BUDGET_EVERY = 60.0
Spent = Callable[[], Awaitable[tuple[str, float]]]  # the period that runs, and what was spent in it, in USD


@attrs.define
class _Lane:
    """One way, and how it goes."""

    way: Way
    send: trio.MemorySendChannel[Notice]
    receive: trio.MemoryReceiveChannel[Notice]
    sent: int = 0
    failed: int = 0
    dropped: int = 0
    trouble: str | None = None


class Notifier:
    """`run` is the task. report: has the health say how a way is. spent: what the period that runs has cost, with a
    budget."""

    def __init__(
        self,
        events: EventSource,
        ways: Sequence[Way],
        notices: Notices,
        wall: Callable[[], float],
        report: Report,
        spending: Spending | None = None,
        spent: Spent | None = None,
    ) -> None:
        self._events = events
        self._notices = notices
        self._wall = wall
        self._report = report
        self._spending = spending
        self._spent = spent
        self._lanes = [_Lane(way, *trio.open_memory_channel[Notice](WAITING)) for way in ways]

    async def run(self) -> None:
        """From now on, until cancelled."""
        async with trio.open_nursery() as nursery:
            for lane in self._lanes:
                nursery.start_soon(self._drain, lane)
            if self._spent is not None and self._spending is not None:
                nursery.start_soon(partial(self._watch_spending, self._spent, self._spending))
            await self._follow()

    def offer(self, notice: Notice) -> None:
        """Hand a notice to every way; one whose queue is full goes without."""
        for lane in self._lanes:
            try:
                lane.send.send_nowait(notice)
            except trio.WouldBlock:
                lane.dropped += 1
                log.warning("notice.dropped", way=lane.way.name, dropped=lane.dropped)

    def gauges(self) -> dict[str, int]:
        """Nothing of it is measured."""
        return {}

    def counters(self) -> dict[str, Any]:
        """Notices by way."""
        counts = {lane.way.name: (lane.sent, lane.failed, lane.dropped) for lane in self._lanes}
        return {
            "notices": {
                name: dict(zip(("sent", "failed", "dropped"), found, strict=True)) for name, found in counts.items()
            }
        }

    async def _follow(self) -> None:
        cursor = self._events.position.head
        while True:
            await trio.sleep(LOOK_EVERY)
            cursor = await self._read(cursor)
            for notice in self._notices.due(self._wall()):
                self.offer(notice)

    async def _read(self, cursor: int) -> int:
        """Take in what was committed since; returns up to where. What has been trimmed meanwhile is no news."""
        while cursor < (head := self._events.position.head):
            cursor = max(cursor, self._events.position.oldest - 1)
            try:
                page = await self._events.read(cursor, head)
            except StoreError as error:
                log.warning("notice.unread", error=str(error))
                return head
            if not page:
                return head
            for stored in page:
                self._take(stored.payload)
            cursor = page[-1].seq
        return cursor

    def _take(self, payload: bytes) -> None:
        if not payload:  # forgotten
            return
        found = orjson.loads(payload)
        data = found["data"]
        if found["type"] == "conversation_forgotten" and isinstance(data, dict):
            self._notices.forget(str(data.get("id")))
        else:
            self._notices.take(found["type"], data, self._wall())

    async def _drain(self, lane: _Lane) -> None:
        async for notice in lane.receive:
            try:
                await deliver(lane.way, notice)
            except Failed as failure:
                lane.failed += 1
                log.warning("notice.not_sent", way=lane.way.name, kind=notice.kind, reason=str(failure))
                await self._judge(lane, str(failure))
            except Exception as error:  # a defect of ours costs this notice
                lane.failed += 1
                log.exception("notice.failed", way=lane.way.name)
                await self._judge(lane, type(error).__name__)
            else:
                lane.sent += 1
                await self._judge(lane, None)

    async def _judge(self, lane: _Lane, trouble: str | None) -> None:
        before, lane.trouble = lane.trouble, trouble
        if (trouble is None) != (before is None):
            await self._report(f"notify:{lane.way.name}", "ok" if trouble is None else "degraded", trouble)

    async def _watch_spending(self, spent: Spent, spending: Spending) -> None:
        head = -math.inf
        while True:
            if head != self._events.position.head:
                head = self._events.position.head
                try:
                    notice = spending.check(*await spent(), self._wall())
                except StoreError as error:
                    log.warning("notice.unread", error=str(error))
                else:
                    if notice is not None:
                        self.offer(notice)
            await trio.sleep(BUDGET_EVERY)
