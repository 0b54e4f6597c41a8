"""The socket under one client: the Sender writes through it, trio-websocket reads through it, one writer at a time."""

import socket
from collections.abc import Callable

import trio

from actors.sender import Sender
from observatory.core.closing import CloseCode
from observatory.server.tls import RESET, TlsStream

CLOSE_FRAME = 0x88  # first byte of a final close frame
MAX_REASON = 123  # a control frame's payload is at most 125 bytes, and the code takes two


class SocketTransport:
    """The sending half: non-blocking sends on trio's descriptor, which is never used after it is closed.

    try_send: bytes the kernel took now. Raises BlockingIOError when it takes none, OSError when the connection is gone.
    Whoever makes one closes it.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._socket = socket.socket(fileno=stream.socket.fileno())  # the same descriptor; trio closes it
        self._socket.setblocking(False)
        self.try_send: Callable[[bytes | memoryview], int] = self._socket.send

    async def wait_writable(self) -> None:
        """Return when the kernel may take bytes again. Raises OSError when the connection was closed meanwhile."""
        try:
            await trio.lowlevel.wait_writable(self._stream.socket)
        except trio.ClosedResourceError:
            raise OSError("the connection was closed") from None

    def abort(self) -> None:
        """Reset the connection; safe to call twice."""
        if self._socket.fileno() >= 0:
            self._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close()

    def close(self) -> None:
        """Close the socket; safe to call twice."""
        self._socket.detach()  # from now on it refuses: the number may belong to another connection soon
        self._stream.socket.close()


Wired = trio.SocketStream | TlsStream


class ControlStream(trio.abc.Stream):
    """What trio-websocket gets: reads from the socket (first what was read already), writes through the Sender.

    It is also the gate of the goodbye: one close frame leaves it, whoever says it first, and no byte after that.
    """

    def __init__(
        self,
        stream: Wired,
        sender: Sender,
        head: bytes,
        rest: bytes,
        close_seconds: float,
    ) -> None:
        self._stream = stream
        self._sender = sender
        self._head = head
        self._rest = rest
        self._answered = trio.Event()
        self._close_seconds = close_seconds
        self._written = trio.Event()
        self.received_at = trio.current_time()
        self.said_goodbye = False

    async def drain(self) -> None:
        """Run the Sender; part of the goodbye, which waits for its end. Raises as `Sender.run`."""
        try:
            await self._sender.run()
        finally:
            self._written.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The head, then what the peer sent behind it, then what it sends.

        Frames wait for the answer to the head: trio-websocket looks at them only when more comes after it.
        """
        if self._head:
            head, self._head = self._head, b""
            await trio.lowlevel.checkpoint()
            return head
        await self._answered.wait()
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        received: bytes = await self._stream.receive_some(max_bytes)
        self.received_at = trio.current_time()
        return received

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Queue whole frames of the WebSocket layer behind what is queued, and wait until they are written."""
        frame = bytes(data)
        if frame[0] == CLOSE_FRAME:
            code, reason = (int.from_bytes(frame[2:4], "big"), frame[4:]) if len(frame) > 2 else (CloseCode.NORMAL, b"")
            await self.say_goodbye(code, reason.decode())
        else:
            await self._sender.send(frame)
            self._answered.set()

    async def say_goodbye(self, code: int, reason: str) -> None:
        """Write what is queued and the close frame; nothing follows. A peer that does not take them in time is reset.

        The first call counts.
        """
        if self.said_goodbye:
            return
        self.said_goodbye = True
        self._sender.reply_nowait(close_frame(code, reason))
        self._sender.close()
        with trio.move_on_after(self._close_seconds) as patience:
            await self._written.wait()
        if patience.cancelled_caught:
            self._sender.abort()

    async def wait_send_all_might_not_block(self) -> None:
        """The Sender queues; it never blocks here."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Nothing: whoever made the stream closes the socket, when the goodbye is over."""
        await trio.lowlevel.checkpoint()


def close_frame(code: int, reason: str) -> bytes:
    """One unmasked close frame (RFC 6455 §5.5.1)."""
    payload = code.to_bytes(2, "big") + reason.encode()[:MAX_REASON]
    return bytes((CLOSE_FRAME, len(payload))) + payload
