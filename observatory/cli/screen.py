"""Where an import shows how far it is: a bar on a terminal, a plain line now and then in a pipe."""

import io
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TextIO, cast

import attrs
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from observatory.cli.terminal import PlainConsole
from observatory.core.progress import Progress
from observatory.core.progress_text import MB, left, line_of, rate

LINE_EVERY = 5.0  # seconds between two lines in a pipe


class Screen(Protocol):
    """A context: what was drawn is gone after it."""

    def show(self, progress: Progress) -> None:
        """It is as far as this."""

    def log_stream(self, err: TextIO) -> TextIO:
        """Where log lines go meanwhile, which would go to `err`."""

    def __enter__(self) -> "Screen": ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def screen_on(out: TextIO) -> Screen:
    """What suits the stream."""
    return TerminalScreen(PlainConsole(out)) if out.isatty() else PipeScreen(out)


@attrs.define(eq=False)
class PipeScreen:
    """One line every few seconds."""

    _out: TextIO
    _clock: Callable[[], float] = time.monotonic
    _due: float = attrs.field(init=False, default=0.0)

    def __enter__(self) -> "PipeScreen":
        self._due = self._clock() + LINE_EVERY
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is drawn that has to go."""

    def show(self, progress: Progress) -> None:
        """A line, when one is due."""
        if progress.running and self._clock() >= self._due:
            self._due = self._clock() + LINE_EVERY
            self._out.write(f"importing: {line_of(progress)}\n")
            self._out.flush()

    def log_stream(self, err: TextIO) -> TextIO:
        """Where they always go."""
        return err


@attrs.define(eq=False)
class TerminalScreen:
    """A bar that is drawn anew several times a second."""

    _console: Console
    _bars: Bars = attrs.field(init=False)
    _bar: TaskID = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        columns = (
            TextColumn("importing"),
            BarColumn(None),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[told]}"),
        )
        self._bars = Bars(*columns, console=self._console, transient=True, expand=True)
        self._bar = self._bars.add_task("", total=None, told="looking for transcripts")

    def __enter__(self) -> "TerminalScreen":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, progress: Progress) -> None:
        """Draw it."""
        if progress.bytes_total:
            files = f"{progress.files_done:,}/{progress.files_total:,} files"
            amount = f"{progress.bytes_done / MB:,.1f}/{progress.bytes_total / MB:,.1f} MB"
            told = "  ".join([files, amount, rate(progress), left(progress)])
            self._bars.update(self._bar, total=progress.bytes_total, completed=progress.bytes_done, told=told)

    def log_stream(self, err: TextIO) -> TextIO:
        """Lines of the log go above the bar."""
        return cast("TextIO", AboveBar(self._console)) if err.isatty() else err


class AboveBar(io.TextIOBase):
    """A stream whose lines appear above what is drawn."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def isatty(self) -> bool:
        """It ends on a terminal."""
        return True

    def write(self, text: str) -> int:
        """Print a line."""
        self._console.print(Text.from_ansi(text.rstrip("\n")), soft_wrap=True)
        return len(text)
