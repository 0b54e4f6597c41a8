"""Does the archive account for every byte of a file? Its records against the file, as a partition of the bytes.

What lies between records may only be newlines, blanks, CR, NUL, or the BOM at the file's start; what lies behind the
last newline is the torn tail. Everything else is a finding. Source: transcripts.md W9, R8; docs/operations.md, Doctor.
"""

from collections.abc import Callable, Iterable
from typing import Literal

import attrs

from observatory.core.forgetting import FORGOTTEN
from observatory.core.frozen import frozen
from observatory.core.lines import BOM, trimmed
from observatory.core.redact import redact
from observatory.core.transcript import OVERSIZE

What = Literal["changed", "unaccounted", "overlap", "not read"]
Read = Callable[[int, int], bytes]  # (start, end) → those bytes of the file; fewer where it ends
IGNORED = b" \t\n\r\x0b\x0c\0"
STEP = 1024 * 1024  # looked at in one piece: bounds the memory
KEPT_FINDINGS = 20  # of one file; more are counted only
CLASSES = (
    *("record", "redacted", "forgotten", "pruned", "error", "oversize", "newline", "blank", "cr", "nul", "bom", "torn"),
)
TROUBLES = ("changed", "unaccounted", "not read")


@frozen
class Claim:
    """What a stored record says of its file.

    length: bytes of its line, or of its part of a glued line. span: bytes to the start of the next line.
    error: None for a good record. body: as it was read: without BOM and CR; of an oversize line only its beginning.
    redacted: keys in it were replaced before it was stored.
    """

    offset: int
    length: int
    span: int
    error: str | None
    body: bytes
    redacted: bool = False


@attrs.frozen
class Found:
    """Bytes [offset, offset + length) of the file, and what is wrong with them."""

    offset: int
    length: int
    what: What


@attrs.frozen
class Account:
    """One file's result. `bytes`: how many of each class, which add up to `size`; `count` of findings, some kept."""

    size: int
    records: int
    bytes: dict[str, int]
    findings: tuple[Found, ...]
    count: int

    @property
    def clean(self) -> bool:
        """Whether every byte is accounted for."""
        return not self.count


def account(claims: Iterable[Claim], offset: int, read: Read, pruned: int = 0) -> Account:
    """Compare a file with the archive's records of its current generation.

    Args: claims: in ascending order of offset. offset: bytes that the books have consumed; records may lie beyond.
          pruned: bytes of its beginning whose records were removed by their age: they are what they are.
    """
    books = _Books(read)
    books.at, books.bytes["pruned"] = pruned, pruned
    for claim in claims:
        books.take(claim)
    books.finish(offset)
    return Account(books.at, books.records, books.bytes, tuple(books.findings), books.count)


class _Books:
    """The fold: `at` is how far the bytes are accounted for."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self.at = 0
        self.records = 0
        self.count = 0
        self.findings: list[Found] = []
        self.bytes = dict.fromkeys((*CLASSES, *TROUBLES), 0)
        self._next_line = 0  # where the last record says that the next line starts
        self._enclosing = 0  # end of the last error row: the rest of a glued line may enclose records
        self._cut: tuple[int, int] | None = None  # bytes that the archive has and the file, which ends before, has not

    def take(self, claim: Claim) -> None:
        """The next record."""
        self.records += 1
        start, end = claim.offset, claim.offset + claim.length
        if start < self.at:
            self._nested(claim)
            return
        self._between(start)
        if self._cut is not None:
            self._cut = (self._cut[0], max(self._cut[1], end))
            return
        fast = claim.error is None and not claim.redacted and len(claim.body) == claim.length
        if fast and self._read(start, end) == claim.body:
            self.bytes["record"] += claim.length
            self.at = end
        elif claim.redacted or claim.error == FORGOTTEN:
            self._not_as_read(claim)
        else:
            self._compared(claim)
        self._next_line = max(self._next_line, start + claim.span)
        if claim.error is not None:
            self._enclosing = self.at

    def _compared(self, claim: Claim) -> None:
        """A record with a BOM, a CR, NULs behind it, an error row, or one that differs."""
        start, end = claim.offset, claim.offset + claim.length
        lead, trail = _around(claim)
        wanted = BOM[:lead] + claim.body + b"\r"[:trail]
        there = self._end_up_to(start, end)
        if there < end:
            self._cut_off(start, there, end)
        elif self._read(start, start + len(wanted)) != wanted or not self._continues(claim, start + len(wanted)):
            self._find(start, claim.length, "changed", claim.length)
            self.at = end
        else:
            self.bytes["bom"] += lead
            self.bytes["cr"] += trail
            self.bytes[_class(claim)] += claim.length - lead - trail
            self.at = end
            self._between(start + len(wanted), within_line=True)  # what was stripped before the line was decoded

    def _not_as_read(self, claim: Claim) -> None:
        """A record that is to differ from the file: by its keys, or because it repeated what was forgotten."""
        start, end = claim.offset, claim.offset + claim.length
        there = self._end_up_to(start, end)
        if there < end:
            self._cut_off(start, there, end)
        elif claim.redacted and not self._same_but_for_keys(claim):
            self._find(start, claim.length, "changed", claim.length)
            self.at = end
        else:
            self.bytes["redacted" if claim.redacted else "forgotten"] += claim.length
            self.at = end

    def _same_but_for_keys(self, claim: Claim) -> bool:
        """Both redacted once more: a newer version may know more keys than the one that stored it."""
        start, end = claim.offset, claim.offset + claim.length
        if claim.error == OVERSIZE:  # of its beginning it is not known how long it was
            return self._continues(claim, start)
        return redact(trimmed(self._read(start, end), start)) == redact(claim.body)

    def _continues(self, claim: Claim, at: int) -> bool:
        """Whether the record's bytes from `at` on, which are not stored, can be those that were read."""
        end = claim.offset + claim.length
        if claim.error != OVERSIZE:
            return at >= end
        return all(b"\n" not in piece for _, piece in self._pieces(at, end))

    def _nested(self, claim: Claim) -> None:
        """A record inside bytes that are accounted for: fine within an error row, which may be a glued line's rest."""
        end = claim.offset + claim.length
        if end > self._enclosing:
            self._find(claim.offset, self.at - claim.offset, "overlap", 0)
        there = self._read(claim.offset, end)
        if there != claim.body and claim.error != FORGOTTEN and not (claim.redacted and self._same_but_for_keys(claim)):
            self._find(claim.offset, claim.length, "changed", 0)

    def _between(self, end: int, *, within_line: bool = False) -> None:
        """Bytes up to `end` that belong to no record: none but ignored ones, and a newline where a line ends."""
        start = self.at
        if start >= end or self._cut is not None:
            return
        if end - start == 1 and self._read(start, end) == b"\n":
            self.bytes["newline"] += 1
            self.at = end
            return
        there = self._end_up_to(start, end)
        if there < end:
            self._cut_off(start, there, end)
            return
        newlines, self.at = self.bytes["newline"], end
        only_ignored = self._only_ignored(start, end, "unaccounted")
        joined = newlines == self.bytes["newline"] and self._next_line <= end and not within_line
        if only_ignored and joined and start > 0:
            self._find(start, end - start, "changed", 0)  # two lines have become one

    def finish(self, offset: int) -> None:
        """What lies behind the last record: ignored bytes up to `offset`, and what has not been consumed."""
        self._between(offset)
        if self._cut is not None:
            start, end = self._cut
            self._find(start, max(end, offset) - start, "changed", 0)
        else:
            self._tail()

    def _tail(self) -> None:
        """What has not been consumed: the torn tail, behind lines that should have been read."""
        start, last = self.at, self.at
        for place, piece in self._pieces(start, None):
            self.at = place + len(piece)
            if (newline := piece.rfind(b"\n")) >= 0:
                last = place + newline + 1
        self._only_ignored(start, last, "not read")
        self.bytes["torn"] += self.at - last

    def _only_ignored(self, start: int, end: int, what: What) -> bool:
        """Count bytes that may be ignored; what is between the first and the last other one becomes a finding."""
        if start == 0 and end >= len(BOM) and self._read(0, len(BOM)) == BOM:
            self.bytes["bom"] += len(BOM)
            start = len(BOM)
        first, last = end, end
        for place, piece in self._pieces(start, end):
            if rest := piece.lstrip(IGNORED):
                first = min(first, place + len(piece) - len(rest))
                last = place + len(piece.rstrip(IGNORED))
        self._ignore(start, first)
        if first == end:
            return True
        self._find(first, last - first, what, last - first)
        self._ignore(last, end)
        return False

    def _ignore(self, start: int, end: int) -> None:
        for _, piece in self._pieces(start, end):
            newlines, crs, nuls = piece.count(b"\n"), piece.count(b"\r"), piece.count(b"\0")
            self.bytes["newline"] += newlines
            self.bytes["cr"] += crs
            self.bytes["nul"] += nuls
            self.bytes["blank"] += len(piece) - newlines - crs - nuls

    def _pieces(self, start: int, end: int | None) -> Iterable[tuple[int, bytes]]:
        while end is None or start < end:
            piece = self._read(start, start + STEP if end is None else min(start + STEP, end))
            if not piece:
                return
            yield start, piece
            start += len(piece)

    def _end_up_to(self, start: int, end: int) -> int:
        """Where the file ends, but `end` at most."""
        if self._read(end - 1, end):
            return end
        return max((place + len(piece) for place, piece in self._pieces(start, end)), default=start)

    def _cut_off(self, start: int, there: int, end: int) -> None:
        """The file ends at `there`, before what the archive holds does."""
        self.bytes["changed"] += there - start
        self.at = there
        self._cut = (start, end)

    def _find(self, offset: int, length: int, what: What, counted: int) -> None:
        self.count += 1
        if counted:
            self.bytes[what] += counted
        if len(self.findings) < KEPT_FINDINGS:
            self.findings.append(Found(offset, length, what))


def _around(claim: Claim) -> tuple[int, int]:
    """Bytes of the line that its body lacks: the BOM before it, the CR behind it."""
    missing = claim.length - len(claim.body)
    if claim.error == OVERSIZE or missing <= 0:
        return 0, 0
    lead = len(BOM) if claim.offset == 0 and missing >= len(BOM) else 0
    return lead, 1 if missing > lead else 0


def _class(claim: Claim) -> str:
    return "record" if claim.error is None else "oversize" if claim.error == OVERSIZE else "error"
