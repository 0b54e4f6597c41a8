"""The client's side of the protocol as decisions: a frame comes in, what to do goes out (protocol.md §14).

    greet ──connection_established──▶ subscribe | get_snapshot
    subscribe ──confirmed──▶ live           ──recovered: false──▶ get_snapshot
    get_snapshot ──snapshot──▶ resume ──▶ live   ──NOT_AVAILABLE──▶ subscribe from the head, and say so (Gap)
    live ──resync──▶ get_snapshot

One object follows one log through many connections; `ClientState.connect` begins the next one.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Any

import attrs

from observatory.core.client_effects import Deliver, Effect, Fail, GiveUp, Leave, Retry, Send, Verdict
from observatory.core.client_items import (
    Agreed,
    Closed,
    Connected,
    Event,
    Frame,
    Gap,
    Incomplete,
    Miscounted,
    Refused,
    Snapshot,
    closed,
    position_of,
    refused,
    whole,
)
from observatory.core.client_progress import Progress
from observatory.core.closing import CloseCode
from observatory.core.errors import WorldError
from observatory.core.events import Position
from observatory.core.reconnect import RETRY_STATUSES, Backoff, delay_after, delay_after_refusal, is_final

DEFAULT_PING_MS = 25_000
SILENCE_FACTOR = 1.5
NO_SNAPSHOT = frozenset({"NOT_AVAILABLE", "UNKNOWN_MESSAGE_TYPE"})
PASSING = frozenset({"POSITION_SET", "RATE_LIMIT_EXCEEDED"})  # cured by a new connection
MISCOUNTS_IN_A_ROW = 3  # connections without an agreement between: coming back does not cure it
SNAPSHOTS_IN_A_ROW = 3  # a snapshot older than retention three times over will not get younger


class Phase(Enum):
    """What the connection waits for."""

    GREETING = "greeting"
    CONFIRMATION = "confirmation"
    SNAPSHOT = "snapshot"
    LIVE = "live"


@attrs.define
class ClientState:
    """Follows one log.

    snapshot_first: without a position begin with a snapshot, not at the head.
    patient: wait for a server that was never there; otherwise only one that was met is waited for.
    tells_agreed: hand out an Agreed for each ping with our count.
    """

    topics: tuple[str, ...]
    where: dict[str, Any] | None
    progress: Progress
    backoff: Backoff
    snapshot_first: bool = False
    patient: bool = False
    tells_agreed: bool = False
    phase: Phase = attrs.field(default=Phase.GREETING, init=False)
    silence_seconds: float = attrs.field(default=SILENCE_FACTOR * DEFAULT_PING_MS / 1000, init=False)
    shutdown_ms: int | None = attrs.field(default=None, init=False)
    _client_id: str = attrs.field(default="", init=False)
    _requests: int = attrs.field(default=0, init=False)
    _subscribed: bool = attrs.field(default=False, init=False)
    _resuming: bool = attrs.field(default=False, init=False)
    _recovered: bool | None = attrs.field(default=None, init=False)
    _met: bool = attrs.field(default=False, init=False)
    _gap: str | None = attrs.field(default=None, init=False)
    _snapshots: int = attrs.field(default=0, init=False)
    _miscounts: int = attrs.field(default=0, init=False)

    def connect(self) -> None:
        """A new socket is open; the server speaks first."""
        self.progress.connect()
        self.phase, self.shutdown_ms, self._gap = Phase.GREETING, None, None
        self._requests = self._snapshots = 0
        self._subscribed = self._resuming = False

    def receive(self, frame: Frame) -> tuple[Effect, ...]:
        """What one frame asks for. Unknown types ask for nothing."""
        return tuple(self._event(frame) if frame.seq is not None else self._control(frame))

    def closed(self, code: int, reason: str, lived: float, not_before: float = 0.0) -> Verdict:
        """The connection is gone after `lived` seconds; `code` is the close frame's, or 1006."""
        self.backoff.lasted(lived)
        error = closed(code, reason)
        if is_final(code):
            return GiveUp(error)
        return Retry(error, max(not_before, delay_after(code, self.backoff, self.shutdown_ms)))

    def unreachable(self, error: WorldError) -> Verdict:
        """No connection came about."""
        if isinstance(error, Closed):
            return self.closed(error.code, error.reason, 0.0)
        if isinstance(error, Refused):
            again = error.status in RETRY_STATUSES
            return Retry(error, delay_after_refusal(error.retry_after, self.backoff)) if again else GiveUp(error)
        return Retry(error, self.backoff.draw()) if self._met or self.patient else GiveUp(error)

    def _control(self, frame: Frame) -> Iterator[Effect]:
        data: dict[str, Any] = frame.data if isinstance(frame.data, dict) else {}
        match frame.type:
            case "ping":
                yield from self._ping(data)
            case "connection_established" if self.phase is Phase.GREETING:
                yield from self._greeted(data)
            case "subscription_confirmed" if self.phase is Phase.CONFIRMATION and self._is_reply(frame):
                yield from self._confirmed(data)
            case "snapshot" if self.phase is Phase.SNAPSHOT and self._is_reply(frame):
                yield from self._snapshot(data)
            case "error" if self._is_reply(frame):
                yield from self._error(frame, data)
            case "resync" if self.phase is Phase.LIVE:
                self._recovered = False
                yield self._ask_for_snapshot(str(data.get("reason")))
            case "server_shutdown":
                self.shutdown_ms = whole(data.get("reconnect_after_ms"))
            case "system_status":
                yield Deliver(_event_of(frame))

    def _event(self, frame: Frame) -> Iterator[Effect]:
        assert frame.seq is not None
        if frame.epoch is None or self.progress.take(frame.epoch, frame.seq):
            yield Deliver(_event_of(frame))

    def _ping(self, data: dict[str, Any]) -> Iterator[Effect]:
        sent, received = whole(data.get("sent")), self.progress.received
        if sent is not None and sent != received:
            self.progress.rewind()
            yield Deliver(Incomplete(sent=sent, received=received, since=self.progress.last))
            yield self._miscounted(sent, received)
            return
        if sent is not None and (position := position_of(data)) is not None:
            self.progress.agree(position)
            self._miscounts = 0
            if self.tells_agreed and self.progress.agreed is not None:
                yield Deliver(Agreed(self.progress.agreed))
        echo = {"timestamp": data["timestamp"]} if "timestamp" in data else {}
        yield Send("pong", {**echo, "received": received})

    def _miscounted(self, sent: int, received: int) -> Effect:
        self._miscounts += 1
        if self._miscounts < MISCOUNTS_IN_A_ROW:
            return Leave(CloseCode.NO_REQUEST, "count mismatch")
        what = f"The server counted {sent} events and {received} arrived, on {self._miscounts} connections in a row"
        return Fail(Miscounted(what, "please report it"), CloseCode.NO_REQUEST)

    def _greeted(self, data: dict[str, Any]) -> Iterator[Effect]:
        self._met, self._client_id = True, str(data.get("client_id", ""))
        ping, retry = data.get("ping"), data.get("retry")
        if isinstance(ping, dict) and (interval := whole(ping.get("interval_ms"))):
            self.silence_seconds = SILENCE_FACTOR * interval / 1000
        if isinstance(retry, dict) and (first := whole(retry.get("min_ms"))) and (last := whole(retry.get("max_ms"))):
            self.backoff.tune(first, max(first, last))
        beginning = self.progress.last is None
        self._recovered = None if beginning else True
        if beginning and self.snapshot_first:
            yield self._ask_for_snapshot("no position")
        else:
            yield self._subscribe(self.progress.last)

    def _subscribe(self, resume: Position | None) -> Send:
        self.phase, self._resuming = Phase.CONFIRMATION, resume is not None
        position = {} if resume is None else {"resume": {"epoch": resume.epoch, "seq": resume.seq}}
        if self._subscribed and resume is not None:
            return self._request("resume", position["resume"])
        return self._request("subscribe", {"topics": list(self.topics), "where": self.where, **position})

    def _confirmed(self, data: dict[str, Any]) -> Iterator[Effect]:
        self._subscribed = True
        recovered = data.get("recovered")
        if self._resuming and recovered is not True:
            yield self._ask_for_snapshot(str(data.get("reason")))
            return
        self.phase, self._snapshots = Phase.LIVE, 0
        position = position_of(data)
        if self._gap is not None:
            yield Deliver(Gap(self._gap, self.progress.last, position))
        if position is not None:
            (self.progress.confirm if self._gap is None else self.progress.jump)(position)
        self._gap = None
        yield Deliver(Connected(self._client_id, position, self._recovered))

    def _ask_for_snapshot(self, reason: str) -> Send:
        self._recovered = None if self._recovered is None else False
        self._snapshots += 1
        if self._snapshots > SNAPSHOTS_IN_A_ROW:
            return self._go_to_head(reason)
        self.phase = Phase.SNAPSHOT
        return self._request("get_snapshot", {})

    def _snapshot(self, data: dict[str, Any]) -> Iterator[Effect]:
        position = position_of(data.get("position"))
        if position is None:
            yield self._go_to_head("a snapshot without position")
            return
        self.progress.jump(position)
        projects, conversations = _objects(data.get("projects")), _objects(data.get("conversations"))
        yield Deliver(Snapshot(projects, conversations, data.get("truncated") is True, position))
        yield self._subscribe(position)

    def _go_to_head(self, reason: str) -> Send:
        self._gap = reason
        return self._subscribe(None)

    def _error(self, frame: Frame, data: dict[str, Any]) -> Iterator[Effect]:
        error = refused(frame)
        if self.phase is Phase.SNAPSHOT and error.code in NO_SNAPSHOT:
            yield self._go_to_head(f"no snapshot: {error.message}")
        elif data.get("retryable") is True or error.code in PASSING:
            yield Leave(CloseCode.NORMAL, error.message, (whole(data.get("retry_after_ms")) or 0) / 1000)
        else:
            yield Fail(error)

    def _request(self, kind: str, data: dict[str, Any]) -> Send:
        self._requests += 1
        return Send(kind, data, self._requests)

    def _is_reply(self, frame: Frame) -> bool:
        return frame.reply_to == self._requests and self._requests > 0


def _event_of(frame: Frame) -> Event:
    return Event(frame.type, frame.data, frame.seq, frame.epoch, frame.timestamp, frame.text)


def _objects(value: object) -> tuple[dict[str, Any], ...]:
    return tuple(item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()
