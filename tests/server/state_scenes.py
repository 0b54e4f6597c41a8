"""Scenes for the table of states: a real connection is brought into a state, an input is applied, the wire is watched.

Time is a mock clock that runs and can be set forward; the sockets have small buffers, so that a client that does not
read is soon behind.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import orjson
import trio
from trio.testing import MockClock

from actors.sender import OutboxLimits
from observatory.core.events import LogPosition
from observatory.core.replies import Timing
from observatory.core.states import Input, State
from observatory.server.websocket import Connection
from observatory.storage.reader import LogReader
from tests.server.serving import Raw, Running, serving

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


async def until_blocked(stage: Stage) -> None:
    """The client does not read, and the kernel takes no more."""
    stage.big = True
    sender = stage.connection.sender
    if stage.running.router.statistics().live:
        await stage.running.publish(size=500_000)
    while not (sender.statistics().queued_frames or sender.statistics().queued_replies):
        await stage.ask("get_status")
        await trio.testing.wait_all_tasks_blocked(0.01)
