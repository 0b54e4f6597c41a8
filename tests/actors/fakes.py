"""A transport that takes as many bytes as it is told to, and a backlog over a list."""

from collections.abc import Callable

import attrs
import trio

from actors.commands import At, Place, Rejoin
from actors.router import Router
from actors.sender import OutboxLimits, Page, Sender

EVERYONE = "*"  # the topic that every client with a position holds


class FakeTransport:
    """Takes `room` bytes, then blocks until `make_room`; records what was taken, and what came after abort."""

    def __init__(self, room: int = 1 << 40) -> None:
        self.room = room
        self.taken = bytearray()
        self.written: list[bytes] = []
        self.aborted = False
        self.after_abort = 0
        self.error: OSError | None = None
        self._writable = trio.Event()

    def try_send(self, data: bytes | memoryview) -> int:
        if self.aborted:
            self.after_abort += 1
            raise OSError("written to after abort")
        if self.error is not None:
            raise self.error
        if not self.room:
            raise BlockingIOError
        count = min(self.room, len(data))
        self.room -= count
        self.taken += data[:count]
        self.written.append(bytes(data[:count]))
        return count

    async def wait_writable(self) -> None:
        while not self.room and not self.aborted:
            self._writable = trio.Event()
            await self._writable.wait()
        await trio.lowlevel.checkpoint()

    @property
    def writes(self) -> int:
        return len(self.written)

    def make_room(self, count: int = 1 << 40) -> None:
        self.room += count
        self._writable.set()

    def abort(self) -> None:
        self.aborted = True
        self._writable.set()


@attrs.define
class ListBacklog:
    """The log as a list of (topics, frame); position n is entry n - 1. Rejoins through a Router."""

    entries: list[tuple[frozenset[str], bytes]] = attrs.field(factory=list)
    router: Router[str] | None = None
    sender: Sender | None = None
    topics: frozenset[str] = frozenset()
    page: int = 3
    reads: int = 0
    rejoins: int = 0
    gone: bool = False

    async def read(self, after: int) -> Callable[[], Page] | None:
        self.reads += 1
        await trio.lowlevel.checkpoint()
        if self.gone:
            assert self.sender is not None
            self.sender.cursor = None
            return None
        head = self.router.head if self.router else len(self.entries)
        rows = self.entries[after : min(after + self.page, head)]

        def select() -> Page:
            frames = [frame for topics, frame in rows if self.wants(topics, frame)]
            position = after + len(rows)
            here = self.router.head if self.router else len(self.entries)
            return Page(b"".join(frames), len(frames), position, position >= here)

        return select

    def wants(self, topics: frozenset[str], frame: bytes) -> bool:
        """Whether an entry is for this client."""
        return not topics.isdisjoint(self.topics)

    async def rejoin(self, position: int) -> None:
        self.rejoins += 1
        assert self.sender is not None
        if self.router is None:
            self.sender.go_live()
            return
        done = trio.Event()
        await self.router.post(Rejoin(self.sender, position, lambda place: None))

        def answer(place: Place) -> None:
            done.set()

        await self.router.post(At(self.sender, answer))
        await done.wait()


def make_sender(
    room: int = 1 << 40, limits: OutboxLimits | None = None, backlog: ListBacklog | None = None
) -> tuple[Sender, FakeTransport, ListBacklog]:
    transport, log = FakeTransport(room), backlog or ListBacklog()
    sender = Sender(transport, limits or OutboxLimits(), log)
    log.sender = sender
    return sender, transport, log
