"""The application: a request is judged, checked against its route, and answered; none ends in a traceback."""

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qsl, unquote

import attrs
import msgspec
import orjson
import structlog
import trio
from starlette.routing import Match
from starlette.routing import Route as Pattern

from observatory.api import answers
from observatory.api.answers import Ready
from observatory.api.routes import ROUTES
from observatory.api.sources import Sources
from observatory.api.table import Call, Refusal, Route, Stream
from observatory.core.errors import RequestError, StoreError, UsageError
from observatory.core.handshake import Head, Policy, Refused
from observatory.core.http_request import check_content_type, without_base
from observatory.server.gate import Caller
from observatory.server.oneport import Message, Scope, Stalled

log = structlog.get_logger()
VERSIONS = ("1.0", "1.1")
MAX_BODY = 17 * 1024 * 1024  # a broadcast may have 16 MiB
LONGEST_NAME = 250  # of what stands in a path: ids are shorter
BODY_SECONDS = 30.0  # for all of it
CUT = (Stalled, trio.BrokenResourceError, trio.ClosedResourceError)
Receive = Any
Send = Any


@attrs.frozen(eq=False)
class Application:
    """One server's. policy: who may ask."""

    api: Sources
    policy: Policy
    _patterns: list[tuple[Pattern, list[Route]]] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        by_path: dict[str, list[Route]] = {}
        for route in ROUTES:
            by_path.setdefault(route.path, []).append(route)
        self._patterns.extend((Pattern(path, _nobody, methods=["GET"]), routes) for path, routes in by_path.items())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        head = _head(scope, self.policy.base)
        if scope["type"] == "websocket":  # an upgrade on a connection that was used for requests before
            await _refuse_upgrade(send)
            return
        routes, path = self._match(head)
        answered = _Once(self, head, routes[0].name if routes else "none", send)
        try:
            await self._answer(scope, head, routes, path, receive, answered)
        except CUT:
            raise
        except Exception as error:
            if isinstance(error, ExceptionGroup) and (cut := _cut(error)) is not None:
                raise cut from error
            if answered.began:  # half an answer must not look like a whole one
                log.warning("http.cut", path=head.target.partition("?")[0], error=str(error))
                raise trio.BrokenResourceError from error
            await answered.finish(answers.error_of(_refusal(error, head)))

    def _match(self, head: Head) -> tuple[list[Route], Mapping[str, str]]:
        """The routes of a path, and its parts that vary."""
        scope = {"type": "http", "path": _unquoted(head.target), "method": "GET", "root_path": ""}
        for pattern, routes in self._patterns:
            match, found = pattern.matches(scope)
            if match is not Match.NONE:
                return routes, found["path_params"]
        return [], {}

    async def _answer(
        self, scope: Scope, head: Head, routes: list[Route], path: Mapping[str, str], receive: Receive, once: "_Once"
    ) -> None:
        if head.version not in VERSIONS:
            raise Refusal(400, "BAD_REQUEST", "speak HTTP/1.1", (("Connection", "close"),))
        caller: Caller = scope["state"]["caller"]
        if (allowed := answers.preflight(head, self.policy)) is not None:
            await once.finish(allowed)
            return
        refused = caller.judge(head, open_to_all=bool(routes) and routes[0].open_to_all)
        if refused is not None:
            raise _of(refused)
        route = _route(routes, head.method)
        once.name = route.name
        call = await self._call(route, path, head, caller, receive)
        position = self.api.position  # before anything is read: what happens meanwhile comes as an event, too
        answer = await route.handler(self.api, call)
        if isinstance(answer, Stream):
            await once.stream(answer, receive)
            return
        ready = answers.ready(answer, position, head.headers)
        await once.finish(await answers.compressed(ready, head.headers))

    async def _call(
        self, route: Route, path: Mapping[str, str], head: Head, caller: Caller, receive: Receive
    ) -> Call[Any, Any]:
        if (refused := check_content_type(head)) is not None:
            raise _of(refused)
        if any(len(part) > LONGEST_NAME for part in path.values()):
            raise Refusal(404, "NOT_FOUND", "nothing has so long a name")
        query = msgspec.convert(_query(head, route.query), route.query, strict=False)
        if route.body is None:
            return Call(path, query, None, None, head, caller)
        text = await _body(head, receive)
        raw = orjson.loads(text)
        return Call(path, query, msgspec.convert(raw, route.body), raw, head, caller)


def _cut(group: ExceptionGroup[Exception]) -> Exception | None:
    """What a group says of the connection, if it says nothing else."""
    cuts, others = group.split(CUT)
    found: Exception | None = cuts if others is None else None
    while isinstance(found, ExceptionGroup):
        found = found.exceptions[0]
    return found


async def _nobody(scope: Scope, receive: Receive, send: Send) -> None:
    """Patterns only match."""


def _of(refused: Refused) -> Refusal:
    return Refusal(refused.status, refused.code, refused.message, refused.headers)


def _refusal(error: Exception, head: Head) -> Refusal:
    """What a request is told about what went wrong."""
    match error:
        case Refusal():
            return error
        case UsageError():
            return Refusal(422, "INVALID", str(error))
        case RequestError():
            return Refusal(422, error.code, error.message)
        case msgspec.ValidationError():
            return Refusal(400, "INVALID_REQUEST", str(error))
        case orjson.JSONDecodeError():
            return Refusal(400, "NOT_JSON", f"the body is no JSON: {error}")
        case StoreError():
            return Refusal(503, "NOT_AVAILABLE", str(error), (("Retry-After", "1"),))
        case _:
            log.exception("http.failed", method=head.method, path=head.target.partition("?")[0])
            return Refusal(500, "INTERNAL", "internal error; the server's log says more")


def _head(scope: Scope, base: str) -> Head:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    query = scope["query_string"].decode("latin-1")
    target = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
    return Head(scope.get("method", "GET"), without_base(target, base), headers, scope["http_version"])


def _unquoted(target: str) -> str:
    """The path; what was quoted in it never makes it another path."""
    path = target.partition("?")[0]
    return unquote(path.replace("%2F", "%252F").replace("%2f", "%252f"), errors="replace")


def _route(routes: list[Route], method: str) -> Route:
    if not routes:
        raise Refusal(404, "NOT_FOUND", "there is nothing here; see /api/v1/openapi.json")
    wanted = "GET" if method == "HEAD" else method
    for route in routes:
        if route.method == wanted:
            return route
    allowed = ", ".join(sorted({"HEAD" for route in routes if route.method == "GET"} | {one.method for one in routes}))
    raise Refusal(405, "METHOD_NOT_ALLOWED", f"use {allowed}", (("Allow", allowed),))


def _query(head: Head, shape: type[msgspec.Struct]) -> dict[str, Any]:
    """The parameters of a URL; those that may be repeated as lists."""
    found: dict[str, Any] = {}
    if not shape.__struct_config__.forbid_unknown_fields:
        return found  # of a page, whose script reads it
    for name, value in parse_qsl(head.target.partition("?")[2], keep_blank_values=True):
        if "\0" in value:
            raise Refusal(422, "INVALID", f"there is a NUL in {name[:40]!r}")
        found.setdefault(name, []).append(value)
    several = {field.name for field in msgspec.structs.fields(shape) if field.default_factory is list}
    optional = {field.name for field in msgspec.structs.fields(shape) if field.default is None}
    for name, values in found.items():
        if name not in several:
            if len(values) > 1:
                raise Refusal(400, "INVALID_REQUEST", f"{name[:40]!r} is given more than once")
            if values[0].lower() == "null" and name in optional:  # the lenient reader would take it for "not given"
                raise Refusal(400, "INVALID_REQUEST", f"leave {name[:40]!r} out if it is not meant")
            found[name] = values[0]
    return found


async def _body(head: Head, receive: Receive) -> bytes:
    """All of it, in time. Raises Refusal."""
    too_large = Refusal(413, "TOO_LARGE", f"the body is larger than {MAX_BODY} bytes", (("Connection", "close"),))
    declared = head.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > MAX_BODY:
        raise too_large
    body = bytearray()
    with trio.move_on_after(BODY_SECONDS):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise trio.BrokenResourceError
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                raise too_large
            if not message.get("more_body", False):
                return bytes(body)
    raise Refusal(408, "TOO_SLOW", f"the body was not complete in {BODY_SECONDS:g} s", (("Connection", "close"),))


async def _refuse_upgrade(send: Send) -> None:
    body = answers.error_of(Refusal(400, "BAD_UPGRADE", "open a new connection for a WebSocket"))
    headers = [(name.encode(), value.encode()) for name, value in body.headers]
    await send({"type": "websocket.http.response.start", "status": body.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body.body})


@attrs.define(eq=False)
class _Once:
    """Writes the one answer of a request."""

    application: Application
    head: Head
    name: str
    send: Send
    began: bool = False

    async def _start(self, status: int, headers: answers.Headers) -> None:
        self.began = True
        counts, key = self.application.api.answers, (self.name, status)
        counts[key] = counts.get(key, 0) + 1
        safe = answers.safe_headers(headers, self.head.headers.get("origin"), self.application.policy)
        encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in safe]
        await self.send({"type": "http.response.start", "status": status, "headers": encoded})

    async def finish(self, ready: Ready) -> None:
        """All of it at once."""
        length = () if ready.status in (204, 304) else (("Content-Length", str(len(ready.body))),)
        await self._start(ready.status, (*ready.headers, *length))
        await self.send({"type": "http.response.body", "body": ready.body})

    async def stream(self, stream: Stream, receive: Receive) -> None:
        """Piece by piece, until it ends or the client goes."""
        pieces: Any = stream.pieces
        async with aclosing(pieces):
            wanted = self.head.method != "HEAD"
            first = await anext(pieces, b"") if wanted and not stream.at_once else b""
            await self._start(200, (("Content-Type", stream.content_type), *stream.headers))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
                await self.send({"type": "http.response.body", "body": first, "more_body": True})
                if wanted and (first or stream.at_once):
                    async for piece in pieces:
                        await self.send({"type": "http.response.body", "body": piece, "more_body": True})
                nursery.cancel_scope.cancel()
        await self.send({"type": "http.response.body", "body": b""})


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            scope.cancel()
            return
