"""Attachments: archives the spilled outputs of sessions, beside the ingest, so that no line waits for them."""

import random
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Protocol, TypeVar

import attrs
import structlog
import trio

from observatory.core import identity
from observatory.core.batch import AttachmentPart, AttachmentRow, Batch, Flag, SourceRow
from observatory.core.errors import StoreError
from observatory.core.ports import Commits
from observatory.core.spilled import FOLDER, MARK, named_in, session_folder
from observatory.core.transcript import Record
from observatory.ingest import spilled_files
from observatory.ingest.items import Item, Redact
from observatory.ingest.sources import Sources
from observatory.ingest.spilled_files import Spilled, State

log = structlog.get_logger()
R = TypeVar("R")
PART_BYTES = 256 * 1024  # of one transaction: about a millisecond
MAX_NAMES = 256  # named ones of a session that wait; beyond, its whole folder is looked through
SWEPT_A_COMMIT = 256  # sources that are done with; a kill before lets them be looked through again
RETRY_SECONDS = (1.0, 60.0)  # first and longest pause while the store cannot be written


class Store(Protocol):
    """What is stored already, by name. Blocks, in a worker thread: see EventLog."""

    def attachment_states(self, conversation_id: str) -> Mapping[str, State]: ...


@attrs.define
class Wanted:
    """What is to be looked at in one session's folder. paths: named ones; sources: whose sweep is done with it."""

    sweep: bool = False
    paths: set[str] = attrs.field(factory=set)
    sources: set[int] = attrs.field(factory=set)


@attrs.define
class Attachments:
    """`notice` is called by the ingest's task, `run` is a task of its own: one file at a time, in a worker thread."""

    store: Store
    committer: Commits
    sources: Sources
    redact: Redact | None = None
    counts: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(("stored", "without_body", "refused"), 0))
    _waiting: dict[str, Wanted] = attrs.field(factory=dict)  # by session folder
    _idle: trio.Event | None = None  # set when nothing waits any more, and nothing is being stored; None: so it is
    _swept: list[int] = attrs.field(factory=list)
    _wake: trio.Event = attrs.field(factory=trio.Event)
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))

    # -- what is wanted ------------------------------------------------------------------------------------------------

    def notice(self, source: SourceRow, items: Iterable[Item]) -> None:
        """Look for what these lines of a recognised file name; and through its folder, once its history is in."""
        history = False
        for item in items:
            history = history or bool(item.flags & Flag.BACKFILL)
            if MARK in item.body and isinstance(item.value, Record) and (paths := named_in(item.value)):
                self._want(source, paths)
        if history and source.offset >= source.backfill_until:
            self.sweep(source)

    def sweep(self, source: SourceRow) -> None:
        """Look through the folder of a file's session; done once for each source, also after a restart."""
        self._want(source, None)

    def sweep_all(self, source_ids: Iterable[int]) -> None:
        """The same for those sources that are still to be looked through, after a start."""
        ids = set(source_ids)
        for source in self.sources.by_path.values():
            if source.id in ids and source.conversation_id is not None and source.offset >= source.backfill_until:
                self.sweep(source)

    def _want(self, source: SourceRow, paths: list[str] | None) -> None:
        folder = session_folder(source.path, identity.locate(source.path, source.root))
        if folder is None:
            return
        wanted = self._waiting.setdefault(folder, Wanted())
        if paths is None:
            wanted.sources.add(source.id)
        if paths is None or len(wanted.paths) + len(paths) > MAX_NAMES:
            wanted.sweep = True
        else:
            wanted.paths |= set(paths)
        self._idle = trio.Event() if self._idle is None else self._idle
        self._wake.set()

    # -- the task ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Archive what is wanted, until cancelled. Raises StoreError when the store is lost for good."""
        while True:
            while self._waiting:
                folder = next(iter(self._waiting))
                await self._look(folder, self._waiting.pop(folder))
            if self._idle is not None:
                self._idle.set()
                self._idle = None
            await self._wake.wait()
            self._wake = trio.Event()

    async def wait_idle(self) -> None:
        """Until all that is wanted so far is archived; for a process that ends then."""
        if self._idle is not None:
            await self._idle.wait()

    async def _look(self, folder: str, wanted: Wanted) -> None:
        transcript = f"{folder}.jsonl"
        if not self.sources.kept_out.holds(transcript):
            names = await self._names(folder, wanted)
            conversation_id = self._conversation(folder, transcript)
            known = await self._in_thread(lambda: self.store.attachment_states(conversation_id)) if names else {}
            for name in names:
                found = await self._in_thread(partial(spilled_files.read, folder, name, known.get(name), self.redact))
                if found is not None:
                    await self._store(found, conversation_id, transcript)
        self._swept += sorted(wanted.sources)
        if len(self._swept) >= SWEPT_A_COMMIT or (self._swept and not self._waiting):
            swept, self._swept = self._swept, []
            await self._commit(Batch(swept=swept))

    def _conversation(self, folder: str, transcript: str) -> str:
        """The conversation of the session's main file, known or not."""
        main = self.sources.by_path.get(transcript)
        known = main.conversation_id if main is not None else None
        return known or identity.clean_id(folder.rpartition("/")[2])

    async def _names(self, folder: str, wanted: Wanted) -> list[str]:
        names: set[str] = set()
        if wanted.paths:
            paths = sorted(wanted.paths)
            own = await self._in_thread(lambda: [spilled_files.own_name(folder, path) for path in paths])
            names |= {name for name in own if name is not None}
            self.counts["refused"] += own.count(None)
        if wanted.sweep and spilled_files.has_folder(folder):  # most have none: no thread for that
            listing = await self._in_thread(lambda: spilled_files.list_folder(folder))
            names |= set(listing.names)
            self.counts["refused"] += listing.refused
            if listing.reason is not None:
                log.warning("attachments.unreadable", path=f"{folder}/{FOLDER}", reason=listing.reason)
                wanted.sources.clear()  # the next start looks again
        return sorted(names)

    async def _in_thread(self, call: Callable[[], R]) -> R:
        return await trio.to_thread.run_sync(call, limiter=self._limiter, abandon_on_cancel=True)

    # -- to the store --------------------------------------------------------------------------------------------------

    async def _store(self, found: Spilled, conversation_id: str, transcript: str) -> None:
        key = random.getrandbits(62)
        row = AttachmentRow(key, conversation_id, found.name, found.size, found.mtime_ns, found.reason, transcript)
        body = found.body or b""
        starts = range(0, len(body), PART_BYTES)
        parts = [AttachmentPart(key, n, body[at : at + PART_BYTES], at == starts[-1]) for n, at in enumerate(starts)]
        await self._commit(Batch(attachments=[row], attachment_parts=parts[:1]))
        for part in parts[1:]:
            await self._commit(Batch(attachment_parts=[part]))
        self.counts["stored" if found.reason is None else "without_body"] += 1

    async def _commit(self, batch: Batch) -> None:
        """The ingest tells of a store that cannot be written; here it is only waited for."""
        pause = RETRY_SECONDS[0]
        while True:
            try:
                await self.committer.append(batch)
            except StoreError as error:
                if not error.retryable:
                    raise
                await trio.sleep(pause)
                pause = min(RETRY_SECONDS[1], pause * 2)
            else:
                return

    def gauges(self) -> dict[str, int]:
        """Numbers for the status."""
        return {"attachments_waiting": len(self._waiting)}
