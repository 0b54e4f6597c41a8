"""A transcript file written anew from the archive, byte for byte; and where that cannot be, exactly where."""

from collections.abc import Iterable, Iterator
from typing import Literal

import attrs

from observatory.core.batch import Flag, split_key
from observatory.core.forgetting import FORGOTTEN
from observatory.core.lines import BOM
from observatory.core.transcript import OVERSIZE
from observatory.storage.conversations import File, Stored

Why = Literal["pruned", "redacted", "forgotten", "oversize", "blank", "torn", "missing"]
REASONS: dict[Why, str] = {
    "pruned": "were pruned",
    "redacted": "hold keys that were replaced before they were stored",
    "forgotten": "were forgotten",
    "oversize": "are of a line too long to be kept: only its beginning is there",
    "blank": "were blank or no text; newlines stand for them",
    "torn": "at the end had no newline yet, and are no record",
    "missing": "are not in the archive",
}


@attrs.frozen
class Gap:
    """Bytes [offset, offset + length) of the file that are not as they were."""

    offset: int
    length: int
    why: Why


@attrs.define
class Copy:
    """Writes one file. `gaps` is complete when all pieces were taken."""

    file: File
    gaps: list[Gap] = attrs.field(factory=list)

    def pieces(self, records: Iterable[Stored]) -> Iterator[bytes]:
        """The file's bytes, in order. records: of its current generation."""
        at = self.file.pruned
        if at:
            self.gaps.append(Gap(0, at, "pruned"))
        end, newline = at, at  # of what is written, and where the line's newline is to be
        for stored in records:
            start = split_key(stored.key)[2]
            yield self._between(end, start, newline)
            body = self._body(stored, start)
            if len(body) != stored.length and not self._is_told(start):
                self.gaps.append(Gap(start, stored.length, "oversize" if stored.error == OVERSIZE else "missing"))
            yield body
            end = max(end, start + stored.length)
            newline = max(newline, start + stored.span) if not stored.flags & Flag.TAIL else end
        yield self._between(end, max(end, self.file.end, newline), newline)
        rest = self.file.size - max(end, self.file.end, newline)
        if rest > 0:
            self.gaps.append(Gap(self.file.size - rest, rest, "torn"))

    def _is_told(self, start: int) -> bool:
        return bool(self.gaps) and self.gaps[-1].offset == start

    def _body(self, stored: Stored, start: int) -> bytes:
        body, lacks = stored.body, stored.length - len(stored.body)
        if stored.flags & Flag.REDACTED:
            self.gaps.append(Gap(start, stored.length, "redacted"))
        elif stored.error == FORGOTTEN:
            self.gaps.append(Gap(start, stored.length, "forgotten"))
        elif start == 0 and lacks in (len(BOM), len(BOM) + 1):
            return BOM + body + b"\r" * (lacks - len(BOM))
        elif lacks == 1:  # one CR before the newline is left out
            return body + b"\r"
        return body

    def _between(self, end: int, start: int, newline: int) -> bytes:
        """What stood between two records, or behind the last: a newline, and whatever else is ignored."""
        length = start - end
        if length > 1 or (length == 1 and newline != start):
            self.gaps.append(Gap(end + (newline == end + 1), length - (newline == end + 1), "blank"))
        return b"\n" * length
