"""Sender: one client's bounded outbox and the task that drains it into the client's transport.

An idle client is written to at once, from the Router's task; a busy one through the outbox, whose frames are joined
into few writes. What does not fit is refused: the client falls behind and is fed from the backlog up to the head.
"""

from collections.abc import Callable
from typing import Protocol

import attrs
import trio

JOIN_BYTES = 64 * 1024  # one write: about what a socket buffer takes at once, and a bound on the copy
COPY_BYTES = 16 * 1024  # beginning with this size bytes are written as they are: shared, without a copy
CONTROL_RESERVE = (
    256  # channel places beyond the events' bound, for replies and control frames, which are exempt from it
)


class Transport(Protocol):
    """The sending half of a connection. After `abort` nothing more is written."""

    @property
    def try_send(self) -> Callable[[bytes | memoryview], int]:
        """Bytes the kernel took now. Raises BlockingIOError when it takes none, OSError when the connection is broken.

        Called once per delivery: a bound method of a C object, if there is one, saves a fifth of the cost.
        """
        ...

    async def wait_writable(self) -> None: ...

    def abort(self) -> None:
        """Reset the connection: the peer sees no close frame, and no byte follows a cut frame."""
        ...


@attrs.frozen
class Page:
    """What a client that is behind gets next.

    data: whole frames, joined, at most half of OutboxLimits.behind_bytes unless it is one frame; frames: how many;
    position: the last position read, matched or not; at_head: so near to the head that the Router has the rest.
    """

    data: bytes
    frames: int
    position: int
    at_head: bool


class Backlog(Protocol):
    """Where a client that is behind reads on."""

    async def read(self, after: int) -> Callable[[], Page] | None:
        """Fetch what follows `after`; the call that makes the Page filters it, without a suspension point.

        The same place may be read again: a Page that does not fit is asked for later. None: what follows cannot be had;
        whoever implements this has taken the Sender's cursor away, and does the rest.
        """
        ...

    async def rejoin(self, position: int) -> None:
        """Ask the Router to make the client live; it answers by `go_live` or `fall_behind` before this returns."""
        ...


@attrs.frozen
class OutboxLimits:
    """Bounds of one client's outbox; an empty outbox admits one chunk of any size.

    behind_bytes: what is read from the backlog for a client that is behind; the next page comes at half of it.
    """

    frames: int = 1024
    bytes: int = 1024 * 1024
    stall_seconds: float = 30.0  # no byte accepted for so long while bytes wait: reset
    behind_bytes: int = 64 * 1024


class Stalled(Exception):
    """The peer took no byte for `stall_seconds`; the transport was reset."""


@attrs.frozen
class _Item:
    data: bytes | memoryview
    frames: int = 0
    stamp: object = None
    done: trio.Event | None = None


@attrs.frozen
class SenderStatistics:
    """queued_frames and queued_bytes include what is being written; frames_sent counts events handed over."""

    queued_frames: int
    queued_bytes: int
    queued_replies: int
    frames_sent: int
    behind_at: int | None


class Sender:
    """One client's outbox. `run` drains it; `x_nowait`, `fall_behind` and `go_live` never block."""

    __slots__ = (
        "_backlog", "_bytes", "_failure", "_frames", "_get", "_held", "_limits", "_near_head", "_on_written", "_open",
        "_pending", "_put", "_replies", "_replies_drained", "_transport", "_try_send", "_waiting",
        "bytes_sent", "cursor", "frames_sent", "progressed_at",
    )  # fmt: skip

    def __init__(
        self,
        transport: Transport,
        limits: OutboxLimits,
        backlog: Backlog,
        on_written: Callable[[object], None] = lambda stamp: None,
    ) -> None:
        self._transport = transport
        self._try_send = transport.try_send
        self._limits = limits
        self._backlog = backlog
        self._on_written = on_written
        self._put, self._get = trio.open_memory_channel[_Item](limits.frames + CONTROL_RESERVE)
        self._held: _Item | None = None  # taken from the channel, to be written on its own
        self._frames = 0
        self._bytes = 0
        self._replies = 0
        self._pending = 0  # items queued or being written; 0 = idle and open, so that the Router may write directly
        self._open = True
        self._failure: Exception | None = None
        self._replies_drained = trio.Event()
        self._waiting: set[trio.Event] = set()
        self.progressed_at = trio.current_time()  # when a blocked write last moved, in trio's clock
        self._near_head = False  # the page just written ended at the head: ask to be live
        self.frames_sent = 0
        self.bytes_sent = 0
        self.cursor: int | None = None  # last position handed over, while behind; None when live or without position

    # -- offered by the Router -----------------------------------------------------------------------------------------

    def offer_nowait(self, data: bytes, frames: int = 1, stamp: object = None) -> bool:
        """Hand over whole frames, joined. False: they do not fit and nothing was queued; the client must catch up.

        To a client that is going away it says True: the frames are of no use to anyone.
        """
        if self._pending:
            return self._offer_busy(data, frames, stamp)
        try:
            sent = self._try_send(data)
        except BlockingIOError:
            sent = 0
        except Exception as error:  # any at all: this is the Router's task, which serves the others
            self._fail(error)
            return True
        self.frames_sent += frames
        self.bytes_sent += sent
        if sent != len(data):
            self._queue(_Item(memoryview(data)[sent:], frames, stamp))
        return True

    def _offer_busy(self, data: bytes, frames: int, stamp: object) -> bool:
        if not self._open:
            return True
        if self._frames and not self._fits(frames, len(data), self._limits.bytes):
            return False
        self.frames_sent += frames
        self._queue(_Item(data, frames, stamp))
        return True

    def fall_behind(self, position: int) -> None:
        """From now on feed the client from the backlog, after `position`."""
        self.cursor = position
        if not self._pending and self._open:
            self._queue(_Item(b""))

    def go_live(self) -> None:
        """The client is at the head: offers follow."""
        self.cursor = None

    # -- replies and control frames ------------------------------------------------------------------------------------

    def reply_nowait(self, data: bytes, done: trio.Event | None = None) -> None:
        """Queue a control message behind what is queued; exempt from the bounds, see wait_replies_below.

        done: set when it is written, or when nothing is written any more.
        """
        if done is None:
            self._queue_control(data, None)
        elif self._queue_control(data, done):
            self._waiting.add(done)
        else:
            done.set()

    async def send(self, data: bytes) -> None:
        """Queue bytes of the WebSocket layer; returns when written. Safe to cancel: they are written whole."""
        done = trio.Event()
        if self._queue_control(data, done):
            self._waiting.add(done)
            try:
                await done.wait()
            finally:
                self._waiting.discard(done)
        if self._failure:
            raise trio.BrokenResourceError from self._failure

    def _queue_control(self, data: bytes, done: trio.Event | None) -> bool:
        """Write at once if idle, else queue; True if it was queued."""
        if not self._open:
            return False
        if not self._pending:
            try:
                sent = self._try_send(data)
            except BlockingIOError:
                sent = 0
            except Exception as error:
                self._fail(error)
                return False
            if sent == len(data):
                return False
            data = data[sent:]
        try:
            self._queue(_Item(data, 0, None, done))
        except trio.WouldBlock:  # only a peer that makes us answer without reading gets here
            self._fail(OSError("control frames pile up unread"))
            return False
        self._replies += 1
        return True

    async def wait_replies_below(self, count: int) -> None:
        """Return when fewer than `count` replies wait to be written: a peer that does not read is not read from."""
        while self._replies >= count and self._open:
            self._replies_drained = trio.Event()
            await self._replies_drained.wait()

    # -- the task ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Drain the outbox until `close`. Raises Stalled, BrokenResourceError for a broken connection, or a defect."""
        try:
            while True:
                try:
                    item = self._held or await self._get.receive()
                except trio.EndOfChannel:
                    break
                self._held = None
                await self._write_batch(self._join(item))
                while self.cursor is not None and self._half_empty() and self._open:
                    if not await self._feed(self.cursor):
                        break
        except OSError as error:
            self._fail(error)
        finally:
            self._shut()
            self._replies_drained.set()
            for waiting in self._waiting:
                waiting.set()
            del self._backlog  # it knows the connection, and that one us: a circle would keep the outbox
        if isinstance(self._failure, OSError):
            raise trio.BrokenResourceError from self._failure
        if self._failure:
            raise self._failure

    def close(self) -> None:
        """Take nothing more; `run` ends when what is queued is written."""
        self._shut()
        self._put.close()
        self._replies_drained.set()

    def abort(self) -> None:
        """Take nothing more and reset the connection."""
        self._fail(OSError("aborted"))

    def statistics(self) -> SenderStatistics:
        """A snapshot of the outbox."""
        return SenderStatistics(self._frames, self._bytes, self._replies, self.frames_sent, self.cursor)

    @property
    def broken(self) -> bool:
        """True once the connection failed."""
        return self._failure is not None

    def _join(self, first: _Item) -> list[_Item]:
        batch, size = [first], len(first.data)
        bound = JOIN_BYTES if size < COPY_BYTES else 0
        while size < bound:
            try:
                item = self._get.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                break
            if len(item.data) >= COPY_BYTES:
                self._held = item
                break
            batch.append(item)
            size += len(item.data)
        return batch

    async def _write_batch(self, batch: list[_Item]) -> None:
        await self._write(batch[0].data if len(batch) == 1 else b"".join(item.data for item in batch))
        self._pending -= len(batch)
        for item in batch:
            if item.frames:
                self._frames -= item.frames
                self._bytes -= len(item.data)
                if item.stamp is not None:
                    self._on_written(item.stamp)
            elif item.data:
                self._replies -= 1
                self._replies_drained.set()
            if item.done is not None:
                item.done.set()
                self._waiting.discard(item.done)

    async def _write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        deadline = trio.current_time() + self._limits.stall_seconds
        while view:
            try:
                sent = self._try_send(view)
                view = view[sent:]
                self.bytes_sent += sent
                self.progressed_at = trio.current_time()
                deadline = self.progressed_at + self._limits.stall_seconds
                continue
            except BlockingIOError:
                if trio.current_time() >= deadline:
                    self._fail(OSError("stalled"))
                    raise Stalled from None
            # A kernel calls a socket writable when a third of its buffer is free, and takes bytes before that: the last
            # word on a stall is the try after the deadline.
            with trio.move_on_at(deadline):
                await self._transport.wait_writable()

    def _half_empty(self) -> bool:
        return self._bytes * 2 <= self._limits.behind_bytes

    async def _feed(self, cursor: int) -> bool:
        """Hand over one page of the backlog; at its end ask to be live again. False: something has to be written."""
        if self._near_head and not self._pending:
            self._near_head = False
            await self._backlog.rejoin(cursor)
            return True
        select = await self._backlog.read(cursor)
        if select is None or not self._open:
            return False
        page = select()
        if self._frames and not self._fits(page.frames, len(page.data), self._limits.behind_bytes):
            return False
        self.cursor, self._near_head = page.position, page.at_head
        if page.frames:
            self.frames_sent += page.frames
            self._queue(_Item(page.data, page.frames))
        return not (page.at_head and self._pending)

    def _fits(self, frames: int, size: int, limit: int) -> bool:
        return self._frames + frames <= self._limits.frames and self._bytes + size <= limit

    def _shut(self) -> None:
        """Never idle again: offers find out that the client is going away."""
        if self._open:
            self._open = False
            self._pending += 1

    def _queue(self, item: _Item) -> None:
        self._put.send_nowait(item)
        self._pending += 1
        if item.frames:
            self._frames += item.frames
            self._bytes += len(item.data)

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error.with_traceback(None) if isinstance(error, OSError) else error  # frames know us
            self._transport.abort()
        self.close()
