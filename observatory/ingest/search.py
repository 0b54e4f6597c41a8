"""Search: one look through all records for the leaves of summaries that came after them, in a thread."""

import threading
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Protocol

import attrs
import structlog
import trio

from observatory.core.errors import StoreError
from observatory.ingest.leaves import Leaves

log = structlog.get_logger()
RETRY_SECONDS = 10.0  # after a search that failed; nobody waits for it


class Searched(Protocol):
    """The store, from another thread."""

    def holders_of(self, uuids: Collection[str], stopped: Callable[[], bool]) -> list[tuple[str, str]]: ...


@attrs.define(eq=False)
class Search:
    """`begin` is called by the ingest's task after a commit, so that what it read is found; `run` is a task.

    wake: tells the ingest that something was found out.
    """

    leaves: Leaves
    store: Searched
    wake: Callable[[], Awaitable[None]]
    busy: bool = False
    _wanted: frozenset[str] = frozenset()
    _begun: trio.Event = attrs.field(factory=trio.Event)

    @property
    def waiting(self) -> bool:
        """A search is under way, or to be begun."""
        return self.busy or bool(self.leaves.unsearched)

    def begin(self) -> None:
        """Search for what nobody has searched for yet; what comes during a search has the next one."""
        if not self.busy and self.leaves.unsearched:
            self.busy, self._wanted = True, frozenset(self.leaves.unsearched)
            self._begun.set()

    async def run(self) -> None:
        """Search when asked to, until cancelled."""
        while True:
            await self._begun.wait()
            self._begun = trio.Event()
            try:
                self.leaves.found(self._wanted, await self._holders())
            except StoreError as error:  # the next turn begins it again
                log.warning("summaries.not_searched", error=str(error), leaves=len(self._wanted))
                await trio.sleep(RETRY_SECONDS)
            self.busy = False
            await self.wake()

    async def _holders(self) -> list[tuple[str, str]]:
        stop = threading.Event()
        look = partial(self.store.holders_of, self._wanted, stop.is_set)
        try:
            return await trio.to_thread.run_sync(look, abandon_on_cancel=True)
        finally:
            stop.set()
