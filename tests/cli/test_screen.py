"""How an import shows how far it is: on a terminal and in a pipe."""

import io

from rich.console import Console

from observatory.cli.screen import PipeScreen, TerminalScreen, screen_on
from observatory.core.progress import Progress

HALF = Progress(
    running=True, files_done=1, files_total=2, bytes_done=1_000_000, bytes_total=2_000_000, seconds=1.0,
    bytes_per_second=1_000_000.0, seconds_left=1.0,
)  # fmt: skip


class Terminal(io.StringIO):
    """A stream that calls itself a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_a_plain_line_now_and_then() -> None:
    out, now = io.StringIO(), [100.0]
    with PipeScreen(out, lambda: now[0]) as shown:
        assert shown.log_stream(out) is out
        for _ in range(11):
            now[0] += 1.0
            shown.show(HALF)
        now[0] += 60.0
        shown.show(Progress())
    assert out.getvalue() == "importing: 1 of 2 files, 1.0 of 2.0 MB, 1.0 MB/s, 0:01 left\n" * 2


def test_a_terminal_gets_a_bar_that_is_gone_at_the_end_and_log_lines_above_it() -> None:
    out = Terminal()
    shown = TerminalScreen(Console(file=out, force_terminal=True, width=120))
    with shown:
        shown.show(Progress())
        shown.show(HALF)
        err = shown.log_stream(Terminal())
        assert err.isatty()
        err.write("a line of the log\n")
        plain = io.StringIO()
        assert shown.log_stream(plain) is plain
    said = out.getvalue()
    assert "looking for transcripts" in said
    assert "1/2 files  1.0/2.0 MB  1.0 MB/s  0:01 left" in said
    assert "50 %" in said
    assert "a line of the log" in said
    assert said.rstrip().endswith("\x1b[2K")  # the last line is wiped


def test_what_is_no_terminal_is_a_pipe() -> None:
    assert isinstance(screen_on(Terminal()), TerminalScreen)
    assert isinstance(screen_on(io.StringIO()), PipeScreen)
