"""The README's Python example runs, as it stands there, against a real server."""

import subprocess
import sys
from pathlib import Path

import trio

from tests.running import serving
from tests.test_docs import fences

DEFAULT_URL = "ws://127.0.0.1:8765"
LINE = '{"type":"user","uuid":"u-1","sessionId":"s","cwd":"/w","message":{"role":"user","content":"hello"}}\n'


async def test_the_readmes_client_prints_what_is_written(tmp_path: Path) -> None:
    (example,) = fences("README.md", "python")
    assert DEFAULT_URL in example
    folder = tmp_path / "projects" / "-w"
    folder.mkdir(parents=True)
    async with serving(tmp_path / "projects", tmp_path / "data") as server:
        program = [sys.executable, "-u", "-c", example.replace(DEFAULT_URL, server.url)]
        process = await trio.lowlevel.open_process(program, stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            with trio.fail_after(30):
                printed = await _until(process.stdout, b"Connected(")
                (folder / "s.jsonl").write_text(LINE)
                printed = await _until(process.stdout, b"'content': 'hello'", printed)
                assert b"type='message_added'" in printed
        finally:
            process.kill()
            await process.wait()
            await process.stdout.aclose()


async def _until(stream: trio.abc.ReceiveStream, wanted: bytes, printed: bytes = b"") -> bytes:
    while wanted not in printed:
        data = await stream.receive_some()
        assert data, printed.decode()
        printed += bytes(data)
    return printed
