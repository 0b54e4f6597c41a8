"""Handlers: the log, from a position on: one answer that may wait, lines without an end, and server-sent events.

The bytes of an event are those of the WebSocket, so whatever a client shows is the same however it came.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing

import attrs
import orjson
import trio

from observatory.api.asked import EventsQuery
from observatory.api.sources import Sources
from observatory.api.table import EVENT_STREAM, NDJSON, Call, Refusal, Reply, Stream
from observatory.core.errors import StoreError
from observatory.core.ports import Stored
from observatory.core.subscription import comes_to
from observatory.core.topics import EVERYONE, is_topic
from observatory.core.where import Where, parse_where

PING_SECONDS = 15.0  # between two signs of life of a stream that has nothing to say
UNBUFFERED = (("Cache-Control", "no-store"), ("X-Accel-Buffering", "no"))  # proxies must not hold a stream back


class Gap(Exception):
    """What follows a position cannot be had. reason: as in `resync`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@attrs.frozen
class Wanted:
    """Which events. topics: held; None is all of them."""

    topics: frozenset[str] | None
    where: Where | None

    def of(self, rows: Sequence[Stored]) -> list[Stored]:
        """Those that are meant."""
        held, where = self.topics, self.where
        if held is None:
            return [row for row in rows if row.payload and (where is None or where.accepts(row.facts))]
        return [row for row in rows if comes_to(held, where, row)]


def wanted(asked: EventsQuery) -> Wanted:
    """What a request means. Raises Refusal, RequestError: a topic or the filter is none."""
    for topic in asked.topic:
        if not is_topic(topic):
            raise Refusal(422, "INVALID_TOPIC", f"{topic[:80]!r} is no topic")
    where = None
    if asked.where is not None:
        try:
            where = parse_where(orjson.loads(asked.where))
        except orjson.JSONDecodeError as error:
            raise Refusal(422, "INVALID_FILTERS", f"where is no JSON: {error}") from None
    return Wanted(frozenset({*asked.topic, EVERYONE}) if asked.topic else None, where)


def start(api: Sources, since: str | None) -> int:
    """Where to begin; without a position at the head. Raises Gap: the log does not go back to it, or is another one."""
    now = api.position
    if since is None:
        return now.head
    epoch, _, seq = since.rpartition(":")
    if epoch and epoch != now.epoch:
        raise Gap("epoch_changed")
    if int(seq) > now.head:
        raise Gap("ahead")
    if int(seq) < now.oldest - 1:
        raise Gap("too_old")
    return int(seq)


async def events(api: Sources, call: Call[EventsQuery, None]) -> Reply:
    """Events after a position, as many as one answer takes; it waits for the first one if that is asked for."""
    asked, which = call.query, wanted(call.query)
    at = _begin(api, asked.since)
    found: list[Stored] = []
    with trio.move_on_after(asked.wait):
        while not found and not api.ending.is_set():
            found, at = await _some(api, which, at, asked.limit)
            if not found:
                await _wait_beyond(api, at, asked.wait)
    if not asked.wait and not found:
        found, at = await _some(api, which, at, asked.limit)
    rows = [orjson.Fragment(row.payload) for row in found]
    position = {"epoch": api.position.epoch, "seq": at}
    return Reply({"events": rows, "head": api.position.head, "position": position})


def _begin(api: Sources, since: str | None) -> int:
    try:
        return start(api, since)
    except Gap as gap:
        raise _gone(api, gap) from None


def _gone(api: Sources, gap: Gap) -> Refusal:
    now = api.position
    message = f"the log does not lead on from there ({gap.reason}): load the snapshot, and go on from its position"
    return Refusal(410, gap.reason.upper(), message, position={"epoch": now.epoch, "seq": now.head})


async def _some(api: Sources, which: Wanted, at: int, limit: int) -> tuple[list[Stored], int]:
    """Up to `limit` events, and up to where the log was looked through; at its head there may be none."""
    found: list[Stored] = []
    while at < api.monitor.router.head and len(found) < limit:
        portion = await api.pages.portion(at, api.monitor.router.head)
        if portion is None:
            _check_still_there(api, at)
            continue
        for row in portion.rows:
            at = row.seq
            found += which.of((row,))
            if len(found) == limit:
                break
    return found, at


def _check_still_there(api: Sources, at: int) -> None:
    if at < api.position.oldest - 1:
        raise _gone(api, Gap("too_old"))


async def _wait_beyond(api: Sources, at: int, seconds: float) -> bool:
    """Until something follows, or the server goes down, or the time is over. Whether there may be something."""
    moved = False
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as waiting:

            async def give_up() -> None:
                await api.ending.wait()
                waiting.cancel_scope.cancel()

            waiting.start_soon(give_up)
            await api.monitor.router.wait_beyond(at)
            moved = True
            waiting.cancel_scope.cancel()
    return moved


async def ndjson(api: Sources, call: Call[EventsQuery, None]) -> Stream:
    """Events after a position, one a line; to the head, or on and on."""
    asked, which = call.query, wanted(call.query)
    return Stream(
        _lines(api, which, _begin(api, asked.since), follow=asked.follow), NDJSON, UNBUFFERED, at_once=asked.follow
    )


async def _lines(api: Sources, which: Wanted, at: int, *, follow: bool) -> AsyncIterator[bytes]:
    def join(rows: list[Stored]) -> bytes:
        return b"".join([part for row in rows for part in (row.payload, b"\n")])

    try:
        async with aclosing(_pieces(api, which, at, join, b"\n", follow=follow)) as pieces:
            async for piece in pieces:
                yield piece
    except Gap as gap:
        yield orjson.dumps({"type": "resync", "data": _resync(api, gap)}) + b"\n"


def _resync(api: Sources, gap: Gap) -> dict[str, object]:
    now = api.position
    return {"reason": gap.reason, "position": {"epoch": now.epoch, "seq": now.head}}


async def sse(api: Sources, call: Call[EventsQuery, None]) -> Stream:
    """Server-sent events after Last-Event-ID, a position, or from now on. A gap is told; what is new follows."""
    asked, which = call.query, wanted(call.query)
    since = call.head.headers.get("last-event-id", "").strip() or asked.since
    return Stream(_server_sent(api, which, since), EVENT_STREAM, UNBUFFERED, at_once=True)


async def _server_sent(api: Sources, which: Wanted, since: str | None) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    while not api.ending.is_set():
        try:
            at = start(api, since)
            since = f"{api.position.epoch}:{at}"
            join = _framed(api.position.epoch)
            async with aclosing(_pieces(api, which, at, join, b": ping\n\n", follow=True)) as pieces:
                async for piece in pieces:
                    yield piece
        except (Gap, ValueError) as gap:
            told = _resync(api, gap if isinstance(gap, Gap) else Gap("no_position"))
            now = api.position
            since = f"{now.epoch}:{now.head}"
            yield b"event: resync\nid: %s\ndata: %s\n\n" % (since.encode(), orjson.dumps(told))


def _framed(epoch: str) -> Callable[[list[Stored]], bytes]:
    def join(rows: list[Stored]) -> bytes:
        head = f"id: {epoch}:".encode()
        return b"".join([b"%s%d\ndata: %s\n\n" % (head, row.seq, row.payload) for row in rows])

    return join


async def _pieces(
    api: Sources, which: Wanted, at: int, join: Callable[[list[Stored]], bytes], ping: bytes, *, follow: bool
) -> AsyncGenerator[bytes, None]:
    """What follows, joined as it is read; `ping` when there was nothing for long. Raises Gap."""
    reader = object()
    api.pages.enter(reader)
    try:
        upto = api.monitor.router.head
        while not api.ending.is_set():
            if at < (api.monitor.router.head if follow else upto):
                portion = await _portion(api, at)
                at = at if portion is None else portion[-1].seq
                if portion and (rows := which.of(portion)):
                    yield join(rows)
            elif not follow:
                return
            elif not await _wait_beyond(api, at, PING_SECONDS) and not api.ending.is_set():
                yield ping
    finally:
        api.pages.leave(reader)


async def _portion(api: Sources, at: int) -> Sequence[Stored] | None:
    """The next stretch of the log. None: look again. Raises Gap: it cannot be had."""
    try:
        portion = await api.pages.portion(at, api.monitor.router.head)
    except StoreError as error:
        if error.retryable:
            raise
        raise Gap("gap") from None
    if portion is None and at < api.position.oldest - 1:
        raise Gap("too_old")
    return None if portion is None else portion.rows
