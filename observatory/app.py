"""The composition root: the one place that knows every part, and the order in which they start and end."""

import gc
import random
import resource
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import structlog
import trio

from actors.router import Publish, Router
from actors.sender import OutboxLimits
from actors.watcher import FileWatcher
from observatory import __version__
from observatory.config import Config
from observatory.core.handshake import LOOPBACK_NAMES, Policy
from observatory.core.identity import is_transcript
from observatory.core.replies import Timing, WireLimits
from observatory.core.topics import EVERYONE
from observatory.ingest.actor import Ingest, Journey
from observatory.server.listener import WebSocketServer, listen
from observatory.server.websocket import Services, now_ms
from observatory.storage.committer import Committer
from observatory.storage.log import EventLog, Retention
from observatory.storage.opening import DirectoryLock, explain
from observatory.storage.reader import LogReader
from observatory.telemetry.trace import LatencyTrace, Stamps

log = structlog.get_logger()
ROUTER_INBOX = 64  # commits and requests that may wait for the Router; beyond, the ingest waits
GC_THRESHOLDS = (50_000, 20, 20)  # values on the way die by reference count: a collection in mid-line is only delay
FD_RESERVE = 256  # descriptors kept for files, the store and the watcher
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@attrs.frozen
class Ready:
    """What the ready line tells."""

    url: str
    data_dir: Path
    roots: tuple[str, ...]


async def serve(config: Config, on_ready: Callable[[Ready], None]) -> None:
    """Run the server until SIGINT or SIGTERM. Raises WorldError when it cannot start or the store is lost."""
    fds = raise_fd_limit()
    lock = DirectoryLock(config.data_dir)
    try:
        listeners = await listen(config.host, config.port)
        event_log = EventLog(config.data_dir, boot_id())
        reader = LogReader(event_log)
        try:
            await Node(config, event_log, reader, min(config.max_clients, fds - FD_RESERVE)).run(
                listeners, lock, on_ready
            )
        except* (
            sqlite3.Error
        ) as errors:  # a look-up failed: what is in memory is not to be trusted; a start puts it right
            raise explain(first_of(errors), event_log.path) from errors
        finally:
            reader.close()
            event_log.close()
    finally:
        lock.release()


def first_of(errors: BaseExceptionGroup[sqlite3.Error]) -> sqlite3.Error:
    """One of the errors in a group, however deep."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, sqlite3.Error)
    return error


def raise_fd_limit() -> int:
    """Raise the soft limit of descriptors to the hard one; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def boot_id() -> str | None:
    """Tells one start of the machine from the next; None when the system does not say."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return None


class Node:
    """One node's parts, wired; `run` is its life."""

    def __init__(self, config: Config, event_log: EventLog, reader: LogReader, max_clients: int) -> None:
        self._config = config
        self._started = time.time()
        self._log = event_log
        self._trace = LatencyTrace(log, config.slow_event_seconds, config.trace_window_seconds)
        self._router = Router(EVERYONE, event_log.position.head, ROUTER_INBOX, time.monotonic_ns, self._on_written)
        retention = Retention(
            config.event_retention_seconds, config.event_retention_count, config.event_retention_bytes
        )
        self._committer = Committer(event_log, retention, now_ms)
        self._ingest = Ingest(event_log, self._committer, self._router, now_ms)
        self._watcher = FileWatcher(config.roots, is_transcript, self._ingest, config.watcher)
        self._server = self._make_server(reader, max_clients)

    def _make_server(self, reader: LogReader, max_clients: int) -> WebSocketServer:
        config = self._config
        services = Services(
            self._router,
            reader,
            self.status,
            Timing(ping_interval=config.ping_seconds),
            WireLimits(config.outbox_frames, config.outbox_bytes),
        )
        policy = Policy(
            LOOPBACK_NAMES | {name.lower() for name in config.allow_hosts},
            frozenset(origin.lower() for origin in config.allow_origins),
        )
        outbox = OutboxLimits(config.outbox_frames, config.outbox_bytes, config.stall_seconds)
        return WebSocketServer(services, policy, outbox, max_clients, self._on_written, random.randint)

    async def run(
        self, listeners: list[trio.SocketListener], lock: DirectoryLock, on_ready: Callable[[Ready], None]
    ) -> None:
        """Start the parts from the log outwards, serve until told to stop, and end in order."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._router.run)
            nursery.start_soon(self._committer.keep_up)
            nursery.start_soon(self._trace.run)
            nursery.start_soon(self._ingest.run)
            await nursery.start(self._watcher.run)
            nursery.start_soon(self._server.serve, listeners)
            url = _url(listeners[0])
            gc.collect()
            gc.freeze()  # what lives as long as the process is not looked at again
            gc.set_threshold(*GC_THRESHOLDS)
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:  # before anyone can know of us
                lock.announce(url)
                on_ready(Ready(url, self._config.data_dir, self._config.roots))
                log.info("server.ready", url=url, roots=list(self._config.roots), data_dir=str(self._config.data_dir))
                await self._until_told_to_stop(signals)
            nursery.cancel_scope.cancel()
        log.info("server.stopped", head=self._log.position.head)

    async def _until_told_to_stop(self, signals: AsyncIterator[int]) -> None:
        """The first signal ends in order, a second one at once."""
        async for number in signals:
            log.info("server.stopping", signal=signal.Signals(number).name, clients=len(self._server.connections))
            break
        async with trio.open_nursery() as ending:
            ending.start_soon(self._end, ending.cancel_scope)
            async for _ in signals:
                ending.cancel_scope.cancel()

    async def _end(self, scope: trio.CancelScope) -> None:
        await self._server.shut_down(self._config.shutdown_seconds)
        scope.cancel()

    def _on_written(self, publish: object) -> None:
        """The frames of a Publish reached a client's socket: at once (told by the Router) or from an outbox."""
        assert isinstance(publish, Publish)
        journey = publish.stamp
        if isinstance(journey, Journey):
            stamps = Stamps(journey.detected_ns, journey.read_ns, journey.committed_ns, publish.routed_ns)
            self._trace.observe(stamps, time.monotonic_ns(), journey.records)

    def status(self) -> dict[str, Any]:
        """What get_status and `observatory status` show."""
        router, watcher = self._router.statistics(), self._watcher.statistics()
        queued = [connection.sender.statistics() for connection in self._server.connections]
        counters = self._server.counters
        return {
            "version": __version__,
            "uptime_seconds": round(time.time() - self._started, 3),
            "position": attrs.asdict(self._log.position),
            "roots": list(self._config.roots),
            "data_dir": str(self._config.data_dir),
            "clients": {"live": router.live, "behind": router.behind, "idle": router.idle},
            "gauges": {
                "topics_held": router.topics_held,
                "outbox_frames": sum(s.queued_frames for s in queued),
                "outbox_bytes": sum(s.queued_bytes for s in queued),
                "replies_waiting": sum(s.queued_replies for s in queued),
                **self._ingest.gauges(),
            },
            "counters": {
                "accepted": counters.accepted,
                "refused": {str(status): count for status, count in counters.refused.items()},
                "closes": {str(code): count for code, count in counters.closes.items()},
                "resets": counters.resets,
                "failures": counters.failures,
                "bad_lines": self._ingest.bad_lines(),
            },
            "watcher": attrs.asdict(watcher),
            "components": self._ingest.components(),
        }


def _url(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"ws://[{host}]:{port}/ws" if ":" in host else f"ws://{host}:{port}/ws"
