"""The head of a request: read it, check it, refuse with an HTTP answer."""

import random
from http import HTTPStatus

import attrs
import h11
import orjson
import trio

from observatory.core.handshake import Head, Refused
from observatory.core.replies import PROTOCOL

MAX_HEAD = 16 * 1024
RECEIVE_BYTES = 4096
LINGER_SECONDS = 1.0  # time for the peer to read the last bytes before the socket is closed
BUSY = (1, 10)  # seconds, drawn for Retry-After
WELCOME = (
    b'<!doctype html><meta http-equiv="refresh" content="1; url=../"><title>Claude Code Observatory</title>'
    b"<p>This browser may now connect to this Observatory. The link has done its work and opens nothing any more."
)


class Dropped(Exception):
    """The peer did not send a whole head in time, or left."""


@attrs.frozen
class Received:
    """A head, or why it is none, and the bytes that came behind it. all: both, as they came."""

    head: Head | Refused
    rest: bytes = b""
    all: bytes = b""


async def read_head(stream: trio.abc.ReceiveStream, seconds: float) -> Received:
    """Read one request head within `seconds`. Raises Dropped."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    received = bytearray()
    with trio.move_on_after(seconds):
        while data := await stream.receive_some(RECEIVE_BYTES):
            received += data
            size = len(received)
            try:
                parser.receive_data(bytes(data))
                event = parser.next_event()
            except h11.RemoteProtocolError as error:
                return Received(_too_large() if size > MAX_HEAD else _bad_request(str(error)))
            if isinstance(event, h11.Request):
                rest = parser.trailing_data[0]
                head = _too_large() if size - len(rest) > MAX_HEAD else _head(event)
                return Received(head, rest, bytes(received))
    raise Dropped


def _too_large() -> Refused:
    return _bad_request(f"the request head is larger than {MAX_HEAD} bytes")


def _bad_request(text: str) -> Refused:
    return Refused(400, "BAD_REQUEST", text, (("Sec-WebSocket-Version", "13"),))


def _head(request: h11.Request) -> Head:
    headers: dict[str, str] = {}
    for name, value in request.headers:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    target, version = request.target.decode("latin-1"), request.http_version.decode("latin-1")
    return Head(request.method.decode("latin-1"), target, headers, version)


def canonical(head: Head, legacy: bool) -> bytes:
    """A checked head as trio-websocket gets it: only what it needs, so that it cannot judge otherwise than `check`."""
    lines = [
        "GET /ws HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {head.headers['sec-websocket-key']}",
        *([] if legacy else [f"Sec-WebSocket-Protocol: {PROTOCOL}"]),
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"


def unavailable(code: str, message: str) -> Refused:
    """503 with a Retry-After that spreads the clients."""
    return Refused(503, code, message, (("Retry-After", str(random.randint(*BUSY))),))


async def refuse(stream: trio.abc.HalfCloseableStream, refused: Refused) -> None:
    """Send the answer, then return when the peer has read it."""
    body = orjson.dumps({"error": {"code": refused.code, "message": refused.message}})
    await _answer(stream, refused.status, (("Content-Type", "application/json"), *refused.headers), body)


async def welcome(stream: trio.abc.HalfCloseableStream, cookie: str) -> None:
    """Give a browser its cookie, on a page that says so."""
    headers = (
        ("Content-Type", "text/html; charset=utf-8"),
        ("Set-Cookie", cookie),
        ("Cache-Control", "no-store"),
        ("Referrer-Policy", "no-referrer"),
        ("Content-Security-Policy", "default-src 'none'"),
    )
    await _answer(stream, 200, headers, WELCOME)


async def _answer(
    stream: trio.abc.HalfCloseableStream, status: int, headers: tuple[tuple[str, str], ...], body: bytes
) -> None:
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers),
    ]
    with trio.move_on_after(LINGER_SECONDS):
        await stream.send_all("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await linger(stream)


async def linger(stream: trio.abc.HalfCloseableStream) -> None:
    """Say that nothing follows, and wait for the peer's end: closing with unread input would reset what it has to read.

    Bounded by LINGER_SECONDS.
    """
    with trio.move_on_after(LINGER_SECONDS):
        try:
            await stream.send_eof()
            while await stream.receive_some(RECEIVE_BYTES):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
