"""Who may connect: the checks, their order, and what a browser's headers mean."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.handshake import Accepted, Head, Login, Policy, Refused, Visitor, check

GOOD = {
    "host": "localhost:8765",
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-protocol": "observatory.v1",
}
POLICY = Policy(frozenset({"localhost", "[::1]"}), frozenset({"http://localhost:5173"}))


def head(target: str = "/ws", method: str = "GET", version: str = "1.1", **headers: str | None) -> Head:
    found = GOOD | {name.replace("_", "-"): value for name, value in headers.items()}
    return Head(method, target, {name: value for name, value in found.items() if value is not None}, version)


def verdict(one: Head, policy: Policy = POLICY) -> int:
    """The HTTP status."""
    found = check(one, policy)
    return found.status if isinstance(found, Refused) else 101


def test_a_client_of_the_protocol_is_accepted_without_topics() -> None:
    assert check(head(), POLICY) == Accepted(False, None)


def test_a_client_without_subprotocol_is_a_legacy_one() -> None:
    assert check(head(sec_websocket_protocol=None), POLICY) == Accepted(True, None)


def test_topics_in_the_url_are_decoded_and_counted_once() -> None:
    target = "/ws?subscribe=project%3Ap&subscribe=system&subscribe=system&other=1"
    assert check(head(target), POLICY) == Accepted(False, frozenset({"project:p", "system"}))


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/", 101), ("/ws", 101), ("/ws?", 101), ("/ws/", 404), ("/WS", 404), ("//ws", 404), ("*", 404), ("//[", 404),
        ("http://localhost/ws", 404), ("/ws?subscribe=", 400), ("/ws?subscribe=nonsense", 400),
        ("/ws?" + "&".join(["subscribe=system"] * 128), 101), ("/ws?" + "&".join(["subscribe=system"] * 129), 400),
        ("/ws?Token=x", 400), ("/ws?access_token=x", 400), ("/ws?api_key", 400),
    ],
)  # fmt: skip
def test_path_and_query(target: str, status: int) -> None:
    assert verdict(head(target)) == status


def test_the_root_is_an_endpoint_for_upgrades_only() -> None:
    assert verdict(head("/", upgrade=None)) == 404
    assert verdict(head("/", upgrade="h2c, WebSocket")) == 101


@pytest.mark.parametrize(
    "bad",
    [
        head(method="POST"), head(version="1.0"), head(upgrade=None), head(upgrade="h2c"), head(connection=None),
        head(connection="keep-alive"), head(sec_websocket_version=None), head(sec_websocket_version="8"),
        head(sec_websocket_version="13, 13"), head(sec_websocket_key=None), head(sec_websocket_key="AAAA"),
        head(sec_websocket_protocol=""), head(sec_websocket_protocol="Observatory.V1"),
    ],
)  # fmt: skip
def test_what_is_no_valid_upgrade_is_400_and_told_the_version(bad: Head) -> None:
    found = check(bad, POLICY)
    assert isinstance(found, Refused)
    assert found.status == 400
    assert found.headers == (("Sec-WebSocket-Version", "13"),)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 101), ("LOCALHOST:1", 101), ("[::1]", 101), ("[::1]:8765", 101), ("localhost:", 421), ("", 421),
        ("localhost.", 421), ("evil.example", 421), ("localhost:8765:9", 421), ("localhost:123456", 421),
        ("[::1", 421), ("[::2]", 421), ("::1", 421), ("localhost@evil", 421), ("[::1]evil", 421),
    ],
)  # fmt: skip
def test_the_host_names_this_server(host: str, status: int) -> None:
    assert verdict(head(host=host)) == status


def test_no_host_is_421() -> None:
    assert verdict(head(host=None)) == 421


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("localhost:8765", None, 101), ("localhost:8765", "http://localhost:8765", 101),
        ("localhost:8765", "HTTP://LocalHost:8765", 101), ("localhost", "http://localhost:80", 101),
        ("localhost:443", "https://localhost", 101), ("localhost:80", "http://localhost", 101),
        ("localhost", "http://localhost", 101), ("localhost:8765", "http://LOCALHOST:5173", 101),
        ("localhost:8765", "http://localhost", 403), ("localhost:80", "https://localhost", 403),
        ("localhost:8765", "http://localhost:8766", 403), ("localhost:8765", "http://u@localhost:8765", 403),
        ("localhost:8765", "null", 403), ("localhost:8765", "NULL", 403), ("localhost:8765", "", 403),
        ("localhost:8765", "http://[", 403), ("localhost:8765", "https://localhost:5173", 403),
    ],
)  # fmt: skip
def test_an_origin_is_here_or_on_the_list(host: str, origin: str | None, status: int) -> None:
    assert verdict(head(host=host, origin=origin)) == status


def test_null_may_be_on_the_list() -> None:
    assert verdict(head(origin="null"), attrs.evolve(POLICY, origins=frozenset({"null"}))) == 101


def test_the_first_failing_check_answers() -> None:
    all_bad = {"upgrade": "h2c", "host": "evil.example", "origin": "null"}
    assert verdict(head("/x?token=1", **all_bad)) == 404
    assert verdict(head("/ws?token=1", **all_bad)) == 400
    assert verdict(head("/ws?token=1", host="evil.example", origin="null")) == 400
    assert verdict(head("/ws", host="evil.example", origin="null")) == 421
    assert verdict(head("/ws", origin="null")) == 403


@given(st.text(), st.dictionaries(st.sampled_from([*GOOD, "origin"]), st.text()))
def test_no_head_ends_in_an_exception(target: str, headers: dict[str, str]) -> None:
    assert isinstance(check(Head("GET", f"/ws?{target}", GOOD | headers), POLICY), Accepted | Refused)


# -- who it is ---------------------------------------------------------------------------------------------------------

TOKEN = "s3cret-token_0123456789"
BEARER = f"Bearer {TOKEN}"
MINE = Visitor()
THEIRS = Visitor(ours=False)
GUARDED = Visitor(token=TOKEN)
FAST = Visitor(retry_after=7)

# Each row breaks one check and every later one: its own answers. From the top, the order of docs/protocol.md.
LATER = Visitor(ours=False, token=TOKEN, retry_after=7)
ORDER: list[tuple[int, str, Head, Visitor]] = [
    (404, "NOT_FOUND",
     head("/x?token=1&subscribe=x", upgrade="h2c", host="evil.example", origin="null"), LATER),
    (400, "BAD_UPGRADE",
     head("/ws?token=1&subscribe=x", upgrade="h2c", sec_websocket_protocol="x", host="evil", origin="null"), LATER),
    (400, "BAD_SUBPROTOCOL",
     head("/ws?token=1&subscribe=x", sec_websocket_protocol="x", host="evil", origin="null"), LATER),
    (400, "CREDENTIAL_IN_URL", head("/ws?token=1&subscribe=x", host="evil.example", origin="null"), LATER),
    (400, "INVALID_TOPIC", head("/ws?subscribe=x&token=1", host="evil.example", origin="null"), LATER),
    (421, "HOST_NOT_ALLOWED", head(host="evil.example", origin="null", authorization="Bearer x"), LATER),
    (403, "ORIGIN_NOT_ALLOWED", head(origin="null", authorization="Bearer x"), LATER),
    (403, "NOT_YOUR_SERVER", head(authorization="Bearer x"), LATER),
    (401, "UNAUTHORIZED", head(authorization="Bearer x"), attrs.evolve(LATER, ours=True)),
    (401, "UNAUTHORIZED", head(sec_websocket_protocol=None), attrs.evolve(LATER, ours=True)),
    (429, "TOO_MANY_HANDSHAKES", head(authorization=BEARER), attrs.evolve(LATER, ours=True)),
    (429, "TOO_MANY_HANDSHAKES", head(), attrs.evolve(LATER, ours=True)),
]  # fmt: skip


@pytest.mark.parametrize(("status", "code", "one", "visitor"), ORDER, ids=[f"{row[0]} {row[1]}" for row in ORDER])
def test_the_checks_run_in_their_order(status: int, code: str, one: Head, visitor: Visitor) -> None:
    found = check(one, POLICY, visitor)
    assert isinstance(found, Refused)
    assert (found.status, found.code) == (status, code)


def test_a_refusal_says_what_to_do_about_it() -> None:
    wrong = check(head(authorization="Bearer x"), POLICY, GUARDED)
    fast = check(head(), POLICY, FAST)
    assert isinstance(wrong, Refused)
    assert isinstance(fast, Refused)
    assert wrong.headers == (("WWW-Authenticate", "Bearer"),)
    assert fast.headers == (("Retry-After", "7"),)


def test_a_credential_is_due_from_a_client_of_the_protocol_that_shows_none() -> None:
    assert check(head(), POLICY, GUARDED) == Accepted(False, None, due=True)
    assert check(head(authorization=BEARER), POLICY, GUARDED) == Accepted(False, None)
    assert check(head(authorization=BEARER, sec_websocket_protocol=None), POLICY, GUARDED) == Accepted(True, None)
    assert check(head(authorization=BEARER), POLICY, MINE) == Accepted(False, None)
    assert verdict_of(head(cookie="observatory_token=stale"), GUARDED) == 401
    assert verdict_of(head(cookie="observatory_token=stale", authorization=BEARER), GUARDED) == 101
    assert verdict_of(head(), THEIRS) == 403


def verdict_of(one: Head, visitor: Visitor) -> int:
    found = check(one, POLICY, visitor)
    return found.status if isinstance(found, Refused) else 101


def test_the_address_of_the_connection_may_stand_in_host() -> None:
    here = Visitor(local="192.0.2.5")
    assert verdict_of(head(host="192.0.2.5:8765"), here) == 101
    assert verdict_of(head(host="192.0.2.6"), here) == 421
    assert verdict_of(head(host=None), Visitor()) == 421


@pytest.mark.parametrize(
    ("one", "visitor", "found"),
    [
        (head("/login/abc", upgrade=None), GUARDED, Login("abc")),
        (head("/login/", upgrade=None), GUARDED, Login("")),
        (head("/login/abc?x=1", upgrade=None), GUARDED, Login("abc")),
        (head("/login/abc", upgrade=None), MINE, 404),
        (head("/login/abc", method="POST"), GUARDED, 404),
        (head("/login/abc", host="evil.example", origin="null"), GUARDED, 421),
        (head("/login/abc", origin="null"), attrs.evolve(GUARDED, retry_after=7), 403),
        (head("/login/abc"), attrs.evolve(GUARDED, retry_after=7), 429),
    ],
)
def test_a_link_is_for_browsers_that_come_by_the_right_name(one: Head, visitor: Visitor, found: Login | int) -> None:
    got = check(one, POLICY, visitor)
    assert (got.status if isinstance(got, Refused) else got) == found


def test_no_credential_is_in_a_repr() -> None:
    assert TOKEN not in repr((head(authorization=BEARER), GUARDED, Login(TOKEN)))
