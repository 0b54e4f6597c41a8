"""The gate: finds out what can be known of whoever knocks, and has core/handshake.py judge it."""

import random
import time
from collections.abc import Callable

import attrs
import structlog
import trio

from observatory.core.credentials import COOKIE
from observatory.core.handshake import Accepted, Head, Login, Policy, Refused, Visitor, check
from observatory.core.login import Links, set_cookie
from observatory.core.visitors import KnockRates, address_of
from observatory.server import peer

log = structlog.get_logger()
RETRY_AFTER = (1, 10)  # seconds, drawn, so that those who were refused do not come back at once
PEERS_HINT = "other users of this machine can connect: start it with --auth token if there are any"


@attrs.frozen
class Welcome:
    """A browser that gets its cookie: the value of Set-Cookie."""

    cookie: str = attrs.field(repr=False)


@attrs.define(eq=False)
class Gate:
    """One server's gate. All calls come from its event loop.

    token: gives the token in force, None if no credentials are asked for; then the user at the other end is asked for
    instead, by `owner_of`. on_rotation: called when the token is not the one of before. tls: whether browsers come over
    TLS.
    """

    policy: Policy
    token: Callable[[], str] | None = attrs.field(default=None, repr=False)
    tls: bool = False
    on_rotation: Callable[[], None] = lambda: None
    owner_of: Callable[[peer.Address, peer.Address], int | None] = peer.owner
    asks_owner: bool = attrs.field(init=False)
    _rates: KnockRates = attrs.field(init=False)
    _links: Links = attrs.field(init=False, factory=Links)
    _known: str | None = attrs.field(init=False, default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        self.asks_owner = self.token is None
        self._rates = KnockRates(self.policy.handshakes_per_s, self.policy.handshake_burst, self.policy.proxies)

    def open(self) -> None:
        """Find out once whether owners can be told here, and say so if not."""
        if self.asks_owner and (reason := peer.why_not()) is not None:
            self.asks_owner = False
            log.warning("server.peers_unchecked", reason=reason, hint=PEERS_HINT)

    def judge(self, socket: trio.socket.SocketType, head: Head) -> Accepted | Refused | Welcome:
        """What becomes of a request. Raises OSError when the peer is gone already."""
        theirs, ours = socket.getpeername()[:2], socket.getsockname()[:2]
        verdict = check(head, self.policy, self._visitor(theirs, ours, head))
        return self._log_in(verdict, theirs, head) if isinstance(verdict, Login) else verdict

    def _visitor(self, theirs: peer.Address, ours: peer.Address, head: Head) -> Visitor:
        address = self.policy.proxies.client(theirs[0], head.headers.get("x-forwarded-for"))
        may = self._rates.take(address, trio.current_time())
        local = str(address_of(ours[0]))
        return Visitor(
            local=f"[{local}]" if ":" in local else local,
            ours=not self.asks_owner or self._is_ours(theirs, ours),
            token=self.current(),
            retry_after=None if may else random.randint(*RETRY_AFTER),
        )

    def _is_ours(self, theirs: peer.Address, ours: peer.Address) -> bool:
        try:
            return peer.is_ours(self.owner_of(theirs, ours))
        except OSError as error:  # whom we cannot tell we do not let in
            log.warning("client.owner_unknown", error=error.strerror or str(error))
            return False

    def current(self) -> str | None:
        """The token in force."""
        if self.token is None:
            return None
        token = self.token()
        before, self._known = self._known, token
        if before is not None and before != token:
            self.on_rotation()
        return token

    def _log_in(self, login: Login, theirs: peer.Address, head: Head) -> Welcome | Refused:
        token = self.current()
        if token is None or not self._links.redeem(login.code, token, time.time()):
            return Refused(403, "LINK_NOT_VALID", "a link works once, and for 60 seconds; make another with"
                           " observatory token --link")  # fmt: skip
        proxied = address_of(theirs[0]) in self.policy.proxies
        secure = self.tls or (proxied and head.headers.get("x-forwarded-proto", "").lower() == "https")
        return Welcome(set_cookie(COOKIE, token, secure))
