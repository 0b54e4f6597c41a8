"""How far an import is: files and bytes of history, the rate over a sliding window, the time that is left."""

from collections import deque

import attrs

WINDOW_SECONDS = 10.0  # long enough to even out large and small files, short enough to show what happens now
STEP_SECONDS = 0.25  # between two marks in the window: it holds some forty
SAME_SECONDS = 2.0  # roots are looked at one after the other: what comes so soon after the end is the same import


@attrs.frozen
class Progress:
    """An import as it is now, or as it ended.

    files_left_out: those that are gone or cannot be read; they are in no total. errors: lines that were no record.
    seconds: since it began. bytes_per_second: over the window while it runs, over all of it when it is done.
    seconds_left: None while that cannot be told.
    """

    running: bool = False
    files_done: int = 0
    files_total: int = 0
    files_left_out: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    conversations: int = 0
    records: int = 0
    errors: int = 0
    seconds: float = 0.0
    bytes_per_second: float = 0.0
    seconds_left: float | None = None


@attrs.frozen
class Imported:
    """How an import ended. unreadable: what → why: files, and directories as the watcher tells of them."""

    progress: Progress
    unreadable: dict[str, str]


@attrs.define
class Meter:
    """Counts what of one import is in. Times are monotonic, in seconds, and the caller's."""

    _left: dict[str, int] = attrs.field(init=False, factory=dict)  # path → bytes of it that are still to come
    _files_done: int = attrs.field(init=False, default=0)
    _files_left_out: int = attrs.field(init=False, default=0)
    _bytes_done: int = attrs.field(init=False, default=0)
    _bytes_left: int = attrs.field(init=False, default=0)
    _conversations: int = attrs.field(init=False, default=0)
    _records: int = attrs.field(init=False, default=0)
    _errors: int = attrs.field(init=False, default=0)
    _began: float | None = attrs.field(init=False, default=None)
    _ended: float | None = attrs.field(init=False, default=None)
    _marks: deque[tuple[float, int]] = attrs.field(init=False, factory=deque)  # (time, bytes done)

    @property
    def running(self) -> bool:
        """Whether history is waiting."""
        return bool(self._left)

    def waits_for(self, path: str) -> bool:
        """Whether a file's history is still to be read."""
        return path in self._left

    def is_over(self, now: float) -> bool:
        """Whether what comes now is another import."""
        return self._ended is not None and now - self._ended > SAME_SECONDS

    def expect(self, path: str, size: int, now: float) -> None:
        """So many bytes of a file are history that is still to be read. With the first one the import begins."""
        self._began = now if self._began is None else self._began
        if not self._marks:
            self._marks.append((now, self._bytes_done))
        self._ended = None
        self._bytes_left += size
        self._left[path] = size

    def advance(self, path: str, left: int, now: float) -> None:
        """So many bytes of the file are still to come. What nobody waits for does not count."""
        known = self._left.get(path)
        if known is None:
            return
        self._left[path] = left
        self._bytes_left += left - known
        self._bytes_done += known - left
        if now - self._marks[-1][0] >= STEP_SECONDS:
            self._marks.append((now, self._bytes_done))
        while len(self._marks) > 2 and self._marks[1][0] <= now - WINDOW_SECONDS:
            self._marks.popleft()

    def count(self, records: int, errors: int) -> None:
        """So many records came in, and of them lines that were none."""
        self._records += records
        self._errors += errors

    def finish(self, path: str, now: float, *, conversation: bool) -> None:
        """A file is in; whether it is a conversation."""
        if self._take(path, now):
            self._files_done += 1
            self._conversations += conversation

    def leave_out(self, path: str, now: float) -> None:
        """A file will not come in: it is gone, or cannot be read."""
        if self._take(path, now):
            self._files_left_out += 1

    def _take(self, path: str, now: float) -> bool:
        left = self._left.pop(path, None)
        if left is None:
            return False
        self._bytes_left -= left
        if not self._left:
            self._ended = now
            self._marks.clear()
        return True

    def progress(self, now: float) -> Progress:
        """How far it is."""
        seconds = 0.0 if self._began is None else (now if self._ended is None else self._ended) - self._began
        rate = self._rate(seconds, now)
        return Progress(
            running=self.running,
            files_done=self._files_done,
            files_total=self._files_done + len(self._left),
            files_left_out=self._files_left_out,
            bytes_done=self._bytes_done,
            bytes_total=self._bytes_done + self._bytes_left,
            conversations=self._conversations,
            records=self._records,
            errors=self._errors,
            seconds=seconds,
            bytes_per_second=rate,
            seconds_left=self._bytes_left / rate if self.running and rate > 0 else None,
        )

    def _rate(self, seconds: float, now: float) -> float:
        if not self.running:
            return self._bytes_done / seconds if seconds > 0 else 0.0
        since, done = self._marks[0]
        return (self._bytes_done - done) / (now - since) if now > since else 0.0
