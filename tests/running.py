"""`observatory serve` as a child process: started, killed, started again; never left behind."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

START_SECONDS = 20.0
STOP_SECONDS = 15.0
PORTS = range(20_000, 32_000)  # below the kernel's own choices, so that nobody takes it while the server is down
READY = re.compile(r"ready at (ws://\S+)")


@attrs.define(eq=False)
class Server:
    """One data directory's server; `url` is of the process that runs now."""

    root: Path
    data_dir: Path
    port: int = 0
    environ: Mapping[str, str] = attrs.field(factory=dict)  # settings beside the options
    wrapper: Sequence[str] = ()  # a command that sets limits and runs the rest of its line
    url: str = ""
    _process: trio.Process | None = None

    @property
    def database(self) -> Path:
        """Where its log is."""
        return self.data_dir / "observatory.db"

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None
        return self._process.pid

    @property
    def stderr(self) -> str:
        """What all its processes logged; for the message of a failed test."""
        path = self._stderr()
        return path.read_text(errors="replace") if path.exists() else ""

    async def start(self) -> None:
        """Start it, and wait for the ready line."""
        assert self._process is None
        program = (sys.executable, "-c", "from observatory.cli.main import main; main()")
        places = ("--root", str(self.root), "--data-dir", str(self.data_dir), "--port", str(self.port))
        with self._stderr().open("ab") as stderr:
            self._process = await trio.lowlevel.open_process(
                [*self.wrapper, *program, "serve", *places, "--log-format", "json"],
                env={**os.environ, **self.environ},
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        with trio.move_on_after(START_SECONDS):
            self.url = await self._ready_url()
        assert self.url, f"the server did not start:\n{self.stderr}"

    async def kill(self) -> None:
        """End it by SIGKILL."""
        await self._end(signal.SIGKILL)

    async def terminate(self) -> None:
        """End it by SIGTERM. Fails when it does not end in order."""
        assert await self._end(signal.SIGTERM) == 0, self.stderr

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, and do not wait."""
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for its end, which something else has brought about; its exit code."""
        return await self._end(None)

    async def _end(self, number: signal.Signals | None) -> int:
        process, self._process, self.url = self._process, None, ""
        assert process is not None
        try:
            with trio.move_on_after(STOP_SECONDS):
                if number is not None:
                    process.send_signal(number)
                return await process.wait()
        finally:
            await _bury(process)
        raise AssertionError(f"the server did not end after {number}:\n{self.stderr}")

    async def _ready_url(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        text = b""
        while data := await self._process.stdout.receive_some():
            text += data
            if b"\n" in text and (found := READY.search(text.decode())):
                return found[1]
        return ""

    def _stderr(self) -> Path:
        return self.data_dir.with_name(f"{self.data_dir.name}.stderr")

    def kill_now(self) -> None:
        """Kill what still runs, without waiting for its end."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def clean_up(self) -> None:
        """Kill what still runs."""
        if self._process is not None:
            await _bury(self._process)
            self._process = None


async def _bury(process: trio.Process) -> None:
    with trio.CancelScope(shield=True), trio.move_on_after(STOP_SECONDS):
        if process.returncode is None:
            process.kill()
            await process.wait()
        assert process.stdout is not None
        await process.stdout.aclose()


@asynccontextmanager
async def serving(
    root: Path, data_dir: Path, port: int = 0, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Server]:
    """A running server; killed at the end if it still runs."""
    server = Server(root, data_dir, port, environ or {})
    try:
        await server.start()
        yield server
    finally:
        await server.clean_up()


def free_port() -> int:
    """A port that stays free while a server restarts."""
    for port in random.SystemRandom().sample(PORTS, 100):  # also where a test seeds the others
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")
