"""Sampling: where the CPU time of a running event loop goes, with little distortion.

The kernel's profiling timer interrupts by CPU time used; the handler runs when Python goes on, so the time of a system
call counts for the line that made it. cProfile would charge small functions several times their price.
"""

import resource
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import attrs

TICK = 0.001  # seconds of CPU time; the kernel rounds up to its own tick (1 to 10 ms)


@attrs.define
class Samples:
    """own: samples in a line; within: samples in a function or what it calls. Seconds are of the whole process."""

    own: Counter[str] = attrs.field(factory=Counter)
    within: Counter[str] = attrs.field(factory=Counter)
    user: float = 0.0
    system: float = 0.0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take samples meanwhile; in the main thread only."""
        before = resource.getrusage(resource.RUSAGE_SELF)
        old = signal.signal(signal.SIGPROF, self._take)
        signal.setitimer(signal.ITIMER_PROF, TICK, TICK)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, old)
            after = resource.getrusage(resource.RUSAGE_SELF)
            self.user += after.ru_utime - before.ru_utime
            self.system += after.ru_stime - before.ru_stime

    def report(self, count: int = 14) -> list[str]:
        """Lines for people, the dearest first."""
        total = sum(self.own.values())
        lines = [f"{total} samples; user {self.user:.2f} s, kernel {self.system:.2f} s", "", "own time, by line:"]
        lines += _shares(self.own.most_common(count), total)
        return [*lines, "", "with what it calls, by function:", *_shares(self.within.most_common(2 * count), total)]

    def _take(self, _: int, frame: FrameType | None) -> None:
        seen = set()
        if frame is not None:
            self.own[f"{_function(frame)}, line {frame.f_lineno}"] += 1
        while frame is not None:
            seen.add(_function(frame))
            frame = frame.f_back
        self.within.update(seen)


def _function(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename)
    return f"{path.parent.name}/{path.name} {frame.f_code.co_qualname}"


def _shares(counted: Iterable[tuple[str, int]], total: int) -> list[str]:
    return [f"  {number / total:6.1%}  {name}" for name, number in counted]
