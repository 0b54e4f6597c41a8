"""Replaced files: which of their lines were there before, and which are gone."""

import attrs

from observatory.core.batch import Flag, split_key
from observatory.core.copy_key import digest
from observatory.ingest.ports import Archive


@attrs.define
class Known:
    """Lines of a source's earlier generations, each to be met again as often as it was there.

    left: digest → keys of records not met again; gone: those of them that are marked as superseded in the archive;
    back: … and were met since.
    """

    left: dict[int, list[int]] = attrs.field(factory=dict)
    gone: set[int] = attrs.field(factory=set)
    back: list[int] = attrs.field(factory=list)
    settled: bool = False

    def add(self, body: bytes, key: int, flags: int = 0) -> None:
        """A line that was there before."""
        self.left.setdefault(digest(body), []).append(key)
        if flags & Flag.SUPERSEDED:
            self.gone.add(key)

    def take(self, body: bytes) -> bool:
        """Whether a line was there before; each is taken once."""
        keys = self.left.get(digest(body))
        if not keys:
            return False
        key = keys.pop()
        if key in self.gone:
            self.gone.discard(key)
            self.back.append(key)
        return True

    def settle(self) -> list[tuple[int, int, int]]:
        """The file was read to its end: what is gone and what is back, as in Batch.flagged."""
        back = [(key, 0, Flag.SUPERSEDED) for key in self.back]
        self.back.clear()
        if self.settled:
            return back
        self.settled = True
        gone = [key for keys in self.left.values() for key in keys if key not in self.gone]
        self.gone.update(gone)
        return back + [(key, Flag.SUPERSEDED, 0) for key in sorted(gone)]


NOTHING_KNOWN = Known(settled=True)


def known_lines(archive: Archive, source_id: int, generation: int) -> Known:
    """What may be met again in a generation of a source, of which some lines may have been read already."""
    known = Known()
    for key, flags, body in archive.lines(source_id):
        if split_key(key)[1] == generation:
            if flags & Flag.KNOWN:
                known.take(body)
        elif not flags & Flag.KNOWN or not split_key(key)[1]:  # before the first one there was another source id
            known.add(body, key, flags)
    return known
