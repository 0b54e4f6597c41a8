"""The upgrade request: may this client connect? Pure checks, in the order in which docs/protocol.md lists them."""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, urlsplit

import attrs

from observatory.core.credentials import any_good, presented
from observatory.core.login import LOGIN
from observatory.core.replies import PROTOCOL
from observatory.core.requests import MAX_TOPICS
from observatory.core.topics import is_topic
from observatory.core.visitors import Proxies

ENDPOINTS = ("/ws", "/")
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
CREDENTIAL_KEYS = frozenset({"token", "access_token", "auth", "authorization", "key", "api_key"})
NO_PROXIES = Proxies()
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::[0-9]{1,5})?", re.IGNORECASE)


@attrs.frozen
class Head:
    """The head of an HTTP request. `headers` have lower-case names; a repeated header's values are joined by commas."""

    method: str
    target: str
    headers: Mapping[str, str] = attrs.field(repr=False)  # there may be a credential among them
    version: str = "1.1"


@attrs.frozen
class Policy:
    """Who may connect. hosts: names allowed in Host, without port; origins: allowed although they differ from Host.

    proxies: whose X-Forwarded-For counts. base: the path under which a proxy shows this server, "" or /some/path.
    An address may make `handshakes_per_s`, and `handshake_burst` at once.
    """

    hosts: frozenset[str] = LOOPBACK_NAMES
    origins: frozenset[str] = frozenset()
    proxies: Proxies = NO_PROXIES
    handshakes_per_s: float = 20.0
    handshake_burst: float = 100.0
    base: str = ""


@attrs.frozen
class Visitor:
    """What is known of whoever knocks, beside its request.

    local: our address in this connection, as a Host header spells it. ours: it is a process of our own user or of root,
    or need not be. token: what a credential must be, None if none is asked for. retry_after: seconds that it must wait
    because it knocks too often.
    """

    local: str = ""
    ours: bool = True
    token: str | None = attrs.field(default=None, repr=False)
    retry_after: int | None = None


ANYONE = Visitor()


@attrs.frozen
class Refused:
    """An HTTP answer instead of an upgrade."""

    status: int
    code: str
    message: str
    headers: tuple[tuple[str, str], ...] = ()


@attrs.frozen
class Accepted:
    """An upgrade to carry out. topics: from ?subscribe, None when the query has none. due: `auth` must come first."""

    legacy: bool
    topics: frozenset[str] | None
    due: bool = False


@attrs.frozen
class Login:
    """A browser that wants its cookie, and shows the code of a one-time link for it."""

    code: str = attrs.field(repr=False)


def check(head: Head, policy: Policy, visitor: Visitor = ANYONE) -> Accepted | Refused | Login:
    """The first failing check answers."""
    path, _, query_string = head.target.partition("?")
    if path.startswith(LOGIN) and visitor.token is not None and head.method == "GET":
        refusal = check_host(head, policy, visitor) or check_origin(head, policy) or check_rate(visitor)
        return refusal or Login(path.removeprefix(LOGIN))
    if path not in ENDPOINTS or (path == "/" and not is_upgrade(head)):
        return Refused(404, "NOT_FOUND", "the WebSocket endpoint is /ws")
    query = parse_qsl(query_string, keep_blank_values=True)
    refusal = (
        _check_upgrade(head)
        or _check_query(query)
        or check_host(head, policy, visitor)
        or check_origin(head, policy)
        or check_owner(visitor)
        or _check_credentials(head, visitor)
        or check_rate(visitor)
    )
    if refusal is not None:
        return refusal
    topics = frozenset(value for key, value in query if key == "subscribe")
    return Accepted(_is_legacy(head), topics or None, visitor.token is not None and not presented(head.headers))


def _is_legacy(head: Head) -> bool:
    return "sec-websocket-protocol" not in head.headers


def is_upgrade(head: Head) -> bool:
    """Whether a request asks for a WebSocket."""
    return "websocket" in _tokens(head.headers.get("upgrade", ""))


def _tokens(value: str) -> list[str]:
    return [part.strip().lower() for part in value.split(",")]


def _check_upgrade(head: Head) -> Refused | None:
    version = (("Sec-WebSocket-Version", "13"),)
    good = (
        head.method == "GET"
        and head.version == "1.1"
        and is_upgrade(head)
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


def check_host(head: Head, policy: Policy, visitor: Visitor) -> Refused | None:
    """DNS rebinding: the name must be one of ours."""
    name = _host_name(head.headers.get("host", ""))
    if name in policy.hosts or (name and name == visitor.local):  # an address is no name that could be rebound
        return None
    return Refused(421, "HOST_NOT_ALLOWED", "the Host header names no host of this server; --allow-host adds one")


def _host_name(host: str) -> str:
    """The name without its port; "" when it is none."""
    found = _HOST.fullmatch(host)
    return "" if found is None else found[1].lower()


def check_origin(head: Head, policy: Policy) -> Refused | None:
    """Pages of other sites."""
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


def check_owner(visitor: Visitor) -> Refused | None:
    """Other users of this machine."""
    if visitor.ours:
        return None
    return Refused(403, "NOT_YOUR_SERVER", "this server belongs to another user of this machine; --auth token lets in"
                   " whoever has its token")  # fmt: skip


def _check_credentials(head: Head, visitor: Visitor) -> Refused | None:
    """A client of the protocol that shows none may still send one as its first frame."""
    if visitor.token is None:
        return None
    credentials = presented(head.headers)
    if any_good(credentials, visitor.token) or not (credentials or _is_legacy(head)):
        return None
    what = "the credential is not valid" if credentials else "a credential is needed"
    return Refused(401, "UNAUTHORIZED", f"{what}; see observatory token --help", (("WWW-Authenticate", "Bearer"),))


def check_rate(visitor: Visitor) -> Refused | None:
    """Who knocks too often."""
    if visitor.retry_after is None:
        return None
    wait = (("Retry-After", str(visitor.retry_after)),)
    return Refused(429, "TOO_MANY_HANDSHAKES", "too many connections from this address", wait)
