"""What others than the ingest commit: each with its events, which reach the Router in the order of their seqs."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
import trio

from actors.commands import Publish, Routed
from actors.router import Router
from observatory.core.events import Event, text_frame
from observatory.core.ports import Commits

R = TypeVar("R")


@attrs.frozen
class Publishing:
    """One commit at a time."""

    commits: Commits
    router: Router[str]

    async def carry_out(self, act: Callable[[], Awaitable[tuple[R, tuple[Event, ...]]]]) -> R:
        """Commit something at this one's turn; who follows it is told before this returns. Raises as `act`."""
        await self.commits.turn.take()
        publish: Publish[str] | None = None
        try:
            # What is committed has to reach the Router, or clients would miss it: no cancellation in between.
            with trio.CancelScope(shield=True):
                said, events = await act()
                if events:
                    routed = [Routed(event.seq, event.topics, text_frame(event.payload)) for event in events]
                    publish = Publish(tuple(routed))
                    await self.router.post(publish)
        finally:
            self.commits.turn.give_back()
        if publish is not None:
            await publish.done.wait()
        return said
