"""Supervisor: starts an optional part again when it ends early, with capped, jittered pauses; the main line goes on."""

import random
from collections.abc import Awaitable, Callable

import attrs
import trio


@attrs.frozen
class Policy:
    """first, longest: seconds before a new start; the limit doubles. lasted: seconds after which a part counts as well
    again, so that the next pause is short."""

    first: float = 0.5
    longest: float = 60.0
    lasted: float = 60.0


async def supervise(
    part: Callable[[], Awaitable[None]],
    ended: Callable[[BaseException | None], Awaitable[None]],
    policy: Policy | None = None,
    uniform: Callable[[float, float], float] = random.uniform,
) -> None:
    """Run the part for ever; it is told to `ended` when it returned (None) or raised an Exception. Until cancelled."""
    rule = policy or Policy()
    limit = rule.first
    while True:
        begun = trio.current_time()
        why: BaseException | None = None
        try:
            await part()
        except Exception as error:  # whatever it is: the part is started anew, and `ended` tells of it
            why = error
        await ended(why)
        if trio.current_time() - begun >= rule.lasted:
            limit = rule.first
        await trio.sleep(uniform(limit / 2, limit))
        limit = min(limit * 2, rule.longest)
