"""The conversation with one client, without I/O: inbound text in, effects out (protocol.md §7, §15).

The shell carries the effects out. What depends on the log's head is settled at the Router's turn by `settle`, so that
nothing can be published between the decision and the registration.
"""

from collections.abc import Callable
from typing import Literal, assert_never

import attrs

from observatory.core import replies, states
from observatory.core.closing import CloseCode
from observatory.core.errors import RequestError
from observatory.core.events import LogPosition
from observatory.core.rates import TokenBucket, Window
from observatory.core.requests import (
    MAX_TOPICS,
    GetSnapshot,
    GetStatus,
    GetSubscriptions,
    Ping,
    Pong,
    Request,
    RequestId,
    ResumeRequest,
    Subscribe,
    Unsubscribe,
    parse_envelope,
    parse_request,
)
from observatory.core.resume import Refusal, refusal
from observatory.core.states import Effect as Does
from observatory.core.states import Input, State
from observatory.core.where import Where

REQUESTS_PER_S = 20.0
REQUEST_BURST = 40.0
RATE_ERROR_EVERY = 1.0  # seconds between two RATE_LIMIT_EXCEEDED replies
FLOOD = (10.0, 100)  # the 100th discarded request within 10 s closes
ERRORS = (60.0, 10)  # the tenth error reply within 60 s closes


@attrs.frozen
class Reply:
    """Queue this payload behind what is queued."""

    payload: bytes


@attrs.frozen
class Close:
    """Send what is queued, then close."""

    code: CloseCode
    reason: str


@attrs.frozen
class Settle:
    """Call `Session.settle` at the Router's turn and queue its payload there."""

    request: Subscribe | Unsubscribe | ResumeRequest | GetSubscriptions


@attrs.frozen
class Fetch:
    """Answer from the log (`snapshot`) or from the server's gauges (`status`)."""

    re: RequestId
    what: Literal["snapshot", "status"]
    limit: int = 0


Effect = Reply | Close | Settle | Fetch


@attrs.frozen
class At:
    """Where the client stands at the Router's turn: its position (None = none yet), and the log."""

    pos: int | None
    log: LogPosition
    sent: int
    now_ms: int


@attrs.frozen
class Settled:
    """The client's topics and filter from now on, the position it starts at (None = stays where it is), the reply."""

    topics: frozenset[str]
    start: int | None
    payload: bytes
    where: Where | None = None


@attrs.define
class Session:
    """One connection's state: where it stands, topics, filter, rates.

    `now` is monotonic seconds, `now_ms` the server's wall clock. state: LV or BH as it was at the last Router's turn;
    what has happened since is for the Router and the Sender to know.
    """

    topics: frozenset[str] = frozenset()
    where: Where | None = None
    requested: bool = False  # a valid request has come, so the client is no stranger
    state: State = State.HS
    note: Callable[[str, str], None] = lambda what, which: None  # what is counted: resumes, refused requests
    pongs: int = 0
    _bucket: TokenBucket = attrs.field(factory=lambda: TokenBucket(REQUESTS_PER_S, REQUEST_BURST))
    _discards: Window = attrs.field(factory=lambda: Window(*FLOOD))
    _errors: Window = attrs.field(factory=lambda: Window(*ERRORS))
    _rate_error_at: float | None = None

    def on(self, happened: Input, legacy: bool = False) -> states.Row:
        """What the table says to something that happens; the state follows it."""
        row = states.step(self.state, happened, legacy)
        self.state = row.after(self.state)
        return row

    def closes(self, code: CloseCode) -> bool:
        """Whether a code is a reason to close where the connection stands; if so, it is closing from now on."""
        here = State.BH if self.state is State.LV else self.state  # an event may have put it behind (row 15)
        row = states.closing(here, code)
        self.state = row.after(self.state)
        return row is not states.NOTHING

    def receive(self, text: str, now: float, now_ms: int) -> tuple[Effect, ...]:
        """What to do about one inbound text message (rows 7, 8 and 13)."""
        if not self._bucket.take(now):
            return self._discard(now, now_ms)
        re: RequestId = None
        try:
            envelope = parse_envelope(text)
            re = envelope.re
            request = parse_request(envelope)
        except RequestError as failure:
            return self.refuse(failure, re, now, now_ms)
        self.requested = True
        return self._handle(request, now_ms)

    def refuse(self, failure: RequestError, re: RequestId, now: float, now_ms: int) -> tuple[Effect, ...]:
        """An error reply, and the close after too many of them."""
        self.note("requests_refused", failure.code)
        reply = Reply(replies.error(failure, now_ms, re))
        if failure.code != "RATE_LIMIT_EXCEEDED" and self._errors.reached(now):
            return (reply, Close(CloseCode.TOO_MANY_ERRORS, "too many bad requests"))
        return (reply,)

    def settle(self, request: Subscribe | Unsubscribe | ResumeRequest | GetSubscriptions, at: At) -> Settled:
        """Decide a change of topics or position (rows 9–13). Raises RequestError; then nothing has changed."""
        self._stand(states.standing(at.pos, at.log.head))
        match request:
            case GetSubscriptions():
                payload = self._standing("subscription_status", request.re, at, at.pos, sent=at.sent)
                return self._settled(None, payload)
            case Unsubscribe():
                gone = self.topics if request.topics is None else frozenset(request.topics)
                self.topics -= gone
                return self._settled(None, self._standing("subscription_confirmed", request.re, at, at.pos))
            case Subscribe() | ResumeRequest():
                return self._position(request, at)
        assert_never(request)

    def _position(self, request: Subscribe | ResumeRequest, at: At) -> Settled:
        reason = None if request.resume is None else refusal(request.resume, at.log)
        here = states.standing(at.pos, at.log.head)
        row = states.step(here, _wish(request, reason, at.log.head))
        if Does.POSITION_SET in row.effects:
            raise RequestError("POSITION_SET", "this connection has a position; reconnect to go back", re=request.re)
        topics = self.topics
        if isinstance(request, Subscribe):
            topics = frozenset(request.topics) if request.replace else topics | frozenset(request.topics)
        if len(topics) > MAX_TOPICS:
            raise RequestError("TOO_MANY_SUBSCRIPTIONS", f"at most {MAX_TOPICS} topics at a time", re=request.re)
        self.topics = topics
        if isinstance(request, Subscribe) and request.gives_where:
            self.where = request.where
        self._stand(row.after(here))
        start = at.log.head if Does.AT_HEAD in row.effects else None
        told: dict[str, object] = {}
        if request.resume is not None:
            self.note("resumes", reason or "")
            told = {"recovered": True} if reason is None else {"recovered": False, "reason": reason}
            start = request.resume.position.seq if Does.AT_SEQ in row.effects else None
        pos = at.pos if start is None else start
        return self._settled(start, self._standing("subscription_confirmed", request.re, at, pos, **told))

    def _settled(self, start: int | None, payload: bytes) -> Settled:
        return Settled(self.topics, start, payload, self.where)

    def _standing(self, kind: str, re: RequestId, at: At, pos: int | None, **more: object) -> bytes:
        standing = replies.Standing(self.topics, states.standing(pos, at.log.head).value, pos, self.where)
        return replies.standing(kind, re, standing, at.log, at.now_ms, **more)

    def _stand(self, state: State) -> None:
        """Note what the Router knows, unless the connection was closed while the request waited for its turn."""
        if self.state is not State.CL:
            self.state = state

    def _discard(self, now: float, now_ms: int) -> tuple[Effect, ...]:
        if self._discards.reached(now):
            return (Close(CloseCode.FLOODING, "too many requests"),)
        if self._rate_error_at is not None and now - self._rate_error_at < RATE_ERROR_EVERY:
            return ()
        self._rate_error_at = now
        wait_ms = round(1000 / REQUESTS_PER_S)
        failure = RequestError("RATE_LIMIT_EXCEEDED", f"at most {REQUESTS_PER_S:.0f} requests a second", True, wait_ms)
        self.note("requests_refused", failure.code)
        return (Reply(replies.error(failure, now_ms)),)

    def _handle(self, request: Request, now_ms: int) -> tuple[Effect, ...]:
        match request:
            case Pong():
                self.pongs += 1
                return ()
            case Ping(re, timestamp, has_timestamp):
                return (Reply(replies.pong(re, timestamp, has_timestamp, now_ms)),)
            case GetSnapshot(re, limit):
                return (Fetch(re, "snapshot", limit),)
            case GetStatus(re):
                return (Fetch(re, "status"),)
            case Subscribe() | Unsubscribe() | ResumeRequest() | GetSubscriptions():
                return (Settle(request),)
        assert_never(request)


def _wish(request: Subscribe | ResumeRequest, reason: Refusal | None, head: int) -> Input:
    """What kind of request for topics or a position it is, as the table tells them apart."""
    if request.resume is None:
        return Input.SUBSCRIBE
    if reason is not None:
        return Input.RESUME_REFUSED
    return Input.RESUME_AT_HEAD if request.resume.position.seq == head else Input.RESUME_BEHIND
