"""Our fan-out server: the product's own parts, wired as in app.py, and a publisher in place of the ingest.

Usage: fanout_server PORT DATA_DIR [--profile] [--http]. Obeys tests/bench/orders.py. Every message is an event that is
committed to a real log before it is routed; outbox limits, write deadline, keep-alive timers and latency trace are on.
"""

import gc
import random
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import attrs
import structlog
import trio

from actors.commands import Publish, Routed
from actors.router import Router
from actors.sender import OutboxLimits
from observatory.app import GC_THRESHOLDS, raise_fd_limit
from observatory.core.batch import Batch
from observatory.core.events import Draft, encode, text_frame
from observatory.core.handshake import Policy
from observatory.core.replies import Timing, WireLimits
from observatory.core.topics import EVERYONE, of_conversation
from observatory.ingest.carried import Journey
from observatory.monitor import ROUTER_INBOX
from observatory.server.listener import WebSocketServer, listen
from observatory.server.oneport import HttpSide, Scope
from observatory.server.websocket import Services, now_ms
from observatory.storage.committer import Committer
from observatory.storage.log import EventLog, Retention
from observatory.storage.reader import LogReader
from observatory.telemetry import logs
from observatory.telemetry.trace import LatencyTrace, Stamps
from tests.bench.orders import Order, next_due, parse
from tests.bench.sampling import Samples

KIND = "message_added"
TOPICS = of_conversation("9c1f0c1e-bench", "p-bench")
MAX_CLIENTS = 100_000
PROFILE = "profile.txt"  # in the data directory


async def answer_nothing(scope: Scope, receive: Any, send: Any) -> None:
    """An application, as small as can be."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Parts:
    """The server without watcher and ingest."""

    def __init__(self, data_dir: Path, http: bool) -> None:
        self.log = EventLog(data_dir, None)
        self.reader = LogReader(self.log)
        self.trace = LatencyTrace(structlog.get_logger())
        self.router = Router(EVERYONE, self.log.position.head, ROUTER_INBOX, time.monotonic_ns, self._on_written)
        self.committer = Committer(self.log, Retention(), now_ms)
        services = Services(self.router, self.reader, self.status, Timing(), WireLimits())
        self.server = WebSocketServer(services, Policy(), OutboxLimits(), MAX_CLIENTS, self._on_written, random.randint)
        if http:
            self.server.http = HttpSide(answer_nothing)

    def _on_written(self, publish: object) -> None:
        assert isinstance(publish, Publish)
        journey = publish.stamp
        assert isinstance(journey, Journey)
        stamps = Stamps(journey.detected_ns, journey.read_ns, journey.committed_ns, publish.routed_ns)
        self.trace.observe(stamps, time.monotonic_ns(), journey.records)

    def status(self) -> dict[str, Any]:
        """What the bench asks while it measures."""
        senders = [connection.sender.statistics() for connection in self.server.connections]
        clients = attrs.asdict(self.router.statistics())
        queued = [s.queued_bytes for s in senders if s.behind_at is not None]
        totals = attrs.asdict(self.server.pages.totals)
        return {"clients": clients, "pages": totals, "largest_outbox_behind": max(queued, default=0)}

    async def publish(self, size: int) -> None:
        """Commit one event whose payload has `size` bytes, and offer it to everyone."""
        born = time.monotonic_ns()
        data = {"stamp": born, "pad": ""}
        position = self.log.position
        data["pad"] = "x" * (size - len(encode(KIND, data, now_ms(), position.head + 1, position.epoch)))
        events = await self.committer.append(Batch(drafts=[Draft(KIND, data, TOPICS)]))
        routed = tuple(Routed(event.seq, event.topics, text_frame(event.payload)) for event in events)
        publish = Publish(routed, Journey(born, born, time.monotonic_ns(), len(routed)))
        await self.router.post(publish)
        await publish.done.wait()

    async def obey(self, order: Order) -> None:
        """Publish on the order's beat."""
        due = trio.current_time()
        for _ in range(order.messages):
            await trio.sleep_until(due)
            await self.publish(order.size)
            due = next_due(due, trio.current_time(), order.interval)


async def follow_orders(parts: Parts, profile: bool) -> Samples:
    """One order a line, until standard input ends; returns the profile of all, empty without `profile`."""
    samples = Samples()
    while line := await trio.to_thread.run_sync(sys.stdin.buffer.readline, abandon_on_cancel=True):
        with samples.taken() if profile else nullcontext():
            await parts.obey(parse(line))
    return samples


async def main(port: int, data_dir: Path, profile: bool, http: bool) -> Samples:
    """Serve until standard input ends."""
    parts = Parts(data_dir, http)
    listeners = await listen("127.0.0.1", port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(parts.router.run)
        nursery.start_soon(parts.committer.keep_up)
        nursery.start_soon(parts.trace.run)
        nursery.start_soon(parts.server.serve, listeners)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        samples = await follow_orders(parts, profile)
        await parts.server.close_now()
        nursery.cancel_scope.cancel()
    return samples


def run(port: int, data_dir: Path, profile: bool, http: bool) -> None:
    """Serve; afterwards leave the profile in the data directory."""
    raise_fd_limit()
    logs.configure("json", sys.stderr)
    samples = trio.run(main, port, data_dir, profile, http)
    if profile:
        (data_dir / PROFILE).write_text("\n".join(samples.report()) + "\n")


if __name__ == "__main__":
    run(int(sys.argv[1]), Path(sys.argv[2]), "--profile" in sys.argv, "--http" in sys.argv)
