"""A connection that has ended is gone at once: nothing of it waits for the collector, least of all its outbox.

A soak in which clients left and came back found the server growing by a megabyte a minute, though no list of anything
was longer: each connection was a circle of references, with all that its client had not taken, and collections are rare
(app.py, GC_THRESHOLDS).
"""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from actors.sender import OutboxLimits, Sender
from observatory.core.replies import Timing
from observatory.server.websocket import Connection
from tests.server.serving import Running, serving, subscribed

OUTBOX = OutboxLimits(frames=64, bytes=64 * 1024, stall_seconds=0.2)


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def remains() -> list[str]:
    """What is left of connections in this process, reachable or not."""
    return [type(found).__name__ for found in gc.get_objects() if type(found) in (Connection, Sender)]


async def leave(running: Running, way: str) -> None:
    """One client comes and goes."""
    raw = await subscribed(running, receive_bytes=4096)
    [connection] = running.server.connections
    match way:
        case "closes":
            await raw.send(b"\x03\xe8", opcode=8)
        case "resets":
            raw.reset()
        case "resets while it is behind":
            for _ in range(200):
                await running.publish(size=8000)
            await running.until(lambda: connection.sender.cursor is not None)
            raw.reset()
        case "takes nothing":
            for _ in range(200):
                await running.publish(size=8000)
        case "is closed":
            await raw.send(b"binary", opcode=2)
            await raw.close_frame()
            await raw.aclose()
        case "fails":
            connection.fail()
            await raw.close_frame()
            await raw.aclose()


@pytest.mark.parametrize(
    "way", ["closes", "resets", "resets while it is behind", "takes nothing", "is closed", "fails"]
)
async def test_nothing_is_left_of_a_connection_however_it_ended(tmp_path: Path, way: str) -> None:
    async with serving(tmp_path, outbox=OUTBOX, timing=Timing(close_timeout=0.2), send_buffer=4096) as running:
        with trio.fail_after(5):
            await leave(running, way)
            await running.until(lambda: not running.server.connections)
            await running.until(lambda: not remains())
