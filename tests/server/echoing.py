"""An echo endpoint on the wire of the product: what the conformance suite talks to. Only the conversation differs."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from actors.sender import OutboxLimits, Page
from observatory.core.events import text_frame
from observatory.core.handshake import Accepted, Head, Policy, check
from observatory.core.replies import Timing
from observatory.server import upgrade
from observatory.server.listener import listen
from observatory.server.transport import ControlStream, SocketTransport
from observatory.server.websocket import MAX_REPLIES_WAITING
from observatory.server.wire import answer_close, put_together

MESSAGE_BYTES = 2**25  # the suite sends up to 16 MiB
BINARY = b"\x82"  # first byte of a final binary frame


class NoBacklog:
    """An echo has no log: nobody is ever behind."""

    async def read(self, after: int) -> Callable[[], Page] | None:
        raise AssertionError("nobody subscribed")

    async def rejoin(self, position: int) -> None:
        raise AssertionError("nobody subscribed")


def frame(message: str | bytes) -> bytes:
    """The frame that answers a message."""
    if isinstance(message, str):
        return text_frame(message.encode())
    return BINARY + text_frame(message)[1:]


async def serve(stream: trio.SocketStream) -> None:
    """One client: checked, upgraded, echoed, said goodbye to."""
    received = await upgrade.read_head(stream, Timing().handshake)
    assert isinstance(received.head, Head)
    accepted = check(received.head, Policy())
    assert isinstance(accepted, Accepted)
    head = upgrade.canonical(received.head, accepted.legacy)
    wire = put_together(
        stream,
        SocketTransport(stream),
        (head, received.rest),
        NoBacklog(),
        OutboxLimits(),
        lambda stamp: None,
        Timing().close_timeout,
    )

    async def echo(ws: WebSocketConnection, control: ControlStream) -> int:
        with suppress(ConnectionClosed):
            while True:
                wire.sender.reply_nowait(frame(await ws.get_message()))
                await wire.sender.wait_replies_below(MAX_REPLIES_WAITING)
        return await answer_close(ws, control)

    try:
        await wire.run(echo, MESSAGE_BYTES, None)
    finally:
        wire.close()


@asynccontextmanager
async def echoing() -> AsyncIterator[int]:
    """The port of an echo endpoint that serves while the block runs."""
    listeners = await listen("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()
