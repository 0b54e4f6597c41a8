"""The Python examples of the docs run, as they stand there."""

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import trio

from observatory.client.connection import connect
from observatory.core.events import Position
from tests.running import free_port, serving
from tests.test_docs import fences

DEFAULT_URL = "ws://127.0.0.1:8765"
SERVE = "        async with manager.serving("
LINE = '{"type":"user","uuid":"u-1","sessionId":"s","cwd":"/w","message":{"role":"user","content":"hello"}}\n'


async def test_the_readmes_client_prints_what_is_written(tmp_path: Path) -> None:
    (example,) = fences("README.md", "python")
    assert DEFAULT_URL in example
    folder = tmp_path / "projects" / "-w"
    folder.mkdir(parents=True)
    async with serving(tmp_path / "projects", tmp_path / "data") as server:
        program = [sys.executable, "-u", "-c", example.replace(DEFAULT_URL, server.url)]
        process = await trio.lowlevel.open_process(program, stdout=subprocess.PIPE, cwd=tmp_path)
        assert process.stdout is not None
        try:
            with trio.fail_after(30):
                async with connect(server.url) as asker:
                    while (await asker.request("get_status")).data["clients"]["live"] < 1:  # noqa: ASYNC110
                        await trio.sleep(0.05)
                (folder / "s.jsonl").write_text(LINE)
                printed = await _until(process.stdout, b"content='hello'")
                assert b"MessageAdded(" in printed
        finally:
            process.kill()
            await process.wait()
            await process.stdout.aclose()


async def test_the_librarys_program_watches_serves_and_broadcasts(tmp_path: Path) -> None:
    example, over_http, _ = fences("docs/library.md", "python")
    imported, _, call = over_http.strip().partition("\n\n")
    example = imported + "\n" + example.replace(SERVE, f"        {call}\n{SERVE}")
    assert call in example
    port, folder = free_port(), tmp_path / "projects" / "-w"
    folder.mkdir(parents=True)
    for there, here in (
        ("port=8765", f"port={port}"),
        ("~/.claude/projects", str(tmp_path / "projects")),
        ("observatory-data", str(tmp_path / "data")),
    ):
        assert there in example
        example = example.replace(there, here)
    process = await trio.lowlevel.open_process([sys.executable, "-u", "-c", example], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        with trio.fail_after(30):
            await _until(process.stdout, b"stored as 1 for 0 clients")
            async with connect(f"ws://127.0.0.1:{port}") as asked:
                epoch = asked.hello.data["position"]["epoch"]
            async with connect(f"ws://127.0.0.1:{port}", topics=["project:x"], since=Position(epoch, 0)) as late:
                event = await late.event()
                assert (event.type, event.data) == ("build_finished", {"ok": True})
            async with connect(f"ws://127.0.0.1:{port}", topics=["all_conversations"]) as live:
                (folder / "s.jsonl").write_text(LINE)
                while (event := await live.event()).type != "message_added":
                    pass
                assert event.data["message"]["content"] == "hello"
            answer = await trio.to_thread.run_sync(httpx.get, f"http://127.0.0.1:{port}/api/v1/conversations")
            assert [session["id"] for session in answer.json()["conversations"]] == ["s"]
    finally:
        process.kill()
        await process.wait()
        await process.stdout.aclose()


async def test_the_librarys_follower_goes_on_after_it_was_killed(tmp_path: Path) -> None:
    _, _, example = fences("docs/library.md", "python")
    folder, place = tmp_path / "projects" / "-w", tmp_path / "position"
    folder.mkdir(parents=True)

    def write(*texts: str) -> None:
        with (folder / "s.jsonl").open("a") as file:
            file.write("".join(LINE.replace("u-1", text).replace("hello", text) for text in texts))

    async with serving(tmp_path / "projects", tmp_path / "data", free_port()) as server:
        for there, here in ((DEFAULT_URL, server.url), ("my-program.position", str(place))):
            assert there in example
            example = example.replace(there, here)
        async with connect(server.url) as asked:
            place.write_text(f"{asked.hello.data['position']['epoch']}:0\n")
        write("one", "two")
        async with _running(example) as printed:
            assert b"user one" in await _until(printed, b"user two")
        write("three")
        await server.kill()
        await server.start()
        async with _running(example) as printed:
            again = await _until(printed, b"user three")
        assert b"user one" not in again
        assert again.count(b"user two") <= 1  # it was in hand


@asynccontextmanager
async def _running(program: str) -> AsyncIterator[trio.abc.ReceiveStream]:
    """A program's output; it is killed at the end."""
    process = await trio.lowlevel.open_process([sys.executable, "-u", "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        with trio.fail_after(30):
            yield process.stdout
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            await process.stdout.aclose()


async def _until(stream: trio.abc.ReceiveStream, wanted: bytes, printed: bytes = b"") -> bytes:
    while wanted not in printed:
        data = await stream.receive_some()
        assert data, printed.decode()
        printed += bytes(data)
    return printed
