"""The journal: reads on in one file, and turns its new lines into records and message_added events."""

import attrs
import structlog

from observatory.core import message_added
from observatory.core.batch import MAX_GENERATION, Batch, FileState, Flag, SourceRow
from observatory.core.conversation import Conversation
from observatory.core.events import Draft
from observatory.core.lines import Line
from observatory.core.replies import rfc3339
from observatory.core.transcript import Record
from observatory.ingest import reading
from observatory.ingest.books import Books, Entry, FileEvent
from observatory.ingest.items import NOTHING_KNOWN, Item, Known, is_nul, items_of, public_id, row_of, stored_item
from observatory.ingest.ports import Archive
from observatory.ingest.projects import upgrade
from observatory.ingest.reading import Chunk, Unreadable

log = structlog.get_logger()


@attrs.define
class Journal:
    """Where reading stands in every file. `sources` hold the offset read up to; the store's may be behind."""

    archive: Archive
    books: Books
    sources: dict[str, SourceRow] = attrs.field(factory=dict)
    roots: set[str] = attrs.field(factory=set)  # those whose first scan is done
    unreadable: dict[str, str] = attrs.field(factory=dict)  # path → reason
    nul_lines: int = 0
    _searched: dict[int, int] = attrs.field(factory=dict)  # source id → bytes of a long torn line without a newline
    _known: dict[int, Known] = attrs.field(factory=dict)

    def new_source(self, path: str, root: str, state: FileState, backfill_until: int) -> SourceRow:
        """A row for a file not seen before."""
        return SourceRow(self.archive.new_source_id(), path, root, state, backfill_until=backfill_until)

    def catch_up(self) -> list[Entry]:
        """Records that a process which did not end in order left out of the books; reading goes on after them."""
        behind = self.archive.behind()
        return [self._catch_up(source) for source in tuple(self.sources.values()) if source.id in behind]

    def _catch_up(self, source: SourceRow) -> Entry:
        items = [stored_item(record) for record in self.archive.ahead(source)]
        for item in items:  # its copy key is one of the rows that are missing
            if isinstance(item.value, Record) and item.value.uuid is not None:
                self.books.copies.is_copy(item.value.uuid, item.value.timestamp, item.body, source.id)
        last = items[-1]
        after = attrs.evolve(source, offset=last.value.offset + last.span, lines=last.line + 1)
        self.sources[source.path] = after
        if after.conversation_id is not None:
            self._count(after.conversation_id, items)
        return Entry(after, items, announced=source.offset >= source.backfill_until, event=None)

    # -- reading -------------------------------------------------------------------------------------------------------

    def read(self, path: str) -> tuple[Entry | None, bool]:
        """What is new in a file, and whether there is more to read at once. None: nothing was to be done."""
        source = self.sources.get(path)
        chunk = self._chunk(source, path)
        if isinstance(chunk, Unreadable):
            return self._cannot_read(path, source, chunk), False
        self.unreadable.pop(path, None)
        if source is not None and _replaced(source, chunk.state):
            is_new, source = source.missing, self._next_generation(source)
            return self._entry(source, reading.read(path, 0), is_new=is_new, replaced=True)
        if source is None:
            return self._entry(self.new_source(path, self._root_of(path), chunk.state, 0), chunk, is_new=True)
        moved = chunk.consumed or chunk.searched or chunk.state.size != source.state.size
        if not (moved or source.missing or source.offset < source.backfill_until):
            return None, False
        return self._entry(source, chunk, is_new=source.missing)

    def _chunk(self, source: SourceRow | None, path: str) -> Chunk | Unreadable:
        if source is None:
            return reading.read(path, 0)
        return reading.read(path, source.offset, self._searched.get(source.id, 0))

    def _entry(
        self, source: SourceRow, chunk: Chunk | Unreadable, *, is_new: bool, replaced: bool = False
    ) -> tuple[Entry | None, bool]:
        if isinstance(chunk, Unreadable):
            return self._cannot_read(source.path, source, chunk), False
        if chunk.searched:
            self._searched[source.id] = chunk.searched
        else:
            self._searched.pop(source.id, None)
        items = items_of(source, chunk.lines, self._known_of(source), self.books.copies.is_copy)
        if len(chunk.lines) != 1 or not items:
            self.nul_lines += sum(isinstance(line, Line) and is_nul(line) for line in chunk.lines)
        after = _advanced(source, chunk, len(items))
        self.sources[after.path] = after
        history = source.offset < source.backfill_until
        announced = source.conversation_id is not None and not history
        event: FileEvent | None = "created" if is_new else None if history else "modified"
        return Entry(after, items, announced, event, replaced), chunk.more

    def _next_generation(self, source: SourceRow) -> SourceRow:
        """The content was replaced or cut: read it anew, and publish only what was not there before."""
        known = self._stored_lines(source)
        if source.generation == MAX_GENERATION:  # record keys have no room for more: go on under another source id
            self.books.ledger.put_source(attrs.evolve(source, path=f"{source.path}#{source.id}", missing=True))
            source = attrs.evolve(source, id=self.archive.new_source_id(), generation=-1)
        log.info("file.replaced", path=source.path, generation=source.generation + 1)
        self._known[source.id] = known
        return attrs.evolve(source, generation=source.generation + 1, offset=0, backfill_until=0)

    def _stored_lines(self, source: SourceRow) -> Known:
        known = Known()
        for body in self.archive.bodies(source.id):
            known.add(body)
        return known

    def _known_of(self, source: SourceRow) -> Known:
        """What may be met again; anew from the archive for a generation that an earlier process began to read."""
        if source.generation and source.id not in self._known:
            known = self._known[source.id] = self._stored_lines(source)
            for record in self.archive.ahead(attrs.evolve(source, offset=0)):
                known.take(record.body)  # itself
                if record.flags & Flag.KNOWN:
                    known.take(record.body)  # and the line that it was met as
        return self._known.get(source.id, NOTHING_KNOWN)

    def _cannot_read(self, path: str, source: SourceRow | None, why: Unreadable) -> Entry | None:
        if not why.gone:
            if self.unreadable.get(path) != why.reason:
                self.unreadable[path] = why.reason
                log.warning(
                    "file.unreadable", path=path, reason=why.reason, hint="it is read once it can be and changes"
                )
            return None
        self.unreadable.pop(path, None)
        if source is None or source.missing:
            return None
        gone = attrs.evolve(source, missing=True)
        self.sources[path] = gone
        return Entry(gone, [], announced=True, event="deleted")

    def _root_of(self, path: str) -> str:
        return max((root for root in self.roots if path.startswith(root + "/")), key=len, default="/")

    # -- journalling ---------------------------------------------------------------------------------------------------

    def journal(self, batch: Batch, entry: Entry, now_ms: int) -> bool:
        """Put an entry's records and message_added events into the batch, and the entry into the books' queue.

        Returns whether the books must be closed in the same transaction: a file was recognised, its history came in,
        its project became known, or it was replaced: then only the books say which generation the records are of.
        """
        together = not entry.announced or entry.replaced or entry.event in ("created", "deleted")
        conversation, adopted = self._conversation(entry, now_ms)
        key = conversation.id if conversation is not None else None
        batch.records.extend(row_of(entry.source, item, key) for item in entry.items if not item.stored)
        if adopted:
            assert key is not None
            batch.adopted.append((entry.source.id, key))
            entry.items = [*adopted, *entry.items]
        if conversation is not None:
            if conversation.cwd is None and (cwd := _first_cwd(entry.items)):
                conversation = upgrade(self.books.ledger, conversation, cwd, rfc3339(now_ms))
                together = True
            self._count(conversation.id, entry.items)
            self._publish(batch, conversation, entry)
        self.books.pending.append(entry)
        return together

    def _conversation(self, entry: Entry, now_ms: int) -> tuple[Conversation | None, list[Item]]:
        """The entry's conversation, opened if the file is recognised now; with what waited for that."""
        source = entry.source
        if source.conversation_id is not None:
            return self.books.ledger.conversation(source.conversation_id), []
        if not entry.items:
            return None, []
        waiting = [stored_item(record) for record in self.archive.waiting(source.id)] if source.lines else []
        if not any(isinstance(i.value, Record) and i.value.recognised for i in (*waiting, *entry.items)):
            return None, []
        conversation = self.books.open(source, [*waiting, *entry.items], rfc3339(now_ms))
        entry.source = attrs.evolve(source, conversation_id=conversation.id)
        self.sources[source.path] = entry.source
        return conversation, waiting

    def _count(self, conversation_id: str, items: list[Item]) -> None:
        for item in items:
            if isinstance(item.value, Record) and item.value.usage and not item.flags & Flag.KNOWN:
                item.growth, item.own_growth = self.books.ledger.grow(conversation_id, item.value)

    def _publish(self, batch: Batch, conversation: Conversation, entry: Entry) -> None:
        topics = self.books.topics_of(conversation)
        for item in entry.items:
            if not item.live:
                continue
            data = message_added.data(
                item.value,
                record_id=public_id(entry.source, item.value.offset),
                conversation_id=conversation.id,
                project_id=conversation.project_id,
                session_id=conversation.session_id,
                agent_id=conversation.agent_id,
                sequence_number=item.line,
                growth=item.growth,
            )
            batch.drafts.append(Draft("message_added", data, topics))


def _first_cwd(items: list[Item]) -> str | None:
    return next((item.value.cwd for item in items if isinstance(item.value, Record) and item.value.cwd), None)


def _replaced(source: SourceRow, state: FileState) -> bool:
    old = source.state
    if source.missing and (old.size, old.mtime_ns) != (state.size, state.mtime_ns):
        return True  # a file made anew often gets the inode of the one that was deleted
    return (old.dev, old.ino) != (state.dev, state.ino) or state.size < source.offset


def _advanced(source: SourceRow, chunk: Chunk, items: int) -> SourceRow:
    offset = source.offset + chunk.consumed
    torn_history = not chunk.more and offset < source.backfill_until  # the rest of that line is yet to be written: live
    backfill_until = offset if torn_history else source.backfill_until
    lines, conversation = source.lines + items, source.conversation_id
    return SourceRow(
        source.id, source.path, source.root, chunk.state, source.generation, offset, backfill_until, lines, conversation
    )
