"""Durations in logarithmic buckets: one cheap `add`, exact merging, quantiles within 1/32 of the truth.

A bucket is a sixteenth of a power of two, found by shifting: no floating point, no search. Two histograms of two
processes have the same buckets, so adding their counts loses nothing that either of them knew.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import TypedDict

import attrs

EXACT_BELOW_NS = 32  # below this every nanosecond has its own bucket
BUCKETS = 960  # up to 2**63 ns, 292 years; what is longer counts as that
NS_PER_SECOND = 1_000_000_000


class HistogramJson(TypedDict):
    """Wire shape: `max` in ns, `buckets` from bucket number to count, empty buckets left out."""

    max: int
    buckets: dict[str, int]


def bucket_of(ns: int) -> int:
    """Number of the bucket that holds a duration. `LogHistogram.add` has the same lines inline, for speed."""
    if ns < EXACT_BELOW_NS:
        return max(ns, 0)
    shift = ns.bit_length() - 5
    return min((shift << 4) + (ns >> shift), BUCKETS - 1)


def middle_of(bucket: int) -> float:
    """Middle of a bucket in ns; at most 1/32 away from every duration in it."""
    if bucket < EXACT_BELOW_NS:
        return float(bucket)
    shift = (bucket >> 4) - 1
    low = (bucket - (shift << 4)) << shift
    return low + ((1 << shift) - 1) / 2


@attrs.define(eq=False)
class LogHistogram:
    """Counts of nanosecond durations. Not thread-safe: one task or thread adds."""

    _counts: list[int] = attrs.field(factory=lambda: [0] * BUCKETS, init=False, repr=False)
    _max_ns: int = attrs.field(default=0, init=False)
    total_ns: int = attrs.field(default=0, init=False)  # of what was added or merged here; not in JSON

    def add(self, ns: int, count: int = 1) -> None:
        """Count a duration `count` times. A negative one (a clock's mistake) counts as zero."""
        if ns > self._max_ns:
            self._max_ns = ns
        self.total_ns += ns * count
        if ns >= 32:
            shift = ns.bit_length() - 5
            bucket = (shift << 4) + (ns >> shift)
            self._counts[bucket if bucket < 960 else 959] += count
        else:
            self._counts[ns if ns > 0 else 0] += count

    def merge(self, other: "LogHistogram") -> None:
        """Add the counts of another histogram to this one."""
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)]
        self._max_ns = max(self._max_ns, other._max_ns)
        self.total_ns += other.total_ns

    def quantile(self, q: float) -> float:
        """Seconds within which a share `q` (0 to 1) of the durations ended; 0.0 if nothing was added."""
        rank = max(1, ceil(q * self.count))
        for bucket, count in enumerate(self._counts):
            rank -= count
            if rank <= 0:
                return min(middle_of(bucket), self._max_ns) / NS_PER_SECOND
        return self.max

    def below(self, bounds: Sequence[float]) -> list[int]:
        """How many durations were at most each of these, in rising seconds; within 1/32 of them."""
        found, so_far, at = [], 0, 0
        for bound in bounds:
            upto = bound * NS_PER_SECOND
            while at < BUCKETS and middle_of(at) <= upto:
                so_far += self._counts[at]
                at += 1
            found.append(so_far)
        return found

    @property
    def count(self) -> int:
        """How many durations were added."""
        return sum(self._counts)

    @property
    def max(self) -> float:
        """The longest duration in seconds, exact; 0.0 if nothing was added."""
        return self._max_ns / NS_PER_SECOND

    def to_json(self) -> HistogramJson:
        """The non-empty buckets, for a log line; `from_json` gives back an equal histogram."""
        buckets = {str(bucket): count for bucket, count in enumerate(self._counts) if count}
        return {"max": self._max_ns, "buckets": buckets}

    @classmethod
    def from_json(cls, data: object) -> "LogHistogram":
        """Read what `to_json` wrote.

        Raises: ValueError: it is something else.
        """
        histogram = cls()
        buckets = data.get("buckets") if isinstance(data, Mapping) else None
        if not isinstance(data, Mapping) or not isinstance(buckets, Mapping):
            raise ValueError("not a histogram")
        histogram._max_ns = _natural(data.get("max"))
        for bucket, count in buckets.items():
            number = int(bucket)
            if not 0 <= number < BUCKETS:
                raise ValueError(f"no such bucket: {number}")
            histogram._counts[number] = _natural(count)
        return histogram


def _natural(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"not a count: {value!r}")
    return value
