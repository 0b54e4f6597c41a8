"""Scenes for the table of states: a real connection is brought into a state, an input is applied, the wire is watched.

Time is a mock clock that runs and can be set forward; the sockets have small buffers, so that a client that does not
read is soon behind.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import orjson
import trio
from trio.testing import MockClock

from actors.sender import OutboxLimits
from observatory.core.closing import CloseCode
from observatory.core.events import LogPosition
from observatory.core.replies import Timing
from observatory.core.states import REQUESTS, Input, State
from observatory.server.websocket import Connection
from observatory.storage.log import Retention
from observatory.storage.reader import LogReader
from tests.server.serving import Raw, Running, masked, serving

TOKEN = "a-token-of-these-tests"
ASKED = 77  # id of the request that is the input
PROBE = "probe"
TOPIC = "all_conversations"
BEHIND_SIZE = 4000  # bytes of an event; some thirty of them fill what the sockets and the outbox hold
EVENTS = 3  # in the log from the start
Message = dict[str, Any]


class Hooked(LogReader):
    """A log whose position may be asked for at a bad moment."""

    hook: Callable[[], None] = staticmethod(lambda: None)

    @property
    def position(self) -> LogPosition:
        self.hook()
        return super().position


@attrs.define
class Stage:
    """One server and its one client. told: control messages of the step, in order; events: seqs; ended: by RST?"""

    running: Running
    clock: MockClock
    legacy: bool
    raw: Raw
    status: int = 0
    closed: int | None = None
    ended: str = ""
    broken: bool = False  # what get_status does
    big: bool = False
    started: int = EVENTS
    spent: int = 0  # errors that came before the one that is meant
    told: list[Message] = attrs.field(factory=list)
    events: list[int] = attrs.field(factory=list)
    goodbyes: list[trio.CancelScope] = attrs.field(factory=list)

    @property
    def connection(self) -> Connection:
        """The server's side."""
        [connection] = self.running.server.connections
        return connection

    @property
    def unproven(self) -> bool:
        """Whether a credential is due."""
        return bool(self.running.server.connections) and self.connection.session.state is State.UA

    @property
    def head(self) -> int:
        """The log's."""
        return self.running.log.position.head

    # -- watching ------------------------------------------------------------------------------------------------------

    async def take(self) -> Message | None:
        """The next frame, noted; a message if it was one."""
        opcode, payload = await self.raw.frame()
        if opcode == 8:
            self.closed = int.from_bytes(payload[:2], "big")
            return None
        message: Message = {"type": "control ping"} if opcode == 9 else orjson.loads(payload)
        if "seq" in message:
            self.events.append(message["seq"])
        else:
            self.told.append(message)
        return message

    async def probe(self) -> Message:
        """Ask where the connection stands; what came before the answer is told."""
        waiting = self.connection.sender.statistics().queued_replies
        await self.raw.send(orjson.dumps({"type": "get_subscriptions", "id": PROBE}))
        if self.connection.sender.cursor is not None:  # the answer belongs to the moment before anything is read
            sender = self.connection.sender
            await self.running.until(lambda: sender.statistics().queued_replies > waiting or sender.cursor is None)
        while not self.told or self.told[-1].get("re") != PROBE:
            await self.take()
        data: Message = self.told.pop()["data"]
        return data

    async def until_closing(self) -> None:
        """Wait until the server wants to close, or its WebSocket layer has queued the close frame of its own."""
        sender, session = self.connection.sender, self.connection.session
        await self.running.until(lambda: session.state is State.CL or sender.statistics().queued_replies > self.spent)

    async def until_closed(self) -> None:
        """Read up to the server's close frame."""
        while self.closed is None:
            await self.take()

    async def until_gone(self) -> None:
        """Read to the end of the connection, and see that the server has let go of it."""
        try:
            while True:
                await self.take()
        except trio.BrokenResourceError as error:
            self.ended = "end" if error.__cause__ is None else "reset"
        except trio.ClosedResourceError:
            self.ended = "ours"
        await self.raw.aclose()
        await self.running.until(lambda: not self.running.server.connections)

    # -- moving --------------------------------------------------------------------------------------------------------

    async def ask(self, kind: str, **data: Any) -> None:
        """The request that is the input."""
        await self.raw.send(orjson.dumps({"type": kind, "id": ASKED, "data": data}))

    async def until_behind(self) -> None:
        """Publish what the client does not read."""
        while self.connection.sender.cursor is None:
            await self.running.publish(3, size=BEHIND_SIZE)

    def status_of_server(self) -> Message:
        """What get_status answers."""
        if self.broken:
            raise RuntimeError("a defect")
        return {"text": "x" * 100_000 if self.big else ""}


@asynccontextmanager
async def staged(directory: Path, clock: MockClock, state: State, input_: Input, legacy: bool) -> AsyncIterator[Stage]:
    """A server whose one client stands in `state`."""
    stage: Stage | None = None
    stall = 100.0 if input_ is Input.SILENT else 30.0  # bytes that wait would else be the first to end it
    timing = Timing(close_timeout=60.0 if input_ is Input.STALLED else 5.0)
    options: Message = {"timing": timing, "outbox": OutboxLimits(8, 64 * 1024, stall), "send_buffer": 4096}
    if state is State.UA or input_ in (Input.UPGRADE_UNPROVEN, Input.CREDENTIAL_EXPIRED):
        options["token"] = lambda: TOKEN
    async with serving(
        directory, status=lambda: stage.status_of_server() if stage else {}, reader=Hooked, **options
    ) as running:
        await running.publish(EVENTS)
        stage = Stage(running, clock, legacy, await running.socket(receive_bytes=4096))
        await _enter(stage, state, input_)
        stage.told.clear()
        stage.events.clear()
        stage.started = stage.head
        try:
            yield stage
        finally:
            for scope in stage.goodbyes:
                scope.cancel()


async def _enter(stage: Stage, state: State, input_: Input) -> None:
    if state is State.HS:
        return
    target = f"/ws?subscribe={TOPIC}" if (state, input_) == (State.UA, Input.AUTH_GOOD_WITH_TOPICS) else "/ws"
    bearer = {"Authorization": f"Bearer {TOKEN}"} if input_ is Input.CREDENTIAL_EXPIRED else {}
    await stage.raw.request(target, Sec_WebSocket_Protocol=None if stage.legacy else "observatory.v1", **bearer)
    assert (await stage.raw.response())[0] == 101
    if state is State.UA:
        await stage.running.until(lambda: stage.connection.session.state is State.UA)
        return
    await stage.take()
    if input_ is not Input.NO_REQUEST:
        await stage.ask("ping")
        await stage.take()
    if state in (State.LV, State.BH) and not stage.legacy:
        await stage.ask("subscribe", topics=[TOPIC])
        await stage.take()
    if state is State.BH:
        await stage.until_behind()
    if state is State.CL:
        await _close(stage, with_bytes_waiting=input_ is Input.STALLED)


async def _close(stage: Stage, with_bytes_waiting: bool) -> None:
    """Have the server close, for a binary message."""
    if with_bytes_waiting:
        await until_blocked(stage)
    await stage.raw.send(b"\x01", 2)
    if with_bytes_waiting:
        await stage.running.until(lambda: stage.connection.session.state is State.CL)
    else:
        await stage.until_closed()


# -- inputs ------------------------------------------------------------------------------------------------------------


def upgrade(target: str = "/ws", **headers: str | None) -> Callable[[Stage], Awaitable[None]]:
    async def apply(stage: Stage) -> None:
        await stage.raw.request(target, **headers)
        stage.status, _, _ = await stage.raw.response()

    return apply


def request(kind: str, **data: Any) -> Callable[[Stage], Awaitable[None]]:
    return lambda stage: stage.ask(kind, **data)


def resume(epoch: str | None = None, back: int = 0) -> Callable[[Stage], Awaitable[None]]:
    async def apply(stage: Stage) -> None:
        position = stage.running.log.position
        await stage.ask(
            "subscribe", topics=[TOPIC], resume={"epoch": epoch or position.epoch, "seq": stage.head - back}
        )

    return apply


def frame(data: bytes) -> Callable[[Stage], Awaitable[None]]:
    """Bytes as they are; where the handshake is not over, right behind the request."""

    async def apply(stage: Stage) -> None:
        if stage.status or stage.running.server.connections:
            await stage.raw.stream.send_all(data)
            return
        await stage.raw.request()
        await stage.raw.stream.send_all(data)
        stage.status, _, _ = await stage.raw.response()

    return apply


def later(seconds: float) -> Callable[[Stage], Awaitable[None]]:
    async def apply(stage: Stage) -> None:
        await trio.testing.wait_all_tasks_blocked()
        stage.clock.jump(seconds)

    return apply


async def event(stage: Stage) -> None:
    await stage.running.publish()


async def event_too_much(stage: Stage) -> None:
    if stage.running.router.statistics().live:
        await stage.until_behind()
    else:
        await event(stage)


async def event_elsewhere(stage: Stage) -> None:
    await stage.running.publish(topics=("system",))


async def over_rate(stage: Stage) -> None:
    unproven = stage.unproven
    await stage.raw.stream.send_all(masked('{"type":"pong"}') * 60)
    if stage.closed is None and not unproven:
        await stage.running.until(lambda: stage.connection.session._rate_error_at is not None)
    stage.clock.jump(2)  # so that the probe is within the rate again


async def flood(stage: Stage) -> None:
    stage.spent = 0 if stage.unproven else 2  # RATE_LIMIT_EXCEEDED, at most once a second
    await stage.raw.stream.send_all(masked('{"type":"pong"}') * 200)


async def invalid_too_often(stage: Stage) -> None:
    stage.spent = 0 if stage.unproven else 9
    await stage.raw.stream.send_all(masked("?") * 10)


async def trimmed(stage: Stage) -> None:
    stage.running.log.trim(Retention(events=1), 0)


async def reading(stage: Stage) -> None:
    """The client reads what there is, and so makes room."""
    while not stage.events or stage.events[-1] != stage.head:
        await stage.take()


async def until_blocked(stage: Stage) -> None:
    """The client does not read, and the kernel takes no more."""
    stage.big = True
    sender = stage.connection.sender
    if stage.running.router.statistics().live:
        await stage.running.publish(size=500_000)
    while not (sender.statistics().queued_frames or sender.statistics().queued_replies):
        await stage.ask("get_status")
        await trio.testing.wait_all_tasks_blocked(0.01)


async def stalled(stage: Stage) -> None:
    if stage.connection.session.state is not State.CL:
        await until_blocked(stage)
    await later(30.2)(stage)
    await later(30.2)(stage)  # the kernel may still have taken what was left of its room
    await stage.running.until(lambda: not stage.running.server.connections)  # before anything is read


async def silent(stage: Stage) -> None:
    """In steps so small that the server does not think that it slept itself."""
    await later(25.0)(stage)
    await later(9.9)(stage)
    with trio.fail_after(100):
        while stage.connection.session.state is not State.CL:
            await later(0.04)(stage)


def closed_for(code: CloseCode) -> Callable[[Stage], Awaitable[None]]:
    """The server closes all that it has."""

    async def apply(stage: Stage) -> None:
        def close() -> None:
            for connection in stage.running.server.connections:
                connection.close_soon(code, "the server ends")

        if stage.running.server.connections:
            close()
        else:
            await in_the_handshake(stage, close)

    return apply


async def expired(stage: Stage) -> None:
    """The token is another one now."""
    stage.running.server._expire()


async def drain(stage: Stage) -> None:
    stage.connection.announce_shutdown(500)


async def log_changed(stage: Stage) -> None:
    """What lies before the client in the log cannot be read."""
    await stage.connection.resync()


async def defect(stage: Stage) -> None:
    stage.broken = True

    def fail() -> None:
        raise RuntimeError("a defect")

    if stage.unproven:
        stage.connection.fail()
    elif stage.running.server.connections:
        await stage.ask("get_status")
    else:
        await in_the_handshake(stage, fail)


async def in_the_handshake(stage: Stage, hook: Callable[[], None]) -> None:
    """Something happens when the 101 is out and the first frame is being made."""
    reader = stage.running.reader
    assert isinstance(reader, Hooked)
    reader.hook = hook
    await upgrade()(stage)


async def lost(stage: Stage) -> None:
    await trio.testing.wait_all_tasks_blocked()
    stage.raw.reset()


APPLY: dict[Input, Callable[[Stage], Awaitable[None]]] = {
    Input.UPGRADE: upgrade(),
    Input.UPGRADE_WITH_TOPICS: upgrade(f"/ws?subscribe={TOPIC}"),
    Input.UPGRADE_LEGACY: upgrade(Sec_WebSocket_Protocol=None),
    Input.UPGRADE_REFUSED: upgrade("/nowhere"),
    Input.HEAD_LATE: later(10.1),
    Input.OVER_RATE: over_rate,
    Input.FLOOD: flood,
    Input.INVALID: frame(masked("?")),
    Input.INVALID_TOO_OFTEN: invalid_too_often,
    Input.SUBSCRIBE: request("subscribe", topics=["system"]),
    Input.RESUME_AT_HEAD: resume(),
    Input.RESUME_BEHIND: resume(back=2),
    Input.RESUME_REFUSED: resume("another"),
    Input.QUESTION: request("get_snapshot"),
    Input.PONG: request("pong"),
    Input.EVENT_FITS: event,
    Input.EVENT_TOO_MUCH: event_too_much,
    Input.EVENT_ELSEWHERE: event_elsewhere,
    Input.CURSOR_TRIMMED: trimmed,
    Input.OUTBOX_HALF_EMPTY: reading,
    Input.CAUGHT_UP: reading,
    Input.PING_DUE: later(25.0),
    Input.STALLED: stalled,
    Input.SILENT: silent,
    Input.NO_REQUEST: later(15.1),
    Input.UPGRADE_UNPROVEN: upgrade(),
    Input.AUTH_LATE: later(10.1),
    Input.CREDENTIAL_EXPIRED: expired,
    Input.REMOVED: closed_for(CloseCode.REMOVED),
    Input.OVERLOAD: closed_for(CloseCode.OVERLOAD),
    Input.LOG_CHANGED: log_changed,
    Input.DRAIN: drain,
    Input.DRAIN_SLOT: closed_for(CloseCode.RESTART),
    Input.SECOND_SIGNAL: closed_for(CloseCode.GOING_AWAY),
    Input.BINARY: frame(masked(b"\x01", 2)),
    Input.TOO_BIG: frame(masked("x" * 65_537)),
    Input.BAD_UTF8: frame(masked(b"\xff")),
    Input.BAD_FRAME: frame(masked("x", first=0xC0)),
    Input.DEFECT: defect,
    Input.PEER_CLOSES: frame(masked(b"\x0f\xa0bye", 8)),
    Input.ECHOED: frame(masked(b"\x0f\xa0bye", 8)),
    Input.CLOSE_LATE: later(5.1),
    Input.LOST: lost,
    Input.AUTH_GOOD: request("auth", token=TOKEN),
    Input.AUTH_GOOD_WITH_TOPICS: request("auth", token=TOKEN),
    Input.AUTH_BAD: request("auth", token="bad"),
}
assert set(REQUESTS) <= APPLY.keys()
