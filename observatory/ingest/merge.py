"""Merge: pieces of history that a worker read and folded, into the archive's own rows."""

import attrs
import structlog

from observatory.core.batch import Batch, Flag
from observatory.core.conversation import Conversation
from observatory.ingest import kin
from observatory.ingest.attachments import Attachments
from observatory.ingest.books import Books, Entry
from observatory.ingest.bulk_file import Piece
from observatory.ingest.originals import Line, Originals
from observatory.ingest.reader import Reader
from observatory.ingest.sources import Sources

log = structlog.get_logger()
FLAGS = 10  # place of the flags in RecordRow.values


@attrs.define
class Merge:
    """What a piece could not know: its project, which id is free, who else holds its lines."""

    books: Books
    reader: Reader
    sources: Sources
    originals: Originals
    attachments: Attachments

    def merge(self, batch: Batch, piece: Piece, now: str) -> bool:
        """Put the piece's rows into a batch, for the books to be closed with. False when it does not fit what is known
        now: the file was moved, replaced or read by the reader meanwhile, or its id belongs to another one."""
        before, now_known = piece.before, self.sources.by_path.get(piece.before.path)
        if now_known is None or (now_known.id, now_known.offset, now_known.missing) != (
            before.id,
            before.offset,
            False,
        ):
            return False
        conversation = self._conversation(piece, now)
        if conversation is None:
            return False
        self.books.ledger.absorb(piece.batch)
        until_now = self.books.ledger.conversation(conversation.id) if piece.before.offset else None
        self.books.leaves.absorb(piece.batch, until_now, conversation)
        self._mark_copies(batch, piece)
        batch.add(piece.batch)
        self.books.ledger.put_conversation(conversation)
        kin.settle(self.books.ledger, until_now, conversation)
        self.reader.adopt(piece.after, piece.place, piece.tail, piece.bad_lines)
        self.books.pending.append(Entry(piece.after, [], announced=False, event=None))
        self.books.unannounced.add(conversation.project_id)
        if piece.after.offset >= piece.after.backfill_until:
            self.attachments.sweep(piece.after)
        return True

    def _conversation(self, piece: Piece, now: str) -> Conversation | None:
        """The row after the piece."""
        ledger, folded, source = self.books.ledger, piece.conversation, piece.after
        known = ledger.conversation(folded.id)
        if not piece.before.offset:
            if known is not None:
                return None
            known = self.books.enter(source, folded, piece.cwd, now)
        elif known is None:
            return None
        row = kin.inherited(attrs.evolve(folded, project_id=known.project_id), known)
        if piece.cwd is None and folded.cwd:
            row = self.books.settle_project(row, folded.cwd, now)
        return row

    def _mark_copies(self, batch: Batch, piece: Piece) -> None:
        rows = piece.batch.rows
        lines = [Line(place, key, rows[place][0], rows[place][FLAGS]) for place, key in piece.keys]
        for place in self.originals.settle(batch, lines):
            row = rows[place]
            rows[place] = (*row[:FLAGS], row[FLAGS] | Flag.COPY, *row[FLAGS + 1 :])
