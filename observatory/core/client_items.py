"""What a follower of the log is given, and the frames it comes from.

`Item` is the closed union that `observatory.client.follow.follow` hands out; `Frame` is one message of the wire.
"""

import string
from typing import Any

import attrs
import orjson

from observatory.core.errors import UsageError, WorldError
from observatory.core.events import Position
from observatory.core.neutral import neutral

ABNORMAL = 1006  # no close frame came
MESSAGE_CHARS = 300  # of a refusal's text that is worth a line
EPOCH_ALPHABET = frozenset(string.ascii_letters + string.digits + "_-")


@attrs.frozen
class Frame:
    """One message of the server. `text` is as it came; `reply_to` is the `re` of the wire."""

    type: str
    data: Any
    timestamp: int | None
    seq: int | None
    epoch: str | None
    reply_to: str | int | None
    text: str


@attrs.frozen
class Event:
    """An event of the log. Every string in `data` is untrusted. `seq` is None only on an emergency system_status."""

    type: str
    data: Any
    seq: int | None
    epoch: str | None
    timestamp: int | None
    text: str

    @property
    def position(self) -> Position | None:
        return None if self.seq is None or self.epoch is None else Position(self.epoch, self.seq)


@attrs.frozen
class Snapshot:
    """The state that replaces everything seen before; events after `position` follow."""

    projects: tuple[dict[str, Any], ...]
    conversations: tuple[dict[str, Any], ...]
    truncated: bool
    position: Position


@attrs.frozen
class Gap:
    """Events after `since` and up to `until` cannot be had, and neither a snapshot in their place."""

    reason: str
    since: Position | None
    until: Position | None


@attrs.frozen
class Incomplete:
    """The server counted other events than arrived. Reconnecting from `since`, the last place both agreed on."""

    sent: int
    received: int
    since: Position | None


@attrs.frozen
class Agreed:
    """The server's count equals ours: everything up to `position` has arrived. Only to those who ask for it."""

    position: Position


@attrs.frozen
class Connected:
    """Subscribed: every matching event after `position` will come.

    `recovered`: True: nothing was missed. False: a Snapshot or a Gap stands for what was. None: this is a beginning.
    """

    client_id: str
    position: Position | None
    recovered: bool | None


@attrs.frozen
class Disconnected:
    """The connection is gone; the next attempt starts in `delay` seconds."""

    reason: str
    delay: float


Item = Event | Snapshot | Gap | Incomplete | Agreed | Connected | Disconnected


@attrs.define
class Refused(WorldError):
    """The server said no: with an HTTP `status`, an error `code`, or both."""

    status: int | None = None
    code: str = ""
    retry_after: float | None = None


@attrs.define
class Closed(WorldError):
    """The connection was closed. `code` is the WebSocket close code, 1006 if there was no close frame."""

    code: int = ABNORMAL
    reason: str = ""


class Miscounted(WorldError):
    """The server's count of events differs from ours on every connection: something between loses or adds some."""


def closed(code: int, reason: str) -> Closed:
    """The error of a close frame. The reason is the server's text, so it is neutralised."""
    why = f": {neutral(reason)}" if reason else ""
    return Closed(f"The connection was closed ({code}){why}", code=code, reason=reason)


def refused(frame: Frame) -> Refused:
    """The error of an `error` reply."""
    return _refused(None, frame.data, None)


def refusal(status: int, retry_after: str | None, body: bytes) -> Refused:
    """The error of an HTTP answer to the handshake: status, `Retry-After` in seconds, and a JSON body if it is ours."""
    try:
        answer = orjson.loads(body)
    except ValueError:
        answer = None
    seconds = (
        float(retry_after) if retry_after is not None and retry_after.isascii() and retry_after.isdigit() else None
    )
    return _refused(status, answer.get("error") if isinstance(answer, dict) else None, seconds)


def _refused(status: int | None, error: object, retry_after: float | None) -> Refused:
    fields = error if isinstance(error, dict) else {}
    code, message = str(fields.get("code", "")), neutral(str(fields.get("message", "")))[:MESSAGE_CHARS]
    what = f"HTTP {status}" if status is not None else code or "an error"
    return Refused(f"The server refused: {message or what}", "", False, status, code, retry_after)


def parse_frame(text: str) -> Frame | None:
    """One message, or None if it is no message of this protocol (which a client ignores)."""
    try:
        message = orjson.loads(text)
    except ValueError:
        return None
    if not isinstance(message, dict) or not isinstance(kind := message.get("type"), str):
        return None
    epoch, reply_to = message.get("epoch"), message.get("re")
    return Frame(
        type=kind,
        data=message.get("data"),
        timestamp=whole(message.get("timestamp")),
        seq=whole(message.get("seq")),
        epoch=epoch if isinstance(epoch, str) else None,
        reply_to=reply_to if isinstance(reply_to, str | int) else None,
        text=text,
    )


def parse_position(text: str) -> Position:
    """Read `epoch:seq`, as a user writes it.

    Raises: UsageError: it is something else.
    """
    epoch, _, seq = text.partition(":")
    if not (epoch and EPOCH_ALPHABET.issuperset(epoch) and seq.isascii() and seq.isdigit()):
        raise UsageError(f"{text!r} is no position; one looks like k3x9q2:120345")
    return Position(epoch, int(seq))


def position_of(data: object) -> Position | None:
    """The position in an object with `epoch` and `seq` (a snapshot's) or `pos` (a ping's, a confirmation's)."""
    if not isinstance(data, dict) or not isinstance(epoch := data.get("epoch"), str):
        return None
    seq = whole(data.get("seq", data.get("pos")))
    return None if seq is None else Position(epoch, seq)


def whole(value: object) -> int | None:
    """An integer, or None; JSON's true is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
