"""What clients notice while the server imports: lines of a live session, at rest and meanwhile.

Started by tests.bench.import as a process of its own, which holds the clients and writes the session:

    python -m tests.bench.history_live --projects DIR --lines N
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.figures import quantile
from tests.bench.history_corpus import Corpus
from tests.bench.history_runs import import_command
from tests.bench.latency_run import Lap, Writer, ours
from tests.bench.latency_run import measure as laps_of
from tests.bench.processes import ROOT, NotMeasured, environment, running
from tests.bench.wire import Audience, Refused
from tests.running import free_port

CLIENTS = 10
AT_REST = 300  # lines before the import
PORTION = 50  # lines between two looks whether it is over


def measure(corpus: Corpus, smoke: bool) -> dict[str, Any]:
    """Run it in a process of its own."""
    words = ["--projects", str(corpus.projects), "--lines", "50" if smoke else str(AT_REST)]
    argv = [sys.executable, "-m", "tests.bench.history_live", *words]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise NotMeasured(done.stderr[-500:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def run(projects: Path, lines: int) -> dict[str, Any]:
    """Start the server, connect, measure at rest and while `observatory import` hands it the history."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="history-live-") as folder, tempfile.TemporaryFile() as log:
        home = Path(folder)
        server, writer = ours(home, port), Writer(home, 1)
        with running(server.command, port, log, environment(home)):
            audience = Audience(port, CLIENTS, server.subprotocol, server.hello)
            audience.settle(server.ready, 20.0)
            gc.disable()
            rest = laps_of(audience, writer, server.kind, lines, 1)
            during, begun = list[Lap | None](), time.monotonic()
            with subprocess.Popen(
                import_command(projects, home / "data"), cwd=ROOT, env=environment(home), stdout=subprocess.PIPE
            ) as command:
                while command.poll() is None:
                    during += laps_of(audience, writer, server.kind, PORTION, len(during))
                seconds = time.monotonic() - begun
                said = command.stdout.read().decode() if command.stdout else ""
            audience.close()
    told = said.strip().splitlines()
    return {"rest": _figures(rest), "during": _figures(during), "seconds": seconds, "told": told[-1] if told else ""}


def _figures(laps: list[Lap | None]) -> dict[str, float]:
    whole = [one.last for one in laps if one is not None]
    if not whole:
        raise NotMeasured("no line reached every client in time")
    found = {f"p{q:g}_ms": round(quantile(whole, q / 100) * 1e3, 3) for q in (50, 99, 100)}
    return {"lines": len(laps), "missed": len(laps) - len(whole), **found}


def main() -> None:
    """Print the figures as JSON."""
    made = argparse.ArgumentParser()
    made.add_argument("--projects", type=Path, required=True)
    made.add_argument("--lines", type=int, required=True)
    opts = made.parse_args()
    try:
        print(json.dumps(run(opts.projects, opts.lines)))
    except (NotMeasured, Refused, OSError) as obstacle:
        print(obstacle, file=sys.stderr)
        sys.exit(3)


if __name__ == "__main__":
    main()
