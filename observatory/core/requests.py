"""Requests: the text of an inbound message → a value, or a RequestError (protocol.md §7)."""

from collections.abc import Callable
from typing import Any, TypeGuard

import attrs
import orjson

from observatory.core.errors import RequestError
from observatory.core.events import Position
from observatory.core.topics import is_topic
from observatory.core.where import Where, parse_where

MAX_TOPICS = 128  # per request, and held by one client
MAX_NESTING = 32
MAX_UINT53 = 2**53 - 1
MAX_ID_LENGTH = 64
EPOCH_LENGTHS = range(6, 33)

RequestId = str | int | None


@attrs.frozen
class Resume:
    """A wish to go on after `position`; `max_events` bounds what may be replayed."""

    position: Position
    max_events: int | None = None


@attrs.frozen
class Subscribe:
    """Add topics (replace all, if `replace`); `resume` asks for what came after a position.

    where: the new filter, None removes it; only if gives_where, else it stays as it is.
    """

    re: RequestId
    topics: tuple[str, ...]
    replace: bool = False
    resume: Resume | None = None
    where: Where | None = None
    gives_where: bool = False


@attrs.frozen
class Unsubscribe:
    """Give topics back; None = all."""

    re: RequestId
    topics: tuple[str, ...] | None


@attrs.frozen
class ResumeRequest:
    """`resume` on its own: topics stay as they are."""

    re: RequestId
    resume: Resume


@attrs.frozen
class GetSubscriptions:
    re: RequestId


@attrs.frozen
class GetSnapshot:
    """`limit`: conversations at most."""

    re: RequestId
    limit: int


@attrs.frozen
class GetStatus:
    re: RequestId


@attrs.frozen
class Ping:
    """`timestamp` is echoed as it came, if it came."""

    re: RequestId
    timestamp: Any
    has_timestamp: bool


@attrs.frozen
class Pong:
    re: RequestId


Request = Subscribe | Unsubscribe | ResumeRequest | GetSubscriptions | GetSnapshot | GetStatus | Ping | Pong
SNAPSHOT_LIMIT = 1000


@attrs.frozen
class Envelope:
    """A message that is well-formed as such: its type, data and id."""

    type: str
    data: dict[str, Any]
    re: RequestId


def parse_envelope(text: str) -> Envelope:
    """Check the outer shape. Raises RequestError INVALID_MESSAGE."""
    try:
        message = orjson.loads(text)
    except ValueError:
        raise _invalid("the message is not JSON") from None
    if not isinstance(message, dict):
        raise _invalid("the message is not a JSON object")
    re, kind, data = message.get("id"), message.get("type"), message.get("data", {})
    if not _is_id(re):
        raise _invalid(f"id must be a string of at most {MAX_ID_LENGTH} characters or an unsigned 53-bit integer")
    if not isinstance(kind, str) or not kind:
        raise _invalid("type must be a non-empty string", re)
    if not isinstance(data, dict):
        raise _invalid("data must be an object", re)
    if _nesting(message) > MAX_NESTING:
        raise _invalid(f"the message is nested more than {MAX_NESTING} deep", re)
    return Envelope(kind, data, re)


def parse_request(envelope: Envelope) -> Request:
    """The request in an envelope. Raises RequestError with the code of §7."""
    parser = _PARSERS.get(envelope.type)
    if parser is None:
        known = ", ".join(sorted(_PARSERS))
        raise RequestError("UNKNOWN_MESSAGE_TYPE", f"type is none of: {known}")
    return parser(envelope.re, envelope.data)


def _subscribe(re: RequestId, data: dict[str, Any]) -> Request:
    replace = data.get("replace", False)
    if not isinstance(replace, bool):
        raise _invalid("replace must be true or false")
    resume = None if data.get("resume") is None else parse_resume(data["resume"])
    topics = parse_topics(data.get("topics"))
    where = None if data.get("where") is None else parse_where(data["where"])
    return Subscribe(re, topics, replace, resume, where, "where" in data)


def _unsubscribe(re: RequestId, data: dict[str, Any]) -> Request:
    return Unsubscribe(re, None if data.get("topics") is None else parse_topics(data["topics"]))


def _get_snapshot(re: RequestId, data: dict[str, Any]) -> Request:
    limit = data.get("limit", SNAPSHOT_LIMIT)
    if not _is_uint53(limit) or not 1 <= limit <= SNAPSHOT_LIMIT:
        raise _invalid(f"limit must be an integer from 1 to {SNAPSHOT_LIMIT}")
    return GetSnapshot(re, limit)


def _auth(re: RequestId, data: dict[str, Any]) -> Request:
    raise _invalid("auth is only taken as the first message, where a credential is asked for and none was shown")


_PARSERS: dict[str, Callable[[RequestId, dict[str, Any]], Request]] = {
    "auth": _auth,
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "resume": lambda re, data: ResumeRequest(re, parse_resume(data)),
    "get_subscriptions": lambda re, data: GetSubscriptions(re),
    "get_snapshot": _get_snapshot,
    "get_status": lambda re, data: GetStatus(re),
    "ping": lambda re, data: Ping(re, data.get("timestamp"), "timestamp" in data),
    "pong": lambda re, data: Pong(re),
}


def parse_topics(value: object) -> tuple[str, ...]:
    """A list of topics without doubles, in the order given. Raises INVALID_TOPIC or TOO_MANY_SUBSCRIPTIONS."""
    if not isinstance(value, list):
        raise RequestError("INVALID_TOPIC", "topics must be a list of strings")
    if len(value) > MAX_TOPICS:
        raise RequestError("TOO_MANY_SUBSCRIPTIONS", f"at most {MAX_TOPICS} topics in one request")
    for topic in value:
        if not is_topic(topic):
            raise RequestError("INVALID_TOPIC", f"{_shown(topic)} is no topic; see docs/protocol.md, Topics")
    return tuple(dict.fromkeys(value))


def parse_resume(value: object) -> Resume:
    """A position, and `max` if given. Raises INVALID_POSITION."""
    if not isinstance(value, dict):
        raise RequestError("INVALID_POSITION", "resume must be an object with epoch and seq")
    epoch, seq, limit = value.get("epoch"), value.get("seq"), value.get("max")
    if not isinstance(epoch, str) or len(epoch) not in EPOCH_LENGTHS:
        raise RequestError("INVALID_POSITION", "epoch must be the string that the server gave")
    if not _is_uint53(seq) or (limit is not None and not _is_uint53(limit)):
        raise RequestError("INVALID_POSITION", "seq and max must be unsigned 53-bit integers")
    return Resume(Position(epoch, seq), limit)


def _is_uint53(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_UINT53


def _is_id(value: object) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= MAX_ID_LENGTH) or _is_uint53(value)


def _nesting(value: object, depth: int = 1) -> int:
    if depth > MAX_NESTING or not isinstance(value, dict | list):
        return depth
    inner = value.values() if isinstance(value, dict) else value
    return max((_nesting(item, depth + 1) for item in inner if isinstance(item, dict | list)), default=depth)


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else type(value).__name__
    return repr(text if len(text) <= 80 else f"{text[:77]}…")


def _invalid(message: str, re: RequestId = None) -> RequestError:
    error = RequestError("INVALID_MESSAGE", message)
    error.re = re
    return error
