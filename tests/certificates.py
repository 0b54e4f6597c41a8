"""Certificates made for one test, by an authority that nobody else trusts."""

import ssl
from pathlib import Path

import attrs
import trustme

from observatory.server.tls import server_context


@attrs.frozen
class Certificates:
    """An authority and a server's certificate for localhost, as files and as the server's context."""

    authority: Path
    certificate: Path
    key: Path

    @property
    def server(self) -> ssl.SSLContext:
        return server_context(self.certificate, self.key)

    @property
    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority)


def certificates(directory: Path, name: str = "localhost") -> Certificates:
    """A new authority, and what it signs for `name`."""
    authority = trustme.CA()
    issued = authority.issue_cert(name)
    made = Certificates(directory / "authority.pem", directory / "server.pem", directory / "server.key")
    directory.mkdir(exist_ok=True)
    authority.cert_pem.write_to_path(made.authority)
    made.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(made.key)
    return made
