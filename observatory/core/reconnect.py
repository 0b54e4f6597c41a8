"""Whether, and when, a client connects again (protocol.md §12 and §14.10–12)."""

from collections.abc import Callable

import attrs

from observatory.core.closing import FINAL, CloseCode

Uniform = Callable[[float, float], float]
FIRST_DELAY = 0.25  # seconds, until a server's first frame says otherwise
LONGEST_DELAY = 30.0
LONGEST_SANE_DELAY = 3600.0  # a number from the network may be nonsense
FINAL_FROM, FINAL_TO = 4500, 4999
NOT_BEFORE: dict[int, float] = {CloseCode.OVERLOAD: 5.0, CloseCode.FLOODING: 10.0}
RETRY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


@attrs.define
class Backoff:
    """Full jitter: each delay is drawn from [0, limit], the first one too, and the limit doubles."""

    _uniform: Uniform
    first: float = FIRST_DELAY
    longest: float = LONGEST_DELAY
    _limit: float = attrs.field(default=FIRST_DELAY, init=False)

    def tune(self, first_ms: int, longest_ms: int) -> None:
        """Take the server's values (`retry` of its first frame)."""
        self.first, self.longest = first_ms / 1000, longest_ms / 1000

    def draw(self) -> float:
        """The next delay in seconds."""
        limit = min(max(self._limit, self.first), self.longest)
        self._limit = min(limit * 2, self.longest)
        return self._uniform(0.0, limit)

    def lasted(self, seconds: float) -> None:
        """A connection ended after so long; one that outlived the limit proves the server well again.

        Not reset by merely connecting: a server that dies on each hello would be hammered.
        """
        if seconds >= self._limit:
            self._limit = self.first


def is_final(code: int) -> bool:
    """Whether this close code means: do not come back as you are."""
    return code in FINAL or FINAL_FROM <= code <= FINAL_TO


def delay_after(code: int, backoff: Backoff, shutdown_ms: int | None) -> float:
    """Seconds to wait after a close; `shutdown_ms` is the `reconnect_after_ms` that announced it."""
    if shutdown_ms is not None:
        return min(shutdown_ms / 1000, LONGEST_SANE_DELAY)
    return max(backoff.draw(), NOT_BEFORE.get(code, 0.0))


def delay_after_refusal(retry_after: float | None, backoff: Backoff) -> float:
    """Seconds to wait after HTTP 429 or 503: at least what was asked for."""
    return min(retry_after or 0.0, LONGEST_SANE_DELAY) + backoff.draw()
