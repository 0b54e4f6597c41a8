"""Restart: a server that comes back over files in which nothing changed opens none of them.

    python -m tests.bench.restart [--files 10000] [--smoke] [--json FILE]

Every second file ends without a newline. The kernel tells (inotify on all directories) which files were opened and read
while the server started for the second time; exits with 1 when there was one.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

import attrs
from inotify_simple import INotify, flags

from tests.bench.facts import emit, parser, told
from tests.bench.figures import shown, table
from tests.bench.latency_run import ours
from tests.bench.processes import cpu_seconds, environment, running
from tests.bench.status import status, wait_for_history
from tests.bench.transcript import write_history
from tests.running import free_port

LINES = 4  # of each file
LINGER_SECONDS, SMOKE_LINGER_SECONDS = 12.0, 2.0  # after the start: the sweep over recent files comes in it
STOP_SECONDS = 15.0
SHOWN = 3
TOUCHED = flags.OPEN | flags.ACCESS


class Ears:
    """Tells which files below a directory are opened or read, whoever does it. Directories do not count."""

    def __init__(self, root: Path) -> None:
        self._inotify = INotify()
        folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
        self._folders = {self._inotify.add_watch(str(path), TOUCHED): path for path in folders}

    def heard(self) -> dict[str, set[Path]]:
        """The files that were opened, and those that were read, since the last look. Raises OSError on an overflow."""
        found: dict[str, set[Path]] = {"opened": set(), "read": set()}
        while events := self._inotify.read(timeout=0):
            for event in events:
                if event.mask & flags.Q_OVERFLOW:
                    raise OSError("more happened than the kernel keeps")
                if not event.mask & flags.ISDIR:
                    kind = "opened" if event.mask & flags.OPEN else "read"
                    found[kind].add(self._folders[event.wd] / event.name)
        return found

    def close(self) -> None:
        """Stop listening."""
        self._inotify.close()


@attrs.frozen
class Start:
    """Seconds from the start of the process until it listens and until it has read all; CPU seconds until the end."""

    listening: float
    quiet: float
    cpu: float
    bytes_read: int
    gauges: dict[str, int]


def one_life(home: Path, log: IO[bytes], files: int, linger: float) -> Start:
    """Start, wait until everything is read and a while longer, stop in order."""
    port = free_port()
    began = time.monotonic()
    with running(ours(home, port).command, port, log, environment(home)) as process:
        listening = time.monotonic() - began
        wait_for_history(port, files)
        quiet = time.monotonic() - began
        time.sleep(linger)
        gauges, cpu = status(port)["gauges"], cpu_seconds(process.pid)
        io = dict(line.split(": ") for line in Path(f"/proc/{process.pid}/io").read_text().splitlines())
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)
    return Start(listening, quiet, cpu, int(io["rchar"]), gauges)


def measure(opts: argparse.Namespace) -> dict[str, Any]:
    """First life over all files, second life over the same."""
    with tempfile.TemporaryDirectory(prefix="restart-") as folder, tempfile.TemporaryFile() as log:
        home = Path(folder)
        write_history(home, opts.files, LINES, torn=frozenset(range(0, opts.files, 2)))
        os.sync()
        size = sum(path.stat().st_size for path in (home / ".claude").rglob("*.jsonl"))
        first = one_life(home, log, opts.files, 0.0)
        told(f"{opts.files:,} files read {first.quiet:.1f} s after the start")
        ears = Ears(home / ".claude")
        second = one_life(home, log, opts.files, opts.linger)
        heard = ears.heard()
        ears.close()
        torn = {path for path in heard["opened"] | heard["read"] if not path.read_bytes().endswith(b"\n")}
    return {
        "bytes": size,
        "first": attrs.asdict(first),
        "second": attrs.asdict(second),
        **{kind: len(paths) for kind, paths in heard.items()},
        "without_newline": len(torn),
        "some": [path.name for path in sorted(heard["opened"] | heard["read"])[:SHOWN]],
    }


def failures(found: dict[str, Any]) -> list[str]:
    """What is not as it must be."""
    if not found["opened"] and not found["read"]:
        return []
    some, torn = ", ".join(found["some"]), found["without_newline"]
    return [f"{found['opened']} files opened, {found['read']} read, {torn} of them without a last newline: {some} …"]


def options() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--files", type=int, default=10_000)
    opts = made.parse_args()
    opts.linger = SMOKE_LINGER_SECONDS if opts.smoke else LINGER_SECONDS
    if opts.smoke:
        opts.files = 200
    return opts


def main() -> None:
    """Print the table and the JSON line."""
    opts = options()
    found = measure(opts)
    headings = ["start", "listens after s", "all known after s", "CPU s", "bytes read", "files opened", "files read"]
    rows = []
    for name, opened, read in (("first", "all", "all"), ("second", str(found["opened"]), str(found["read"]))):
        start = found[name]
        numbers = [shown(start[key]) for key in ("listening", "quiet", "cpu")]
        rows.append([name, *numbers, f"{start['bytes_read']:,}", opened, read])
    print(f"\n{opts.files:,} files, {found['bytes'] / 2**20:.0f} MiB, half of them without a last newline\n")
    print(table(headings, rows))
    emit("restart", {"files": opts.files}, found, opts)
    bad = failures(found)
    for line in bad:
        told(f"FAILED: {line}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
