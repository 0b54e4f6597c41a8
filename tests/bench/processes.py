"""Processes: start what is measured, wait until it listens, read its CPU clock and memory, end it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 20.0
STOP_SECONDS = 2.0  # ctrl-daemon does not end at SIGTERM without the internet
SERVE = "from observatory.cli.main import main; main()"  # the tree these files are in, not an installed copy
LOOPBACK_ONLY = ("unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


class NotMeasured(Exception):
    """Why there is no number; one line."""


def serve_command(home: Path, port: int) -> list[str]:
    """`observatory serve` for a home directory made by a bench."""
    flags = ["--root", home / ".claude", "--data-dir", home / "data", "--port", port]
    return [sys.executable, "-c", SERVE, "serve", *map(str, flags), "--watcher", "inotify", "--log-format", "json"]


def environment(home: Path) -> dict[str, str]:
    """Nothing of the user's settings reaches what is measured."""
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(home), "DO_NOT_TRACK": "1"}


@contextmanager
def running(
    argv: Sequence[object], port: int, log: IO[bytes], env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from the moment it listens. Raises NotMeasured with its last line when it does not start."""
    command = [str(word) for word in argv]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=ROOT, env=env, start_new_session=True
    )
    try:
        _wait_until_listening(process, port, log)
        yield process
    finally:
        stop(process)


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while not listening(port):
        if process.poll() is not None or time.monotonic() > end:
            log.seek(0)
            said = log.read().decode(errors="replace").split("\n")
            raise NotMeasured(f"did not start: {next((line for line in reversed(said) if line.strip()), 'no output')}")
        time.sleep(0.02)


def listening(port: int) -> bool:
    """By the kernel's table: a connection made to find out would be a client of the server."""
    local, state = f":{port:04X}", "0A"
    for table in map(Path, ("/proc/net/tcp", "/proc/net/tcp6")):
        rows = table.read_text().splitlines()[1:] if table.exists() else []
        if any(row.split()[1].endswith(local) and row.split()[3] == state for row in rows):
            return True
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it started: politely first."""
    if process.stdin is not None:
        process.stdin.close()
    for kind in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, kind)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue


def can_unshare() -> bool:
    """Whether this user may make a network namespace that has loopback only."""
    try:
        return subprocess.run([*LOOPBACK_ONLY, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process, in ns resolution (the clock that clock_getcpuclockid(3) names)."""
    return time.clock_gettime(~pid << 3 | 2)


def rss_kb(pid: int) -> int:
    """Resident memory in KiB."""
    return _status_kb(pid, "VmRSS")


def peak_kb(pid: int) -> int:
    """The most memory that was ever resident, in KiB."""
    return _status_kb(pid, "VmHWM")


def _status_kb(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def reset_peak(pid: int) -> None:
    """Have `peak_kb` count from now on; see clear_refs in proc(5)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
