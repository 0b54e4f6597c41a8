"""One WebSocket client: the thin shell that carries out what core/protocol.py decides."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import attrs
import structlog
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from actors.commands import At as AtTurn
from actors.commands import Decision, Place, Reset, Unsubscribe
from actors.commands import Subscribe as SubscribeTurn
from actors.router import Router
from actors.sender import Sender
from observatory.core import protocol, replies, states
from observatory.core.closing import CloseCode
from observatory.core.credentials import authenticate, late
from observatory.core.errors import RequestError, StoreError
from observatory.core.events import LogPosition, text_frame
from observatory.core.ports import EventSource
from observatory.core.protocol import At, Close, Effect, Fetch, Reply, Session, Settle
from observatory.core.replies import Timing, WireLimits
from observatory.core.requests import RequestId
from observatory.core.states import Effect as Does
from observatory.core.states import Input, State
from observatory.server.backlog import Selection
from observatory.server.transport import ControlStream
from observatory.server.wire import answer_close
from observatory.telemetry.measures import Measures

log = structlog.get_logger()
MAX_REPLIES_WAITING = 64  # then the server stops reading this connection until they drain
OVERSLEPT = 0.05  # seconds; whoever wakes later than that must not blame the client for its silence
CONTROL_PING = b"\x89\x00"  # every WebSocket library answers it


def now_ms() -> int:
    """Wall clock in ms since the epoch."""
    return time.time_ns() // 1_000_000


@attrs.frozen
class Services:
    """What every connection needs from the server."""

    router: Router[str]
    events: EventSource
    status: Callable[[], dict[str, Any]]
    timing: Timing
    limits: WireLimits
    measures: Measures = attrs.field(factory=Measures)


@attrs.define(eq=False)
class Connection:
    """One accepted client. `serve` is its life; nothing a client does leaves it."""

    client_id: str
    legacy: bool
    services: Services
    token: Callable[[], str | None] | None = attrs.field(default=None, repr=False)  # due as the first frame
    address: str = attrs.field(default="", kw_only=True)
    since_ms: int = attrs.field(factory=now_ms, kw_only=True)
    sender: Sender = attrs.field(init=False)
    session: Session = attrs.field()
    _close: Close | None = None
    _greeted: bool = False
    _shutdown: bytes | None = None  # to be told after the hello, or while a credential is due
    _snapshot: trio.Event | None = None  # set when the last one is written
    _pinged: trio.Event | None = None  # the same of the last ping
    _pinged_at: float | None = None  # until its pong comes
    _admitted: trio.Event = attrs.field(factory=trio.Event)
    _answers: RequestId = None  # the `auth` that the first frame answers
    _reading: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    @session.default
    def _session(self) -> Session:
        return Session(note=self.services.measures.count)

    # -- life ----------------------------------------------------------------------------------------------------------

    async def serve(self, ws: WebSocketConnection, stream: ControlStream, topics: frozenset[str] | None) -> int:
        """From the accepted upgrade to the end of the goodbye. Returns the close code; 1006: the peer just went."""
        try:
            async with trio.open_nursery() as timers:
                timers.start_soon(self._expect_request)
                timers.start_soon(self._ping_regularly)
                timers.start_soon(self._expect_life, stream)
                with self._reading:
                    await self._listen(ws, topics)
                timers.cancel_scope.cancel()
        finally:
            await self._leave()
        try:
            return await self._end(ws, stream)
        finally:
            self.session.on(Input.LOST)

    def close_soon(self, code: CloseCode, reason: str) -> None:
        """Stop reading requests, flush what is queued, then close, if that is a reason to close in this state.

        A connection that is closing has no other: the first call counts.
        """
        if self.session.closes(code):
            self._close = Close(code, reason)
            self._reading.cancel()

    def announce_shutdown(self, reconnect_after_ms: int) -> None:
        """Tell the client that its close will follow; it is served until then. The hello comes first."""
        self._shutdown = replies.server_shutdown("restart", reconnect_after_ms, now_ms())
        if self._greeted:
            self._reply(self._shutdown)

    def abort(self) -> None:
        """Reset the connection."""
        self.sender.abort()

    def fail(self) -> None:
        """Close after a defect of ours: this client pays with its connection, the others go on."""
        log.exception("client.failed", client=self.client_id)
        self.close_soon(CloseCode.HANDLER_FAILED, "internal error")

    @property
    def failed(self) -> bool:
        """Whether it pays for a defect: nothing more is fed to it."""
        return self._close is not None and self._close.code == CloseCode.HANDLER_FAILED

    @property
    def close_reason(self) -> str:
        """Why the server closes it; "" if it does not."""
        return "" if self._close is None else self._close.reason

    @property
    def mode(self) -> Literal["live", "behind", "idle"]:
        """Whether it gets events as they come, from the log, or none."""
        if self.sender.cursor is not None:
            return "behind"
        return "live" if self.session.state in (State.LV, State.BH) else "idle"

    async def _listen(self, ws: WebSocketConnection, topics: frozenset[str] | None) -> None:
        try:
            if self.token is None or await self._authenticate(ws, self.token()):
                await self._establish(topics)
            while self._close is None:
                await self._receive(await ws.get_message())
        except ConnectionClosed:
            return
        except Exception:  # row 27
            self.fail()

    async def _authenticate(self, ws: WebSocketConnection, token: str | None) -> bool:
        """Wait for `auth`, the only message that a client without a credential may send (rows 3, 5 and 6)."""
        self.session.on(Input.UPGRADE_UNPROVEN)
        self._reachable()
        message: str | bytes | None = None
        with trio.move_on_after(self.services.timing.auth):
            message = await ws.get_message()
        try:
            if message is None:
                raise late()
            self._answers = authenticate(message, token or "")
        except RequestError as failure:
            self._reply(replies.error(failure, now_ms()))
            self.close_soon(CloseCode.BAD_CREDENTIAL, failure.message)
            return False
        return True

    async def _leave(self) -> None:
        with trio.CancelScope(shield=True), trio.move_on_after(self.services.timing.close_timeout):
            await self.services.router.post(Unsubscribe(self.sender))

    async def _end(self, ws: WebSocketConnection, stream: ControlStream) -> int:
        if self._close is None:
            self.session.on(Input.PEER_CLOSES)
            return await answer_close(ws, stream)
        close = self._close
        log.info("client.closing", client=self.client_id, code=int(close.code), reason=close.reason)
        if self._shutdown is not None and not self._greeted:  # its moment came in the middle of its upgrade
            self._reply(self._shutdown)
        await stream.say_goodbye(close.code, close.reason)
        with trio.move_on_after(self.services.timing.close_timeout) as patience, suppress(ConnectionClosed):
            while True:  # requests that come now are too late (row 29)
                await ws.get_message()
        if patience.cancelled_caught:
            self.sender.abort()
        return int(close.code)

    # -- requests ------------------------------------------------------------------------------------------------------

    async def _receive(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.close_soon(CloseCode.BINARY, "send text messages")
            return
        if len(message.encode()) > self.services.limits.message_bytes:  # trio-websocket counts characters
            self.close_soon(CloseCode.TOO_BIG, "message too big")
            return
        pongs = self.session.pongs
        for effect in self.session.receive(message, trio.current_time(), now_ms()):
            await self._carry_out(effect)
        if self.session.pongs > pongs and self._pinged_at is not None:
            self.services.measures.times["ping_rtt"].add(int((trio.current_time() - self._pinged_at) * 1e9))
            self._pinged_at = None
        await self.sender.wait_replies_below(MAX_REPLIES_WAITING)

    async def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Reply(payload):
                self._reply(payload)
            case Close(code, reason):
                self.close_soon(code, reason)
            case Settle(request):
                await self._settle(lambda at: self.session.settle(request, at))
            case Fetch(re, what, limit):
                await self._fetch(re, what, limit)

    def _reply(self, payload: bytes) -> None:
        self.sender.reply_nowait(text_frame(payload))

    async def _fetch(self, re: RequestId, what: str, limit: int) -> None:
        if what == "status":
            self._reply(replies.message("status", self.services.status(), now_ms(), re))
            return
        if self._snapshot is not None and not self._snapshot.is_set():  # 64 of them would be much memory
            failure = RequestError(
                "RATE_LIMIT_EXCEEDED", "one snapshot at a time; the last one still waits", True, 1000
            )
            await self._refuse(failure, re)
            return
        try:
            data = await self.services.events.snapshot(limit)
        except StoreError as error:
            await self._refuse(RequestError("NOT_AVAILABLE", str(error), retryable=True), re)
            return
        self._snapshot = trio.Event()
        self.sender.reply_nowait(text_frame(replies.message("snapshot", data, now_ms(), re)), self._snapshot)

    async def _refuse(self, failure: RequestError, re: RequestId) -> None:
        for effect in self.session.refuse(failure, re, trio.current_time(), now_ms()):
            await self._carry_out(effect)

    # -- at the Router's turn ------------------------------------------------------------------------------------------

    async def _establish(self, topics: frozenset[str] | None) -> None:
        self._admitted.set()

        def decide(at: At) -> protocol.Settled:
            self.session.topics = topics or frozenset()
            self.session.requested = topics is not None
            services = self.services
            self.session.on(self._admission(topics))
            payload = replies.connection_established(
                self.client_id, self.legacy, self.session.topics, at.log, services.limits, services.timing, at.now_ms,
                self._answers,
            )  # fmt: skip
            return protocol.Settled(self.session.topics, at.log.head if topics else None, payload)

        await self._settle(decide)
        self._reachable()

    def _admission(self, topics: frozenset[str] | None) -> Input:
        if self.legacy:
            return Input.UPGRADE_LEGACY
        if self.session.state is State.UA:
            return Input.AUTH_GOOD if topics is None else Input.AUTH_GOOD_WITH_TOPICS
        return Input.UPGRADE if topics is None else Input.UPGRADE_WITH_TOPICS

    def _reachable(self) -> None:
        """From now on it hears of a shutdown at once."""
        if not self._greeted:
            self._greeted = True
            if self._shutdown is not None:
                self._reply(self._shutdown)

    async def _settle(self, decide: Callable[[At], protocol.Settled]) -> None:
        """Have `decide` called between two messages; its reply is queued there too."""
        done = trio.Event()
        failure: Exception | None = None

        def turn(place: Place) -> Decision[str] | None:
            nonlocal failure
            try:
                settled = decide(self._at(place))
            except Exception as error:  # raised again in this client's own task; the Router must live
                failure = error
                return None
            finally:
                done.set()
            self._reply(settled.payload)
            accepts = None if settled.where is None else settled.where.accepts
            return Decision(settled.topics, settled.start, accepts)

        await self.services.router.post(SubscribeTurn(self.sender, turn))
        await done.wait()
        if isinstance(failure, RequestError):
            await self._refuse(failure, failure.re)
        elif failure is not None:
            raise failure

    def _at(self, place: Place) -> At:
        known = self.services.events.position
        position = LogPosition(known.epoch, place.head, known.oldest)
        return At(place.position, position, self.sender.frames_sent, now_ms())

    @property
    def selection(self) -> Selection:
        """What it gets of the log now."""
        return Selection(self.session.topics, self.session.where)

    def ping(self, place: Place) -> None:
        """Tell the client what it holds if it missed nothing; a legacy client does not ask for that."""
        if not self.legacy:
            at = self._at(place)
            self._send_ping(text_frame(replies.ping(at.log.epoch, at.pos, at.sent, at.now_ms)))

    def _send_ping(self, frame: bytes) -> None:
        self._pinged, self._pinged_at = trio.Event(), trio.current_time()
        self.sender.reply_nowait(frame, self._pinged)

    # -- timers --------------------------------------------------------------------------------------------------------

    async def _expect_request(self) -> None:
        """Close a client that only connects (row 25). Topics in the URL are a request; so legacy clients made one."""
        await self._admitted.wait()
        await trio.sleep(self.services.timing.first_request)
        if not self.session.requested:
            self.close_soon(CloseCode.NO_REQUEST, "no request in time")

    async def _ping_regularly(self) -> None:
        """A ping that still waits to be written is not followed by another: hours of them would fill the outbox."""
        while True:
            await trio.sleep(self.services.timing.ping_interval)
            if self._pinged is not None and not self._pinged.is_set():
                continue
            effects = states.step(self.session.state, Input.PING_DUE, self.legacy).effects
            if Does.CONTROL_PING in effects:
                self._send_ping(CONTROL_PING)
            elif Does.PING in effects:
                await self.services.router.post(AtTurn(self.sender, self.ping))

    async def _expect_life(self, stream: ControlStream) -> None:
        """Close a client from which nothing came, and which took nothing, for a ping and its timeout (row 24)."""
        timing = self.services.timing
        limit = timing.ping_interval + timing.ping_timeout
        while self._close is None:
            due = self._alive_at(stream) + limit
            await trio.sleep_until(due)
            while trio.current_time() - due > OVERSLEPT:  # the server was stalled, and its ping goes out only now
                due = trio.current_time() + timing.ping_timeout
                await trio.sleep_until(due)
            await trio.lowlevel.checkpoint()  # what has come is read
            if self._alive_at(stream) + limit <= trio.current_time():
                self.close_soon(CloseCode.NO_SIGN_OF_LIFE, "no sign of life")

    def _alive_at(self, stream: ControlStream) -> float:
        return max(stream.received_at, self.sender.progressed_at)

    # -- a hole in the log ---------------------------------------------------------------------------------------------

    async def resync(self) -> None:
        """The log has a hole (row 21). What was queued before it stays; a v1 client loses its position."""
        self.sender.cursor = None
        await self.services.router.post(Reset(self.sender, self.legacy, self._tell_gap))

    def _tell_gap(self, place: Place) -> None:
        self.services.measures.count("resyncs", "gap")
        self.session.on(Input.LOG_CHANGED, self.legacy)
        at = self._at(place)
        self._reply(replies.resync("gap", at.log, at.now_ms))
