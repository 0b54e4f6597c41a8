"""The end of a server with clients: told at once, closed one by one, reset at last; the plan is core/drain.py's.

Nothing else stops meanwhile: until its own close each client gets its events.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

import structlog
import trio

from observatory.core.closing import CloseCode
from observatory.core.drain import Plan, Slot

log = structlog.get_logger()
BREATH = 256  # clients told between two checkpoints: a few ms, so that ten thousand do not stall the loop
HURRY_SECONDS = 0.5  # for the last bytes when the end must not wait


class Leaver(Protocol):
    """What the end of a server needs of a connection; a call to one that is gone already does nothing."""

    def announce_shutdown(self, reconnect_after_ms: int) -> None: ...
    def close_soon(self, code: CloseCode, reason: str) -> None: ...
    def abort(self) -> None: ...


Wait = Callable[[], Awaitable[None]]


async def drain(present: Collection[Leaver], plan: Plan, grace: float, wait_until_empty: Wait) -> None:
    """Close all clients by the plan, with 1012; `grace` seconds after its window reset what remains.

    present: who is there now, in the plan's order; it shrinks as they leave.
    """
    start = trio.current_time()
    log.info("drain.started", clients=len(present), seconds=round(plan.window, 3))
    leaving = tuple(zip(present, plan.slots, strict=True))
    await _announce(leaving)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_close_by_and_by, leaving, start)
        with trio.move_on_at(start + plan.window + grace):
            await wait_until_empty()
        nursery.cancel_scope.cancel()
    remaining = len(present)
    await _reset(present, wait_until_empty)
    log.info("drain.ended", seconds=round(trio.current_time() - start, 3), reset=remaining)


async def close_now(present: Collection[Leaver], wait_until_empty: Wait) -> None:
    """Close all clients with 1001, whatever was planned; what is not gone in a moment is reset."""
    for client in present:
        client.close_soon(CloseCode.GOING_AWAY, "server is going away")
    with trio.move_on_after(HURRY_SECONDS):
        await wait_until_empty()
    await _reset(present, wait_until_empty)


async def _announce(leaving: Sequence[tuple[Leaver, Slot]]) -> None:
    for number, (client, slot) in enumerate(leaving, 1):
        client.announce_shutdown(slot.reconnect_after_ms)
        if not number % BREATH:
            await trio.lowlevel.checkpoint()


async def _close_by_and_by(leaving: Sequence[tuple[Leaver, Slot]], start: float) -> None:
    for client, slot in sorted(leaving, key=lambda pair: pair[1].due):
        await trio.sleep_until(start + slot.due)
        client.close_soon(CloseCode.RESTART, "server is going down")


async def _reset(present: Collection[Leaver], wait_until_empty: Wait) -> None:
    for client in tuple(present):
        client.abort()
    with trio.move_on_after(HURRY_SECONDS):
        await wait_until_empty()
