"""Forgetting while everything runs: between two turns of the ingest, in the store and in memory."""

from collections.abc import Awaitable, Callable

import attrs
import trio

from actors.commands import Expunge, Publish, Routed
from actors.router import Router
from observatory.core.errors import StoreError
from observatory.core.events import text_frame
from observatory.core.forgetting import Removal, Target
from observatory.core.ports import Commits
from observatory.ingest.agenda import Agenda
from observatory.ingest.books import Books
from observatory.ingest.importing import Importing
from observatory.ingest.reader import Reader


@attrs.define(eq=False)
class Wish:
    """One request; `done` when `removal` or `error` is there."""

    target: Target
    done: trio.Event = attrs.field(factory=trio.Event)
    removal: Removal | None = None
    error: StoreError | None = None


@attrs.define(eq=False)
class Forgetting:
    """`fulfil` is called by the ingest's task, with its books closed."""

    committer: Commits
    router: Router[str]
    books: Books
    reader: Reader
    agenda: Agenda
    importing: Importing
    wishes: list[Wish] = attrs.field(factory=list)

    async def ask(self, target: Target, wake: Callable[[], Awaitable[None]]) -> Removal:
        """Have it done by the ingest's task. Raises StoreError; then nothing is removed."""
        wish = Wish(target)
        self.wishes.append(wish)
        await wake()
        await wish.done.wait()
        if wish.error is not None:
            raise wish.error
        assert wish.removal is not None
        return wish.removal

    async def fulfil(self) -> None:
        """Do what was asked for."""
        while self.wishes:
            wish = self.wishes.pop(0)
            try:
                wish.removal = await self._forget(wish.target)
            except StoreError as error:  # told to whoever asked
                wish.error = error
            finally:
                wish.done.set()

    async def _forget(self, target: Target) -> Removal:
        await self.committer.turn.take()
        try:
            with trio.CancelScope(shield=True):  # what is removed from the store must not stay in memory
                removal = await self.committer.forget(target)
                self._forget_here(removal)
                await self.router.post(Expunge(frozenset(removal.seqs)))
                routed = tuple(Routed(event.seq, event.topics, text_frame(event.payload)) for event in removal.events)
                if routed:
                    await self.router.post(Publish(routed))
        finally:
            self.committer.turn.give_back()
        return removal

    def _forget_here(self, removal: Removal) -> None:
        paths = {file.path for file in removal.files}
        self.agenda.drop(paths)
        self.importing.drop(paths)
        self.reader.sources.forget(removal.files)
        self.reader.forget(removal.files)
        self.books.ledger.forget_rows()
        self.books.leaves.load()
        if removal.whole_project and removal.project is not None:
            self.books.unannounced.discard(removal.project.id)
