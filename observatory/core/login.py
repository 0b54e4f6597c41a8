"""One-time links that give a browser its cookie: /login/CODE, made from the token by whoever may read its file.

A code is a time, a nonce, and a MAC over both under the token. So the server can tell its own without having been asked
for one; it only remembers those that were used, for as long as they would be valid.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode

import attrs

LOGIN = "/login/"
LINK_SECONDS = 60.0
EARLY_SECONDS = 5.0  # clocks of two machines may differ a little
NONCE_BYTES = 16
COOKIE_SECONDS = 30 * 86_400
_TIME_BYTES = 8
_CODE_BYTES = _TIME_BYTES + NONCE_BYTES + 32


def mint(token: str, now: float, nonce: bytes) -> str:
    """A code for a link; `now` is the wall clock in seconds, `nonce` NONCE_BYTES random bytes."""
    body = round(now * 1000).to_bytes(_TIME_BYTES, "big") + nonce
    return urlsafe_b64encode(body + _mac(token, body)).decode().rstrip("=")


def _mac(token: str, body: bytes) -> bytes:
    return hmac.digest(token.encode(), b"observatory login" + body, "sha256")


@attrs.define
class Links:
    """The codes that were used. Only what is genuine is remembered, so strangers cannot fill it."""

    _used: dict[bytes, float] = attrs.field(factory=dict, repr=False)  # in the order of use

    def redeem(self, code: str, token: str, now: float) -> bool:
        """Whether a code is genuine, fresh, and used for the first time."""
        try:
            raw = urlsafe_b64decode(code + "=" * (-len(code) % 4))
        except ValueError:
            return False
        if len(raw) != _CODE_BYTES or urlsafe_b64encode(raw).decode().rstrip("=") != code:
            return False
        body, mac = raw[:-32], raw[-32:]
        age = now - int.from_bytes(body[:_TIME_BYTES], "big") / 1000
        genuine = hmac.compare_digest(mac, _mac(token, body))
        self._forget(now)
        if not genuine or not -EARLY_SECONDS <= age <= LINK_SECONDS or body in self._used:
            return False
        self._used[body] = now
        return True

    def _forget(self, now: float) -> None:
        for body, at in tuple(self._used.items()):
            if abs(now - at) <= LINK_SECONDS + EARLY_SECONDS:
                return
            del self._used[body]


def set_cookie(name: str, token: str, secure: bool) -> str:
    """The value of Set-Cookie: out of reach for scripts, and never sent along with another site's request."""
    flags = "; Secure" if secure else ""
    return f"{name}={token}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Strict{flags}"
