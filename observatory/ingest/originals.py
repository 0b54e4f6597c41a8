"""Originals: of the lines of history that several files hold, one counts as the original, whatever is read first.

Live, whoever is first is the original: the copy is written later. Of history nobody knows the order, so the rule asks
the lines: one that names its own file's session comes before one that names another; then the file that was written
last the longest time ago; then the smaller conversation id.
"""

from collections.abc import Iterable

import attrs

from observatory.core.batch import Batch, Flag, source_of
from observatory.core.forgetting import FORGOTTEN_SOURCE
from observatory.ingest.copies import Copies
from observatory.ingest.ports import Archive
from observatory.ingest.sources import Sources

Rank = tuple[bool, int, str]


@attrs.frozen
class Line:
    """A record of history. place: the caller's own number for it."""

    place: int
    copy_key: int
    record: int
    flags: int


@attrs.define
class Originals:
    """Among what is stored, what waits to be stored, and what comes now."""

    archive: Archive
    sources: Sources
    copies: Copies
    _fresh: dict[int, int] = attrs.field(factory=dict)  # record → flags, of this transaction

    def begin(self) -> None:
        """Another transaction begins: what came before is stored."""
        self._fresh.clear()

    def settle(self, batch: Batch, lines: Iterable[Line]) -> list[int]:
        """The places of lines that are copies. What they make of others, and their keys, go into the batch."""
        lines = list(lines)
        pending = self.copies.pending()
        held = self.archive.holders([line.copy_key for line in lines])
        copied: list[int] = []
        for line in lines:
            holder = pending.get(line.copy_key) or held.get(line.copy_key)
            self._fresh[line.record] = line.flags
            if holder is None:
                pending[line.copy_key] = line.record
            elif source_of(holder) == source_of(line.record):
                continue
            elif self._rank(line.record, line.flags) < self._rank(holder, self._flags(holder)):
                batch.flagged.append((holder, Flag.COPY, 0))
                pending[line.copy_key] = batch.originals[line.copy_key] = line.record
            else:
                copied.append(line.place)
        return copied

    def _flags(self, record: int) -> int:
        flags = self._fresh.get(record)
        return self.archive.flags(record) if flags is None else flags

    def _rank(self, record: int, flags: int) -> Rank:
        """The smallest one is the original's. What was forgotten stays the original: its copies are emptied."""
        source = source_of(record)
        if source == FORGOTTEN_SOURCE:
            return False, -1, ""
        row = self.sources.by_path.get(self.sources.path_of.get(source, ""))
        if row is None:
            return True, 0, ""
        return bool(flags & Flag.FOREIGN), row.state.mtime_ns, row.conversation_id or ""
