"""Control messages of the server: values → payload bytes (protocol.md §2, §7, §11). They carry no seq."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Literal

import attrs
import orjson

from observatory.core.errors import RequestError
from observatory.core.events import LogPosition
from observatory.core.requests import RequestId
from observatory.core.where import Where

PROTOCOL = "observatory.v1"
STATUS = "system_status"


@attrs.frozen
class WireLimits:
    """Bounds that a client needs to know; sent in the first frame."""

    outbox_frames: int = 1024
    outbox_bytes: int = 1024 * 1024
    topics: int = 128
    requests_per_s: int = 20
    message_bytes: int = 64 * 1024


@attrs.frozen
class Timing:
    """Seconds, but for the two retry bounds, which are given to clients in milliseconds."""

    ping_interval: float = 25.0
    ping_timeout: float = 10.0
    handshake: float = 10.0
    auth: float = 10.0
    first_request: float = 15.0
    close_timeout: float = 5.0
    retry_min_ms: int = 250
    retry_max_ms: int = 30_000


@attrs.frozen
class Standing:
    """A client's topics, filter and place, as told in confirmations: `pos` is None while it has none.

    state: idle, live or behind.
    """

    topics: Collection[str]
    state: str
    pos: int | None
    where: Where | None = None


def rfc3339(ms: int) -> str:
    """Milliseconds since the epoch → RFC 3339 UTC with ms and Z."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message(kind: str, data: dict[str, Any], now_ms: int, re: RequestId = None) -> bytes:
    """One control message; `re` only when a request had an id."""
    head: dict[str, Any] = {"type": kind, "data": data, "timestamp": now_ms}
    return orjson.dumps(head if re is None else {"re": re, **head})


def connection_established(
    client_id: str,
    legacy: bool,
    topics: Collection[str],
    log: LogPosition,
    limits: WireLimits,
    timing: Timing,
    now_ms: int,
    re: RequestId = None,
) -> bytes:
    """The server's first frame; `re` when it answers `auth`."""
    data = {
        "client_id": client_id,
        "server_time": rfc3339(now_ms),
        "subscriptions": sorted(topics),
        "protocol": None if legacy else PROTOCOL,
        "position": attrs.asdict(log),
        "ping": {"interval_ms": round(timing.ping_interval * 1000), "timeout_ms": round(timing.ping_timeout * 1000)},
        "retry": {"min_ms": timing.retry_min_ms, "max_ms": timing.retry_max_ms},
        "limits": attrs.asdict(limits),
    }
    return message("connection_established", data, now_ms, re)


def standing(kind: str, re: RequestId, at: Standing, log: LogPosition, now_ms: int, **more: object) -> bytes:
    """`subscription_confirmed`, or with `sent=` `subscription_status`."""
    data = {
        "topics": sorted(at.topics),
        "where": None if at.where is None else orjson.Fragment(at.where.tree),
        "state": at.state,
        "epoch": log.epoch,
        "pos": at.pos,
        "head": log.head,
        "oldest": log.oldest,
        **more,
    }
    return message(kind, data, now_ms, re)


def error(failure: RequestError, now_ms: int, re: RequestId = None) -> bytes:
    """The answer to a request that was refused."""
    data: dict[str, Any] = {"code": failure.code, "message": failure.message, "retryable": failure.retryable}
    if failure.retry_after_ms is not None:
        data["retry_after_ms"] = failure.retry_after_ms
    return message("error", data, now_ms, failure.re if re is None else re)


def pong(re: RequestId, timestamp: object, has_timestamp: bool, now_ms: int) -> bytes:
    """`timestamp` goes back as it came."""
    data = (
        {"timestamp": timestamp, "server_time": rfc3339(now_ms)} if has_timestamp else {"server_time": rfc3339(now_ms)}
    )
    return message("pong", data, now_ms, re)


def ping(epoch: str, pos: int | None, sent: int, now_ms: int) -> bytes:
    """`sent`: event frames put before this one on this connection; with an equal own count a client holds all ≤ pos."""
    return message("ping", {"timestamp": now_ms, "epoch": epoch, "pos": pos, "sent": sent}, now_ms)


def resync(reason: Literal["gap", "epoch_changed"], log: LogPosition, now_ms: int) -> bytes:
    """What follows the client's position cannot be given; `log` is the one in use now."""
    return message("resync", {"reason": reason, **attrs.asdict(log)}, now_ms)


def status_at_once(health: dict[str, Any], now_ms: int) -> bytes:
    """The one event that may come without a place in the log: the log cannot be written."""
    return message(STATUS, health, now_ms)


def server_shutdown(reason: Literal["restart", "stop"], reconnect_after_ms: int, now_ms: int) -> bytes:
    """`reconnect_after_ms` counts from the close."""
    return message("server_shutdown", {"reason": reason, "reconnect_after_ms": reconnect_after_ms}, now_ms)
