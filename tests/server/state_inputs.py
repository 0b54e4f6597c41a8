"""Inputs of the table of states: what makes each of them happen to the connection on the stage."""

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from observatory.core.closing import CloseCode
from observatory.core.states import REQUESTS, Input, State
from observatory.storage.log import Retention
from tests.server.serving import masked
from tests.server.state_scenes import TOKEN, TOPIC, Hooked, Stage, until_blocked


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
