"""What clients notice while a server indexes a history: lines of a live session, meanwhile and at rest.

Started by tests.bench.search as a process of its own, which holds the clients and writes the session.
"""

import argparse
import gc
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.history_live import CLIENTS, PORTION, _figures
from tests.bench.latency_run import Lap, Writer, ours
from tests.bench.latency_run import measure as laps_of
from tests.bench.processes import NotMeasured, environment, running
from tests.bench.status import status
from tests.bench.wire import Audience, Refused
from tests.running import free_port


def run(home: Path, lines: int) -> dict[str, Any]:
    """Start the server on an archive without an index; measure while it makes one, and when it has."""
    port = free_port()
    with tempfile.TemporaryFile() as log:
        server, writer = ours(home, port), Writer(home, 1)
        with running(server.command, port, log, environment(home)):
            audience = Audience(port, CLIENTS, server.subprotocol, server.hello)
            audience.settle(server.ready, 60.0)
            gc.disable()
            during, begun, indexed = list[Lap | None](), time.monotonic(), 0
            while (lag := status(port)["gauges"]["search_lag_records"]) > 1000 or not indexed:
                during += laps_of(audience, writer, server.kind, PORTION, len(during))
                indexed = max(indexed, lag)
                if time.monotonic() - begun > 300:
                    raise NotMeasured("the index was not made in 300 s")
            seconds = time.monotonic() - begun
            rest = laps_of(audience, writer, server.kind, lines, len(during))
            audience.close()
    return {"rest": _figures(rest), "during": _figures(during), "seconds": round(seconds, 1)}


def main() -> None:
    """Print the figures as JSON."""
    made = argparse.ArgumentParser()
    made.add_argument("--home", type=Path, required=True)
    made.add_argument("--lines", type=int, required=True)
    opts = made.parse_args()
    try:
        print(json.dumps(run(opts.home, opts.lines)))
    except (NotMeasured, Refused, OSError) as obstacle:
        print(obstacle, file=sys.stderr)
        sys.exit(3)


if __name__ == "__main__":
    main()
