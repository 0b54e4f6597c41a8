"""Where a server listens, read from the URL that a user gives."""

from urllib.parse import urlsplit

import attrs

from observatory.core.errors import UsageError

ENDPOINT = "/ws"
SCHEMES = {"ws": False, "http": False, "wss": True, "https": True}


@attrs.frozen
class Target:
    """Host, port and resource of a WebSocket endpoint."""

    host: str
    port: int
    resource: str
    tls: bool

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _port_of(self.tls) else f"{host}:{self.port}"


def parse_target(url: str) -> Target:
    """Read a ws, wss, http or https URL; without a path it is /ws.

    Raises: UsageError: it is something else.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is no URL: {error}") from None
    if parts.scheme not in SCHEMES or not host:
        raise UsageError(f"{url!r} is no URL of a server; one looks like ws://127.0.0.1:8765/ws")
    if any(char <= " " or char > "~" for char in url):
        raise UsageError(f"{url!r} holds a blank or a character that is not ASCII; percent-encode it")
    if parts.username is not None or parts.password is not None:
        raise UsageError("a URL must hold no credentials: logs and process lists would show them; give a token instead")
    tls = SCHEMES[parts.scheme]
    path = ENDPOINT if parts.path in ("", "/") else parts.path
    return Target(host, port or _port_of(tls), path + (f"?{parts.query}" if parts.query else ""), tls)


def _port_of(tls: bool) -> int:
    return 443 if tls else 80
