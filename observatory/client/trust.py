"""Whose certificate a client believes: one of the system's authorities, of another one, or exactly this one."""

import ssl
from pathlib import Path

import attrs
import trio

from observatory.core.client_target import Target
from observatory.core.errors import Unreachable, WorldError


@attrs.frozen
class Trust:
    """authority: who signed the server's certificate, instead of the system's authorities. exactly: a file whose first
    certificate must be the server's; its name does not matter then. That is for the server of a data directory."""

    authority: Path | None = None
    exactly: Path | None = None

    async def open(self, target: Target) -> trio.abc.Stream:
        """A secured stream. Raises Unreachable, WorldError, OSError."""
        context = self._context()
        stream = await trio.open_ssl_over_tcp_stream(
            target.host, target.port, https_compatible=True, ssl_context=context
        )
        try:
            await stream.do_handshake()
            if self.exactly is not None and stream.getpeercert(binary_form=True) != first_certificate(self.exactly):
                raise Unreachable(f"The server at {target.authority} shows another certificate than {self.exactly}",
                                  "restart it if the file was renewed")  # fmt: skip
        except trio.BrokenResourceError as error:
            await trio.aclose_forcefully(stream)
            raise _untrusted(target, error.__cause__) from None
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream

    def _context(self) -> ssl.SSLContext:
        if self.exactly is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE  # the comparison of the whole certificate stands for it
            return context
        try:
            return ssl.create_default_context(cafile=self.authority)
        except (OSError, ValueError) as error:
            what = f"{self.authority} holds no certificate in PEM ({getattr(error, 'strerror', None) or error})"
            raise WorldError(what, "see --ca-file") from None


def first_certificate(path: Path) -> bytes:
    """The first certificate of a PEM file, in DER. Raises WorldError."""
    begin, end = ssl.PEM_HEADER, ssl.PEM_FOOTER
    try:
        text = path.read_text("ascii", errors="replace")
        found = ssl.PEM_cert_to_DER_cert(begin + text.partition(begin)[2].partition(end)[0] + end)
    except (OSError, ValueError):
        found = b""
    if not found:
        raise WorldError(f"{path} holds no certificate in PEM, or cannot be read", "it is what --tls-cert named")
    return found


def _untrusted(target: Target, cause: BaseException | None) -> Unreachable:
    if isinstance(cause, ssl.SSLCertVerificationError):
        what = f"The certificate of {target.authority} is not trusted ({cause.verify_message})"
        return Unreachable(what, "name who signed it with --ca-file, or use the name it is made for")
    return Unreachable(f"The server at {target.authority} does not speak TLS", "is it ws:// instead of wss://?")


SYSTEM = Trust()
