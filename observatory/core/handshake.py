"""The upgrade request: may this client connect? Pure checks in the order of protocol.md §1."""

import re
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

_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::[0-9]{1,5})?", re.IGNORECASE)


@attrs.frozen
class Head:
    """The head of an HTTP request. `headers` have lower-case names; a repeated header's values are joined by commas."""

    method: str
    target: str
    headers: Mapping[str, str]
    version: str = "1.1"


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
    path, _, query_string = head.target.partition("?")
    if path not in ENDPOINTS or (path == "/" and not _is_upgrade(head)):
        return Refused(404, "NOT_FOUND", "the WebSocket endpoint is /ws")
    query = parse_qsl(query_string, keep_blank_values=True)
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
        and head.version == "1.1"
        and _is_upgrade(head)
        and "upgrade" in _tokens(head.headers.get("connection", ""))
        and head.headers.get("sec-websocket-version") == "13"
        and _KEY.fullmatch(head.headers.get("sec-websocket-key", "")) is not None
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
    """The name without its port; "" when it is none."""
    found = _HOST.fullmatch(host)
    return "" if found is None else found[1].lower()


def _check_origin(head: Head, policy: Policy) -> Refused | None:
    origin = head.headers.get("origin")
    if origin is None or origin.lower() in policy.origins:
        return None
    if _is_here(origin, head.headers["host"].lower()):
        return None
    return Refused(403, "ORIGIN_NOT_ALLOWED", "a page of another origin may not connect; --allow-origin adds one")


def _is_here(origin: str, host: str) -> bool:
    """Whether an origin's host and port are those of the Host header, the default port filled in."""
    try:
        url = urlsplit(origin)
    except ValueError:
        return False
    port = DEFAULT_PORTS.get(url.scheme)
    return url.netloc.lower() in {host, f"{host}:{port}", host.removesuffix(f":{port}")}
