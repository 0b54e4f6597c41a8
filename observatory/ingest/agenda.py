"""Agenda: which files are to be read next. What is written now comes first, then history, the rest in its time."""

import math
from collections.abc import Collection

import attrs


@attrs.define
class Agenda:
    """hot: path → when the change was detected, in the order of the hints. cold: (mtime_ns, path) of history still to
    be read, oldest first. later: path → when it wants another look."""

    hot: dict[str, int] = attrs.field(factory=dict)
    cold: list[tuple[int, str]] = attrs.field(factory=list)
    later: dict[str, float] = attrs.field(factory=dict)

    def hint(self, path: str, detected_ns: int) -> None:
        """A file may have something new."""
        self.hot.setdefault(path, detected_ns)

    def put_off(self, looks: dict[str, float], now: float) -> None:
        """Files that want another look in so many seconds; they are taken."""
        for path, seconds in looks.items():
            self.later[path] = now + seconds
        looks.clear()

    def wake(self, now: float, detected_ns: int) -> None:
        """Turn what is due into hints."""
        for path in [path for path, due in self.later.items() if due <= now]:
            del self.later[path]
            self.hint(path, detected_ns)

    def drop(self, paths: Collection[str]) -> None:
        """Files that are not to be read."""
        for path in paths:
            self.hot.pop(path, None)
            self.later.pop(path, None)
        self.cold = [(mtime_ns, path) for mtime_ns, path in self.cold if path not in paths]

    @property
    def next_due(self) -> float:
        """When `wake` has something to do; infinity if never."""
        return min(self.later.values(), default=math.inf)
