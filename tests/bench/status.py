"""Status: what a measured server says of itself, asked over a connection of its own."""

import json
import time
from typing import Any

from tests.bench.wire import Audience, Refused

HISTORY_SECONDS = 120.0
STATUS = b'{"id":2,"type":"get_status"}'


def status(port: int) -> dict[str, Any]:
    """The server's answer to get_status. Raises Refused."""
    asking = Audience(port, 1, "observatory.v1", STATUS)
    try:
        for _, _, text in asking.frames(time.perf_counter() + 10.0):
            message = json.loads(text)
            if message["type"] == "status":
                data: dict[str, Any] = message["data"]
                return data
    finally:
        asking.close()
    raise Refused("no status in 10 s")


def wait_for_history(port: int, files: int) -> None:
    """Ask for the status until every file is read. Raises Refused."""
    end = time.monotonic() + HISTORY_SECONDS
    while time.monotonic() < end:
        gauges = status(port)["gauges"]
        if gauges["sources"] >= files and not gauges["history_waiting"] + gauges["sources_waiting"]:
            return
        time.sleep(0.3)
    raise Refused(f"the history was not read in {HISTORY_SECONDS:.0f} s")
