"""Answers as bytes: JSON with its position, compression, ranges, and the headers that every answer has."""

import gzip
import re
from collections.abc import Mapping
from typing import Any

import attrs
import orjson
import trio

from observatory.api.table import JSON, Document, Refusal, Reply
from observatory.core.broadcast import to_json
from observatory.core.events import LogPosition
from observatory.core.handshake import Head, Policy

COMPRESS_FROM = 1400  # bytes: what fits into one packet gains nothing
THREAD_FROM = 32 * 1024  # bytes: more would hold up the loop for longer than a live event may wait
LEVEL = 4
NOTHING_ELSE = "default-src 'none'; frame-ancestors 'none'"
# Nothing that is served here is framed, sniffed, told to others by a referrer, or loaded by pages of other origins.
SAFE = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
TEXTS = ("application/json", "text/", "image/svg+xml")
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
Headers = tuple[tuple[str, str], ...]


@attrs.frozen
class Ready:
    """An answer as it is sent."""

    status: int
    headers: Headers
    body: bytes = b""


def ready(answer: Reply | Document, position: LogPosition, asked: Mapping[str, str]) -> Ready:
    """An answer that is whole. asked: the request's headers."""
    return json_of(answer, position) if isinstance(answer, Reply) else document_of(answer, asked)


def json_of(reply: Reply, position: LogPosition) -> Ready:
    """A reply with its position."""
    told = {"position": {"epoch": position.epoch, "seq": position.head}, **reply.data}
    return Ready(reply.status, (("Content-Type", JSON), ("Cache-Control", "no-store"), *reply.headers), _encoded(told))


def _encoded(told: dict[str, Any]) -> bytes:
    """As JSON. What is told holds no NaN; what the fast writer refuses are lone surrogates in texts of transcripts."""
    try:
        return orjson.dumps(told)
    except TypeError:
        return to_json(told)


def error_of(refusal: Refusal) -> Ready:
    """Every refusal has this shape, also those of an upgrade."""
    told = {"error": {"code": refusal.code, "message": refusal.message}, **refusal.more}
    headers = (("Content-Type", JSON), ("Cache-Control", "no-store"), *refusal.headers)
    return Ready(refusal.status, headers, _encoded(told))


def document_of(document: Document, asked: Mapping[str, str]) -> Ready:
    """A document, a part of it, or that it has not changed."""
    headers: Headers = (("Content-Type", document.content_type), *document.headers)
    body, etag = document.body, document.etag
    if etag is None:
        return Ready(200, (*headers, ("Cache-Control", "no-store")), body)
    headers = (*headers, ("ETag", etag), ("Accept-Ranges", "bytes"), *_kept(document))
    if etag in [one.strip().removeprefix("W/") for one in asked.get("if-none-match", "").split(",")]:
        return Ready(304, headers)
    part = _RANGE.fullmatch(asked.get("range", "").strip())
    if part is None or asked.get("if-range", etag) != etag:
        return Ready(200, headers, body)
    span = _span(part[1], part[2], len(body))
    if span is None:
        return Ready(416, (*headers, ("Content-Range", f"bytes */{len(body)}")))
    start, end = span
    return Ready(206, (*headers, ("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")), body[start:end])


def _kept(document: Document) -> Headers:
    if any(name == "Cache-Control" for name, _ in document.headers):
        return ()
    return (("Cache-Control", "private, no-cache"),)


def _span(first: str, last: str, size: int) -> tuple[int, int] | None:
    """[start, end) of a range; None: nothing of it is there."""
    if not first:  # the last so many bytes
        length = min(int(last or 0), size)
        return (size - length, size) if length else None
    start, end = int(first), min(int(last) + 1, size) if last else size
    return (start, end) if start < end else None


async def compressed(ready: Ready, asked: Mapping[str, str]) -> Ready:
    """The answer as gzip, if the client takes that and it is worth it; a large one is made in a thread."""
    headers = dict(ready.headers)
    small = len(ready.body) < COMPRESS_FROM or ready.status in (206, 304)
    if small or not headers.get("Content-Type", "").startswith(TEXTS) or not takes_gzip(asked):
        return ready
    body = ready.body
    if len(body) < THREAD_FROM:
        packed = gzip.compress(body, LEVEL, mtime=0)
    else:
        packed = await trio.to_thread.run_sync(lambda: gzip.compress(body, LEVEL, mtime=0))
    kept = tuple((name, value) for name, value in ready.headers if name not in ("ETag", "Accept-Ranges"))
    etag = (("ETag", f"W/{headers['ETag']}"),) if "ETag" in headers else ()
    return Ready(ready.status, (*kept, *etag, ("Content-Encoding", "gzip")), packed)


def takes_gzip(asked: Mapping[str, str]) -> bool:
    """Whether a client says so."""
    offered = [part.split(";") for part in asked.get("accept-encoding", "").lower().split(",")]
    return any(name.strip() == "gzip" and not _is_zero(rest) for name, *rest in offered)


def _is_zero(rest: list[str]) -> bool:
    return any(re.fullmatch(r"\s*q=0(\.0*)?\s*", part) for part in rest)


def safe_headers(headers: Headers, origin: str | None, policy: Policy) -> Headers:
    """What every answer has beside its own. A page of an allowed origin may read it."""
    names = {name for name, _ in headers}
    csp = () if "Content-Security-Policy" in names else (("Content-Security-Policy", NOTHING_ELSE),)
    more: Headers = (*SAFE, *csp, ("Vary", "Origin, Accept-Encoding, Cookie"))
    if origin is not None and origin.lower() in policy.origins:
        more = (*more[:2], *more[3:], ("Access-Control-Allow-Origin", origin))
    return (*headers, *more)


def preflight(head: Head, policy: Policy) -> Ready | None:
    """The answer to a browser that asks whether a page elsewhere may send a request; None: it is not, or may not."""
    origin = head.headers.get("origin", "").lower()
    if head.method != "OPTIONS" or "access-control-request-method" not in head.headers or origin not in policy.origins:
        return None
    return Ready(204, (
        ("Access-Control-Allow-Methods", "GET, POST"),
        ("Access-Control-Allow-Headers", "authorization, content-type, idempotency-key, last-event-id"),
        ("Access-Control-Max-Age", "600"),
    ))  # fmt: skip
