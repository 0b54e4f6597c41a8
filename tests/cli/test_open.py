"""`observatory serve --open`: a browser is given the dashboard's address."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import trio

PROGRAM = "from observatory.cli.main import main; main()"


async def opened(directory: Path, *options: str) -> list[str]:
    """What a browser was started with."""
    told, browser = directory / "told", directory / "browser"
    await trio.Path(browser).write_text(f'#!/bin/sh\necho "$1" >> {told}\n')
    await trio.Path(browser).chmod(stat.S_IRWXU)
    places = ["--root", str(directory / "projects"), "--data-dir", str(directory / "data"), "--port", "0"]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", PROGRAM, "serve", "--open", *places, *options],
        env={**os.environ, "BROWSER": f"{browser} %s"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        with trio.fail_after(30):
            while not told.exists() or not told.read_text().endswith("\n"):  # noqa: ASYNC110
                await trio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said = b"".join([bytes(part) async for part in process.stderr])
        assert await process.wait() == 0, said.decode()
        return told.read_text().splitlines()
    finally:
        process.kill()
        await process.wait()
        await process.stderr.aclose()
        if process.stdout is not None:
            await process.stdout.aclose()


@pytest.mark.parametrize(("options", "path"), [((), "/"), (("--auth", "token"), "/login/")])
async def test_the_browser_is_given_the_address_or_a_link_that_logs_in(
    tmp_path: Path, options: tuple[str, ...], path: str
) -> None:
    urls = await opened(tmp_path, *options)
    assert len(urls) == 1
    assert urls[0].startswith("http://127.0.0.1:")
    assert path in urls[0]
