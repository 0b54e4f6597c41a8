"""Handlers: what is no API: the page with what it loads, metrics, one-time links, and where WebSockets begin."""

import re
from hashlib import blake2b
from pathlib import Path
from typing import Any

import trio

import observatory
from observatory.api.asked import PageQuery
from observatory.api.metrics import Told, text
from observatory.api.sources import Sources
from observatory.api.table import Call, Document, NoQuery, Refusal, not_found
from observatory.core.handshake import Refused
from observatory.server.upgrade import WELCOME

PAGE = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " \
       "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"  # fmt: skip
BUILT = Path(observatory.__file__).parent / "web" / "dist"  # made by hatch_build.py when the package is installed
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
HASHED = re.compile(r"-[\w-]{8}\.\w+$")  # the name of such a file changes with its content


async def page(api: Sources, call: Call[PageQuery, None]) -> Document:
    """A shell without data: what it shows it asks the API for. The same below every path: its script reads that."""
    try:
        shell = await trio.to_thread.run_sync((BUILT / "index.html").read_bytes)
    except OSError:
        raise Refusal(503, "NOT_BUILT", "the dashboard was not built here: pip install . builds it") from None
    body = shell.replace(b'"./', f'"{api.base}/'.encode()).replace(b"{base}", api.base.encode())
    return Document(body, "text/html; charset=utf-8", f'"{_mark(body)}"', (("Content-Security-Policy", PAGE),))


async def asset(api: Sources, call: Call[NoQuery, None]) -> Document:
    """A file of the page."""
    name = call.path["name"]
    type_ = TYPES.get(Path(name).suffix)
    if type_ is None or "/" in name or "\\" in name:
        raise not_found("asset")
    try:
        body = await trio.to_thread.run_sync((BUILT / "assets" / name).read_bytes)
    except (OSError, ValueError):
        raise not_found("asset") from None
    kept = "public, max-age=31536000, immutable" if HASHED.search(name) else "no-cache"
    return Document(body, type_, f'"{_mark(body)}"', (("Cache-Control", kept),))


def _mark(body: bytes) -> str:
    return blake2b(body, digest_size=9).hexdigest()


async def openapi(api: Sources, call: Call[NoQuery, None]) -> Document:
    """The OpenAPI document."""
    body = api.document
    return Document(body, "application/json", f'"{_mark(body)}"')


async def metrics(api: Sources, call: Call[NoQuery, None]) -> Document:
    """Everything that is measured, as text."""
    status, monitor = api.manager.status(), api.monitor
    told = Told(status, monitor.measures, monitor.hops(), api.answers, api.connections(), api.manager.modes(),
                await _lag_seconds(api, status), api.dropped())  # fmt: skip
    return Document(text(told), "text/plain; version=0.0.4; charset=utf-8")


async def _lag_seconds(api: Sources, status: dict[str, Any]) -> float:
    """The age of the event that the client furthest behind gets next."""
    lag = status["gauges"]["client_lag_events"]
    if not lag:
        return 0.0
    at = await api.archive(lambda archive: archive.committed_at(status["position"]["head"] - lag + 1))
    return 0.0 if at is None else max(0.0, (api.wall_ms() - at) / 1000)


async def link(api: Sources, call: Call[NoQuery, None]) -> Document:
    """The cookie for a one-time link."""
    caller = call.caller
    verdict = caller.gate.log_in(call.path["code"], caller.theirs, call.head)
    if isinstance(verdict, Refused):
        raise Refusal(verdict.status, verdict.code, verdict.message)
    return Document(WELCOME, "text/html; charset=utf-8", headers=(("Set-Cookie", verdict.cookie),))


async def websocket(api: Sources, call: Call[NoQuery, None]) -> Document:
    """No upgrade, or one on a connection that was used already."""
    version = (("Sec-WebSocket-Version", "13"),)
    raise Refusal(400, "BAD_UPGRADE", "this is a WebSocket endpoint (RFC 6455, version 13)", version)
