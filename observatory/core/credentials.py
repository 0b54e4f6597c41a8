"""Credentials: where a request may carry one, and whether it is good. A secret is compared in constant time."""

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping

from observatory.core.errors import RequestError
from observatory.core.requests import RequestId, parse_envelope

SUBPROTOCOL_PREFIX = "observatory.token."
COOKIE = "observatory_token"
AUTH = "auth"

_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)


def presented(headers: Mapping[str, str]) -> tuple[bytes, ...]:
    """Every credential in the head of a request: subprotocol, Authorization, cookie. One that cannot be read is b""."""
    offered = [part.strip() for part in headers.get("sec-websocket-protocol", "").split(",")]
    bearer = _BEARER.fullmatch(headers.get("authorization", "").strip())
    cookies = [part.strip().partition("=") for part in re.split("[;,]", headers.get("cookie", ""))]
    return (
        *(_decoded(part.removeprefix(SUBPROTOCOL_PREFIX)) for part in offered if part.startswith(SUBPROTOCOL_PREFIX)),
        *([] if bearer is None else [bearer[1].encode()]),
        *(value.strip('"').encode() for name, _, value in cookies if name == COOKIE),
    )


def as_subprotocol(token: str) -> str:
    """The subprotocol entry that carries a token."""
    return SUBPROTOCOL_PREFIX + urlsafe_b64encode(token.encode()).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (NotBase64, ValueError):
        return b""


def is_good(credential: bytes, token: str) -> bool:
    """Whether it is the token."""
    return hmac.compare_digest(credential, token.encode())


def any_good(credentials: tuple[bytes, ...], token: str) -> bool:
    """Whether one of them is: a stale cookie beside a good token does no harm. All are looked at."""
    return sum(is_good(one, token) for one in credentials) > 0


def authenticate(text: str | bytes, token: str) -> RequestId:
    """Judge the first frame of a client from which a credential is due; returns its `id`.

    Raises RequestError UNAUTHORIZED, whatever else it was.
    """
    re: RequestId = None
    try:
        envelope = parse_envelope(text if isinstance(text, str) else "")
        re = envelope.re
    except RequestError as failure:
        raise _unauthorized("send auth with the token first", failure.re) from None
    if envelope.type != AUTH:
        raise _unauthorized("send auth with the token first", re)
    given = envelope.data.get("token")
    if not isinstance(given, str) or not is_good(given.encode(errors="replace"), token):
        raise _unauthorized("the token is not valid", re)
    return re


def late(re: RequestId = None) -> RequestError:
    """The error of a client that sent no `auth` in time."""
    return _unauthorized("no auth in time", re)


def _unauthorized(message: str, re: RequestId) -> RequestError:
    failure = RequestError("UNAUTHORIZED", message)
    failure.re = re
    return failure
