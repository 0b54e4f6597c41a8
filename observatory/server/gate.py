"""The gate: finds out what can be known of whoever knocks, and has core/handshake.py judge it."""

import random
import time
from collections.abc import Callable

import attrs
import structlog
import trio

from observatory.core.credentials import COOKIE, is_good
from observatory.core.handshake import Accepted, Head, Login, Policy, Refused, Visitor, check
from observatory.core.http_request import check_request
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
        """What becomes of an upgrade. Raises OSError when the peer is gone already."""
        theirs, ours = socket.getpeername()[:2], socket.getsockname()[:2]
        verdict = check(head, self.policy, self._visitor(theirs, ours, head))
        return self.log_in(verdict.code, theirs, head) if isinstance(verdict, Login) else verdict

    def address(self, socket: trio.socket.SocketType, head: Head) -> str:
        """Whose request it is, also behind proxies."""
        theirs = socket.getpeername()[0]
        return str(self.policy.proxies.client(theirs, head.headers.get("x-forwarded-for")) or theirs)

    def caller(self, socket: trio.socket.SocketType, head: Head) -> "Caller":
        """Who makes the requests of a connection that begins with this head. Raises OSError as `judge`."""
        theirs, ours = socket.getpeername()[:2], socket.getsockname()[:2]
        return Caller(self, theirs, self._visitor(theirs, ours, head))

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

    def log_in(self, code: str, theirs: peer.Address, head: Head) -> Welcome | Refused:
        """Give a cookie for the code of a one-time link."""
        token = self.current()
        if token is None or not self._links.redeem(code, token, time.time()):
            return Refused(403, "LINK_NOT_VALID", "a link works once, and for 60 seconds; make another with"
                           " observatory token --link")  # fmt: skip
        return Welcome(set_cookie(COOKIE, token, self._is_secure(theirs, head)))

    def cookie_for(self, token: str, theirs: peer.Address, head: Head) -> str | None:
        """The value of Set-Cookie for whoever shows the token; None for another one, and where none is asked for."""
        known = self.current()
        if known is None or not is_good(token.encode(errors="replace"), known):
            return None
        return set_cookie(COOKIE, known, self._is_secure(theirs, head))

    def no_cookie(self) -> str:
        """The value of Set-Cookie that takes it away."""
        return f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"

    def _is_secure(self, theirs: peer.Address, head: Head) -> bool:
        proxied = address_of(theirs[0]) in self.policy.proxies
        return self.tls or (proxied and head.headers.get("x-forwarded-proto", "").lower() == "https")


@attrs.frozen(eq=False)
class Caller:
    """The other end of one HTTP connection, asked about once; each of its requests is judged by itself."""

    gate: Gate
    theirs: peer.Address
    visitor: Visitor

    def judge(self, head: Head, *, open_to_all: bool) -> Refused | None:
        """Why a request is refused. open_to_all: it needs no credential."""
        visitor = attrs.evolve(self.visitor, token=self.gate.current())
        return check_request(head, self.gate.policy, visitor, open_to_all=open_to_all)
