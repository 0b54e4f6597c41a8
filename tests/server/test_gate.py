"""The gate over real sockets: whose process it is, which token it has, how often it comes."""

import os
import socket
import sys
import time
from pathlib import Path

import orjson
import pytest
import trio

from observatory.core.credentials import as_subprotocol
from observatory.core.drain import Pace
from observatory.core.handshake import Policy
from observatory.core.login import mint
from observatory.core.replies import Timing
from observatory.core.visitors import Proxies, networks_of
from observatory.server import peer
from tests.server.serving import Raw, Running, code_of, serving

TOKEN = "k" * 43
NONCE = b"n" * 16
STRANGER = 65534
V1 = "observatory.v1"
KNOCK = """
import os, socket, sys
"".encode("idna")  # loaded now: the other user may not enter the directory of this interpreter
os.setgroups([])
os.setuid(int(sys.argv[3]))
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as one:
    one.sendall(sys.argv[2].encode())
    answer = one.makefile("rb")
    status = answer.readline().decode().split()[1]
    print(status)
    print(answer.read().decode() if status != "101" else "")
"""
HEAD = (
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("another user's process can be started by root only")


async def knock_as(uid: int, port: int) -> str:
    """The answer to a handshake that another user's process makes."""
    done = await trio.run_process([sys.executable, "-I", "-c", KNOCK, str(port), HEAD, str(uid)], capture_stdout=True)
    return done.stdout.decode()


async def status_of(running: Running, target: str = "/ws", **headers: str | None) -> tuple[int, dict[str, str], str]:
    raw = await running.socket()
    await raw.request(target, **headers)
    status, found, body = await raw.response()
    code = "" if status in (101, 200) else orjson.loads(body)["error"]["code"]
    await raw.aclose()
    return status, found, code


# -- whose process it is -----------------------------------------------------------------------------------------------


async def test_a_process_of_another_user_is_refused(tmp_path: Path) -> None:
    as_root()
    async with serving(tmp_path) as running:
        answer = await knock_as(STRANGER, running.port)
        assert answer.startswith("403\n")
        assert "NOT_YOUR_SERVER" in answer
        assert (await knock_as(0, running.port)).startswith("101\n")
        assert running.server.counters.refused == {403: 1}


async def test_with_a_token_the_token_decides_and_not_the_user(tmp_path: Path) -> None:
    as_root()
    async with serving(tmp_path, token=lambda: TOKEN) as running:
        assert (await knock_as(STRANGER, running.port)).startswith("401\n")


@pytest.mark.parametrize(
    ("host", "listens", "family"),
    [("127.0.0.1", "127.0.0.1", socket.AF_INET), ("::1", "::1", socket.AF_INET6), ("127.0.0.1", "::", socket.AF_INET6)],
    ids=["IPv4", "IPv6", "IPv4 in IPv6 clothes"],
)
def test_the_owner_of_a_connection_is_told_as_long_as_there_is_one(
    host: str, listens: str, family: socket.AddressFamily
) -> None:
    with socket.create_server((listens, 0), family=family, dualstack_ipv6=listens == "::") as listener:
        theirs = socket.create_connection((host, listener.getsockname()[1]))
        ours, _ = listener.accept()
        with ours:
            ends = ours.getpeername()[:2], ours.getsockname()[:2]
            assert peer.owner(*ends) == os.geteuid()
            assert peer.owner(ends[0], (ends[1][0], 1)) is None
            theirs.close()
            assert peer.owner(*ends) is None


def test_owners_can_be_told_here() -> None:
    assert peer.why_not() is None


def test_root_and_the_own_user_are_ours_and_nobody_else() -> None:
    assert peer.is_ours(os.geteuid())
    assert peer.is_ours(0)
    assert not peer.is_ours(os.geteuid() + 1)
    assert not peer.is_ours(None)


def test_where_the_kernel_does_not_tell_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(peer, "NETLINK_SOCK_DIAG", 31)  # no such protocol, as in a sandbox without it
        assert "the kernel does not say whose a connection is" in str(peer.why_not())
    with monkeypatch.context() as patched:
        patched.setattr(sys, "platform", "darwin")
        assert peer.why_not() == "this system does not say whose a connection is"


async def test_a_server_that_cannot_tell_says_so_once_and_lets_everybody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peer, "why_not", lambda: "no netlink here")
    async with serving(tmp_path) as running:
        for _ in range(2):
            assert (await status_of(running))[0] == 101
    assert capsys.readouterr().out.count("server.peers_unchecked") == 1


async def test_a_look_up_that_fails_later_lets_nobody_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as running:
        await running.until(lambda: running.server.gate.asks_owner)
        assert (await status_of(running))[0] == 101
        monkeypatch.setattr(peer, "NETLINK_SOCK_DIAG", 31)
        assert (await status_of(running))[::2] == (403, "NOT_YOUR_SERVER")


# -- the token ---------------------------------------------------------------------------------------------------------

GOOD = [
    {"Sec-WebSocket-Protocol": f"{V1}, {as_subprotocol(TOKEN)}"},
    {"Sec-WebSocket-Protocol": f"{as_subprotocol(TOKEN)}, {V1}"},
    {"Authorization": f"Bearer {TOKEN}"},
    {"Authorization": f"bearer  {TOKEN}", "Sec-WebSocket-Protocol": None},
    {"Cookie": f"a=b; observatory_token={TOKEN}"},
    {"Cookie": f"observatory_token=stale; observatory_token={TOKEN}"},
    {"Cookie": "observatory_token=stale", "Authorization": f"Bearer {TOKEN}"},
]
BAD = [
    {"Sec-WebSocket-Protocol": None},
    {"Sec-WebSocket-Protocol": f"{V1}, {as_subprotocol('x' * 43)}"},
    {"Sec-WebSocket-Protocol": f"{V1}, observatory.token."},
    {"Sec-WebSocket-Protocol": f"{V1}, observatory.token.é"},
    {"Authorization": f"Bearer {TOKEN}x"},
    {"Cookie": "observatory_token=stale"},
    {"Authorization": f"Basic {TOKEN}", "Sec-WebSocket-Protocol": None},
]


@pytest.mark.parametrize("headers", GOOD)
async def test_one_good_credential_is_enough_and_is_never_echoed(
    tmp_path: Path, headers: dict[str, str | None]
) -> None:
    async with serving(tmp_path, token=lambda: TOKEN) as running:
        raw = await running.socket()
        await raw.request("/ws", **headers)
        status, found, _ = await raw.response()
        assert status == 101
        assert found.get("sec-websocket-protocol") in (V1, None)
        hello = await raw.message()
        assert hello["type"] == "connection_established"
        assert "re" not in hello


@pytest.mark.parametrize("headers", BAD)
async def test_without_a_good_one_it_is_401(tmp_path: Path, headers: dict[str, str | None]) -> None:
    async with serving(tmp_path, token=lambda: TOKEN) as running:
        status, found, code = await status_of(running, "/ws", **headers)
        assert (status, code) == (401, "UNAUTHORIZED")
        assert found["www-authenticate"] == "Bearer"


async def test_a_client_without_a_credential_is_upgraded_hears_nothing_and_authenticates_first(tmp_path: Path) -> None:
    async with serving(tmp_path, token=lambda: TOKEN) as running:
        raw = await running.upgraded("/ws?subscribe=all_conversations")
        await running.publish()
        hello = await raw.ask("auth", {"token": TOKEN}, id="a")
        assert (hello["type"], hello["re"]) == ("connection_established", "a")
        assert hello["data"]["subscriptions"] == ["all_conversations"]
        (event,) = await running.publish()
        assert (await raw.message())["seq"] == event.seq
        assert code_of(await raw.ask("auth", {"token": TOKEN})) == "INVALID_MESSAGE"


FIRST = [
    ('{"type":"auth","id":1,"data":{"token":"wrong"}}', 1),
    ('{"type":"auth","id":1,"data":{"token":7}}', 1),
    ('{"type":"auth","id":1}', 1),
    ('{"type":"get_status","id":1}', 1),
    ("nonsense", None),
    (b"\x00", None),
]


@pytest.mark.parametrize(("message", "re"), FIRST)
async def test_whatever_else_comes_first_is_answered_unauthorized_and_4500(
    tmp_path: Path, message: str | bytes, re: int | None
) -> None:
    async with serving(tmp_path, token=lambda: TOKEN) as running:
        raw = await running.upgraded()
        await raw.send(message, 1 if isinstance(message, str) else 2)
        answer = await raw.message()
        assert (code_of(answer), answer.get("re")) == ("UNAUTHORIZED", re)
        assert (await raw.close_frame())[0] == 4500


async def test_auth_is_due_in_time(tmp_path: Path) -> None:
    async with serving(tmp_path, token=lambda: TOKEN, timing=Timing(auth=0.1)) as running:
        raw = await running.upgraded()
        assert code_of(await raw.message()) == "UNAUTHORIZED"
        assert (await raw.close_frame())[0] == 4500


async def test_the_time_for_the_first_request_begins_after_auth(tmp_path: Path) -> None:
    async with serving(tmp_path, token=lambda: TOKEN, timing=Timing(first_request=0.3, auth=20)) as running:
        waiting, idle = await running.upgraded(), await running.upgraded()
        await idle.ask("auth", {"token": TOKEN})
        assert (await idle.close_frame())[0] == 4000
        assert (await waiting.ask("auth", {"token": TOKEN}))["type"] == "connection_established"


async def test_a_peer_may_leave_before_it_authenticates_and_a_server_may_end(tmp_path: Path) -> None:
    async with serving(tmp_path, token=lambda: TOKEN) as running:
        polite, rude, last = [await running.upgraded() for _ in range(3)]
        await polite.send(b"\x03\xe8", 8)
        assert await polite.close_frame() == (1000, "")
        rude.reset()
        await running.until(lambda: len(running.server.connections) == 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.server.shut_down, Pace())
            assert (await last.message())["type"] == "server_shutdown"
            assert (await last.close_frame())[0] == 1012
            await last.aclose()
        assert running.server.counters.failures == 0


async def test_a_replaced_token_closes_those_who_came_with_the_old_one(tmp_path: Path) -> None:
    tokens = [TOKEN]
    async with serving(tmp_path, token=lambda: tokens[-1]) as running:
        old = await running.upgraded(Authorization=f"Bearer {TOKEN}")
        await old.message()
        tokens.append("m" * 43)
        assert (await status_of(running, Authorization=f"Bearer {TOKEN}"))[0] == 401
        assert await old.close_frame() == (4500, "the token was replaced")
        await running.upgraded(Authorization=f"Bearer {'m' * 43}")


# -- the link for browsers ---------------------------------------------------------------------------------------------


async def test_a_link_gives_a_browser_its_cookie_once(tmp_path: Path) -> None:
    async with serving(tmp_path, token=lambda: TOKEN) as running:
        link = f"/login/{mint(TOKEN, time.time(), NONCE)}"
        status, found, _ = await status_of(running, link, Upgrade=None)
        cookie = found["set-cookie"]
        assert status == 200
        assert found["cache-control"] == "no-store"
        name, _, flags = cookie.partition("; ")
        assert flags == "Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict"
        assert (await status_of(running, Cookie=name, Sec_WebSocket_Protocol=None))[0] == 101
        assert (await status_of(running, link, Upgrade=None))[::2] == (403, "LINK_NOT_VALID")


async def test_a_link_is_no_link_where_no_token_is_asked_for_or_the_request_is_another(tmp_path: Path) -> None:
    link = f"/login/{mint(TOKEN, time.time(), NONCE)}"
    async with serving(tmp_path) as running:
        assert (await status_of(running, link))[0] == 404
    async with serving(tmp_path, token=lambda: TOKEN) as running:
        assert (await status_of(running, link, Host="evil.example"))[0] == 421
        assert (await status_of(running, link, Origin="http://evil.example"))[0] == 403
        assert (await status_of(running, "/login/" + "A" * 75))[::2] == (403, "LINK_NOT_VALID")
        assert (await status_of(running, link))[0] == 200


async def test_behind_a_proxy_with_tls_the_cookie_is_for_tls_only(tmp_path: Path) -> None:
    policy = Policy(proxies=Proxies(networks_of(["127.0.0.1"])))
    async with serving(tmp_path, token=lambda: TOKEN, policy=policy) as running:
        link = f"/login/{mint(TOKEN, time.time(), NONCE)}"
        _, found, _ = await status_of(running, link, X_Forwarded_Proto="https")
        assert found["set-cookie"].endswith("; Secure")


# -- how often ---------------------------------------------------------------------------------------------------------


async def test_an_address_that_knocks_too_often_is_429_and_the_others_are_not(tmp_path: Path) -> None:
    policy = Policy(proxies=Proxies(networks_of(["127.0.0.0/8"])), handshakes_per_s=0.001, handshake_burst=2)
    async with serving(tmp_path, policy=policy) as running:
        answers = [await status_of(running, X_Forwarded_For="198.51.100.7") for _ in range(3)]
        assert [status for status, _, _ in answers] == [101, 101, 429]
        assert answers[-1][2] == "TOO_MANY_HANDSHAKES"
        assert 1 <= int(answers[-1][1]["retry-after"]) <= 10
        assert (await status_of(running, X_Forwarded_For="198.51.100.8"))[0] == 101
        assert (await status_of(running))[0] == 101  # the proxy itself
        assert (await status_of(running, X_Forwarded_For="198.51.100.7", Origin="null"))[0] == 403  # comes first


async def test_without_a_proxy_nobody_is_believed_and_loopback_is_exempt(tmp_path: Path) -> None:
    async with serving(tmp_path, policy=Policy(handshakes_per_s=0.001, handshake_burst=1)) as running:
        for _ in range(3):
            assert (await status_of(running, X_Forwarded_For="198.51.100.7"))[0] == 101


async def test_the_address_of_the_connection_may_stand_in_host(tmp_path: Path) -> None:
    async with serving(tmp_path, policy=Policy(hosts=frozenset())) as running:
        assert (await status_of(running, Host=f"127.0.0.1:{running.port}"))[0] == 101
        assert (await status_of(running, Host="127.0.0.2"))[0] == 421
        assert (await status_of(running, Host="localhost"))[0] == 421


async def test_no_secret_is_in_a_repr(tmp_path: Path) -> None:
    async with serving(tmp_path, token=lambda: TOKEN) as running:
        raw: Raw = await running.upgraded(Authorization=f"Bearer {TOKEN}")
        await raw.message()
        (connection,) = running.server.connections
        assert TOKEN not in repr((running.server, running.server.gate, connection))
