"""`observatory top`: frames that fit, keys, and a terminal that is as before."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import trio
from rich.cells import cell_len

from observatory.cli.keys import names_of
from observatory.cli.terminal import PlainConsole
from observatory.cli.top import once
from observatory.cli.top_view import Link, View, age, amount, frame, spark
from observatory.core.top_state import TopState
from tests.core.test_top_state import NOW, heard, row
from tests.ingest.stage import prompt
from tests.original.stage import embedded
from tests.running import serving
from tests.test_architecture import ROOT

STATUS: dict[str, Any] = {
    "version": "0.1.0", "uptime_seconds": 61.0, "position": {"head": 1234}, "gauges": {"client_lag_events": 5},
    "clients": {"live": 2, "behind": 1, "idle": 0},
    "components": [{"component_name": "disk\x1b[2J", "status": "degraded", "details": "little room"}],
    "latency": {"detected_to_written": {"p50": 0.0004, "p99": 0.2, "max": 1, "count": 3}},
    "client_list": [{"id": "c1", "state": "behind", "topics": ["system"], "lag_events": 5, "outbox_bytes": 9,
                     "sent": 7}],
}  # fmt: skip


def state() -> TopState:
    found = TopState()
    wide = row("a", title="Cart 漢字漢字漢字漢字漢字漢字漢字漢字")
    rows = [wide, row("b", activity="waiting"), row("a.1", parent_id="a")]
    found.load([{"id": "p", "name": "shop\x1b]0;evil\x07"}], rows, NOW)
    call = {"id": "t", "tool_name": "Bash", "tool_input": {"command": "rm -rf /\r\nfake \x1b[31mred"}}
    found.take("message_added", heard("a", {"output_tokens": 1500}, tool_calls=[call]), NOW)
    return found


@pytest.mark.parametrize("width", [60, 75, 80, 100, 140, 200])
@pytest.mark.parametrize("height", [10, 24, 40])
def test_a_frame_fits_and_no_text_commands_the_terminal(width: int, height: int) -> None:
    view = View(agents=True, idle=True, clients=True, help=True, selected="a", opened=True)
    lines = frame(state(), view, Link("ws://x/ws", None, STATUS), NOW, width, height)
    assert len(lines) == height
    for line in lines:
        assert cell_len(line.plain) <= width
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line.plain)


def test_a_frame_says_what_happens() -> None:
    link = Link("ws://x/ws", None, STATUS)
    text = "\n".join(line.plain for line in frame(state(), View(agents=True), link, NOW, 120, 24))
    for part in ("live", "up 61s", "event 1,234", "degraded: disk", "3 clients, 5 events behind", "◆", "└ title a.1",
                 "→ Bash rm -rf /", "1.5k", "in all 0.40/200"):  # fmt: skip
        assert part in text, part
    lost = Link("ws://x", "connection lost; old")
    away = "\n".join(line.plain for line in frame(TopState(), View(), lost, NOW, 80, 10))
    assert "connection lost; old" in away
    assert "nothing is going on" in away
    assert "live" not in away


def test_keys_choose_what_is_shown() -> None:
    known, view = state(), View()
    rows = known.rows(NOW, "activity", agents=False, idle=False)
    for key, name, value in (
        ("s", "sort", "tokens"), ("a", "agents", True), ("i", "idle", True), ("c", "clients", True),
        ("l", "latency", False), ("?", "help", True), ("h", "help", False), ("j", "selected", "b"),
        ("down", "selected", "a"), ("down", "selected", "a"), ("k", "selected", "b"), ("enter", "opened", True),
        ("escape", "opened", False), ("x", "opened", False),
    ):  # fmt: skip
        assert view.press(key, rows)
        assert getattr(view, name) == value, key
    for key in ("q", "escape", "interrupt"):
        assert not view.press(key, rows)
    empty = View()
    assert empty.press("j", [])
    assert empty.press("enter", [])
    assert (empty.selected, empty.opened) == (None, False)
    other = View()
    other.press("k", rows)
    assert other.selected == "a"


def test_bytes_of_a_terminal_are_names_of_keys() -> None:
    assert names_of(b"\x1b") == ["escape"]
    assert names_of(b"\x1b[Aj\r\x03") == ["up", "j", "enter", "interrupt"]
    assert names_of(b"\x1bOB\xc3\xa4q") == ["down", "q"]


def test_numbers_are_short() -> None:
    shown = [age(seconds) for seconds in (0, 99, 100, 7200, 400_000, 10_000_000)]
    assert shown == ["0s", "99s", "2m", "2h", "5d", "116d"]
    assert [amount(n) for n in (0, 999, 1500, 15_000, 1.5e6, 2e9)] == ["0", "999", "1.5k", "15k", "1.5M", "2.0G"]
    assert spark([0, 1, 8]) == " ▁█"
    assert spark([]) == ""


async def test_one_frame_of_a_real_server(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        on.write("-w/s1.jsonl", prompt(0, "mend the cart", sessionId="s1"))
        await on.wait(lambda: on.monitor.events.position.head >= 3)
        out = StringIO()
        with trio.fail_after(20):
            await once(f"ws://127.0.0.1:{on.port}", PlainConsole(out, 100))
        assert "observatory live" in out.getvalue()
        assert "mend the cart 0" in out.getvalue()


async def test_the_terminal_is_as_before_whatever_ends_it(tmp_path: Path) -> None:
    async with serving(tmp_path / "root", tmp_path / "data") as server:
        for how in ("q", "TERM"):
            await trio.to_thread.run_sync(in_a_terminal, server.url, how)


def in_a_terminal(url: str, how: str) -> None:
    """Run it on a terminal of its own, press a key or send a signal, and look at the terminal after."""
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    code = "from observatory.cli.main import main; main()"
    child = subprocess.Popen([sys.executable, "-c", code, "top", "--url", url], stdin=theirs, stdout=theirs, cwd=ROOT,
                             env={**os.environ, "TERM": "xterm", "COLUMNS": "90", "LINES": "20"})  # fmt: skip
    try:
        seen = read_until(ours, b"nothing is going on")
        assert b"\x1b[?1049h" in seen  # its own screen
        if how == "q":
            os.write(ours, b"q")
        else:
            child.send_signal(signal.SIGTERM)
        seen = read_until(ours, b"\x1b[?1049l")
        assert child.wait(15) == 0
        assert termios.tcgetattr(theirs) == before
        assert b"\x1b[?25h" in seen or b"\x1b[?25h" in read_some(ours)  # the cursor is back
    finally:
        child.kill()
        child.wait()
        os.close(ours)
        os.close(theirs)


def read_until(descriptor: int, wanted: bytes) -> bytes:
    seen, deadline = b"", time.monotonic() + 20
    while wanted not in seen:
        assert time.monotonic() < deadline, seen[-2000:]
        seen += read_some(descriptor)
    return seen


def read_some(descriptor: int) -> bytes:
    ready, _, _ = select.select([descriptor], [], [], 0.5)
    return os.read(descriptor, 65536) if ready else b""


def test_without_a_terminal_it_says_so() -> None:
    code = "from observatory.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "top", "--url", "ws://127.0.0.1:9"], capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, cwd=ROOT, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "observatory: top needs a terminal; print one frame with --once\n")
