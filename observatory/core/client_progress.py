"""How far a client has come: its resume position, and the proof that nothing is missing before it."""

from array import array
from bisect import bisect_left

import attrs

from observatory.core.events import Position

SEEN_LIMIT = 1_000_000  # seqs remembered since the last agreement: 8 MB; a ping every 25 s forgets them


@attrs.define
class Progress:
    """`last` is the resume position; `agreed` the last one at which the server's count equalled ours.

    Invariant: every event with seq in (agreed, last] that was handed on is in `_seen`, so that going back to
    `agreed` after a wrong count repeats nothing that the user has.
    """

    last: Position | None = None
    agreed: Position | None = attrs.field(init=False)
    received: int = attrs.field(default=0, init=False)
    _seen: "array[int]" = attrs.field(factory=lambda: array("Q"), init=False, repr=False)

    @agreed.default
    def _agreed_at_first(self) -> Position | None:
        return self.last

    def connect(self) -> None:
        """A new connection counts from zero."""
        self.received = 0

    def take(self, epoch: str, seq: int) -> bool:
        """Count an event frame; whether it is news to the user."""
        self.received += 1
        last = self.last
        if last is not None and last.epoch == epoch and seq <= last.seq:
            return False
        self.last = Position(epoch, seq)
        if last is not None and last.epoch != epoch:
            self._forget()
        return self._remember(seq)

    def confirm(self, position: Position) -> None:
        """The server starts this connection at a position; it is news only to a client that has none."""
        if self.last is None:
            self.jump(position)

    def agree(self, position: Position) -> None:
        """A ping with our count: everything up to its position has arrived, also seqs that did not match."""
        last = self.last
        if last is None or last.epoch != position.epoch or last.seq < position.seq:
            self.last = position
        self.agreed = self.last
        self._forget()

    def jump(self, position: Position) -> None:
        """Stand at a position that replaces the past, forward or backward: a snapshot's, or the head after a gap."""
        self.last = self.agreed = position
        self._forget()

    def rewind(self) -> None:
        """Go back to the last agreement: the next connection resumes there, and what the user has is not repeated."""
        self.last = self.agreed

    def _remember(self, seq: int) -> bool:
        seen = self._seen
        if not seen or seq > seen[-1]:
            if len(seen) >= SEEN_LIMIT:
                del seen[: SEEN_LIMIT // 2]
            seen.append(seq)
            return True
        at = bisect_left(seen, seq)  # only after a rewind
        if seen[at] == seq:
            return False
        seen.insert(at, seq)
        return True

    def _forget(self) -> None:
        del self._seen[:]
