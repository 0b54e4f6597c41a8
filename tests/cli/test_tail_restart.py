"""`observatory tail` and a server that ends while lines are written: real processes, each line once, in order."""

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import attrs
import orjson
import pytest
import trio

from tests.running import Server, free_port, serving

DEADLINE_SECONDS = 60.0  # never reached when all is well
LINES = 60
TEXT = re.compile(rb"line no\. (\d+)\.")
TITLE = b"A name for it"


def line(number: int) -> bytes:
    message = {"role": "assistant", "content": f"line no. {number}.", "id": f"m{number}"}
    found = {"type": "assistant", "uuid": f"u{number}", "sessionId": "s", "cwd": "/w", "message": message}
    return orjson.dumps(found) + b"\n"


@attrs.define
class Tail:
    """A `tail` process, and what it has printed."""

    process: trio.Process
    printed: bytes = b""
    notices: bytes = b""

    async def until(self, wanted: bytes) -> None:
        """Read until it has printed this."""
        assert self.process.stdout is not None
        with trio.fail_after(DEADLINE_SECONDS):
            while wanted not in self.printed:
                data = await self.process.stdout.receive_some()
                assert data, self.printed + self.notices
                self.printed += data

    async def hear(self) -> None:
        """Read its stderr to the end."""
        assert self.process.stderr is not None
        async for data in self.process.stderr:
            self.notices += data


@asynccontextmanager
async def tailing(server: Server, *options: str) -> AsyncIterator[Tail]:
    """A tail from the beginning of the log on."""
    program = [sys.executable, "-c", "from observatory.cli.main import main; main()", "tail", "--since", "0", *options]
    words = [*program, "--data-dir", str(server.data_dir)]
    process = await trio.lowlevel.open_process(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    tail = Tail(process)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tail.hear)
            yield tail
            process.kill()  # then its stderr ends, and with it the nursery
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    await stream.aclose()


@pytest.mark.parametrize("end", ["kill", "terminate"])
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["for people", "json"])
async def test_tail_survives_the_end_of_its_server(
    tmp_path: Path, end: Literal["kill", "terminate"], options: tuple[str, ...]
) -> None:
    transcript = tmp_path / "projects" / "-w" / "s.jsonl"
    transcript.parent.mkdir(parents=True)
    async with serving(tmp_path / "projects", tmp_path / "data", free_port()) as server:
        async with tailing(server, *options) as tail:
            for number in range(LINES // 3):
                append(transcript, line(number))
                await trio.lowlevel.checkpoint()
            await tail.until(f"line no. {LINES // 9}.".encode())
            await server.kill() if end == "kill" else await server.terminate()
            for number in range(LINES // 3, LINES * 2 // 3):
                append(transcript, line(number))
            await server.start()
            for number in range(LINES * 2 // 3, LINES):
                append(transcript, line(number))
            await tail.until(f"line no. {LINES - 1}.".encode())
        assert [int(number) for number in TEXT.findall(tail.printed)] == [*range(LINES)]
        away, back = tail.notices.decode().splitlines()
        assert re.fullmatch(r"observatory: .*; reconnecting", away), away
        assert back == "observatory: connected again, nothing was missed"


async def test_a_new_title_is_shown_once(tmp_path: Path) -> None:
    """The record that gives it and the update that follows it each had a line."""
    transcript = tmp_path / "projects" / "-w" / "s.jsonl"
    transcript.parent.mkdir(parents=True)
    async with serving(tmp_path / "projects", tmp_path / "data") as server, tailing(server) as tail:
        append(transcript, line(0))
        await tail.until(b"line no. 0.")
        append(transcript, orjson.dumps({"type": "ai-title", "aiTitle": TITLE.decode(), "sessionId": "s"}) + b"\n")
        await tail.until(TITLE)
        append(transcript, line(1))
        await tail.until(b"line no. 1.")
        assert tail.printed.count(TITLE) == 1


def append(path: Path, data: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        file.write(data)
