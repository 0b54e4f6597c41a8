"""`observatory demo` as a child process: one command shows everything, and nothing is left behind."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner

from observatory.cli.main import main
from observatory.client.follow import follow
from observatory.core.client_items import Event

DEADLINE = 40.0
COMMAND = [sys.executable, "-c", "from observatory.cli.main import main; main()", "demo"]
READY = r"ready at (ws://\S+)"
TOPICS = ["all_conversations", "project_updates", "file_events", "system"]
KINDS = {"prompt", "command", "tool_result", "note", "interruption", "assistant", "error", "other"}
EVENTS = {"message_added", "conversation_started", "conversation_update", "project_update",
          "file_created", "file_modified"}  # fmt: skip


class Demo:
    """A demo that runs, in a home and a temporary directory of its own."""

    def __init__(self, process: trio.Process, home: Path, temporary: Path) -> None:
        self.process, self.home, self.temporary = process, home, temporary
        self.output = ""

    async def read_until(self, pattern: str) -> str:
        assert self.process.stdout is not None
        while (found := re.search(pattern, self.output)) is None:
            data = await self.process.stdout.receive_some()
            assert data, self.output
            self.output += data.decode()
        return found[found.re.groups]

    async def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal; the rest of its output is read to the end."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        assert self.process.stdout is not None
        async for data in self.process.stdout:
            self.output += data.decode()
        return await self.process.wait()

    def left_behind(self) -> list[Path]:
        return [*self.home.iterdir(), *self.temporary.iterdir()]


@asynccontextmanager
async def demo(tmp_path: Path, *arguments: str) -> AsyncIterator[Demo]:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OBSERVATORY_", "XDG_", "CLAUDE_"))}
    process = await trio.lowlevel.open_process(
        [*COMMAND, *arguments],
        env={**kept, "HOME": str(home), "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        with trio.fail_after(DEADLINE):
            yield Demo(process, home, temporary)
    finally:
        if process.returncode is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
        assert process.stdout is not None
        await process.stdout.aclose()


async def kinds_seen(url: str) -> tuple[set[str], set[str]]:
    """Follow until every kind of event and of record has come."""
    events: set[str] = set()
    kinds: set[str] = set()
    async with follow(url, TOPICS) as items:
        while not (events >= EVENTS and kinds >= KINDS):
            item = await items.receive()
            if isinstance(item, Event):
                data: Any = item.data
                events.add(item.type)
                kinds |= {data["record"]["kind"]} if item.type == "message_added" else set()
    return events, kinds


async def test_one_command_shows_every_kind_of_event_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    async with demo(tmp_path, "--speed", "200") as running:
        url = await running.read_until(READY)
        assert len(list(running.temporary.iterdir())) == 1
        await kinds_seen(url)
        for shown in ("conversation started", "user ", "claude ", "→ Bash pytest", "✓ ok ", "✗ error "):
            await running.read_until(re.escape(shown))
        assert await running.end() == 0, running.output
        last = running.output.splitlines()[-1]
        assert re.fullmatch(r"the demo is over after [\d,]+ lines in [\d,]+ transcripts, [\d.,]+ MB", last)
        assert running.left_behind() == []
        assert "observatory:" not in running.output  # no trouble was told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_quiet_only_serves_and_other_signals_leave_nothing_either(tmp_path: Path, number: signal.Signals) -> None:
    async with demo(tmp_path, "--speed", "200", "--quiet") as running:
        await kinds_seen(await running.read_until(READY))
        assert await running.end(number) == 0
        assert len(running.output.splitlines()) == 6  # where, the page, how to watch, what, a blank, the end
        assert running.left_behind() == []


async def test_a_reader_that_has_seen_enough_ends_it(tmp_path: Path) -> None:
    async with demo(tmp_path, "--speed", "200") as running:
        await running.read_until("claude ")
        assert running.process.stdout is not None
        await running.process.stdout.aclose()
        assert await running.process.wait() == 0
        assert running.left_behind() == []


async def test_from_replays_files_without_touching_them_and_ends_with_a_summary(tmp_path: Path) -> None:
    folder = tmp_path / "real" / "projects" / "-home-ada-shop"
    folder.mkdir(parents=True)
    for name, at in (("one", 1), ("two", 2)):
        (folder / f"{name}.jsonl").write_text(
            f'{{"type":"user","uuid":"{name}","parentUuid":null,"sessionId":"{name}","cwd":"/home/ada/shop",'
            f'"timestamp":"2026-01-01T00:00:0{at}.000Z","message":{{"role":"user","content":"I am {name}"}}}}\n'
        )
    before = {path: path.stat() for path in (tmp_path / "real").rglob("*")}
    async with demo(tmp_path, "--from", str(tmp_path / "real"), "--speed", "50") as running:
        assert await running.ended() == 0, running.output
        lines = running.output.splitlines()
        said = [line.partition(" ")[2] for line in lines if " user " in line]
        assert said == ["shop/one user I am one", "shop/two user I am two"]
        assert lines[-1] == "replayed 2 lines in 2 transcripts, 0.0 MB: 2 conversations in 1 project"
        assert running.left_behind() == []
    after = {path: path.stat() for path in (tmp_path / "real").rglob("*")}
    assert {path: (s.st_mtime_ns, s.st_size) for path, s in after.items()} == {
        path: (s.st_mtime_ns, s.st_size) for path, s in before.items()
    }


async def test_a_root_of_ones_own_keeps_the_transcripts_and_nothing_else(tmp_path: Path) -> None:
    async with demo(tmp_path, "--speed", "200", "--root", str(tmp_path / "kept")) as running:
        await running.read_until("claude ")
        assert await running.end() == 0
        assert running.left_behind() == []
    assert {path.relative_to(tmp_path / "kept").parts[0] for path in (tmp_path / "kept").rglob("*")} == {"projects"}
    assert list((tmp_path / "kept" / "projects").glob("-demo-demo-*/*.jsonl"))


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with something in it, an empty one, and one with a transcript."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "real" / "projects" / "slug").mkdir(parents=True)
    (tmp_path / "real" / "projects" / "slug" / "a.jsonl").write_text("{}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--speed", "0"], "Invalid value for '--speed'"),
        (["--speed", "1001"], "Invalid value for '--speed'"),
        (["--port", "x"], "--port must be a whole number"),
        (["--root", "full"], "--root full is not empty"),
        (["--root", "full/letter"], "--root full/letter is not empty"),
        (["--root", "full/letter/below"], "--root full/letter/below cannot be made"),
        (["--from", "empty"], "--from empty holds no transcripts"),
        (["--from", "absent"], "--from absent holds no transcripts"),
        (["--from", "full/letter"], "is a file"),
        (["--from", "real", "--seed", "1"], "--seed is for made-up sessions"),
        (["--from", "real", "--root", "real/projects/new"], "lies in --from, which is only read"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(places: Path, arguments: list[str], line: str) -> None:
    done = CliRunner().invoke(main, ["demo", *arguments])
    assert done.exit_code == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (places / "real" / "projects" / "new").exists()
