"""TLS under one client: one object that is both the stream that reads and the transport that writes without blocking.

The Sender's rule is kept: what the kernel does not take now is not taken. A byte that was encrypted cannot be taken
back, though, so the last one of a record that is stuck counts as not taken until the record is out: the Sender then
knows that its frame is cut, and comes back with the rest.
"""

import os
import socket
import ssl
import struct
from contextlib import suppress
from pathlib import Path

import trio

from observatory.core.errors import UsageError, WorldError

RESET = struct.pack("ii", 1, 0)  # SO_LINGER with a time of 0: closing sends RST
RECORD_BYTES = 16 * 1024  # the most that TLS puts into one record; one is stuck at a time
MAX_STUCK = 64 * 1024  # encrypted bytes that wait; more come only from a peer that asks for new keys and reads nothing
RECEIVE_BYTES = 16 * 1024


def server_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """What the server shows its clients. Raises WorldError, UsageError: the files are no good."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password="")  # an encrypted key is refused, not asked for
    except ssl.SSLError as error:
        files = str(certificate) if key is None else f"{certificate} and {key}"
        why = error.reason or "no certificate and key in PEM"
        raise UsageError(f"{files} cannot be used for TLS ({why}); give a PEM certificate and its key, without a"
                         " password, by --tls-cert and --tls-key") from None  # fmt: skip
    except OSError as error:
        name = certificate if key is None or not certificate.is_file() else key
        raise WorldError(f"{name} cannot be read ({error.strerror})", "see --tls-cert and --tls-key") from None
    return context


async def secure(plain: trio.SocketStream, context: ssl.SSLContext, deadline: float) -> "TlsStream":
    """Shake hands. Raises BrokenResourceError: the peer does not speak TLS, or takes too long."""
    stream = TlsStream(plain, context)
    with trio.move_on_at(deadline):
        await stream.shake_hands()
        return stream
    raise trio.BrokenResourceError("no TLS handshake in time")


class TlsStream(trio.abc.HalfCloseableStream):
    """One secured connection. Reading is one task's; writing is the Sender's, once the head has been answered."""

    def __init__(self, plain: trio.SocketStream, context: ssl.SSLContext) -> None:
        self._plain = plain
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        self._stuck = memoryview(b"")  # encrypted, not yet taken by the kernel
        self._held = 0  # 1: the next byte to be sent was encrypted with the record that is stuck

    async def shake_hands(self) -> None:
        """The handshake. Raises BrokenResourceError."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._fetch():
                    raise trio.BrokenResourceError("the peer left during the TLS handshake") from None
            except ssl.SSLError as error:
                await self._flush()  # the alert that says why
                raise trio.BrokenResourceError(f"no TLS handshake ({error.reason})") from None
            else:
                await self._flush()
                return

    # -- reading -------------------------------------------------------------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Decrypted bytes; none at the peer's end."""
        while True:
            try:
                data = self._tls.read(max_bytes or RECEIVE_BYTES)
            except ssl.SSLWantReadError:
                self._push_what_reading_said()
                if not await self._fetch():
                    return b""
            except ssl.SSLZeroReturnError:
                await trio.lowlevel.checkpoint()
                return b""
            except ssl.SSLError as error:
                raise trio.BrokenResourceError(f"TLS: {error.reason}") from None
            else:
                await trio.lowlevel.checkpoint()
                return data

    async def _fetch(self) -> bool:
        data = await self._plain.receive_some(RECEIVE_BYTES)
        if data:
            self._in.write(data)
        return bool(data)

    def _push_what_reading_said(self) -> None:
        """Answers to the peer's wishes for new keys leave in order with everything else."""
        try:
            self._push()
        except OSError:
            raise trio.BrokenResourceError from None
        if len(self._stuck) + self._out.pending > MAX_STUCK:
            raise trio.BrokenResourceError("the peer asks and does not read")

    # -- writing, by awaiting: the handshake, HTTP answers, the end ----------------------------------------------------

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send; not beside `try_send`."""
        self._tls.write(data)
        await self._flush()

    async def _flush(self) -> None:
        while True:
            try:
                if self._push():
                    await trio.lowlevel.checkpoint()
                    return
            except OSError as error:
                raise trio.BrokenResourceError from error
            await trio.lowlevel.wait_writable(self._plain.socket)

    async def wait_send_all_might_not_block(self) -> None:
        """When the kernel takes bytes again."""
        await self._plain.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Say that nothing follows, in TLS and in TCP."""
        with suppress(ssl.SSLError):  # the peer's own goodbye has not come yet; ours is on its way
            self._tls.unwrap()
        await self._flush()
        await self._plain.send_eof()

    async def aclose(self) -> None:
        """Close the socket."""
        self.close()
        await trio.lowlevel.checkpoint()

    # -- writing, without blocking: the Sender's transport -------------------------------------------------------------

    def try_send(self, data: bytes | memoryview) -> int:
        """Bytes that left, but for one held back while a record is stuck. Raises as `SocketTransport.try_send`."""
        if not self._push():
            raise BlockingIOError
        taken, self._held = self._held, 0
        view = memoryview(data)
        while taken < len(view):
            taken += self._tls.write(view[taken : taken + RECORD_BYTES])
            if not self._push():
                self._held = 1
                if taken == 1:
                    raise BlockingIOError
                return taken - 1
        return taken

    def _push(self) -> bool:
        """Give the kernel what is encrypted; whether it took all of it. Raises OSError."""
        while self._stuck or self._out.pending:
            if not self._stuck:
                self._stuck = memoryview(self._out.read())
            try:
                self._stuck = self._stuck[os.write(self._plain.socket.fileno(), self._stuck) :]
            except BlockingIOError:
                return False
        return True

    async def wait_writable(self) -> None:
        """As `SocketTransport.wait_writable`."""
        try:
            await trio.lowlevel.wait_writable(self._plain.socket)
        except (trio.ClosedResourceError, ValueError):  # meanwhile, or before
            raise OSError("the connection was closed") from None

    def abort(self) -> None:
        """Reset the connection; safe to call twice."""
        if self._plain.socket.fileno() >= 0:
            self._plain.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close()

    def close(self) -> None:
        """Close the socket; safe to call twice. From then on trio gives no descriptor, and nothing can be written."""
        self._plain.socket.close()
