"""The reader: finds out what is new in one file, whatever was done to it, as an entry for the journal."""

import time
from collections.abc import Callable, Iterable

import attrs
import structlog

from observatory.core.batch import MAX_GENERATION, FileState, Flag, SourceRow, StoredLine, record_key, split_key
from observatory.core.copy_key import digest
from observatory.core.forgetting import ForgottenFile
from observatory.core.lines import BOM, Line
from observatory.core.transcript import Record
from observatory.ingest import reading
from observatory.ingest.books import Books, Entry, FileEvent
from observatory.ingest.generations import NOTHING_KNOWN, Known, known_lines
from observatory.ingest.items import Redact, bad_lines, empty_forgotten, items_of, stored_item, tail_item
from observatory.ingest.ports import Archive
from observatory.ingest.reading import MARK_BYTES, START, UNSETTLED, Chunk, Found, Mark, Place, Unreadable
from observatory.ingest.sources import Sources

log = structlog.get_logger()
GONE_DELAY = 0.03  # seconds: a rename tells of the old name first, and is no deletion
RETRY_SECONDS = (1.0, 60.0)  # first and longest pause before an unreadable file is tried again
REST_NS = 60 * 10**9  # a file not written to for so long is at rest: its last line may lack the newline for good
PLACES_KEPT = 1024  # files; of one not read for longer the archive knows. More than one transaction reads


@attrs.define
class Reader:
    """Where reading stands in every file. `sources` hold the offset read up to; the store's may be behind.

    look_again: path → seconds until it wants another look, for the caller to take.
    """

    archive: Archive
    books: Books
    sources: Sources
    clock: Callable[[], float] = time.monotonic
    redact: Redact | None = None  # what is stored instead of a line
    unreadable: dict[str, str] = attrs.field(factory=dict)  # path → reason
    look_again: dict[str, float] = attrs.field(factory=dict)
    bad_lines: dict[str, int] = attrs.field(factory=dict)  # reason → how many
    reads: int = 0
    _places: dict[int, Place] = attrs.field(factory=dict)  # by source id; the one read last is the last one
    _tails: dict[int, bytes] = attrs.field(factory=dict)  # records stored without their newline
    _known: dict[int, Known] = attrs.field(factory=dict)
    _pauses: dict[str, float] = attrs.field(factory=dict)
    _leaving: dict[str, float] = attrs.field(factory=dict)  # paths that name nothing now → when that counts

    def catch_up(self) -> list[Entry]:
        """Records that a process which did not end in order left out of the books; reading goes on after them."""
        behind = self.archive.behind()
        return [self._catch_up(source) for source in tuple(self.sources.by_path.values()) if source.id in behind]

    def _catch_up(self, source: SourceRow) -> Entry:
        items = [stored_item(record) for record in self.archive.ahead(source)]
        for item in items:  # its copy key is one of the rows that are missing
            if isinstance(item.value, Record) and item.value.uuid is not None:
                key = record_key(source.id, source.generation, item.value.offset)
                self.books.copies.is_copy(item.value.uuid, item.value.timestamp, item.body, key)
        last = items[-1]
        after = attrs.evolve(source, offset=last.value.offset + last.span, lines=last.line + 1)
        self.sources.put(after)
        if after.conversation_id is not None:
            self.books.count(after.conversation_id, items)
        return Entry(after, items, announced=source.offset >= source.backfill_until, event=None)

    # -- reading -------------------------------------------------------------------------------------------------------

    def read(self, path: str) -> tuple[Entry | None, bool]:
        """What is new in a file, and whether there is more to read at once. None: nothing was to be done."""
        source = self.sources.by_path.get(path)
        if source is None and self.sources.kept_out.holds(path):
            return None, False
        if source is None and (known := self.sources.known_by(path)) is not None:
            return self.read(known)
        found = self._look(path, START if source is None else self._place(source))
        if isinstance(found, Unreadable):
            return self._cannot_read(path, source, found), False
        self._forget_trouble(path)
        if source is not None and isinstance(found, Chunk):
            return self._go_on(source, found)
        holder = self.sources.holder(path, found.state)
        if holder is not None:
            if source is None and self.sources.alias(holder, path):
                return self.read(holder.path)
            moved = self._look(path, self._place(holder))
            if isinstance(moved, Chunk):
                return self._move(holder, path, moved)
        if source is None:
            return self._entry(self.sources.new(path, found.state), found, is_new=True)
        beside = self.sources.beside(source, found.state)
        if beside is not None and beside not in self.unreadable:  # rotated: the old file first, then this one
            self.look_again[path] = 0.0
            return self.read(beside)
        entry, more = self._entry(
            self._next_generation(source), self._look(path, START), is_new=source.missing, replaced=True
        )
        if entry is not None and entry.source.id != source.id:
            entry.set_aside.append(attrs.evolve(source, path=f"{path}#{source.id}", missing=True))
        return entry, more

    def _look(self, path: str, place: Place) -> Found:
        self.reads += 1
        return reading.read(path, place)

    def _go_on(self, source: SourceRow, chunk: Chunk) -> tuple[Entry | None, bool]:
        """The usual case: the same content, and perhaps more of it."""
        old, new = source.state, chunk.state
        grown = chunk.place is not self._places.get(source.id) or new.size != old.size != UNSETTLED
        if grown or source.missing or source.offset < source.backfill_until:
            return self._entry(source, chunk, is_new=source.missing)
        if new == old:
            return None, False
        after = attrs.evolve(source, state=new)  # touched: the next start need not look again
        self.sources.put(after)
        return Entry(after, [], announced=True, event=None), False

    def _entry(
        self, source: SourceRow, found: Found, *, is_new: bool, replaced: bool = False
    ) -> tuple[Entry | None, bool]:
        if not isinstance(found, Chunk):  # it changed between two looks; there will be another hint
            why = found if isinstance(found, Unreadable) else Unreadable("it changes while it is read")
            return self._cannot_read(source.path, source, why), False
        if not source.lines and found.lines and self._was_forgotten(source, found):
            return None, False
        self._keep(source, found.place)
        known = self._known_of(source)
        items = items_of(source, found.lines, known, self.books.copies.is_copy, self.redact)
        bad_lines(self.bad_lines, found.lines, items)
        after = _advanced(source, found, len(items))
        history = source.offset < source.backfill_until
        announced = source.conversation_id is not None and not history
        event: FileEvent | None = "created" if is_new else None if history else "modified"
        entry = Entry(after, items, announced, event, replaced)
        self._settle_tail(entry, source, found)
        if not found.more:
            entry.flagged += known.settle()
            if history:
                self._store_tail(entry)
        if self.sources.kept_out.heads:
            empty_forgotten(entry.items, self.books.copies.repeats_forgotten)
        self.sources.put(after)
        return entry, found.more

    def _was_forgotten(self, source: SourceRow, chunk: Chunk) -> bool:
        """Whether this is a forgotten file under another name; then that name is not read either."""
        first, kept_out = chunk.lines[0], self.sources.kept_out
        if not kept_out.heads or not isinstance(first, Line):
            return False
        stored = first.data if self.redact is None else self.redact(first.data)
        if kept_out.heads.isdisjoint((digest(first.data), digest(stored))):
            return False
        log.warning("file.forgotten", path=source.path, hint="it begins like a forgotten file and is not read")
        kept_out.paths.add(source.path)
        self.sources.by_path.pop(source.path, None)
        return True

    def adopt(self, source: SourceRow, place: Place, tail: bytes | None, bad: dict[str, int]) -> None:
        """A piece of a file's history was read elsewhere: from here on it is this one's."""
        self.sources.put(source)
        self._places[source.id] = place
        if tail is not None:
            self._tails[source.id] = tail
        for reason, many in bad.items():
            self.bad_lines[reason] = self.bad_lines.get(reason, 0) + many

    def forget(self, files: Iterable[ForgottenFile]) -> None:
        """Files that are not followed any more."""
        for file in files:
            self._let_go(file.id)
            for by_path in (self.unreadable, self.look_again, self._pauses, self._leaving):
                by_path.pop(file.path, None)

    # -- places --------------------------------------------------------------------------------------------------------

    def _place(self, source: SourceRow) -> Place:
        """Where reading stands in a source; of one that an earlier process read, the archive knows."""
        place = self._places.get(source.id)
        if place is None:
            marks = tuple(Mark(*mark) for line in self.archive.marks(source, MARK_BYTES) for mark in _marks(line))
            place = Place(source.offset, tail=b"\n" if source.offset else b"", marks=marks)
            self._keep(source, place)
            if (tail := self.archive.tail(source)) is not None:
                self._tails[source.id] = tail
        return place

    def _keep(self, source: SourceRow, place: Place) -> None:
        self._places.pop(source.id, None)
        self._places[source.id] = place
        if len(self._places) > PLACES_KEPT:
            self._let_go(next(iter(self._places)))

    def _let_go(self, source_id: int) -> None:
        for by_id in (self._places, self._tails, self._known):
            by_id.pop(source_id, None)

    def _move(self, holder: SourceRow, path: str, chunk: Chunk) -> tuple[Entry | None, bool]:
        """A file goes on under another name: the same source, the same conversation."""
        displaced = self.sources.displace(path)
        self._leaving.pop(holder.path, None)
        source = self.sources.rename(holder, path)
        entry, more = self._entry(source, chunk, is_new=True)
        assert entry is not None
        entry.moved_from = None if holder.missing else holder.path
        entry.renamed.append(source.id)
        if displaced is not None:
            entry.set_aside.append(displaced)
            entry.renamed.append(displaced.id)
        return entry, more

    # -- replaced files ------------------------------------------------------------------------------------------------

    def _next_generation(self, source: SourceRow) -> SourceRow:
        """The content was replaced or cut: read it anew, and publish only what was not there before."""
        old, generation = source, source.generation + 1
        if source.generation == MAX_GENERATION:  # record keys have no room for more: go on under another source id
            source, generation = attrs.evolve(source, id=self.sources.new_id()), 0
        log.info("file.replaced", path=source.path, generation=generation)
        self._let_go(old.id)
        self._known[source.id] = known_lines(self.archive, old.id, MAX_GENERATION + 1)
        return attrs.evolve(source, generation=generation, offset=0, backfill_until=0)

    def _known_of(self, source: SourceRow) -> Known:
        """What may be met again; anew from the archive for a generation that an earlier process began to read."""
        if source.generation and source.id not in self._known:
            self._known[source.id] = known_lines(self.archive, source.id, source.generation)
        return self._known.get(source.id, NOTHING_KNOWN)

    # -- ends without a newline ----------------------------------------------------------------------------------------

    def _store_tail(self, entry: Entry) -> None:
        """History may end for good without a newline: a whole object is stored, but the offset stays before it."""
        source = entry.source
        newest = max(source.state.mtime_ns, 0)
        if source.state.size > source.offset and newest < self.sources.started_ns - REST_NS:
            data = reading.rest(source.path, source.offset, source.state.size)
            item = tail_item(source, data, self.redact)
            if item is not None:
                self._tails[source.id] = item.body
                entry.items.append(item)

    def _settle_tail(self, entry: Entry, source: SourceRow, chunk: Chunk) -> None:
        """The newline has come: the stored record stays if it is what the line holds now."""
        if not chunk.lines or (tail := self._tails.pop(source.id, None)) is None:
            return
        key, first = record_key(source.id, source.generation, source.offset), entry.items[0] if entry.items else None
        if first is not None and first.value.offset == source.offset and first.body == tail:
            first.stored, first.flags = True, first.flags | Flag.KNOWN
            entry.flagged.append((key, 0, Flag.TAIL))
        else:
            entry.withdrawn.append(key)

    # -- trouble -------------------------------------------------------------------------------------------------------

    def _cannot_read(self, path: str, source: SourceRow | None, why: Unreadable) -> Entry | None:
        if not why.gone:
            pause = self._pauses[path] = min(RETRY_SECONDS[1], self._pauses.get(path, RETRY_SECONDS[0] / 2) * 2)
            self.look_again[path] = pause
            if self.unreadable.get(path) != why.reason:
                self.unreadable[path] = why.reason
                log.warning("file.unreadable", path=path, reason=why.reason, hint="it is tried again by and by")
            return None
        self.unreadable.pop(path, None)
        self._pauses.pop(path, None)
        if source is None or source.missing:
            return None
        if not self._has_left(path):
            return None
        gone = attrs.evolve(source, missing=True)
        self.sources.put(gone)
        return Entry(gone, [], announced=True, event="deleted")

    def _has_left(self, path: str) -> bool:
        """Whether a name has been gone for long enough; at first its file is looked for under others."""
        now, due = self.clock(), self._leaving.get(path)
        if due is not None and due <= now:
            del self._leaving[path]
            return True
        if due is None:
            due = self._leaving[path] = now + GONE_DELAY
        self.look_again |= {path: due - now} | dict.fromkeys(self.sources.take_aliases(path), 0.0)
        return False

    def _forget_trouble(self, path: str) -> None:
        if self.unreadable or self._leaving or self._pauses:
            self.unreadable.pop(path, None)
            self._leaving.pop(path, None)
            self._pauses.pop(path, None)


def _marks(line: StoredLine) -> list[tuple[int, bytes]]:
    """Where in the file a stored line's ends stand."""
    offset = split_key(line.key)[2]
    bom = offset == 0 and line.length - line.size in (len(BOM), len(BOM) + 1)  # … and a CR
    start = offset + len(BOM) * bom
    return [(start, line.head), (start + line.size - len(line.tail), line.tail)]


def _advanced(source: SourceRow, chunk: Chunk, items: int) -> SourceRow:
    offset, state = chunk.place.offset, chunk.state
    if chunk.more:
        state = FileState(state.dev, state.ino, UNSETTLED, state.mtime_ns, state.ctime_ns)
    torn_history = not chunk.more and offset < source.backfill_until  # the rest of that line is yet to be written: live
    backfill_until = offset if torn_history else source.backfill_until
    lines, conversation = source.lines + items, source.conversation_id
    return SourceRow(
        source.id, source.path, source.root, state, source.generation, offset, backfill_until, lines, conversation
    )
