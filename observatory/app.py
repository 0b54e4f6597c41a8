"""The composition root of `serve` and `import`: settings → parts, and the order in which they start and end."""

import gc
import os
import resource
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import structlog
import trio

from actors.sender import OutboxLimits
from observatory.api.mount import answer_http
from observatory.config import SUPABASE, Config
from observatory.core.drain import Pace
from observatory.core.handshake import LOOPBACK_NAMES, Policy
from observatory.core.progress import Imported, Progress
from observatory.core.redact import redact
from observatory.core.replies import Timing
from observatory.core.visitors import Proxies, networks_of
from observatory.ingest.bulk import Workers
from observatory.monitor import FileMonitor, alone
from observatory.server.connections import ConnectionManager, url_of
from observatory.server.listener import listen
from observatory.server.tls import server_context
from observatory.storage.disk import Room
from observatory.storage.log import Retention
from observatory.storage.opening import DirectoryLock
from observatory.storage.token import ensure

log = structlog.get_logger()
GC_THRESHOLDS = (50_000, 20, 20)  # values on the way die by reference count: a collection in mid-line is only delay
SWITCH_SECONDS = (
    0.0005  # after which a thread that reads for a request lets the loop in: a live line needs several turns
)
MOST_WORKERS = 4  # of an import: one process stores what they read, and can keep up with no more
IMPORT_PIECE_BYTES, IMPORT_BATCH_BYTES = 1024 * 1024, 8 * 1024 * 1024  # nobody waits for live lines meanwhile
IMPORT_PIECES_WAITING = 32  # compressed, a tenth of a MiB each
SHOW_EVERY = 0.2  # seconds between two looks at how far an import is
FD_RESERVE = 256  # descriptors kept for files, the store and the watcher


@attrs.frozen
class Ready:
    """What the ready line tells."""

    url: str
    data_dir: Path
    roots: tuple[str, ...]


async def serve(config: Config, on_ready: Callable[[Ready], None], dropped: Callable[[], int] = lambda: 0) -> None:
    """Run the server until SIGINT or SIGTERM. Raises WorldError when it cannot start or the store is lost.

    dropped: tells how many lines of the log were lost.
    """
    fds = raise_fd_limit()
    tls = None if config.tls_cert is None else server_context(config.tls_cert, config.tls_key)
    lock = DirectoryLock(config.data_dir)
    try:
        token = None if config.auth == "none" else ensure(config.token_file).current
        listeners = await listen(config.host, config.port)
        async with make_monitor(config, lock) as monitor, notifying(config, monitor), mirroring(config, monitor):
            manager = make_manager(config, monitor, fds - FD_RESERVE, token, tls)
            leaving = redact if config.redact else None
            answer_http(monitor, manager, policy=policy_of(config), leaving=leaving, dropped=dropped)
            await Node(config, monitor, manager).run(listeners, on_ready)
        log.info("server.stopped", head=monitor.events.position.head)
    finally:
        lock.release()


async def import_history(config: Config, show: Callable[[Progress], None]) -> Imported | signal.Signals:
    """Take in what the roots hold, and end. Returns how it went, or the signal that stopped it, in order.

    Args:   show: called a few times a second.
    Raises: AlreadyServed: another process writes the data directory. WorldError: the store is lost, or its disk full.
    """
    lock = DirectoryLock(config.data_dir)
    try:
        with alone(), trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            return await _import(config, lock, show, signals)
    finally:
        lock.release()


async def _import(
    config: Config, lock: DirectoryLock, show: Callable[[Progress], None], signals: AsyncIterator[int]
) -> Imported | signal.Signals:
    stopped: signal.Signals | None = None
    imported: Imported | None = None
    async with trio.open_nursery() as nursery:

        async def stop_at_a_signal() -> None:
            nonlocal stopped
            async for number in signals:
                stopped = signal.Signals(number)
                nursery.cancel_scope.cancel()

        nursery.start_soon(stop_at_a_signal)
        async with make_monitor(config, lock, once=True) as monitor:
            calm_garbage_collection()
            nursery.start_soon(_show_often, monitor, show)
            imported = await monitor.wait_imported()
        nursery.cancel_scope.cancel()
    ended = imported or stopped
    assert ended is not None
    return ended


async def _show_often(monitor: FileMonitor, show: Callable[[Progress], None]) -> None:
    while True:
        show(monitor.import_progress())
        await trio.sleep(SHOW_EVERY)


def calm_garbage_collection() -> None:
    """Values on the way die by reference count; what lives as long as the process is not looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def raise_fd_limit() -> int:
    """Raise the soft limit of descriptors to the hard one; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def make_monitor(config: Config, lock: DirectoryLock, *, once: bool = False) -> FileMonitor:
    """Everything up to the Router. once: for an import."""
    return FileMonitor(
        config.roots,
        config.data_dir,
        watcher=config.watcher,
        retention=Retention(
            config.event_retention_seconds,
            config.event_retention_count,
            config.event_retention_bytes,
            config.record_retention,
        ),
        room=Room(config.disk_warn_bytes, config.disk_quota_bytes),
        completed_after=config.completed_after,
        slow_event_seconds=config.slow_event_seconds,
        trace_window_seconds=config.trace_window_seconds,
        exclude=config.exclude,
        redact=config.redact,
        redact_stored=config.redact_stored,
        lock=lock,
        workers=_import_workers() if once else None,
        once=once,
    )


@asynccontextmanager
async def notifying(config: Config, monitor: FileMonitor) -> AsyncIterator[None]:
    """Notices go out while the block runs, if there is a way for them. Raises UsageError, WorldError."""
    if not config.notify_desktop and not config.notify_webhooks:
        yield
        return
    from observatory.notifying import running  # a client for HTTP takes a fifth of a second to load

    async with running(config, monitor.events, monitor.report) as notifier:
        monitor.others.append(notifier)
        yield


@asynccontextmanager
async def mirroring(config: Config, monitor: FileMonitor) -> AsyncIterator[None]:
    """The copy at Supabase is kept while the block runs, if there is to be one. Raises UsageError, WorldError."""
    named = config.supabase_db_url or config.supabase_url or config.supabase_key
    if not named and not (config.data_dir / SUPABASE).exists():
        yield
        return
    from observatory.mirroring import running, settings_of  # loads a client for PostgreSQL

    settings = settings_of(config)
    if settings is None:
        yield
        return
    async with running(settings, monitor.commits, monitor.report) as keeper:
        monitor.others.append(keeper)
        yield


def usable_cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _import_workers() -> Workers:
    return Workers(min(MOST_WORKERS, usable_cores()), IMPORT_PIECE_BYTES, IMPORT_BATCH_BYTES, IMPORT_PIECES_WAITING)


def policy_of(config: Config) -> Policy:
    """Who may come in: by its own names and origins, and by those under which a proxy shows the server."""
    public = urlsplit(config.public_url or "")
    hosts = LOOPBACK_NAMES | {name.lower() for name in config.allow_hosts}
    origins = frozenset(origin.lower() for origin in config.allow_origins)
    if public.hostname:
        hosts |= {f"[{public.hostname}]" if ":" in public.hostname else public.hostname}
        origins |= {f"{public.scheme}://{public.netloc}".lower()}
    return Policy(
        hosts,
        origins,
        Proxies(networks_of(config.trusted_proxies)),
        config.handshakes_per_s,
        config.handshake_burst,
        public.path,
    )


def make_manager(
    config: Config,
    monitor: FileMonitor,
    max_connections: int,
    token: Callable[[], str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> ConnectionManager:
    """Everything from the Router on."""
    policy = policy_of(config)
    outbox = OutboxLimits(config.outbox_frames, config.outbox_bytes, config.stall_seconds, config.outbox_behind_bytes)
    timing = Timing(ping_interval=config.ping_seconds)
    pace = Pace(config.drain_seconds, config.drain_rate, config.shutdown_seconds)
    return ConnectionManager(
        monitor,
        policy=policy,
        outbox=outbox,
        timing=timing,
        max_clients=min(config.max_clients, max_connections),
        max_connections=max_connections,
        pace=pace,
        token=token,
        tls=tls,
        measures=monitor.measures,
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
            calm_garbage_collection()
            sys.setswitchinterval(SWITCH_SECONDS)
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
