"""An HTTP request beside the WebSocket's: may it be answered? Pure checks, the same rules as for an upgrade.

Every request is judged by itself, also the later ones of a connection. Source: docs/security.md, docs/api.md.
"""

import re
from urllib.parse import parse_qsl

from observatory.core.credentials import any_good, presented
from observatory.core.handshake import (
    CREDENTIAL_KEYS,
    Head,
    Policy,
    Refused,
    Visitor,
    check_host,
    check_origin,
    check_owner,
    check_rate,
)

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
ELSEWHERE = frozenset({"cross-site", "same-site"})  # Sec-Fetch-Site of a page that is not ours; a browser always tells
_JSON = re.compile(r"application/json[ \t]*(?:;[ \t]*charset=\"?utf-8\"?[ \t]*)?", re.IGNORECASE)


def check_request(head: Head, policy: Policy, visitor: Visitor, *, open_to_all: bool = False) -> Refused | None:
    """The first failing check answers. open_to_all: no credential is needed for it."""
    return (
        check_host(head, policy, visitor)
        or check_origin(head, policy)
        or _check_site(head, policy)
        or check_owner(visitor)
        or _check_query(head)
        or (None if open_to_all else _check_credentials(head, visitor))
        or check_rate(visitor)
    )


def _check_site(head: Head, policy: Policy) -> Refused | None:
    """A page elsewhere may lead here by a link, and do nothing else: not even load what it could not read."""
    headers = head.headers
    allowed = headers.get("origin", "").lower() in policy.origins
    followed = headers.get("sec-fetch-mode") == "navigate" and head.method == "GET"
    if headers.get("sec-fetch-site") not in ELSEWHERE or allowed or followed:
        return None
    return Refused(403, "ORIGIN_NOT_ALLOWED", "a page of another site may not use this server; --allow-origin adds one")


def _check_query(head: Head) -> Refused | None:
    keys = (key.lower() for key, _ in parse_qsl(head.target.partition("?")[2], keep_blank_values=True))
    if CREDENTIAL_KEYS.isdisjoint(keys):
        return None
    return Refused(400, "CREDENTIAL_IN_URL", "a credential must not be in the URL, where logs keep it")


def _check_credentials(head: Head, visitor: Visitor) -> Refused | None:
    if visitor.token is None:
        return None
    credentials = presented(head.headers)
    if any_good(credentials, visitor.token):
        return None
    what = "the credential is not valid" if credentials else "a credential is needed"
    return Refused(401, "UNAUTHORIZED", f"{what}; see observatory token --help", (("WWW-Authenticate", "Bearer"),))


def check_content_type(head: Head) -> Refused | None:
    """What changes something must be JSON: no form of another site can send that without being asked about first."""
    if head.method in SAFE or _JSON.fullmatch(head.headers.get("content-type", "").strip()):
        return None
    return Refused(415, "NOT_JSON", "send Content-Type: application/json")


def without_base(target: str, base: str) -> str:
    """A request's target below the public path of this server: a proxy may have left that path on it or not."""
    if base and (target == base or target.startswith((f"{base}/", f"{base}?"))):
        rest = target.removeprefix(base)
        return rest if rest.startswith("/") else f"/{rest}"
    return target
