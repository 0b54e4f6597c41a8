"""Rates on a monotonic clock that the caller passes in."""

from collections import deque

import attrs


@attrs.define
class TokenBucket:
    """`rate` tokens a second, at most `burst` saved up."""

    rate: float
    burst: float
    _tokens: float = attrs.field(init=False)
    _at: float | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._tokens = self.burst

    def take(self, now: float) -> bool:
        """Take one token if there is one."""
        if self._at is not None:
            self._tokens = min(self.burst, self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@attrs.define
class Window:
    """Counts what happened within the last `seconds`; remembers at most `limit` moments."""

    seconds: float
    limit: int
    _moments: deque[float] = attrs.field(init=False, factory=deque)

    def reached(self, now: float) -> bool:
        """Count one more; True when it is the `limit`-th within the window."""
        self._moments.append(now)
        while self._moments[0] <= now - self.seconds:
            self._moments.popleft()
        if len(self._moments) > self.limit:
            self._moments.popleft()
        return len(self._moments) >= self.limit
