"""The socket under one client: the Sender writes through it, trio-websocket reads through it, one writer at a time."""

import os
import socket
import struct

import trio

from actors.sender import Sender

RESET = struct.pack("ii", 1, 0)  # SO_LINGER with a time of 0: closing sends RST


class SocketTransport:
    """The sending half: non-blocking writes on the raw descriptor, which is never used after it is closed."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._fd = stream.socket.fileno()

    def try_send(self, data: bytes | memoryview) -> int:
        """Bytes the kernel took now; 0 when it would block. Raises OSError when the connection is broken or closed."""
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0

    async def wait_writable(self) -> None:
        """Return when the kernel may take bytes again. Raises OSError when the connection was closed meanwhile."""
        try:
            await trio.lowlevel.wait_writable(self._stream.socket)
        except trio.ClosedResourceError:
            raise OSError("the connection was closed") from None

    def abort(self) -> None:
        """Reset the connection; safe to call twice."""
        if self._fd >= 0:
            self._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close()

    def close(self) -> None:
        """Close the socket; safe to call twice."""
        self._fd = -1
        self._stream.socket.close()


class ControlStream(trio.abc.Stream):
    """What trio-websocket gets: reads from the socket (first what was read already), writes through the Sender."""

    def __init__(
        self, stream: trio.SocketStream, transport: SocketTransport, sender: Sender, already_read: bytes
    ) -> None:
        self._stream = stream
        self._transport = transport
        self._sender = sender
        self._already_read = already_read
        self.received_at = trio.current_time()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes of the peer."""
        if self._already_read:
            data, self._already_read = self._already_read, b""
            await trio.lowlevel.checkpoint()
            return data
        received: bytes = await self._stream.receive_some(max_bytes)
        self.received_at = trio.current_time()
        return received

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Queue whole frames of the WebSocket layer behind what is queued, and wait until they are written."""
        await self._sender.send(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        """The Sender queues; it never blocks here."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Close the socket at once."""
        self._transport.close()
        await trio.lowlevel.checkpoint()
