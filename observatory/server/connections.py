"""ConnectionManager: the original request's face of the server. It serves clients, and broadcasts messages of others.

A broadcast is an event like any other: stored first, then published, in order, and replayed to whoever was away.
"""

import inspect
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import Any, Protocol

import attrs
import structlog
import trio

from actors.commands import Publish, Routed, Unsubscribe
from actors.router import Router
from actors.sender import OutboxLimits
from observatory.core.batch import Batch
from observatory.core.broadcast import MAX_BYTES, BroadcastResult, Failure, Unfit, prepare, topics_of
from observatory.core.contracts import ConversationData, FileEvent
from observatory.core.drain import Pace
from observatory.core.errors import StoreError, UsageError
from observatory.core.events import encode, text_frame
from observatory.core.facts import facts_of
from observatory.core.handshake import Policy
from observatory.core.ports import Commits, EventSource
from observatory.core.replies import Timing, WireLimits
from observatory.core.where import Filter
from observatory.server.gate import Gate
from observatory.server.listener import WebSocketServer, listen
from observatory.server.oneport import App, HttpLimits, HttpSide
from observatory.server.peer import Address, owner
from observatory.server.transport import Wired
from observatory.server.websocket import Connection, Services
from observatory.server.wire import WireTransport, transport_of
from observatory.telemetry.measures import Measures

log = structlog.get_logger()
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
SHOWN = 20  # clients that the status names one by one
Judge = Callable[[Filter], bool]  # what a filter says of a message


class Feed(Protocol):
    """What stands behind the server: a FileMonitor, whose block has been entered."""

    @property
    def router(self) -> Router[str]: ...
    @property
    def events(self) -> EventSource: ...
    @property
    def commits(self) -> Commits: ...

    def on_written(self, publish: object) -> None:
        """A Publish reached a client's socket."""
        ...

    def announce(self, url: str | None) -> None:
        """Other processes are told where the server is."""
        ...

    def stats(self) -> dict[str, Any]:
        """Its part of the status."""
        ...


@attrs.define
class Broadcasts:
    """Totals since the start. failed: by the reason why nobody got the message."""

    sent: int = 0
    evicted: int = 0
    failed: dict[str, int] = attrs.field(factory=dict)


class ConnectionManager:
    """Serves clients from a feed. All calls come from trio tasks of one event loop.

    Args: outbox: what may wait for one client before it is fed from the log. max_clients: each takes a descriptor, and
          the process's limit of those is the embedder's to raise. max_message_bytes: of one broadcast.
          pace: how fast clients are sent away at the end. token: gives the token that clients must have; without one
          only processes of the own user and of root may connect. transport_of, owner_of: how an accepted connection is
          written to, and which user is at its other end, where that is not the kernel's to say. measures: where this
          server counts, beside the feed. max_connections: WebSocket clients and HTTP connections together.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        policy: Policy | None = None,
        outbox: OutboxLimits | None = None,
        timing: Timing | None = None,
        max_clients: int = 10_000,
        max_message_bytes: int = MAX_BYTES,
        pace: Pace | None = None,
        jitter: Callable[[int, int], int] = random.randint,
        token: Callable[[], str] | None = None,
        tls: ssl.SSLContext | None = None,
        transport_of: Callable[[Wired], WireTransport] = transport_of,
        owner_of: Callable[[Address, Address], int | None] = owner,
        measures: Measures | None = None,
        max_connections: float = inf,
    ) -> None:
        outbox = outbox or OutboxLimits()
        limits = WireLimits(outbox.frames, outbox.bytes)
        services = Services(feed.router, feed.events, self.status, timing or Timing(), limits, measures or Measures())
        self._feed = feed
        self._max_message_bytes = max_message_bytes
        self._broadcasts = Broadcasts()
        self._pace = pace or Pace()
        self._server = WebSocketServer(
            services, policy or Policy(), outbox, max_clients, feed.on_written, jitter,
            token=token, tls=tls, transport_of=transport_of, owner_of=owner_of,
            max_connections=max_connections,
        )  # fmt: skip

    # -- serving -------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def serving(self, host: str = "127.0.0.1", port: int = 8765) -> AsyncIterator[str]:
        """Accept clients while the block runs; yields the URL. At its end they are closed one by one (docs/protocol.md,
        Going down), which takes up to the pace's longest and its grace; without clients it takes no time.

        Raises: WorldError: the port cannot be had. UsageError: an address that others could reach; see docs/library.md.
        """
        if host not in LOOPBACK and self._server.token is None:
            raise UsageError(f"{host!r} would let others read your transcripts, without a token; use 127.0.0.1")
        listeners = await listen(host, port)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.serve, listeners)
            url = url_of(listeners[0], tls=self._server.tls is not None)
            self._feed.announce(url)
            try:
                yield url
            finally:
                self._feed.announce(None)
                with trio.CancelScope(shield=True):
                    await self.shut_down()
                nursery.cancel_scope.cancel()

    async def serve(self, listeners: list[trio.SocketListener]) -> None:
        """Accept clients until cancelled."""
        await self._server.serve(listeners)

    async def shut_down(self) -> None:
        """Refuse new clients, tell the others, and close each at its moment; returns when all are gone."""
        await self._server.shut_down(self._pace)

    async def close_now(self) -> None:
        """Close all clients within a second; for when `shut_down` takes too long and was cancelled."""
        await self._server.close_now()

    def answer_http(self, app: App, ending: trio.Event | None = None, limits: HttpLimits | None = None) -> None:
        """Have an ASGI application answer what asks for no WebSocket, on the same port. Before `serve`.

        ending: set when the server goes down: answers without an end have to come to one.
        """
        self._server.http = HttpSide(app, limits or HttpLimits(), ending=trio.Event() if ending is None else ending)

    # -- broadcasting --------------------------------------------------------------------------------------------------

    async def broadcast(self, message: dict[str, Any], subscription_filter: str | None = None) -> BroadcastResult:
        """Store a message and hand it to every client that the filter means; None means all of them.

        Never waits for a client. Cancelled after the message was stored, it is published all the same.

        Args:    message: `type`, and `data`, any JSON value. subscription_filter: see docs/library.md, Who gets what.
        Returns: the clients found broken, which are evicted; or with `error` all that were meant, and nobody got it.
        Raises:  ValueError: what is no filter. Nothing about the message, the store or a client raises.
        """
        topics = topics_of(subscription_filter)
        draft = prepare(message, topics, self._max_message_bytes)
        if isinstance(draft, Unfit):
            return await self._fail(topics, draft.kind, draft.error, draft.reason)
        await self._feed.commits.turn.take()
        try:
            # What is committed has to reach the Router, or clients would miss it: no cancellation in between.
            with trio.CancelScope(shield=True):
                (event,) = await self._feed.commits.append(Batch(drafts=[draft]))
                routed = Routed(event.seq, topics, text_frame(event.payload), families=True)
                addressed = self._addressed(topics, lambda accepts: self._feed.router.passes(accepts, routed))
                publish = Publish((routed,))
                await self._feed.router.post(publish)
        except StoreError as failure:
            told = facts_of(encode(draft.type, draft.data, 0, 0, ""))
            return await self._fail(topics, draft.type, "not_persisted", str(failure), lambda accepts: accepts(told))
        finally:
            self._feed.commits.turn.give_back()
        await publish.done.wait()
        self._broadcasts.sent += 1
        return await self._evict([client for client in addressed if client.sender.broken], event.seq)

    async def broadcast_conversation_update(
        self, conversation: ConversationData | dict[str, Any], update_type: str = "conversation_update"
    ) -> BroadcastResult:
        """Tell of a conversation to those who follow its project. Raises ValueError when its `project_id` is no id."""
        data = _data(conversation)
        project_id = data.get("project_id") if isinstance(data, dict) else None
        if not project_id:
            raise ValueError("a conversation needs a project_id: it says who is told")
        return await self.broadcast({"type": update_type, "data": data}, f"project:{project_id}")

    async def broadcast_file_monitoring_update(
        self, file: FileEvent | ConversationData | dict[str, Any], update_type: str = "file_update"
    ) -> BroadcastResult:
        """Tell of a file to the holders of `file_events`."""
        return await self.broadcast({"type": update_type, "data": _data(file)}, "file_events")

    def _addressed(self, topics: tuple[str, ...], judge: Judge | None) -> list[Connection]:
        """Whom a message is meant for; filters cannot be asked about one that is no JSON."""
        reaches = self._feed.router.reaches
        return [connection for connection in self._server.connections if reaches(connection.sender, topics, judge)]

    async def _evict(self, broken: list[Connection], seq: int) -> BroadcastResult:
        """Their sockets are reset already; now nothing more is offered to them. Their own tasks do the rest."""
        for client in broken:
            await self._feed.router.post(Unsubscribe(client.sender))
        self._broadcasts.evicted += len(broken)
        return BroadcastResult([client.client_id for client in broken], seq)

    async def _fail(
        self, topics: tuple[str, ...], kind: str | None, error: Failure, reason: str, judge: Judge | None = None
    ) -> BroadcastResult:
        self._broadcasts.failed[error] = self._broadcasts.failed.get(error, 0) + 1
        log.error("broadcast.failed", type=kind, error=error, reason=reason, caller=_caller())
        meant = [client.client_id for client in self._addressed(topics, judge)]
        await trio.lowlevel.checkpoint()
        return BroadcastResult(meant, None, error, reason)

    # -- looking -------------------------------------------------------------------------------------------------------

    @property
    def http_connections(self) -> int:
        """HTTP connections now."""
        return 0 if self._server.http is None else self._server.http.open

    @property
    def gate(self) -> Gate:
        """Judges who may come in."""
        return self._server.gate

    def modes(self) -> dict[str, int]:
        """How many clients are live, behind or idle, or of the original kind, whatever they are."""
        counts = {"live": 0, "behind": 0, "idle": 0, "legacy": 0}
        for connection in self._server.connections:
            counts["legacy" if connection.legacy else connection.mode] += 1
        return counts

    def clients(self) -> dict[str, Any]:
        """Who is connected, and who was: as the API's /clients."""
        return self._server.roster.told(self._server.connections)

    @property
    def client_count(self) -> int:
        """Clients connected now."""
        return len(self._server.connections)

    def stats(self) -> dict[str, Any]:
        """Clients by mode, what waits for them, and totals since the start."""
        router, counters = self._feed.router.statistics(), self._server.counters
        queued = [connection.sender.statistics() for connection in self._server.connections]
        pages, head = self._server.pages.totals, self._feed.router.head
        lags = [head - s.behind_at for s in queued if s.behind_at is not None]
        return {
            "clients": {"live": router.live, "behind": router.behind, "idle": router.idle},
            "gauges": {
                "tasks": trio.lowlevel.current_statistics().tasks_living,
                "topics_held": router.topics_held,
                "outbox_frames": sum(s.queued_frames for s in queued),
                "outbox_bytes": sum(s.queued_bytes for s in queued),
                "replies_waiting": sum(s.queued_replies for s in queued),
                "drain_remaining": len(queued) if self._server.draining else 0,
                "client_lag_events": max(lags, default=0),
            },
            "counters": {
                "accepted": counters.accepted,
                "refused": {str(status): count for status, count in counters.refused.items()},
                "closes": {str(code): count for code, count in counters.closes.items()},
                "resets": counters.resets,
                "reset": dict(counters.reset),
                "frames_sent": counters.frames + sum(s.frames_sent for s in queued),
                "bytes_sent": counters.bytes + sum(one.sender.bytes_sent for one in self._server.connections),
                "filtered": router.filtered,
                "replayed": pages.replayed,
                "failures": counters.failures,
                "behind": pages.behind,
                "caught_up": pages.caught_up,
                "pages_read": pages.reads,
                "broadcasts": attrs.asdict(self._broadcasts),
            },
        }

    def status(self) -> dict[str, Any]:
        """What get_status and `observatory status` show: the feed's part and this one's."""
        mine, theirs = self.stats(), self._feed.stats()
        both = {name: {**mine[name], **theirs[name]} for name in ("gauges", "counters")}
        slowest = self._server.roster.slowest(self._server.connections, SHOWN)
        return {**theirs, **mine, **both, "client_list": slowest}


def url_of(listener: trio.SocketListener, *, tls: bool = False) -> str:
    """Where clients on this machine connect."""
    host, port = listener.socket.getsockname()[:2]
    host = EVERYWHERE.get(host, host)
    return f"{'wss' if tls else 'ws'}://{f'[{host}]' if ':' in host else host}:{port}/ws"


def _data(value: ConversationData | FileEvent | dict[str, Any]) -> Any:  # noqa: ANN401 - what is no contract is checked later
    return value.as_data() if isinstance(value, ConversationData | FileEvent) else value


def _caller() -> str:
    """Where broadcast was called: file and line."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return "unknown" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
