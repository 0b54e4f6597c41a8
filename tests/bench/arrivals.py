"""Arrivals: stamped lines of many files as they reach a client: each once, in file order, and how late.

A line carries its mark in its text: `line-FILE-NUMBER-STAMP-`, the stamp in ns of CLOCK_MONOTONIC, the same for all
processes.
"""

import re
from array import array
from collections.abc import Mapping

import attrs

from tests.bench.figures import quantile

MARK = re.compile(rb"line-(\d+)-(\d+)-(\d+)-")
KIND, KIND_BYTES = b'"message_added"', 40  # a frame's type is told within its first bytes


def mark(file: int, number: int, stamp_ns: int) -> str:
    """The first word of a line's text."""
    return f"line-{file}-{number}-{stamp_ns}-"


@attrs.define
class Arrivals:
    """What one client got. seconds: per file, write → arrival, in order of arrival."""

    seconds: dict[int, "array[float]"] = attrs.field(factory=dict)
    out_of_order: int = 0
    _next: dict[int, int] = attrs.field(factory=dict)
    _early: dict[int, set[int]] = attrs.field(factory=dict)  # came before an earlier one
    doubled: int = 0

    def take(self, text: bytes, at: float) -> bool:
        """Note a frame; False if it is none of the stamped lines. at: seconds of the same clock."""
        if KIND not in text[:KIND_BYTES] or (found := MARK.search(text)) is None:
            return False
        file, number, stamp_ns = map(int, found.groups())
        self.seconds.setdefault(file, array("d")).append(at - stamp_ns / 1e9)
        self._in_order(file, number)
        return True

    def _in_order(self, file: int, number: int) -> None:
        due, early = self._next.get(file, 0), self._early.setdefault(file, set())
        if number < due or number in early:
            self.doubled += 1
        elif number > due:
            early.add(number)
            self.out_of_order += 1
        else:
            due += 1
            while due in early:
                early.discard(due)
                due += 1
            self._next[file] = due

    @property
    def total(self) -> int:
        """Lines that came, doubles included."""
        return sum(map(len, self.seconds.values()))

    def missing(self, written: Mapping[int, int]) -> int:
        """Lines that did not come. written: lines per file."""
        return sum(count - self._next.get(file, 0) - len(self._early.get(file, ())) for file, count in written.items())


@attrs.frozen
class Delay:
    """Seconds. worst_p99: of the file that waits longest."""

    p50: float
    p99: float
    worst_p99: float
    longest: float


def delay(arrivals: Arrivals) -> Delay:
    """The delays of all lines, and of the worst file. Raises ValueError when nothing arrived."""
    every = [value for values in arrivals.seconds.values() for value in values]
    worst = max((quantile(values, 0.99) for values in arrivals.seconds.values()), default=0.0)
    return Delay(quantile(every, 0.5), quantile(every, 0.99), worst, quantile(every, 1.0))
