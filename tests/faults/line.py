"""Line: a TCP connection in memory, between the server and one peer, that can be slow, cut, torn or broken on demand.

To the server it is an accepted stream and its transport at once; to the peer it is what the kernel would hold. It
records every byte that was ever accepted, and any that came after the end.
"""

import errno
from collections.abc import Callable

import attrs
import trio

KERNEL_BYTES = 256 * 1024  # taken without being read, like both socket buffers together
Fault = Callable[[int], int]  # how many bytes were to be taken → how many are; it may raise OSError


class Reset(OSError):
    """The peer is gone without a word."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "Connection reset by peer")


@attrs.define(eq=False)
class Line(trio.abc.HalfCloseableStream):
    """One connection. `capacity`: bytes taken while nobody reads; 0 takes nothing.

    faults: by the number of the send, from 1, what happens there. harm: what befalls the connection at the `harm_at`-th
    call of any kind; it may raise OSError there. closed_at: when the server closed it.
    """

    capacity: int = KERNEL_BYTES
    faults: dict[int, Fault] = attrs.field(factory=dict)
    harm_at: int = 0
    harm: "Callable[[Line], None] | None" = None
    address: tuple[str, int] = ("127.0.0.1", 1)  # the peer's
    calls: int = 0  # by the server, of any kind
    sends: int = 0
    receives: int = 0
    taken: bytearray = attrs.field(factory=bytearray)  # every byte the server got rid of
    after_end: bytearray = attrs.field(factory=bytearray)  # bytes sent after `abort` or `close`: there must be none
    reset_by_server: bool = False
    closed: bool = False  # the server closed its socket
    closed_at: float | None = None
    ended: bool = False  # the server said that nothing follows
    ceiling: int | None = None  # of all bytes ever taken; then it is full for good
    swallows: bool = False  # half-open: takes all, answers nothing, never tells
    _read: int = 0  # of `taken`, by the peer
    _up: bytearray = attrs.field(factory=bytearray)  # from the peer, not received yet
    _up_ended: bool = False
    _peer_reset: bool = False
    _moved: trio.Event = attrs.field(factory=trio.Event)

    # -- the server's side ---------------------------------------------------------------------------------------------

    @property
    def socket(self) -> "Line":
        """It is its own socket."""
        return self

    def try_send(self, data: bytes | memoryview) -> int:
        """Take bytes, as many as fit and as the faults allow."""
        self._call()
        if self.closed or self.reset_by_server:
            self.after_end += data
            raise OSError(errno.EBADF, "Bad file descriptor")
        if self._peer_reset:
            raise Reset
        self.sends += 1
        room = len(data) if self.swallows else min(len(data), self.room)
        fault = self.faults.pop(self.sends, None)
        if fault is not None:
            room = min(max(room, 0), fault(len(data)))
        if room <= 0:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        self.taken += data[:room]
        self._tell()
        return room

    async def wait_writable(self) -> None:
        """Return when the peer has made room."""
        await trio.lowlevel.checkpoint()
        self._call()
        while not (self.swallows or self._peer_reset or self.room > 0):
            if self.closed or self.reset_by_server:
                raise OSError(errno.EBADF, "the connection was closed")
            await self._moved.wait()

    def abort(self) -> None:
        """Reset."""
        self.reset_by_server = True
        self.close()

    def close(self) -> None:
        """Close the server's end."""
        if not self.closed:
            self.closed, self.closed_at = True, trio.current_time()
        self._tell()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What the peer sent."""
        await trio.lowlevel.checkpoint()
        self.receives += 1
        try:
            self._call()
        except OSError as error:
            raise trio.BrokenResourceError from error
        while not self._up:
            if self.closed:
                raise trio.ClosedResourceError
            if self._peer_reset:
                raise trio.BrokenResourceError from Reset()
            if self._up_ended:
                return b""
            await self._moved.wait()
        count = len(self._up) if max_bytes is None else min(max_bytes, len(self._up))
        data = bytes(self._up[:count])
        del self._up[:count]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """For answers outside of a WebSocket."""
        view = memoryview(bytes(data))
        while view:
            try:
                view = view[self.try_send(view) :]
            except BlockingIOError:
                await self.wait_writable()
            except OSError as error:
                raise trio.BrokenResourceError from error

    async def wait_send_all_might_not_block(self) -> None:
        """As in a socket."""
        await self.wait_writable()

    async def send_eof(self) -> None:
        """Nothing follows."""
        await trio.lowlevel.checkpoint()
        try:
            self._call()
        except OSError as error:
            raise trio.BrokenResourceError from error
        self.ended = True
        self._tell()

    async def aclose(self) -> None:
        """Close the server's end."""
        self.close()
        await trio.lowlevel.checkpoint()

    def setsockopt(self, *options: object) -> None:
        """Nothing to set: `abort` says what it is."""

    def getpeername(self) -> tuple[str, int]:
        """Where the peer is. The kernel does not know any more when it is gone."""
        self._call()
        if self._peer_reset:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        return self.address

    def getsockname(self) -> tuple[str, int]:
        """Where the server is."""
        return "127.0.0.1", 2

    @property
    def room(self) -> int:
        """Bytes that would be taken now."""
        room = self.capacity - self.unread
        return room if self.ceiling is None else min(room, self.ceiling - len(self.taken))

    # -- the peer's side -----------------------------------------------------------------------------------------------

    def put(self, data: bytes) -> None:
        """Send to the server. What comes after the end is lost, as on a network."""
        if not (self.closed or self._up_ended or self._peer_reset):
            self._up += data
            self._tell()

    def put_end(self) -> None:
        """Nothing follows."""
        self._up_ended = True
        self._tell()

    def reset(self) -> None:
        """Go away without a word."""
        self._peer_reset = True
        self._tell()

    async def take(self, count: int) -> bytes:
        """Read up to `count` bytes, waiting for some. Empty at the server's end. Raises Reset."""
        await trio.lowlevel.checkpoint()
        while len(self.taken) == self._read:
            if self.reset_by_server:
                raise Reset
            if self.closed or self.ended or self._peer_reset:
                return b""
            await self._moved.wait()
        data = bytes(self.taken[self._read : self._read + count])
        self._read += len(data)
        self._tell()
        return data

    @property
    def unread(self) -> int:
        """Bytes taken and not read."""
        return len(self.taken) - self._read

    @property
    def unreceived(self) -> int:
        """Bytes of the peer that the server has not asked for."""
        return len(self._up)

    def _call(self) -> None:
        self.calls += 1
        if self.calls == self.harm_at and self.harm is not None:
            self.harm(self)

    def _tell(self) -> None:
        self._moved.set()
        self._moved = trio.Event()
