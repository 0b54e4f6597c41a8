"""Peer: one client as the oracle sees it. It speaks raw frames, checks the wire (V10), and comes back when cut off.

What it was due and what it got is its `witness`; tests/oracle.py judges the two.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

import attrs
import orjson
import trio

from observatory.core.events import Position
from tests.faults.wire import CLOSE, PING, PONG, TEXT, Frames, Torn, masked
from tests.oracle import Change, Hole, Received, Witness

CHUNK = 64 * 1024
RECONNECT_SECONDS = 0.25
ABNORMAL = 1006
SNAPSHOTS = 3  # asked for in a row
HEAD = (
    "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
)
Message = dict[str, Any]


class Wire(Protocol):
    """The peer's end of a connection."""

    async def put(self, data: bytes) -> None: ...
    async def take(self, count: int) -> bytes: ...
    def reset(self) -> None: ...
    def close(self) -> None: ...


class Gone(Exception):
    """The connection ended while something was awaited from it."""


@attrs.define
class Pace:
    """How a peer reads: `chunk` bytes, then a pause of so many seconds. `stopped`: not at all."""

    chunk: int = CHUNK
    pause: float = 0.0
    stopped: bool = False


@attrs.define(eq=False)
class Session:
    """One connection of a peer: what it held, as far as it got. code: the close frame's, or 1006."""

    number: int
    wire: Wire
    frames: Frames = attrs.field(factory=Frames)
    messages: list[Message] = attrs.field(factory=list)  # all but events
    seqs: list[int] = attrs.field(factory=list)
    pos: int | None = None  # what the last confirmation said
    refused: int | None = None  # HTTP status
    code: int | None = None
    open: trio.Event = attrs.field(factory=trio.Event)
    over: trio.Event = attrs.field(factory=trio.Event)
    asked: int = 0
    waiting: dict[int, trio.MemorySendChannel[Message]] = attrs.field(factory=dict)
    answered: int = 0
    pings: list[Message] = attrs.field(factory=list)


@attrs.define(eq=False)
class Peer:
    """A client. returns: it reconnects and resumes when its connection ends, unless told to leave."""

    name: str
    dial: Callable[[], Awaitable[Wire]]
    topics: tuple[str, ...] = ("all_conversations",)
    where: Message | None = None
    legacy: bool = False
    wish: Message | None = None  # what it asks to resume from at its next connection, instead of where it is
    returns: bool = True
    pace: Pace = attrs.field(factory=Pace)
    witness: Witness = attrs.field(factory=Witness)
    sessions: list[Session] = attrs.field(factory=list)
    contents: dict[tuple[str, int], bytes] = attrs.field(factory=dict)  # of all clients: no seq has two
    last: Position | None = None
    left: bool = False
    token: str | None = attrs.field(default=None, repr=False)
    confirmed: trio.Event = attrs.field(factory=trio.Event)  # of the session that runs now
    _woken: trio.Event = attrs.field(factory=trio.Event)

    # -- life ----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, subscribe, read; again and again until `leave`."""
        while not self.left:
            await self._connection()
            if not self.returns:
                return
            with trio.move_on_after(RECONNECT_SECONDS):
                await trio.sleep_forever()

    async def _connection(self) -> None:
        try:
            wire = await self.dial()
        except OSError:
            return
        session = Session(len(self.sessions) + 1, wire)
        self.sessions.append(session)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read, session, nursery.cancel_scope)
                await wire.put(self._head())
                await session.open.wait()
                if session.refused is None and not session.over.is_set():
                    with suppress(Gone):
                        await self._begin(session)
                await session.over.wait()
        except* OSError:
            pass
        finally:
            wire.close()
            session.over.set()
            session.open.set()
            if self.confirmed.is_set():  # else somebody may wait for it
                self.confirmed = trio.Event()

    def _head(self) -> bytes:
        more = "" if self.legacy else "Sec-WebSocket-Protocol: observatory.v1\r\n"
        if self.token is not None:
            more += f"Authorization: Bearer {self.token}\r\n"
        return HEAD.format(target="/ws", more=more).encode()

    async def _begin(self, session: Session) -> None:
        """From the hello to the first event."""
        if self.legacy:
            return
        data: Message = {"topics": list(self.topics)}
        if self.where is not None:
            data["where"] = self.where
        wish, self.wish = self.wish, None
        if wish is not None or self.last is not None:
            data["resume"] = wish or attrs.asdict(self.last)  # type: ignore[arg-type]
        reply = await self.ask("subscribe", data)
        tries = 0
        while reply["data"].get("recovered") is False and tries < SNAPSHOTS:
            reply, tries = await self._from_snapshot(), tries + 1
        self.confirmed.set()

    async def _from_snapshot(self) -> Message:
        """What the server declared lost is in a snapshot; on from there."""
        snapshot = (await self.ask("get_snapshot"))["data"]
        position = Position(**snapshot["position"])
        before = self.last.seq if self.last is not None and self.last.epoch == position.epoch else 0
        self.witness.holes.append(Hole(before, position.seq))
        self.last = position
        return await self.ask("resume", attrs.asdict(position))

    def leave(self) -> None:
        """Go away without a word, and stay away."""
        self.left = True
        if self.sessions:
            self.session.wire.reset()

    @property
    def here(self) -> bool:
        """Whether it is connected, or coming back."""
        return not self.left and (self.returns or not self.session.over.is_set())

    @property
    def session(self) -> Session:
        """The connection that is there now, or was last."""
        return self.sessions[-1]

    # -- asking --------------------------------------------------------------------------------------------------------

    async def ask(self, kind: str, data: Message | None = None) -> Message:
        """Send a request and wait for its reply. Raises Gone."""
        session = self.session
        if session.over.is_set():
            raise Gone(f"{self.name}: nobody to ask for {kind}")
        session.asked += 1
        send, receive = trio.open_memory_channel[Message](1)
        session.waiting[session.asked] = send
        await self.say({"type": kind, "id": session.asked, "data": data or {}})
        try:
            return await receive.receive()
        except trio.EndOfChannel:
            raise Gone(f"{self.name}: no answer to {kind}") from None

    async def say(self, message: Message) -> None:
        """Send a message."""
        await self.send(TEXT, orjson.dumps(message))

    async def send(self, opcode: int, payload: bytes) -> None:
        """Send one frame."""
        await self.session.wire.put(masked(opcode, payload))

    def set_pace(self, pace: Pace) -> None:
        """Read like this from now on."""
        self.pace = pace
        self._woken.set()
        self._woken = trio.Event()

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _read(self, session: Session, scope: trio.CancelScope) -> None:
        try:
            await self._read_all(session)
        except OSError:
            session.code = session.code or ABNORMAL
        finally:
            session.code = session.code or ABNORMAL
            for send in session.waiting.values():
                send.close()
            session.open.set()
            session.over.set()
            scope.cancel()

    async def _read_all(self, session: Session) -> None:
        head = bytearray()
        while b"\r\n\r\n" not in head:
            data = await self._take(session)
            if not data:
                return
            head += data
        first, _, rest = bytes(head).partition(b"\r\n\r\n")
        status = int(first.split(b" ", 2)[1])
        if status != 101:
            session.refused = status
            return
        for opcode, payload in session.frames.feed(rest):
            await self._frame(session, opcode, payload)
        while data := await self._take(session):
            for opcode, payload in session.frames.feed(data):
                await self._frame(session, opcode, payload)
        if session.code is not None and session.frames.rest:
            raise Torn(f"{self.name}: a cut frame before an orderly end: {session.frames.rest[:40]!r}")

    async def _take(self, session: Session) -> bytes:
        await self._allowed()
        data = await session.wire.take(self.pace.chunk)
        await self._allowed()
        if self.pace.pause and data:
            with trio.move_on_after(self.pace.pause):
                await self._woken.wait()
        return data

    async def _allowed(self) -> None:
        while self.pace.stopped:
            await self._woken.wait()

    async def _frame(self, session: Session, opcode: int, payload: bytes) -> None:
        match opcode:
            case 1:
                await self._message(session, payload)
            case 8:
                session.code = int.from_bytes(payload[:2], "big") if payload else 1005
                with suppress(OSError):
                    await session.wire.put(masked(CLOSE, payload[:2]))
            case 9:
                with suppress(OSError):
                    await session.wire.put(masked(PONG, payload))

    async def _message(self, session: Session, payload: bytes) -> None:
        message: Message = orjson.loads(payload)
        if "seq" in message:
            self._event(session, message, payload)
            return
        session.messages.append(message)
        match message["type"]:
            case "connection_established":
                self._established(session, message)
                session.open.set()
            case "ping":
                self._ping(session, message["data"])
                with suppress(OSError):
                    await self.say({"type": "pong", "data": {"received": len(session.seqs)}})
            case "subscription_confirmed":
                self._held(session, message["data"])
            case "resync":
                raise AssertionError(f"{self.name}: an unexpected resync: {message['data']}")
        if "re" in message:
            self._answer(session, message)

    def _established(self, session: Session, message: Message) -> None:
        if self.legacy:
            position = message["data"]["position"]
            session.pos = position["head"]
            self.witness.changes.append(Change(position["head"], frozenset(message["data"]["subscriptions"])))
            self.confirmed.set()

    def _event(self, session: Session, message: Message, payload: bytes) -> None:
        seq = message["seq"]
        assert session.pos is not None, f"{self.name}: event {seq} before a confirmation with a position"
        assert seq > session.pos, f"{self.name}: event {seq} after a confirmation at {session.pos}"
        assert not session.seqs or seq > session.seqs[-1], f"{self.name}: {seq} after {session.seqs[-1]}"
        session.seqs.append(seq)
        known = self.contents.setdefault((message["epoch"], seq), payload)
        assert known == payload, f"{self.name}: seq {seq} of {message['epoch']} has two contents"
        self.last = Position(message["epoch"], seq)
        self.witness.frames.append(Received(seq, payload))

    def _ping(self, session: Session, data: Message) -> None:
        session.pings.append(data)
        assert data["sent"] == len(session.seqs), f"{self.name}: sent {data['sent']}, received {len(session.seqs)}"
        if data["pos"] is not None:
            self.last = Position(data["epoch"], data["pos"])

    def _held(self, session: Session, data: Message) -> None:
        session.pos = data["pos"]
        if data["pos"] is None:
            return
        self.witness.changes.append(Change(data["pos"], frozenset(data["topics"]), data["where"]))
        self.topics, self.where = tuple(data["topics"]), data["where"]  # what it comes back with
        if self.last is None:
            self.last = Position(data["epoch"], data["pos"])

    def _answer(self, session: Session, message: Message) -> None:
        session.answered += 1
        assert message["re"] == session.answered, f"{self.name}: answer {message['re']}, expected {session.answered}"
        send = session.waiting.pop(message["re"])
        send.send_nowait(message)
        send.close()


__all__ = ["PING", "Gone", "Pace", "Peer", "Session"]
