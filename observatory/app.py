"""The composition root of `observatory serve`: settings → parts, and the order in which they start and end."""

import gc
import resource
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import attrs
import structlog
import trio

from actors.sender import OutboxLimits
from observatory.config import Config
from observatory.core.drain import Pace
from observatory.core.handshake import LOOPBACK_NAMES, Policy
from observatory.core.replies import Timing
from observatory.core.visitors import Proxies, networks_of
from observatory.monitor import FileMonitor
from observatory.server.connections import ConnectionManager, url_of
from observatory.server.listener import listen
from observatory.server.tls import server_context
from observatory.storage.log import Retention
from observatory.storage.opening import DirectoryLock
from observatory.storage.token import ensure

log = structlog.get_logger()
GC_THRESHOLDS = (50_000, 20, 20)  # values on the way die by reference count: a collection in mid-line is only delay
FD_RESERVE = 256  # descriptors kept for files, the store and the watcher


@attrs.frozen
class Ready:
    """What the ready line tells."""

    url: str
    data_dir: Path
    roots: tuple[str, ...]


async def serve(config: Config, on_ready: Callable[[Ready], None]) -> None:
    """Run the server until SIGINT or SIGTERM. Raises WorldError when it cannot start or the store is lost."""
    fds = raise_fd_limit()
    tls = None if config.tls_cert is None else server_context(config.tls_cert, config.tls_key)
    lock = DirectoryLock(config.data_dir)
    try:
        token = None if config.auth == "none" else ensure(config.token_file).current
        listeners = await listen(config.host, config.port)
        async with make_monitor(config, lock) as monitor:
            manager = make_manager(config, monitor, min(config.max_clients, fds - FD_RESERVE), token, tls)
            await Node(config, monitor, manager).run(listeners, on_ready)
        log.info("server.stopped", head=monitor.events.position.head)
    finally:
        lock.release()


def raise_fd_limit() -> int:
    """Raise the soft limit of descriptors to the hard one; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def make_monitor(config: Config, lock: DirectoryLock) -> FileMonitor:
    """Everything up to the Router."""
    return FileMonitor(
        config.roots,
        config.data_dir,
        watcher=config.watcher,
        retention=Retention(config.event_retention_seconds, config.event_retention_count, config.event_retention_bytes),
        completed_after=config.completed_after,
        slow_event_seconds=config.slow_event_seconds,
        trace_window_seconds=config.trace_window_seconds,
        exclude=config.exclude,
        redact=config.redact,
        redact_stored=config.redact_stored,
        lock=lock,
    )


def make_manager(
    config: Config,
    monitor: FileMonitor,
    max_clients: int,
    token: Callable[[], str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> ConnectionManager:
    """Everything from the Router on."""
    policy = Policy(
        LOOPBACK_NAMES | {name.lower() for name in config.allow_hosts},
        frozenset(origin.lower() for origin in config.allow_origins),
        Proxies(networks_of(config.trusted_proxies)),
        config.handshakes_per_s,
        config.handshake_burst,
    )
    outbox = OutboxLimits(config.outbox_frames, config.outbox_bytes, config.stall_seconds, config.outbox_behind_bytes)
    timing = Timing(ping_interval=config.ping_seconds)
    pace = Pace(config.drain_seconds, config.drain_rate, config.shutdown_seconds)
    return ConnectionManager(
        monitor, policy=policy, outbox=outbox, timing=timing, max_clients=max_clients, pace=pace, token=token, tls=tls
    )


@attrs.define
class Node:
    """One node as a process; `run` is its life inside the monitor's block."""

    _config: Config
    _monitor: FileMonitor
    _manager: ConnectionManager

    async def run(self, listeners: list[trio.SocketListener], on_ready: Callable[[Ready], None]) -> None:
        """Serve until told to stop, and end in order."""
        config = self._config
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._manager.serve, listeners)
            url = url_of(listeners[0], tls=config.tls_cert is not None)
            gc.collect()
            gc.freeze()  # what lives as long as the process is not looked at again
            gc.set_threshold(*GC_THRESHOLDS)
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:  # before anyone can know of us
                self._monitor.announce(url, None if config.tls_cert is None else str(config.tls_cert))
                on_ready(Ready(url, config.data_dir, config.roots))
                log.info("server.ready", url=url, roots=list(config.roots), data_dir=str(config.data_dir))
                await self._until_told_to_stop(signals)
            nursery.cancel_scope.cancel()

    async def _until_told_to_stop(self, signals: AsyncIterator[int]) -> None:
        """The first signal ends in order, all parts running until the last client is gone; a second one at once."""
        async for number in signals:
            log.info("server.stopping", signal=signal.Signals(number).name, clients=self._manager.client_count)
            break
        async with trio.open_nursery() as ending:
            ending.start_soon(self._end, ending.cancel_scope)
            async for number in signals:
                log.info("server.hurried", signal=signal.Signals(number).name, clients=self._manager.client_count)
                ending.cancel_scope.cancel()
        if self._manager.client_count:
            await self._manager.close_now()

    async def _end(self, scope: trio.CancelScope) -> None:
        await self._manager.shut_down()
        scope.cancel()
