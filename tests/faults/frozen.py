"""A Peer in a process of its own, which can be stopped: it tells its parent what it got, one line at a time."""

import subprocess
import sys
from typing import Any

import attrs
import orjson
import trio

from tests.faults.peer import Message, Peer, Session
from tests.faults.sockets import TcpWire, connected
from tests.oracle import Change, Hole, Received

RECEIVE_BUFFER = 4096


class NoWire:
    """The connection is the child's."""

    async def put(self, data: bytes) -> None:
        """Not from here."""
        raise OSError

    async def take(self, count: int) -> bytes:
        """Not from here."""
        raise OSError

    def reset(self) -> None:
        """It goes with its process."""

    def close(self) -> None:
        """It goes with its process."""


@attrs.define(eq=False)
class Frozen(Peer):
    """The parent's picture of the child. resumed: what the child's confirmations said of its resumes."""

    url: str = ""
    resumed: list[Any] = attrs.field(factory=list)
    _process: trio.Process | None = None

    @property
    def pid(self) -> int:
        """The child's."""
        assert self._process is not None
        return self._process.pid

    async def run(self) -> None:
        """Start the child, and take down what it tells until it is killed."""
        program = [sys.executable, "-m", "tests.faults.frozen", self.url, *self.topics]
        self._process = await trio.lowlevel.open_process(program, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        rest = b""
        try:
            async with self._process.stdout as told:
                async for data in told:
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        self._note(orjson.loads(line))
        finally:
            with trio.CancelScope(shield=True):
                self._process.kill()
                await self._process.wait()
        assert self.left, f"{self.name}: its process ended"

    def leave(self) -> None:
        """Kill it."""
        self.left = True
        if self._process is not None:
            self._process.kill()

    def _note(self, told: Message) -> None:
        self.witness.changes = [Change(after, frozenset(topics)) for after, topics in told["changes"]]
        self.witness.holes = [Hole(*hole) for hole in told["holes"]]
        self.witness.frames += [Received(seq, payload.encode()) for seq, payload in told["frames"]]
        self.resumed = told["resumed"]
        while len(self.sessions) < told["sessions"]:
            self.sessions.append(Session(len(self.sessions) + 1, NoWire()))
        if told["confirmed"] != self.confirmed.is_set():
            if told["confirmed"]:
                self.confirmed.set()
            else:
                self.confirmed = trio.Event()


@attrs.define(eq=False)
class Telling(Peer):
    """The child's own."""

    told: int = 0

    async def _connection(self) -> None:
        await super()._connection()
        self.tell()

    async def _begin(self, session: Session) -> None:
        await super()._begin(session)
        self.tell()

    async def _message(self, session: Session, payload: bytes) -> None:
        await super()._message(session, payload)
        self.tell()

    def tell(self) -> None:
        """What is new, as one line."""
        confirmed = [m["data"] for s in self.sessions for m in s.messages if m["type"] == "subscription_confirmed"]
        news = {
            "sessions": len(self.sessions),
            "confirmed": self.confirmed.is_set(),
            "changes": [(change.after, sorted(change.topics)) for change in self.witness.changes],
            "holes": [(hole.after, hole.upto) for hole in self.witness.holes],
            "resumed": [data.get("reason", data["recovered"]) for data in confirmed if "recovered" in data],
            "frames": [(frame.seq, frame.payload.decode()) for frame in self.witness.frames[self.told :]],
        }
        self.told = len(self.witness.frames)
        sys.stdout.buffer.write(orjson.dumps(news) + b"\n")
        sys.stdout.buffer.flush()


async def main(*args: str) -> None:
    """The child: URL, then topics."""
    url, *topics = args

    async def dial() -> TcpWire:
        return await connected(url, RECEIVE_BUFFER)

    await Telling("child", dial, tuple(topics)).run()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
