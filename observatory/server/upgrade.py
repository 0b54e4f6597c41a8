"""The head of a request: read it, check it, refuse with an HTTP answer."""

import random
from http import HTTPStatus

import h11
import orjson
import trio

from observatory.core.handshake import Head, Refused

MAX_HEAD = 16 * 1024
HEAD_SECONDS = 10.0
LINGER_SECONDS = 1.0  # time for the peer to read a refusal before the socket is closed
BUSY = (1, 10)  # seconds, drawn for Retry-After


class Dropped(Exception):
    """The peer did not send a whole head in time, or left."""


async def read_head(stream: trio.SocketStream) -> tuple[Head | Refused, bytes]:
    """The request's head, and all bytes read so far. Raises Dropped."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    received = bytearray()
    with trio.move_on_after(HEAD_SECONDS):
        while True:
            data = await stream.receive_some(4096)
            if not data:
                raise Dropped
            received += data
            try:
                parser.receive_data(data)
                event = parser.next_event()
            except h11.RemoteProtocolError as error:
                too_large = len(received) > MAX_HEAD
                text = f"the request head is larger than {MAX_HEAD} bytes" if too_large else str(error)
                return Refused(400, "BAD_REQUEST", text, (("Sec-WebSocket-Version", "13"),)), bytes(received)
            if isinstance(event, h11.Request):
                return _head(event), bytes(received)
    raise Dropped


def _head(request: h11.Request) -> Head:
    headers: dict[str, str] = {}
    for name, value in request.headers:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return Head(request.method.decode("latin-1"), request.target.decode("latin-1"), headers)


def unavailable(code: str, message: str) -> Refused:
    """503 with a Retry-After that spreads the clients."""
    return Refused(503, code, message, (("Retry-After", str(random.randint(*BUSY))),))


async def refuse(stream: trio.SocketStream, refused: Refused) -> None:
    """Send the answer, then close when the peer has read it."""
    body = orjson.dumps({"error": {"code": refused.code, "message": refused.message}})
    lines = [
        f"HTTP/1.1 {refused.status} {HTTPStatus(refused.status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in refused.headers),
    ]
    with trio.move_on_after(LINGER_SECONDS):
        try:
            await stream.send_all("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            await stream.send_eof()
            while await stream.receive_some(4096):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
