"""A database's API that does what a scenario says: it keeps rows by their keys, and fails as it is told to.

No PostgreSQL is behind it: what a real one does with the rows is tested in tests/sinks.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs

Row = dict[str, Any]


@attrs.define
class Say:
    """One answer. applied: the rows are kept all the same. drop: no answer at all. trickle: seconds between bytes."""

    status: int = 503
    headers: dict[str, str] = attrs.field(factory=dict)
    code: str = ""
    applied: bool = False
    drop: bool = False
    trickle: float = 0.0


class ScriptedSink(ThreadingHTTPServer):
    """script: answers to the next writes; poison: a text whose rows are never taken. at: when each write came."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.rows: dict[str, dict[tuple[Any, ...], Row]] = {}
        self.script: list[Say] = []
        self.poison: bytes | None = None
        self.at: list[float] = []
        self.sizes: list[int] = []
        self.written = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def texts(self) -> list[str]:
        """What the messages say, in their order."""
        with self.lock:
            kept = sorted(self.rows.get("messages", {}).items())
        return [row["content"] for _, row in kept]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone."""


@contextmanager
def scripted(port: int = 0) -> Iterator[ScriptedSink]:
    """One for the block."""
    server = ScriptedSink(port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: ScriptedSink

    def log_message(self, format: str, *args: Any) -> None:
        """It says nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        url = urlsplit(self.path)
        if "/rpc/" in url.path:
            told: dict[str, Any] = {"version": 3, "registered": True, "rows": False, "now": time.time()}
            self._answer(200, json.dumps(told).encode(), {})
            return
        server, table = self.server, url.path.rsplit("/", 1)[1]
        rows: list[Row] = json.loads(body)
        with server.lock:
            server.at.append(time.monotonic())
            server.sizes.append(len(rows))
            say = server.script.pop(0) if server.script else None
            bad = server.poison is not None and server.poison in body
            if bad:
                say = Say(400, code="22P02")
            if say is None or say.applied or say.trickle:
                keys = dict(parse_qsl(url.query))["on_conflict"].split(",")
                server.rows.setdefault(table, {}).update({tuple(row[key] for key in keys): row for row in rows})
                server.written += len(rows)
        if say is None:
            self._answer(201, b"", {})
        elif say.drop:
            self.close_connection = True
        else:
            told = {"code": say.code, "message": "scripted", "details": None, "hint": None}
            self._answer(say.status, json.dumps(told).encode(), say.headers, say.trickle)

    def do_DELETE(self) -> None:
        self._answer(204, b"", {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str], trickle: float = 0.0) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):
            for byte in body if trickle else b"":
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(trickle)
            if not trickle:
                self.wfile.write(body)
