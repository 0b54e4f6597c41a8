"""What commands ask of the server that runs, by files in its data directory: see storage/errands.py."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
import structlog
import trio

from observatory.core.annotations import Annotation, Change
from observatory.core.errors import StoreError, UsageError
from observatory.core.forgetting import Removal, Target
from observatory.core.pruning import Prune, Pruned
from observatory.storage import errands
from observatory.storage.errands import Desk

log = structlog.get_logger()
W = TypeVar("W")
ERRANDS_EVERY = 0.25  # seconds between two looks for a file that a command has left: two failing opens


@attrs.frozen
class Answers:
    """Who does what. forget: tells what was removed, and whether its bytes have left the files."""

    forget: Callable[[Target], Awaitable[tuple[Removal, bool]]]
    annotate: Callable[[Change], Awaitable[Annotation]]
    prune: Callable[[Prune], Awaitable[Pruned]]

    async def run(self, directory: Path) -> None:
        """Do what is asked, also what the last server left undone, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_serve, directory, errands.FORGET, self._forget)
            nursery.start_soon(_serve, directory, errands.ANNOTATE, self._annotate)
            nursery.start_soon(_serve, directory, errands.PRUNE, self._prune)

    async def _forget(self, target: Target) -> dict[str, Any]:
        log.info("forget.started", kind=target.kind, id=target.id)
        try:
            removal, scrubbed = await self.forget(target)
        except StoreError as error:  # whoever asked is told; a store that is lost ends the other parts
            log.info("forget.finished", error=str(error))
            return {"error": str(error)}
        result = {"records": removal.records, "events": len(removal.seqs), "scrubbed": scrubbed}
        log.info("forget.finished", **result)
        return result

    async def _annotate(self, change: Change) -> dict[str, Any]:
        try:
            return (await self.annotate(change)).json()
        except (StoreError, UsageError) as error:
            return {"error": str(error)}

    async def _prune(self, wish: Prune) -> dict[str, Any]:
        try:
            return attrs.asdict(await self.prune(wish))
        except StoreError as error:
            return {"error": str(error)}


async def _serve(directory: Path, desk: Desk[W], answer: Callable[[W], Awaitable[dict[str, Any]]]) -> None:
    while True:
        if (errand := desk.take(directory)) is not None:
            desk.finish(directory, errand, await answer(errand.wish))
        await trio.sleep(ERRANDS_EVERY)
