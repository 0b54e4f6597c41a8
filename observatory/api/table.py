"""What a route is: the request that it takes, the answers that it gives, and who writes them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Generic, Literal, TypeVar

import attrs
import msgspec

from observatory.api.sources import Sources
from observatory.core.handshake import Head
from observatory.server.gate import Caller

Q = TypeVar("Q")
B = TypeVar("B")
JSON = "application/json"
NDJSON = "application/x-ndjson"
EVENT_STREAM = "text/event-stream"
Method = Literal["GET", "POST"]


class NoQuery(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Nothing is asked for beside the path."""


@attrs.frozen
class Call(Generic[Q, B]):
    """One request, checked. path: its parts that vary, by name; body: None if it has none."""

    path: Mapping[str, str]
    query: Q
    body: B
    raw: Any  # the body as it came, with fields that its class does not know
    head: Head
    caller: Caller


@attrs.frozen
class Reply:
    """An answer of JSON. data: an object; `position` is added to it, unless it has one."""

    data: dict[str, Any]
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@attrs.frozen
class Document:
    """An answer of bytes that are known. etag: tells them from any others; None: they may be others next time."""

    body: bytes
    content_type: str
    etag: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


@attrs.frozen
class Stream:
    """An answer that is written piece by piece. It ends with the server, the client, or its pieces.

    at_once: its head is sent before there is a first piece; without that, a failure of the first is an error.
    """

    pieces: AsyncIterator[bytes]
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()
    at_once: bool = False


Answer = Reply | Document | Stream


class Refusal(Exception):
    """A request that cannot be answered as it was meant."""

    def __init__(
        self, status: int, code: str, message: str, headers: tuple[tuple[str, str], ...] = (), **more: object
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
        self.more = more


def not_found(what: str) -> Refusal:
    """There is no such thing."""
    return Refusal(404, "NOT_FOUND", f"there is no such {what}")


@attrs.frozen
class Route:
    """One route. path: below the public path, its parts that vary in braces. about: what it does, in one sentence.

    query, body, replies: what is taken and given; a status whose class is None has an answer of `content` instead of
    JSON. refuses: statuses beside those that any request may get. open_to_all: no credential is needed. named: part of
    the OpenAPI document.
    """

    method: Method
    path: str
    name: str
    about: str
    handler: Callable[[Sources, Call[Any, Any]], Awaitable[Answer]]
    query: type[msgspec.Struct] = NoQuery
    body: type[msgspec.Struct] | None = None
    replies: Mapping[int, type[msgspec.Struct] | None] = attrs.field(factory=dict)
    content: tuple[str, ...] = (JSON,)
    refuses: tuple[int, ...] = ()
    open_to_all: bool = False
    named: bool = True
