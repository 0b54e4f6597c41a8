"""Messages of ConnectionManager.broadcast: who gets them, and whether they can be sent at all (protocol.md §5)."""

import json
from typing import Literal

import attrs
import orjson

from observatory.core.decode import valid
from observatory.core.errors import NotBroadcast
from observatory.core.events import Draft
from observatory.core.topics import ALL_CONVERSATIONS, EVERYONE, FAMILY, PROJECT_UPDATES, is_topic

MAX_BYTES = 16 * 1024 * 1024  # of one message: what a client of ours takes in one frame, with room
CONTROL_TYPES = frozenset({
    "connection_established", "subscription_confirmed", "subscription_status", "snapshot", "status", "ping", "pong",
    "error", "resync", "server_shutdown",
})  # fmt: skip
Failure = Literal["not_a_dict", "no_type", "reserved_type", "not_serialisable", "too_big", "not_persisted"]

# The family of a filter → the topics that are stored beside it.
_BESIDE = {
    "all_conversations": (f"conversation{FAMILY}", f"project{FAMILY}"),
    "conversation": (ALL_CONVERSATIONS,),
    "project": (PROJECT_UPDATES, ALL_CONVERSATIONS),
    "project_updates": (ALL_CONVERSATIONS,),
    "file_events": (ALL_CONVERSATIONS,),
    "system": (),
}
_AS_JSON = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME  # what JSON has no form for is an error


def topics_of(subscription_filter: str | None) -> tuple[str, ...]:
    """The topics of a message for this filter; None is everybody. Raises ValueError for what is no filter."""
    if subscription_filter is None:
        return (EVERYONE,)
    if not is_topic(subscription_filter) or subscription_filter.endswith(FAMILY):
        raise ValueError(f"{subscription_filter!r} is no subscription filter; see docs/protocol.md, Topics")
    return (subscription_filter, *_BESIDE[subscription_filter.partition(":")[0]])


@attrs.frozen
class Unfit:
    """A message that cannot be sent. kind: its type, if it has one that can be told."""

    error: Failure
    reason: str
    kind: str | None = None


def prepare(message: object, topics: tuple[str, ...], max_bytes: int = MAX_BYTES) -> Draft | Unfit:
    """The event that a message becomes. Its data is written out here: what happens to the dict later changes nothing.

    Keys other than `type` and `data` are dropped; `data` defaults to {}.
    """
    if not isinstance(message, dict):
        return Unfit("not_a_dict", f"the message is a {type(message).__name__}")
    kind = message.get("type")
    if not isinstance(kind, str) or not kind:
        return Unfit("no_type", "`type` must be a text and not empty")
    kind = valid(str.__str__(kind))
    if kind in CONTROL_TYPES:
        return Unfit("reserved_type", "the server itself says this to its clients", kind)
    try:
        data = to_json(message.get("data", {}))
    except Exception as why:  # an object of the caller's may raise anything while it is written
        return Unfit("not_serialisable", f"{type(why).__name__}: {why}", kind)
    size = len(data) + len(kind)
    if size > max_bytes:
        return Unfit("too_big", f"{size} bytes are more than {max_bytes}", kind)
    return Draft(kind, orjson.Fragment(data), topics)


def to_json(value: object) -> bytes:
    """JSON as strict parsers take it: lone surrogates become U+FFFD. Raises when there is none, as for NaN."""
    try:
        text = orjson.dumps(value, option=_AS_JSON)
    except TypeError:  # also what only the tolerant writer can do: huge integers, keys that are numbers, surrogates
        return valid(json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))).encode()
    if b"null" in text:  # orjson writes NaN so
        json.dumps(value, allow_nan=False, default=lambda other: None)
    return text


class BroadcastResult(list[str]):
    """Ids of the clients that did not get the message, in the order in which they connected.

    error: None when it was sent: then these are the clients that were found broken, and are evicted. Else why it was
    sent to nobody: these are all it was meant for. seq: its place in the log, None when it has none.
    """

    def __init__(
        self, clients: list[str], seq: int | None = None, error: Failure | None = None, reason: str = ""
    ) -> None:
        super().__init__(clients)
        self.seq = seq
        self.error = error
        self.reason = reason

    def raise_for_error(self) -> None:
        """Raise NotBroadcast when the message was sent to nobody."""
        if self.error is not None:
            raise NotBroadcast(self.error, self.reason)
