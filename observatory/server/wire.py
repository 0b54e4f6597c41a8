"""The wire of one upgraded client, put together: socket, Sender and trio-websocket, for whatever conversation."""

from collections.abc import Awaitable, Callable

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream
from wsproto.utilities import LocalProtocolError

from actors.sender import Backlog, OutboxLimits, Sender, Stalled
from observatory.core.closing import CloseCode
from observatory.server import upgrade
from observatory.server.tls import TlsStream
from observatory.server.transport import ControlStream, SocketTransport, Wired

ABNORMAL = 1006  # the connection ended without a close frame; never on the wire
RECEIVE_BYTES = 4096
WireTransport = SocketTransport | TlsStream
Converse = Callable[[WebSocketConnection, ControlStream], Awaitable[int]]


@attrs.define(eq=False)
class Wire:
    """`run` is its life. Whoever makes a Wire closes it, also when it was never run."""

    stream: Wired
    transport: WireTransport
    sender: Sender
    control: ControlStream

    async def run(self, converse: Converse, message_bytes: int, subprotocol: str | None) -> int:
        """Answer the upgrade and hold the conversation. Returns its close code, STALLED, or ABNORMAL.

        Args: converse: from the accepted upgrade to the end of the goodbye; returns the close code.
              message_bytes: the largest message taken, in characters if it is text.
        """
        code = ABNORMAL
        try:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(self.control.drain)
                code = await self._converse(converse, message_bytes, subprotocol)
                if code != ABNORMAL and not self.sender.broken:
                    await upgrade.linger(self.stream)
                tasks.cancel_scope.cancel()
        except* Stalled:
            code = CloseCode.STALLED
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            code = ABNORMAL
        return int(code)

    async def _converse(self, converse: Converse, message_bytes: int, subprotocol: str | None) -> int:
        code = ABNORMAL
        try:
            async with trio.open_nursery() as reading:
                request = await wrap_server_stream(
                    reading,
                    self.control,
                    message_queue_size=1,
                    max_message_size=message_bytes,
                    receive_buffer_size=RECEIVE_BYTES,
                )
                code = await converse(await request.accept(subprotocol=subprotocol), self.control)
                reading.cancel_scope.cancel()
        except* ConnectionClosed:  # the peer went before it had its answer
            pass
        except* LocalProtocolError:  # trio-websocket answers a frame that crossed its own close
            code = CloseCode.TOO_BIG
        return code

    def close(self) -> None:
        """Close the socket; safe to call twice."""
        self.transport.close()


def transport_of(stream: Wired) -> WireTransport:
    """The sending half of an accepted connection."""
    return stream if isinstance(stream, TlsStream) else SocketTransport(stream)


def put_together(
    stream: Wired,
    transport: WireTransport,
    received: tuple[bytes, bytes],
    backlog: Backlog,
    outbox: OutboxLimits,
    on_written: Callable[[object], None],
    close_seconds: float,
) -> Wire:
    """A Wire over an accepted connection.

    Args: received: the checked head (`upgrade.canonical`), and the bytes that came behind it.
    """
    sender = Sender(transport, outbox, backlog, on_written)
    return Wire(stream, transport, sender, ControlStream(stream, sender, *received, close_seconds))


async def answer_close(ws: WebSocketConnection, control: ControlStream) -> int:
    """End a conversation that the peer ended: with its own code, or for a bad frame that trio-websocket found."""
    assert ws.closed is not None
    if ws.closed.code != ABNORMAL:
        await control.say_goodbye(ws.closed.code, ws.closed.reason or "")
    return int(ws.closed.code)
