"""One file of history, read and folded from its beginning to its end, without the archive: runs in a worker process.

What does not go by itself (a file that nothing proves to be Claude Code's, one that grows or changes meanwhile) is
declined: then the reader takes it, which knows what to do.
"""

from collections.abc import Iterator, Sequence

import attrs

from observatory.core.batch import Batch, ConversationUsage, SourceRow, record_key
from observatory.core.bodies import pack
from observatory.core.conversation import Conversation
from observatory.core.project import Project
from observatory.core.summaries import summary_of
from observatory.core.tools import ToolCallRow
from observatory.core.transcript import Record
from observatory.ingest import reading
from observatory.ingest.folding import blank, count, first_cwd, fold, mark_foreign, proof
from observatory.ingest.generations import NOTHING_KNOWN
from observatory.ingest.items import Item, Redact, bad_lines, items_of, key_of, nobody_had_it, row_of, tail_item
from observatory.ingest.ledger import COUNTED_BYTES_OF_ONE_FILE, Ledger
from observatory.ingest.reading import START, Chunk, Place


@attrs.frozen
class Job:
    """A file to read. source: its row, as scanned, nothing of it read yet. at_rest: nobody writes it any more.

    piece_bytes: how much of the file a piece covers at most, but for one chunk more.
    """

    source: SourceRow
    piece_bytes: int
    at_rest: bool
    redact: Redact | None = None


@attrs.define
class Piece:
    """A stretch of a file, ready to be stored.

    before, after: the source's row; conversation: folded up to its end, in no project yet. cwd: what the lines that
    prove the file tell. batch: rows of the records, usage and tool calls. keys: copy key of records by their place
    among the batch's. tail: of a file that ends without a newline. more: other pieces follow.
    """

    before: SourceRow
    after: SourceRow
    place: Place
    conversation: Conversation
    cwd: str | None
    batch: Batch
    keys: list[tuple[int, int]]
    bad_lines: dict[str, int]
    tail: bytes | None
    more: bool


@attrs.frozen
class Declined:
    """What is left of the file is for the reader."""

    path: str


@attrs.define
class Remembered:
    """What an archive would know of one conversation: what its earlier pieces counted."""

    usage_rows: dict[str, dict[str, ConversationUsage]] = attrs.field(factory=dict)
    calls: dict[tuple[str, str], ToolCallRow] = attrs.field(factory=dict)

    def keep(self, batch: Batch) -> None:
        """A piece is counted."""
        for (message_id, conversation_id), row in batch.usage.items():
            self.usage_rows[message_id] = {conversation_id: row}
        self.calls.update(batch.tool_calls)

    def conversation(self, conversation_id: str) -> Conversation | None:
        return None

    def project(self, project_id: str) -> Project | None:
        return None

    def project_at(self, path: str) -> Project | None:
        return None

    def project_in(self, slug: str) -> Project | None:
        return None

    def message_ids(self) -> Iterator[str]:
        return iter(self.usage_rows)

    def usage(self, message_id: str) -> dict[str, ConversationUsage]:
        return self.usage_rows.get(message_id, {})

    def tool_call(self, conversation_id: str, tool_use_id: str) -> ToolCallRow | None:
        return self.calls.get((conversation_id, tool_use_id))


def read_file(job: Job) -> Iterator[Piece | Declined]:
    """The pieces of a file, in order."""
    return _File(job).pieces()


@attrs.define
class _File:
    _job: Job
    _source: SourceRow = attrs.field(init=False)  # after what was read
    _conversation: Conversation | None = None
    _cwd: str | None = None
    _known: Remembered = attrs.field(factory=Remembered)

    def pieces(self) -> Iterator[Piece | Declined]:
        self._source = self._job.source
        place, more = START, True
        while more:
            before, items, bad, size = self._source, list[Item](), dict[str, int](), 0
            while more and size < self._job.piece_bytes:
                chunk = self._chunk(place)
                if chunk is None:
                    if items and self._conversation is not None:
                        yield self._piece(before, items, bad, place, None, more=True)
                    yield Declined(self._source.path)
                    return
                found = items_of(self._source, chunk.lines, NOTHING_KNOWN, nobody_had_it, self._job.redact, keyed=True)
                bad_lines(bad, chunk.lines, found)
                size += chunk.place.offset - place.offset
                place, more = chunk.place, chunk.more
                items += found
                self._source = self._advanced(chunk, len(found))
            if self._conversation is None and not self._open(items):
                yield Declined(self._source.path)
                return
            tail = None if more else self._tail()
            yield self._piece(before, items, bad, place, tail, more=more)

    def _chunk(self, place: Place) -> Chunk | None:
        found = reading.read(self._source.path, place)
        return found if isinstance(found, Chunk) and found.state == self._job.source.state else None

    def _advanced(self, chunk: Chunk, lines: int) -> SourceRow:
        source, offset = self._source, chunk.place.offset
        torn = not chunk.more and offset < source.backfill_until  # the rest of that line is yet to be written: live
        until = offset if torn else source.backfill_until
        return attrs.evolve(source, offset=offset, backfill_until=until, lines=source.lines + lines)

    def _open(self, items: Sequence[Item]) -> bool:
        proven = proof(items)
        if proven is None:
            return False
        telling = items[: proven + 1]
        self._conversation, self._cwd = blank(self._job.source, telling, lambda taken: False), first_cwd(telling)
        self._source = attrs.evolve(self._source, conversation_id=self._conversation.id)
        return True

    def _tail(self) -> Item | None:
        source = self._source
        if not self._job.at_rest or source.state.size <= source.offset:
            return None
        data = reading.rest(source.path, source.offset, source.state.size)
        return tail_item(source, data, self._job.redact)

    def _piece(
        self, before: SourceRow, items: list[Item], bad: dict[str, int], place: Place, tail: Item | None, *, more: bool
    ) -> Piece:
        assert self._conversation is not None
        if tail is not None:
            items.append(tail)
        source, ledger = self._source, Ledger(self._known, COUNTED_BYTES_OF_ONE_FILE)
        count(ledger, self._conversation.id, items)
        mark_foreign(items, self._conversation.session_id)
        self._conversation = fold(ledger, self._conversation, source, items, "")
        batch = Batch()
        blocks, stored = pack([item.body for item in items])
        batch.rows = [
            (*row_of(source, item, self._conversation.id).values[:-2], body, codec)
            for item, (codec, body) in zip(items, stored, strict=True)
        ]
        batch.blocks = {batch.rows[first][0]: (batch.rows[last][0], data) for first, (last, data) in blocks.items()}
        batch.packed[source.id] = record_key(0, source.generation, source.offset)
        own_id = self._conversation.id
        for item in items:
            if isinstance(item.value, Record) and (summary := summary_of(item.value, own_id)) is not None:
                batch.summaries[summary.leaf_uuid, own_id] = summary
        ledger.take(batch)
        if more:
            self._known.keep(batch)
        keys = [(number, key) for number, item in enumerate(items) if (key := key_of(item)) is not None]
        end = None if tail is None else tail.body
        return Piece(before, source, place, self._conversation, self._cwd, batch, keys, bad, end, more)
