"""Wire: many WebSocket clients in one epoll loop, with as little of their own in the measured time as Python allows.

A frame's moment is taken when its bytes were read, before anything looks at them.
"""

import base64
import os
import select
import socket
import time
from collections.abc import Iterator, Sequence

import attrs

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
FINAL, MASKED = 0x80, 0x80
READ_BYTES = 64 * 1024  # into one buffer: a new one for every read would cost the clients ten times the read itself
HANDSHAKE_SECONDS = 20.0
APP_PING = b'{"type":"ping"'
APP_PONG = b'{"type":"pong"}'
QUIET = 0.3  # seconds without a frame after which the greetings are over


class Refused(Exception):
    """The server did not upgrade the connection, or closed it."""


def split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Whole unmasked frames as (opcode, payload), and the beginning of one that is not whole yet."""
    frames: list[tuple[int, bytes]] = []
    at, end = 0, len(data)
    while end - at >= 2:
        size, start = data[at + 1] & 127, at + 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, start = int.from_bytes(data[start : start + width], "big"), start + width
        if start + size > end:
            break
        frames.append((data[at] & 15, data[start : start + size]))
        at = start + size
    return frames, data[at:]


def masked(opcode: int, payload: bytes) -> bytes:
    """A short frame of a client; a mask of zeros leaves the payload as it is."""
    assert len(payload) < 126
    return bytes((FINAL | opcode, MASKED | len(payload))) + bytes(4) + payload


@attrs.define
class Ear:
    """One client. rest: bytes of a frame that has begun."""

    socket: socket.socket
    number: int
    rest: bytes = b""


class Audience:
    """`count` clients of one server; every one says `hello` after the upgrade, if given; of several each its own."""

    def __init__(
        self,
        port: int,
        count: int,
        subprotocol: str | None = None,
        hello: bytes | Sequence[bytes] | None = None,
        receive_bytes: int | None = None,
    ) -> None:
        self.pings = 0
        self._poll = select.epoll()
        self._ears: dict[int, Ear] = {}
        self._buffer = memoryview(bytearray(READ_BYTES))
        for number in range(count):
            ear = _connect(port, number, subprotocol, receive_bytes)
            if hello is not None:
                ear.socket.sendall(masked(TEXT, hello if isinstance(hello, bytes) else hello[number]))
            self._ears[ear.socket.fileno()] = ear
            self._poll.register(ear.socket, select.EPOLLIN)

    def __len__(self) -> int:
        return len(self._ears)

    def frames(self, until: float) -> Iterator[tuple[int, float, bytes]]:
        """(client, moment, text) of what arrives up to `until`, on the perf_counter clock. Raises Refused."""
        while (left := until - time.perf_counter()) > 0:
            for descriptor, _ in self._poll.poll(left):
                ear = self._ears[descriptor]
                size = ear.socket.recv_into(self._buffer)
                at = time.perf_counter()
                data = bytes(self._buffer[:size])
                frames, ear.rest = split(ear.rest + data if ear.rest else data)
                if not data:
                    raise Refused(f"client {ear.number} was disconnected")
                texts = []
                for opcode, payload in frames:
                    if opcode == TEXT and not payload.startswith(APP_PING):
                        texts.append(payload)
                    else:  # first: who has got what it waited for takes no more
                        self._control(ear, opcode, payload)
                for payload in texts:
                    yield ear.number, at, payload

    def settle(self, mark: bytes | None, seconds: float) -> None:
        """Read on until `mark` came to every client (None: do not wait for one) and all was quiet for a moment."""
        waiting = set(range(len(self))) if mark is not None else set()
        end = time.perf_counter() + seconds
        quiet_at = time.perf_counter() + QUIET
        while waiting or time.perf_counter() < quiet_at:
            if time.perf_counter() > end:
                raise Refused(f"{len(waiting)} clients are not ready after {seconds:.0f} s")
            for number, at, text in self.frames(time.perf_counter() + 0.05):
                quiet_at = at + QUIET
                if mark is not None and mark in text:
                    waiting.discard(number)

    def close(self) -> None:
        """Close all connections."""
        for ear in self._ears.values():
            ear.socket.close()
        self._poll.close()

    def _control(self, ear: Ear, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            ear.socket.sendall(masked(PONG, payload))
        elif opcode == TEXT:
            self.pings += 1
            ear.socket.sendall(masked(TEXT, APP_PONG))
        elif opcode == CLOSE:
            raise Refused(f"client {ear.number} was closed: {payload[2:].decode(errors='replace')}")


def _connect(port: int, number: int, subprotocol: str | None, receive_bytes: int | None) -> Ear:
    connection = socket.socket()
    connection.settimeout(HANDSHAKE_SECONDS)
    if receive_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.connect(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    lines = ["GET /ws HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade",
             "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {_key()}"]  # fmt: skip
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = connection.recv(4096)
        if not data:
            raise Refused("the connection ended before the upgrade")
        answer += data
    head, _, rest = answer.partition(b"\r\n\r\n")
    if b" 101 " not in head.split(b"\r\n")[0]:
        raise Refused(head.split(b"\r\n")[0].decode(errors="replace"))
    return Ear(connection, number, rest)


def _key() -> str:
    return base64.b64encode(os.urandom(16)).decode()
