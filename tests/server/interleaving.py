"""Seeded schedules: the whole server over a pretended socket, with events published between any two steps of its tasks.

trio's scheduler is made deterministic and fed from the seed; the same seed is the same run, step by step. The outbox,
the pages and the pretended kernel's buffers are tiny, so that clients are behind, at a page's end or just rejoining all
the time. Each client's stream is judged while it comes, by a few lines that know nothing of how the server works.

    python -m tests.server.interleaving [FIRST LAST]
"""

import logging
import random
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

import attrs
import orjson
import structlog
import trio
import trio._core._run as scheduler
from trio.testing import MockClock

from actors.commands import Publish, Routed
from actors.router import Router
from actors.sender import OutboxLimits
from observatory.core.events import text_frame
from observatory.core.facts import facts_of_frame
from observatory.core.handshake import Policy
from observatory.core.ports import Stored
from observatory.core.replies import Timing, WireLimits
from observatory.core.topics import EVERYONE
from observatory.server.listener import WebSocketServer
from observatory.server.websocket import Services
from tests.bench.wire import split
from tests.server.pretended import BUFFER, EPOCH, Listener, MemoryLog, Stream
from tests.server.serving import HEAD, masked

TOPICS = ("system", "file_events", "project_updates", "project:p")
PROJECTS = ("p", "q", "r")
WHERES: tuple[Any, ...] = (  # filters to draw from; `due` knows what they mean
    None,
    {"key": "project_id", "cmp": "eq", "val": "p"},
    {"key": "project_id", "cmp": "in", "vals": ["p", "q"]},
    {"op": "not", "node": {"key": "project_id", "cmp": "eq", "val": "p"}},
)
OUTBOX = OutboxLimits(frames=2, bytes=2000)
MOST_EVENTS = 60
NEVER = 1e9
HANG = 1000.0  # virtual seconds: reached at once when nobody can go on


class Wrong(AssertionError):
    """A client's stream is not what it has to be."""


# -- the oracle --------------------------------------------------------------------------------------------------------


def due(row: Stored, topics: frozenset[str], where: object) -> bool:
    """Whether an event matches. Naive on purpose."""
    project = orjson.loads(row.payload)["data"]["project_id"]
    accepted = dict(zip(map(str, WHERES), ({"p", "q", "r"}, {"p"}, {"p", "q"}, {"q", "r"}), strict=True))
    return project in accepted[str(where)] and not row.topics.isdisjoint(topics | {EVERYONE})


@attrs.define
class Judge:
    """One connection's stream. changes: (pos, topics, where) as confirmed; got: seqs of its events."""

    log: MemoryLog
    changes: list[tuple[int, frozenset[str], object]] = attrs.field(factory=list)
    got: list[int] = attrs.field(factory=list)
    last: int | None = None  # what the client may resume from
    told: int = -1  # the last position that the server named

    def take(self, message: dict[str, Any]) -> None:
        """The next message of the stream. Raises Wrong."""
        data = message["data"]
        match message["type"]:
            case "message_added":
                self._event(message["seq"])
            case "subscription_confirmed" | "subscription_status" | "ping" if data["pos"] is not None:
                if "sent" in data and data["sent"] != len(self.got):
                    raise Wrong(f"sent {data['sent']}, but {len(self.got)} came")
                if message["type"] == "subscription_confirmed":
                    self._confirmed(data)
                self._complete(data["pos"])
            case "error":
                raise Wrong(f"refused: {data}")

    def _event(self, seq: int) -> None:
        if self.got and seq <= self.got[-1]:
            raise Wrong(f"{seq} after {self.got[-1]}")
        if not self.changes or seq <= self.changes[-1][0]:
            raise Wrong(f"{seq} behind the confirmation of {self.changes[-1:]}")
        self.got.append(seq)
        self.last = seq
        self._compare(seq)

    def _confirmed(self, data: dict[str, Any]) -> None:
        if self.changes and data["pos"] < self.changes[-1][0]:
            raise Wrong("a position went back")
        if self.changes:
            self._compare(data["pos"])
        self.changes.append((data["pos"], frozenset(data["topics"]), data["where"]))

    def _complete(self, pos: int) -> None:
        """The server says: everything up to `pos` has been handed over."""
        if pos < self.told or (self.got and pos < self.got[-1]):
            raise Wrong(f"position {pos} after {self.told}, {self.got[-1:]}")
        self.told = self.last = pos
        self._compare(pos)

    def _compare(self, upto: int) -> None:
        expected = [row.seq for row in self.log.rows[:upto] if self._is_due(row)]
        if expected != self.got:
            raise Wrong(f"up to {upto} {expected} are due by {self.changes}, and {self.got} came")

    def _is_due(self, row: Stored) -> bool:
        for after, topics, where in reversed(self.changes):
            if after < row.seq:
                return due(row, topics, where)
        return False


# -- a client ----------------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Client:
    """One client over all its connections; it reads now and then, asks, goes away and comes back."""

    world: "World"
    draw: random.Random
    topics: frozenset[str] = frozenset()
    last: int | None = None
    stream: Stream | None = None
    reading: bool = True
    ended: bool = False

    async def run(self, ops: int) -> None:
        """Its life."""
        async with trio.open_nursery() as nursery:
            await self.connect(nursery)
            for _ in range(ops):
                await self.act(nursery)
            self.reading = True
            await self.until_complete()
            nursery.cancel_scope.cancel()

    async def connect(self, nursery: trio.Nursery) -> None:
        """A connection: from the head, or from where the last one ended."""
        self.stream = stream = self.world.listener.connect()
        lines = ["GET /ws HTTP/1.1", *(f"{name}: {value}" for name, value in HEAD.items())]
        stream.send_in.send_nowait("\r\n".join(lines).encode() + b"\r\n\r\n")
        judge = Judge(self.world.log)
        nursery.start_soon(self.read, stream, judge)
        self.topics = self.topics or self.some_topics()
        resume = {} if self.last is None else {"resume": {"epoch": EPOCH, "seq": self.last}}
        if resume and self.draw.random() < 0.3:  # the topics first, the position later
            self.ask("unsubscribe", {})
            self.ask("subscribe", {"topics": sorted(self.topics), **resume})
        else:
            self.ask("subscribe", {"topics": sorted(self.topics), "where": self.draw.choice(WHERES), **resume})

    def some_topics(self) -> frozenset[str]:
        return frozenset(self.draw.sample(TOPICS, self.draw.randint(1, 3)))

    def ask(self, kind: str, data: dict[str, Any]) -> None:
        assert self.stream is not None
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            self.stream.send_in.send_nowait(masked(orjson.dumps({"type": kind, "data": data})))

    async def act(self, nursery: trio.Nursery) -> None:
        """One of the things that clients do, after some time."""
        for _ in range(self.draw.randint(0, 12)):
            await trio.lowlevel.checkpoint()
        match self.draw.choice(
            ["subscribe", "replace", "unsubscribe", "status", "stop", "stop", "read", "read", "drop"]
        ):
            case "subscribe":
                self.ask("subscribe", {"topics": sorted(self.some_topics()), "where": self.draw.choice(WHERES)})
            case "replace":
                self.topics = self.some_topics()
                where = {"where": self.draw.choice(WHERES)} if self.draw.random() < 0.5 else {}
                self.ask("subscribe", {"topics": sorted(self.topics), "replace": True, **where})
            case "unsubscribe":
                self.ask("unsubscribe", self.draw.choice([{"topics": sorted(self.some_topics())}] * 3 + [{}]))
            case "status":
                self.ask("get_subscriptions", {})
            case "stop":
                self.reading = False
            case "read":
                self.reading = True
                self.nudge()
            case "drop":
                assert self.stream is not None
                self.stream.reset()
                self.reading = True
                await self.connect(nursery)

    def nudge(self) -> None:
        if self.stream is not None:
            self.stream.news.set()

    async def read(self, stream: Stream, judge: Judge) -> None:
        """Take what has come, a few bytes at a time, and have it judged; what a reset cuts off is not read."""
        rest, upgraded = b"", False
        while not stream.broken:
            if not stream.socket.taken or not (self.reading or not upgraded):
                stream.news = trio.Event()
                await stream.news.wait()
                continue
            count = self.draw.randint(1, BUFFER)
            rest += bytes(stream.socket.taken[:count])
            size = len(stream.socket.taken[:count])
            del stream.socket.taken[:count]
            stream.socket.make_room(size)
            if not upgraded and b"\r\n\r\n" in rest:
                rest, upgraded = rest.partition(b"\r\n\r\n")[2], True
            if upgraded:
                frames, rest = split(rest)
                for _, payload in frames:
                    judge.take(orjson.loads(payload))
                    self.last = self.last if judge.last is None else judge.last
            await trio.lowlevel.checkpoint()

    async def until_complete(self) -> None:
        """Ask until the server says that this client stands at the head."""
        await self.world.published.wait()
        while self.last != len(self.world.log.rows):
            self.ask("get_subscriptions", {})
            self.nudge()
            await trio.sleep(1)  # virtual: all others go as far as they can


# -- the run -----------------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class World(trio.abc.Instrument):
    """The server, its clients, and the one who publishes between two steps. at: at which steps; None: as drawn."""

    draw: random.Random
    at: frozenset[int] | None
    log: MemoryLog = attrs.field(factory=MemoryLog)
    listener: Listener = attrs.field(factory=Listener)
    published: trio.Event = attrs.field(factory=trio.Event)
    router: Router[str] = attrs.field(init=False)
    steps: int = 0
    failure: Exception | None = None
    _rate: float = 0.0
    _waiting: deque[Publish[str]] = attrs.field(factory=deque)
    _wake: trio.Event = attrs.field(factory=trio.Event)
    _posting: bool = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Publish between two steps, in nobody's task."""
        self.steps += 1
        if self.published.is_set() or self.failure is not None:
            return
        wanted = self.draw.random() < self._rate if self.at is None else self.steps in self.at
        try:
            if wanted:
                self.publish()
        except Exception as failure:  # trio would switch the instrument off and go on
            self.failure = failure

    def publish(self) -> None:
        """Commit an event, and hand it to the Router as soon as that can be."""
        topics = tuple(self.draw.sample(TOPICS, self.draw.randint(1, 2)))
        row = self.log.append(topics, self.draw.choice(PROJECTS))
        publish = Publish((Routed(row.seq, tuple(sorted(row.topics)), text_frame(row.payload)),))
        if self._waiting or self._posting or not self.router.post_nowait(publish):
            self._waiting.append(publish)
            self._wake.set()
        if len(self.log.rows) >= MOST_EVENTS:
            self.published.set()

    async def post(self) -> None:
        """Bring the Router what it could not take at once, in order."""
        while True:
            await self._wake.wait()
            self._posting = True
            while self._waiting:
                await self.router.post(self._waiting.popleft())
            self._posting = False
            self._wake = trio.Event()

    async def main(self, clients: int, ops: int) -> None:
        """Everything, from the first publishing to the last client's completeness."""
        self._rate = self.draw.choice([0.02, 0.1, 0.3])
        self.router = Router(EVERYONE, 0, 4, lambda: 0, read=facts_of_frame)
        timing = Timing(NEVER, NEVER, NEVER, NEVER, 5.0)
        services = Services(self.router, self.log, dict, timing, WireLimits())
        server = WebSocketServer(
            services, Policy(), OUTBOX, 100, lambda stamp: None, lambda low, high: low,
            transport_of=lambda stream: cast(Any, stream).socket, owner_of=lambda theirs, ours: 0,
        )  # fmt: skip
        with trio.fail_after(HANG):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.router.run)
                nursery.start_soon(self.post)
                nursery.start_soon(server.serve, cast(Any, [self.listener]))
                await trio.testing.wait_all_tasks_blocked()
                for _ in range(self.draw.randint(0, 5)):
                    self.publish()
                self.steps = 0
                async with trio.open_nursery() as people:
                    for _ in range(clients):
                        people.start_soon(Client(self, self.draw).run, ops)
                    people.start_soon(self.stop_publishing, people)
                nursery.cancel_scope.cancel()

    async def stop_publishing(self, people: trio.Nursery) -> None:
        """When the clients have done what they do, nothing is published any more, and they can complete."""
        await trio.sleep(0.5)
        self.published.set()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """trio's scheduler as a function of the seed."""
    internals = cast(Any, scheduler)  # as trio's own plugin for hypothesis does
    before = internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r.getstate()
    internals._ALLOW_DETERMINISTIC_SCHEDULING = True
    internals._r.seed(seed)
    try:
        yield
    finally:
        internals._ALLOW_DETERMINISTIC_SCHEDULING = before[0]
        internals._r.setstate(before[1])


def run(seed: int, at: frozenset[int] | None = None, clients: int = 2, ops: int = 12) -> World:
    """One run. Raises Wrong, with what replays it; an exception of another kind is a defect, too."""
    with seeded(seed):
        made: list[World] = []

        async def main() -> None:
            made.append(World(random.Random(seed), at))
            trio.lowlevel.add_instrument(made[0])
            try:
                await made[0].main(clients, ops)
            finally:
                trio.lowlevel.remove_instrument(made[0])

        try:
            trio.run(main, clock=MockClock(autojump_threshold=0))
        except BaseException as error:
            error.add_note(f"replay: tests.server.interleaving.run({seed}, {at}, {clients}, {ops})")
            raise
    if made[0].failure is not None:
        raise made[0].failure
    return made[0]


def caught(seed: int) -> bool:
    """Whether the oracle objects to a run, or nobody can go on in it."""
    found = False
    try:
        run(seed)
    except* (Wrong, trio.TooSlowError):
        found = True
    return found


def main() -> None:
    """Many seeds; stops at the first that fails."""
    first, last = [int(word) for word in sys.argv[1:]] or (0, 1000)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    steps = sum(run(seed).steps for seed in range(first, last))
    print(f"{last - first} runs, {steps} steps: each event once and in order")


if __name__ == "__main__":
    main()
