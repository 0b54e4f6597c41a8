"""The listening side: accept, check, upgrade, and keep every client's failure inside its own scope."""

import errno
import socket
import ssl
from collections.abc import Callable
from itertools import count
from math import inf
from typing import Any

import attrs
import structlog
import trio
from trio_websocket import WebSocketConnection

from actors.sender import OutboxLimits
from observatory.core.closing import CloseCode
from observatory.core.drain import Pace, plan
from observatory.core.errors import WorldError
from observatory.core.handshake import Accepted, Head, Policy, Refused, is_upgrade
from observatory.core.http_request import without_base
from observatory.core.replies import PROTOCOL
from observatory.core.topics import LEGACY_TOPICS
from observatory.server import drain, peer, upgrade
from observatory.server.backlog import ClientBacklog, SharedPages
from observatory.server.gate import Gate, Welcome
from observatory.server.oneport import HttpSide, Stalled
from observatory.server.roster import Roster
from observatory.server.tls import secure
from observatory.server.transport import ControlStream, Wired
from observatory.server.websocket import Connection, Services, now_ms
from observatory.server.wire import ABNORMAL, WireTransport, put_together, transport_of

log = structlog.get_logger()
BACKLOG = 4096  # connections the kernel holds until they are accepted: a whole team reconnecting at once
USER_TIMEOUT_MS = 30_000  # for which a peer may acknowledge nothing, or keep its window shut


@attrs.define
class Counters:
    """Totals since the start."""

    accepted: int = 0
    refused: dict[int, int] = attrs.field(factory=dict)
    closes: dict[int, int] = attrs.field(factory=dict)
    reset: dict[str, int] = attrs.field(factory=dict)  # by reason
    failures: int = 0
    frames: int = 0  # handed to clients that are gone
    bytes: int = 0

    def count_reset(self, reason: str) -> None:
        """A connection that ended without a goodbye. lost: by its peer; stalled: its peer took nothing."""
        self.reset[reason] = self.reset.get(reason, 0) + 1

    @property
    def resets(self) -> int:
        """All of them."""
        return sum(self.reset.values())


@attrs.define(eq=False)
class WebSocketServer:
    """Accepts clients on one port. `serve` runs until cancelled; `shut_down` says goodbye to all, by and by.

    http: answers what asks for no WebSocket; without it only the protocol's own refusals are answered. max_connections:
    of both kinds together, if there are descriptors for no more.
    """

    services: Services
    policy: Policy
    outbox: OutboxLimits
    max_clients: int
    on_written: Callable[[object], None]
    jitter: Callable[[int, int], int]
    token: Callable[[], str] | None = attrs.field(default=None, kw_only=True, repr=False)
    tls: ssl.SSLContext | None = attrs.field(default=None, kw_only=True)
    max_connections: float = attrs.field(default=inf, kw_only=True)
    transport_of: Callable[[Wired], WireTransport] = attrs.field(default=transport_of, kw_only=True)
    owner_of: Callable[[peer.Address, peer.Address], int | None] = attrs.field(default=peer.owner, kw_only=True)
    gate: Gate = attrs.field(init=False)
    http: HttpSide | None = None
    counters: Counters = attrs.field(factory=Counters)
    connections: dict[Connection, None] = attrs.field(factory=dict)  # in the order in which they came
    draining: bool = False
    roster: Roster = attrs.field(init=False)
    pages: SharedPages = attrs.field(init=False)
    _ids: Any = attrs.field(factory=lambda: count(1))
    _open: int = 0
    _someone_left: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self.roster = Roster(now_ms, lambda: self.services.router.head)
        self.gate = Gate(self.policy, self.token, self.tls is not None, self._expire, self.owner_of)

    @pages.default
    def _shared(self) -> SharedPages:
        return SharedPages(self.services.events, self.outbox.behind_bytes // 2)

    async def serve(self, listeners: list[trio.SocketListener]) -> None:
        """Serve clients until cancelled."""
        self.gate.open()
        await trio.serve_listeners(self._firewall, listeners)

    async def shut_down(self, pace: Pace) -> None:
        """Refuse new clients, and close every connection with 1012 at a moment of its own; returns when all are gone.

        Cancelled, it leaves those that are still there to `close_now`.
        """
        self.draining = True
        if self.http is not None:
            await self.http.end()
        if self.connections:
            drawn = plan(len(self.connections), pace, self.jitter)
            await drain.drain(self.connections, drawn, pace.grace, self._wait_until_empty)

    async def close_now(self) -> None:
        """Close every connection with 1001 at once; what is not gone in a moment is reset."""
        self.draining = True
        if self.http is not None:
            await self.http.end()
        await drain.close_now(self.connections, self._wait_until_empty)

    async def _wait_until_empty(self) -> None:
        while self.connections:
            await self._someone_left.wait()

    async def _firewall(self, stream: trio.SocketStream) -> None:
        """Nothing a client does may leave its own task."""
        self._open += 1
        try:
            await self._greet(stream)
        except upgrade.Dropped:
            pass
        except Stalled:
            self.counters.count_reset("stalled")
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            self.counters.count_reset("lost")
        except Exception:  # a defect of ours: this client pays with its connection, the others go on
            self.counters.failures += 1
            log.exception("client.failed")
        finally:
            self._open -= 1
            stream.socket.close()

    async def _greet(self, plain: trio.SocketStream) -> None:
        deadline = trio.current_time() + self.services.timing.handshake
        stream = plain if self.tls is None else await secure(plain, self.tls, deadline)
        received = await upgrade.read_head(stream, deadline - trio.current_time())
        head = received.head
        if isinstance(head, Head):
            head = attrs.evolve(head, target=without_base(head.target, self.policy.base))
            if self.http is not None and not is_upgrade(head):
                await self._answer(self.http, stream, plain, head, received.all)
                return
        verdict = head if isinstance(head, Refused) else self.gate.judge(plain.socket, head)
        if isinstance(verdict, Welcome):
            await upgrade.welcome(stream, verdict.cookie)
            return
        if isinstance(verdict, Accepted) and self.draining:
            verdict = upgrade.unavailable("DRAINING", "the server is going down")
        if isinstance(verdict, Accepted) and (self._open > self.max_clients or self._is_full()):
            verdict = upgrade.unavailable("FULL", f"{self.max_clients} clients are connected already")
        if isinstance(verdict, Refused):
            await self._refuse(stream, verdict)
        else:
            assert isinstance(head, Head)
            await self._run(stream, plain, verdict, head, received.rest)

    async def _answer(
        self, http: HttpSide, stream: Wired, plain: trio.SocketStream, head: Head, received: bytes
    ) -> None:
        """HTTP, for as long as the connection is kept."""
        if self.draining or http.full or self._is_full():
            why = ("DRAINING", "the server is going down") if self.draining else ("FULL", "too many connections")
            await self._refuse(stream, upgrade.unavailable(*why))
            return
        self._open -= 1  # these do not take the places of WebSocket clients
        try:
            state = {"caller": self.gate.caller(plain.socket, head), "tls": self.tls is not None}
            await http.serve(stream, plain, received, state)
        finally:
            self._open += 1

    def _is_full(self) -> bool:
        return self._open + (0 if self.http is None else self.http.open) > self.max_connections

    async def _refuse(self, stream: Wired, refused: Refused) -> None:
        self.counters.refused[refused.status] = self.counters.refused.get(refused.status, 0) + 1
        await upgrade.refuse(stream, refused)

    async def _run(self, stream: Wired, plain: trio.SocketStream, accepted: Accepted, said: Head, rest: bytes) -> None:
        head = upgrade.canonical(said, accepted.legacy)
        token = self.gate.current if accepted.due else None
        id, address = f"c{next(self._ids)}", self.gate.address(plain.socket, said)
        connection = Connection(id, accepted.legacy, self.services, token, address=address)
        close_seconds, limit = self.services.timing.close_timeout, self.services.limits.message_bytes
        backlog = ClientBacklog(self.pages, self.services.router, connection)
        transport = self.transport_of(stream)
        wire = put_together(stream, transport, (head, rest), backlog, self.outbox, self.on_written, close_seconds)
        connection.sender = wire.sender
        topics = (accepted.topics or LEGACY_TOPICS) if accepted.legacy else accepted.topics

        async def converse(ws: WebSocketConnection, control: ControlStream) -> int:
            return await connection.serve(ws, control, topics)

        self.counters.accepted += 1
        self.connections[connection] = None
        try:
            code = await wire.run(converse, limit, None if accepted.legacy else PROTOCOL)
        finally:
            wire.close()
            backlog.leave()
            self.counters.frames += connection.sender.frames_sent
            self.counters.bytes += connection.sender.bytes_sent
            del self.connections[connection]
            self._someone_left.set()
            self._someone_left = trio.Event()
        self._count_end(connection, code)

    def _expire(self) -> None:
        """The token is another one now: whoever came with the old one goes (row 27)."""
        for connection in tuple(self.connections):
            connection.close_soon(CloseCode.BAD_CREDENTIAL, "the token was replaced")

    def _count_end(self, connection: Connection, code: int) -> None:
        self.roster.left(connection, code)
        if code in (ABNORMAL, CloseCode.STALLED):
            self.counters.count_reset("stalled" if code == CloseCode.STALLED else "lost")
            outbox = attrs.asdict(connection.sender.statistics())
            log.info("client.lost", client=connection.client_id, code=code, **outbox)
        else:
            self.counters.failures += connection.failed  # a client may leave with 1011 too
            self.counters.closes[code] = self.counters.closes.get(code, 0) + 1
            log.info("client.closed", client=connection.client_id, code=code, sent=connection.sender.frames_sent)


async def listen(host: str, port: int) -> list[trio.SocketListener]:
    """Open the port. Raises WorldError with what to do when it cannot be had."""
    try:
        listeners = list(await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG))
    except OSError as error:
        inner = error.__cause__ if isinstance(error.__cause__, OSError) else error
        if inner.errno == errno.EADDRINUSE or "in use" in str(error):
            raise WorldError(f"port {port} on {host} is in use", "choose another with --port, or --port 0") from None
        if inner.errno == errno.EACCES:
            raise WorldError(f"port {port} may not be opened by this user", "choose one above 1023") from None
        raise WorldError(f"cannot listen on {host}:{port} ({error})", "use --host 127.0.0.1") from None
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted sockets inherit it
        for listener in listeners:
            listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    return listeners
