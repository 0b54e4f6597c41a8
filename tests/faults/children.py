"""Child processes that are to fail, are limited, or are killed in the middle: what the rows S and H need of them."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

REFUSAL_SECONDS = 20.0
NOBODY = 65534
LOADED = "import observatory.app, observatory.cli.serve; 'x'.encode('idna')"  # may be out of reach for another user
MAIN = "from observatory.cli.main import main; main()"
AS_NOBODY = f"import os; {LOADED}; os.setgid({NOBODY}); os.setuid({NOBODY}); {MAIN}"


@attrs.frozen
class Refusal:
    """How a start ended. line: what it said, which must be one line; seconds: until then."""

    code: int
    line: str
    seconds: float


@asynccontextmanager
async def started(root: Path, data_dir: Path) -> AsyncIterator[trio.Process]:
    """A server that has just been started, and is not ready yet; killed at the end."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", MAIN, "serve", "--root", str(root), "--data-dir", str(data_dir), "--port", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def refused(root: Path, data_dir: Path, program: str = MAIN) -> Refusal:
    """Start a server that cannot start."""
    places = ("--root", str(root), "--data-dir", str(data_dir), "--port", "0", "--log-format", "json")
    begun = trio.current_time()
    command = [sys.executable, "-c", program, "serve", *places]
    # another user may not write where the measurements go, and would say so
    environ = {**unmeasured(), "HOME": str(data_dir.parent), "XDG_CONFIG_HOME": str(data_dir.parent)}
    with trio.fail_after(REFUSAL_SECONDS):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False, env=environ)
    said = done.stderr.decode().splitlines()
    assert not done.stdout, done.stdout
    assert len(said) == 1, f"not one line: {said}"
    return Refusal(done.returncode, said[0], trio.current_time() - begun)


def run_python(program: str, *args: str) -> subprocess.CompletedProcess[bytes]:
    """Run a short program to its end, whatever that is. Not measured: it is one of dozens, and takes twice as long."""
    command = [sys.executable, "-c", program, *args]
    return subprocess.run(command, capture_output=True, check=False, timeout=REFUSAL_SECONDS, env=unmeasured())


def unmeasured() -> dict[str, str]:
    """The environment without what has a process measure its coverage."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}


def limited(limit: str) -> Sequence[str]:
    """What to put before a command so that it runs under a limit of the shell's `ulimit`."""
    return ("sh", "-c", f'ulimit {limit}; exec "$@"', "sh")
