"""`observatory-hook`: run by Claude Code's hooks; hands what it is given to the server, and is gone.

It never holds Claude Code up: it ends within two seconds, with 0, and says nothing on standard output, which would be
taken for an answer. Only the standard library, and little of that: half of its life is the start of Python.
"""

import os
import socket
import sys
import time

SECONDS = 2.0
MAX_INPUT = 1024 * 1024
LOG_BYTES = 64 * 1024
LOG = "hooks.log"
Request = tuple[str, str, int, str | None]  # scheme, host, port, certificate's file


def main() -> None:
    """The program. Its options: --data-dir DIR, and --token-file FILE if the token is elsewhere."""
    options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
    directory = options.get("--data-dir", "")
    try:
        body = sys.stdin.buffer.read(MAX_INPUT + 1)
        if directory and 0 < len(body) <= MAX_INPUT:
            _deliver(directory, options.get("--token-file") or os.path.join(directory, "token"), body)
    except Exception as error:  # whatever it is, Claude Code goes on
        _note(directory, f"{type(error).__name__}: {error}")


def _deliver(directory: str, token_file: str, body: bytes) -> None:
    key, deadline = os.urandom(16).hex(), time.monotonic() + SECONDS
    request = _server(directory)
    if request is None:  # no server runs: nobody wants to know
        return
    for attempt in (1, 2):
        try:
            status = _post(request, _token(token_file), key, body, deadline)
            break
        except (ConnectionError, EOFError):
            if attempt == 2:
                raise
    if status not in (200, 201):
        _note(directory, f"the server answered {status}")


def _server(directory: str) -> Request | None:
    """Where the server of a data directory listens, if there is one."""
    import json

    try:
        with open(os.path.join(directory, "server.json"), encoding="utf-8") as file:
            told = json.loads(file.read() or "{}")
    except FileNotFoundError:
        return None
    url = told.get("url")
    if not url:
        return None
    scheme, _, rest = url.partition("://")
    place = rest.partition("/")[0]
    host, _, port = place.rpartition(":")
    return scheme, host.strip("[]"), int(port), told.get("certificate")


def _token(path: str) -> str | None:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip() or None
    except OSError:
        return None


def _post(request: Request, token: str | None, key: str, body: bytes, deadline: float) -> int:
    """Send it; returns the answer's status. Raises OSError, EOFError."""
    scheme, host, port, certificate = request
    lines = [
        "POST /api/v1/events HTTP/1.1",
        f"Host: {f'[{host}]' if ':' in host else host}:{port}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"Idempotency-Key: {key}",
        "Connection: close",
    ]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    with socket.create_connection((host, port), _left(deadline)) as plain:
        connection = plain if scheme != "wss" else _secured(plain, host, certificate)
        connection.settimeout(_left(deadline))
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        answer = b""
        while b"\r\n" not in answer:
            connection.settimeout(_left(deadline))
            data = connection.recv(4096)
            if not data:
                raise EOFError("the server closed the connection")
            answer += data
    return int(answer.split(b" ", 2)[1])


def _secured(plain: socket.socket, host: str, certificate: str | None) -> socket.socket:
    import ssl

    context = ssl.create_default_context(cafile=certificate)
    if certificate is not None:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = certificate is None  # that very certificate is trusted, whatever name it bears
    return context.wrap_socket(plain, server_hostname=host)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError(f"the server did not answer in {SECONDS:g} s")
    return left


def _note(directory: str, what: str) -> None:
    """One line for whoever looks for it; the file is begun anew when it is long."""
    try:
        path = os.path.join(directory, LOG)
        fresh = os.path.exists(path) and os.path.getsize(path) > LOG_BYTES
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if fresh else os.O_APPEND)
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {what}\n"
        with open(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(line)
    except OSError:
        return
