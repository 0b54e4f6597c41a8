"""The journal: turns the new lines of a file into records and message_added events."""

import attrs

from observatory.core import message_added
from observatory.core.batch import Batch, Flag, record_key
from observatory.core.conversation import Conversation
from observatory.core.events import Draft
from observatory.core.replies import rfc3339
from observatory.ingest.attachments import Attachments
from observatory.ingest.books import Books, Entry
from observatory.ingest.folding import first_cwd, mark_foreign, proof
from observatory.ingest.items import Item, empty_forgotten, key_of, public_id, row_of, stored_item
from observatory.ingest.originals import Line, Originals
from observatory.ingest.ports import Archive
from observatory.ingest.sources import Sources


@attrs.define
class Journal:
    """Entries on their way into a batch, and into the books' queue."""

    archive: Archive
    books: Books
    sources: Sources
    originals: Originals
    attachments: Attachments

    def journal(self, batch: Batch, entry: Entry, now_ms: int) -> bool:
        """Put an entry's records and message_added events into the batch, and the entry into the books' queue.

        Returns whether the books must be closed in the same transaction: a file was recognised, its history came in,
        its project became known, or it was replaced: then only the books say which generation the records are of.
        """
        together = not entry.announced or entry.replaced or entry.event in ("created", "deleted")
        together |= bool(entry.flagged or entry.withdrawn)
        batch.flagged += entry.flagged
        batch.withdrawn += entry.withdrawn
        batch.renamed += entry.renamed
        conversation, adopted = self._conversation(entry, now_ms)
        key = conversation.id if conversation is not None else None
        if conversation is not None:
            mark_foreign(entry.items, conversation.session_id)
        self._mark_copies(batch, entry)
        batch.records.extend(row_of(entry.source, item, key) for item in entry.items if not item.stored)
        if adopted:
            assert key is not None
            batch.adopted.append((entry.source.id, key))
            entry.items = [*adopted, *entry.items]
        if conversation is not None:
            if conversation.cwd is None and (cwd := first_cwd(entry.items)):
                conversation = self.books.settle_project(conversation, cwd, rfc3339(now_ms))
                together = True
            self.books.count(conversation.id, entry.items)
            self._publish(batch, conversation, entry)
            self.attachments.notice(entry.source, entry.items)
        self.books.pending.append(entry)
        return together

    def _mark_copies(self, batch: Batch, entry: Entry) -> None:
        """Of history; live, the reader has done it, because copies are not published."""
        source, items = entry.source, entry.items
        if not items or not items[0].flags & Flag.BACKFILL:
            return
        lines = [
            Line(place, copy_key, record_key(source.id, source.generation, item.value.offset), item.flags)
            for place, item in enumerate(items)
            if item.flags & Flag.BACKFILL and not item.flags & Flag.KNOWN and (copy_key := key_of(item)) is not None
        ]
        for place in self.originals.settle(batch, lines):
            items[place].flags |= Flag.COPY
        if self.sources.kept_out.heads:
            empty_forgotten(items, self.books.copies.repeats_forgotten)

    def _conversation(self, entry: Entry, now_ms: int) -> tuple[Conversation | None, list[Item]]:
        """The entry's conversation, opened if the file is recognised now; with what waited for that."""
        source = entry.source
        if source.conversation_id is not None:
            return self.books.ledger.conversation(source.conversation_id), []
        if not entry.items:
            return None, []
        proven = proof(entry.items)
        if proven is None:
            return None, []  # nor did any of those that wait
        waiting = [stored_item(record) for record in self.archive.waiting(source.id)] if source.lines else []
        # Only what comes before the proof counts, and the proof: what a file is must not hang on how it grew.
        conversation = self.books.open(source, [*waiting, *entry.items[: proven + 1]], rfc3339(now_ms))
        entry.source = attrs.evolve(source, conversation_id=conversation.id)
        self.sources.put(entry.source)
        return conversation, waiting

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
            if item.flags & Flag.REDACTED:
                data["record"]["redacted"] = True
            batch.drafts.append(Draft("message_added", data, topics))
