"""Backlog: what clients that are behind are fed from. Pages of the log, read once for all who are at the same place.

A page is kept in portions of half a client's outbox. A portion's rows, and the joined frames of those who hold the same
topics, exist once, however many clients wait for them.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

import attrs
import structlog
import trio

from actors.commands import At, Place, Rejoin
from actors.router import Router
from actors.sender import Page, Sender
from observatory.core.closing import CloseCode
from observatory.core.errors import StoreError
from observatory.core.events import frame_head
from observatory.core.ports import EventSource, Stored
from observatory.core.subscription import comes_to
from observatory.core.topics import EVERYONE
from observatory.core.where import Where

log = structlog.get_logger()
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
STRIDE = 96  # no page goes beyond a multiple of it: clients that began at different places soon read the same pages
REST_SECONDS = 0.001  # between two pages for one client, while others are live: a thread that reads slows the loop down
SHELF_BYTES = 4 * 1024 * 1024  # rows, and as much again of joined frames: some 16 places at a time
FED_A_TURN = 16  # clients that are given a portion in one turn of the loop, about 1 ms: live events go in between
NEAR = 32  # events before the head: the Router has them at hand. While a thousand catch up, nobody meets a moving head
HEAD_BYTES = 4  # before the payload of most frames
ROW_BYTES = 256  # what a row takes beside its payload
ENTRY_BYTES = 512  # what an entry takes beside its bytes


class Shelf(Generic[K, V]):
    """Keeps what was used last, up to a number of bytes."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self.bytes = 0

    def get(self, key: K) -> V | None:
        """What is kept under `key`; it was used just now."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep it, at the cost of what was not used for the longest time."""
        _, before = self._entries.pop(key, (None, 0))
        self._entries[key] = (value, size + ENTRY_BYTES)
        self.bytes += size + ENTRY_BYTES - before
        while self.bytes > self._room:
            _, (_, gone) = self._entries.popitem(last=False)
            self.bytes -= gone

    def clear(self) -> None:
        """Keep nothing."""
        self._entries.clear()
        self.bytes = 0


@attrs.frozen
class Selection:
    """What a client gets of the log; clients with equal ones share bytes."""

    topics: frozenset[str]
    where: Where | None = None

    def of(self, portion: "Portion") -> list[bytes]:
        """The payloads that it gets."""
        held, where = {*self.topics, EVERYONE}, self.where
        return [row.payload for row in portion.rows if comes_to(held, where, row)]


@attrs.frozen(eq=False)
class Portion:
    """A stretch of the log, without a gap, from behind `after` up to and including `last`."""

    after: int
    last: int
    rows: Sequence[Stored]
    size: int


@attrs.frozen
class Joined:
    """The frames of one selection of a portion."""

    data: bytes
    frames: int


@attrs.define
class Totals:
    """Since the start. behind: how often a client began to be fed from the log; reads: pages that were fetched.
    replayed: events that were handed over."""

    behind: int = 0
    caught_up: int = 0
    replayed: int = 0
    reads: int = 0


@attrs.define(eq=False)
class SharedPages:
    """The pages of all clients of a server. One read is under way per place; nothing is kept when nobody is behind.

    Args: portion_bytes: of frames that are handed over together; one larger frame is a portion of its own.
    """

    events: EventSource
    portion_bytes: int
    totals: Totals = attrs.field(factory=Totals)
    readers: set[object] = attrs.field(factory=set)
    _portions: Shelf[int, Portion] = attrs.field(factory=lambda: Shelf(SHELF_BYTES))
    _joined: Shelf[tuple[int, int, Selection], Joined] = attrs.field(factory=lambda: Shelf(SHELF_BYTES))
    _gate: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(FED_A_TURN))
    _reading: dict[int, trio.Event] = attrs.field(factory=dict)
    _removals: int = 0

    async def portion(self, after: int, upto: int) -> Portion | None:
        """What follows `after`, from the shelf or the log. None: look again. Raises StoreError."""
        self._heed_removals()
        under_way = self._reading.get(after)
        if under_way is not None:
            await under_way.wait()
        elif self._portions.get(after) is None:
            return await self._read(after, upto)
        async with self._gate:
            await trio.lowlevel.checkpoint()  # a client that takes all at once must leave the loop to others
        return self._portions.get(after)

    def holds(self, after: int) -> bool:
        """Whether what follows `after` costs no read of its own."""
        return after in self._reading or self._portions.get(after) is not None

    async def _read(self, after: int, upto: int) -> Portion | None:
        self._reading[after] = trio.Event()
        self.totals.reads += 1
        removals = self._removals
        try:
            rows = await self.events.read(after, min(upto, (after // STRIDE + 1) * STRIDE))
        finally:
            self._reading.pop(after).set()
        self._heed_removals()
        if removals != self._removals:  # what was read may be forgotten now
            return None
        cut = list(portions(after, rows, self.portion_bytes))
        for portion in reversed(cut):  # the first one is used first
            self._portions.put(portion.after, portion, portion.size + ROW_BYTES * len(portion.rows))
        return cut[0] if cut else None

    def _heed_removals(self) -> None:
        if self._removals != self.events.removals:
            self._removals = self.events.removals
            self._empty()

    def _empty(self) -> None:
        self._portions.clear()
        self._joined.clear()

    def joined(self, portion: Portion, selection: Selection) -> Joined:
        """The frames that a selection gets of a portion."""
        key = (portion.after, portion.last, selection)
        found = self._joined.get(key)
        if found is None:
            found = join(selection.of(portion))
            self._joined.put(key, found, len(found.data))
        return found

    def enter(self, reader: object) -> None:
        """Somebody is behind."""
        if reader not in self.readers:
            self.readers.add(reader)
            self.totals.behind += 1

    def leave(self, reader: object) -> None:
        """Somebody is not behind any more."""
        self.readers.discard(reader)
        if not self.readers:
            self._empty()


def portions(after: int, rows: Sequence[Stored], limit: int) -> Iterator[Portion]:
    """Cut a page into portions of at most `limit` bytes of frames, or one frame."""
    begin = size = 0
    for place, row in enumerate(rows):
        more = len(row.payload) + HEAD_BYTES
        if size and size + more > limit:
            yield Portion(after, rows[place - 1].seq, rows[begin:place], size)
            after, begin, size = rows[place - 1].seq, place, 0
        size += more
    if rows:
        yield Portion(after, rows[-1].seq, rows[begin:], size)


def join(payloads: Sequence[bytes]) -> Joined:
    """One copy from the rows to what is sent."""
    parts: list[bytes] = []
    for payload in payloads:
        parts += (frame_head(len(payload)), payload)
    return Joined(b"".join(parts), len(payloads))


class Follower(Protocol):
    """What feeding a client needs of its connection."""

    client_id: str
    sender: Sender

    @property
    def selection(self) -> Selection: ...
    @property
    def failed(self) -> bool: ...

    def close_soon(self, code: CloseCode, reason: str) -> None: ...
    def fail(self) -> None: ...
    async def resync(self) -> None: ...
    def ping(self, place: Place) -> None: ...


@attrs.define(eq=False)
class ClientBacklog:
    """One client's view of the pages; the port of its Sender."""

    pages: SharedPages
    router: Router[str]
    client: Follower
    _began: bool = False

    async def read(self, after: int) -> Callable[[], Page] | None:
        """A portion of the log after `after`, up to what the Router has routed; filtered when it is handed over."""
        self.pages.enter(self)
        if self.client.failed:
            return None
        if after < self.pages.events.position.oldest - 1:
            self._stop(CloseCode.TOO_SLOW, "the log no longer holds what you missed")
            return None
        if after >= self.router.head:
            await trio.lowlevel.checkpoint()
            return lambda: self._page(None, after)
        try:
            await self._rest(after)
            portion = await self.pages.portion(after, self.router.head)
        except StoreError as error:
            log.warning("client.backlog_unreadable", client=self.client.client_id, after=after, error=str(error))
            if error.retryable:
                self._stop(CloseCode.HANDLER_FAILED, "the log cannot be read now")
            else:
                self.pages.leave(self)
                await self.client.resync()
            return None
        except Exception:
            self.client.sender.cursor = None
            self.client.fail()
            return None
        return lambda: self._page(portion, after)

    async def _rest(self, after: int) -> None:
        """Before each page but the first that is to be read for this client, while others are live."""
        if self._began and self.router.has_live and not self.pages.holds(after):
            await trio.sleep(REST_SECONDS)
        self._began = True

    def _stop(self, code: CloseCode, reason: str) -> None:
        self.client.sender.cursor = None
        self.client.close_soon(code, reason)

    def _page(self, portion: Portion | None, after: int) -> Page:
        if portion is None:
            return Page(b"", 0, after, after >= self.router.head)
        try:
            joined = self.pages.joined(portion, self.client.selection)
        except Exception:  # a filter failed: a defect, which only this client pays for
            self.client.fail()
            return Page(b"", 0, after, at_head=False)
        self.pages.totals.replayed += joined.frames
        return Page(joined.data, joined.frames, portion.last, portion.last >= self.router.head - NEAR)

    async def rejoin(self, position: int) -> None:
        """Ask to be live; a client that becomes live is told so by a ping with its position."""
        turn = trio.Event()
        await self.router.post(Rejoin(self.client.sender, position, self._live))
        await self.router.post(At(self.client.sender, lambda place: turn.set()))
        await turn.wait()

    def _live(self, place: Place) -> None:
        self.pages.totals.caught_up += 1
        self._began = False
        self.pages.leave(self)
        self.client.ping(place)

    def leave(self) -> None:
        """The client is gone."""
        self.pages.leave(self)
