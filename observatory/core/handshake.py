"""The upgrade request: may this client connect? Pure checks in the order of protocol.md §1."""

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, urlsplit

import attrs

from observatory.core.replies import PROTOCOL
from observatory.core.requests import MAX_TOPICS
from observatory.core.topics import is_topic

ENDPOINTS = ("/ws", "/")
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
CREDENTIAL_KEYS = frozenset({"token", "access_token", "auth", "authorization", "key", "api_key"})
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@attrs.frozen
class Head:
    """The head of an HTTP request. `headers` have lower-case names; a repeated header's values are joined by commas."""

    method: str
    target: str
    headers: Mapping[str, str]


@attrs.frozen
class Policy:
    """Who may connect. hosts: names allowed in Host, without port; origins: allowed although they differ from Host."""

    hosts: frozenset[str] = LOOPBACK_NAMES
    origins: frozenset[str] = frozenset()


@attrs.frozen
class Refused:
    """An HTTP answer instead of an upgrade."""

    status: int
    code: str
    message: str
    headers: tuple[tuple[str, str], ...] = ()


@attrs.frozen
class Accepted:
    """An upgrade to carry out. topics: from ?subscribe, None when the query has none."""

    legacy: bool
    topics: frozenset[str] | None


def check(head: Head, policy: Policy) -> Accepted | Refused:
    """The first failing check answers."""
    url = urlsplit(head.target)
    if url.path not in ENDPOINTS or (url.path == "/" and not _is_upgrade(head)):
        return Refused(404, "NOT_FOUND", "the WebSocket endpoint is /ws")
    query = parse_qsl(url.query, keep_blank_values=True)
    refusal = _check_upgrade(head) or _check_query(query) or _check_host(head, policy) or _check_origin(head, policy)
    if refusal is not None:
        return refusal
    topics = frozenset(value for key, value in query if key == "subscribe")
    return Accepted("sec-websocket-protocol" not in head.headers, topics or None)


def _is_upgrade(head: Head) -> bool:
    return "websocket" in _tokens(head.headers.get("upgrade", ""))


def _tokens(value: str) -> list[str]:
    return [part.strip().lower() for part in value.split(",")]


def _check_upgrade(head: Head) -> Refused | None:
    version = (("Sec-WebSocket-Version", "13"),)
    good = (
        head.method == "GET"
        and _is_upgrade(head)
        and "upgrade" in _tokens(head.headers.get("connection", ""))
        and head.headers.get("sec-websocket-version") == "13"
        and head.headers.get("sec-websocket-key", "") != ""
    )
    if not good:
        return Refused(400, "BAD_UPGRADE", "this is a WebSocket endpoint (RFC 6455, version 13)", version)
    offered = head.headers.get("sec-websocket-protocol")
    if offered is not None and PROTOCOL not in [part.strip() for part in offered.split(",")]:
        return Refused(400, "BAD_SUBPROTOCOL", f"offer the subprotocol {PROTOCOL}, or none", version)
    return None


def _check_query(query: Iterable[tuple[str, str]]) -> Refused | None:
    topics = 0
    for key, value in query:
        if key.lower() in CREDENTIAL_KEYS:
            return Refused(400, "CREDENTIAL_IN_URL", "a credential must not be in the URL, where logs keep it")
        if key != "subscribe":
            continue
        topics += 1
        if not is_topic(value) or topics > MAX_TOPICS:
            return Refused(400, "INVALID_TOPIC", "a topic in ?subscribe is not valid, or there are too many")
    return None


def _check_host(head: Head, policy: Policy) -> Refused | None:
    if _host_name(head.headers.get("host", "")) in policy.hosts:
        return None
    return Refused(421, "HOST_NOT_ALLOWED", "the Host header names no host of this server; --allow-host adds one")


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()


def _check_origin(head: Head, policy: Policy) -> Refused | None:
    origin = head.headers.get("origin")
    if origin is None or origin.lower() in policy.origins:
        return None
    if origin.lower() != "null":
        url = urlsplit(origin)
        mine = head.headers["host"].lower()
        port = DEFAULT_PORTS.get(url.scheme)
        here = {mine, f"{mine}:{port}", mine.removesuffix(f":{port}")}
        if url.netloc.lower() in here:
            return None
    return Refused(403, "ORIGIN_NOT_ALLOWED", "a page of another origin may not connect; --allow-origin adds one")
