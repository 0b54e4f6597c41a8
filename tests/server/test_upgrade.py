"""The handshake on the wire: who is let in, and how the others are told."""

from pathlib import Path

import orjson
import pytest
import trio
import trio.testing
from trio.testing import memory_stream_pair

from observatory.core.handshake import Policy, Refused
from observatory.core.replies import Timing
from observatory.server import upgrade
from tests.server.serving import HEAD, Raw, Running, masked, serving

POLICY = Policy(frozenset({"localhost", "127.0.0.1", "[::1]", "box.local"}), frozenset({"http://localhost:5173"}))

REFUSALS: list[tuple[str, str, dict[str, str | None], int, str]] = [
    ("another path", "/nowhere", {}, 404, "NOT_FOUND"),
    ("no upgrade at the root", "/", {"Upgrade": None}, 404, "NOT_FOUND"),
    ("no upgrade", "/ws", {"Upgrade": None}, 400, "BAD_UPGRADE"),
    ("another version", "/ws", {"Sec-WebSocket-Version": "8"}, 400, "BAD_UPGRADE"),
    ("a key that is none", "/ws", {"Sec-WebSocket-Key": "abc"}, 400, "BAD_UPGRADE"),
    ("no Connection", "/ws", {"Connection": "close"}, 400, "BAD_UPGRADE"),
    ("another subprotocol", "/ws", {"Sec-WebSocket-Protocol": "graphql-ws"}, 400, "BAD_SUBPROTOCOL"),
    ("a bad topic", "/ws?subscribe=nonsense", {}, 400, "INVALID_TOPIC"),
    ("a token in the URL", "/ws?token=abc", {}, 400, "CREDENTIAL_IN_URL"),
    ("a rebound name", "/ws", {"Host": "evil.example"}, 421, "HOST_NOT_ALLOWED"),
    ("a name that is none", "/ws", {"Host": "localhost:" + "9" * 70}, 421, "HOST_NOT_ALLOWED"),
    ("a foreign page", "/ws", {"Origin": "https://evil.example"}, 403, "ORIGIN_NOT_ALLOWED"),
    ("a page without origin", "/ws", {"Origin": "null"}, 403, "ORIGIN_NOT_ALLOWED"),
    ("an origin that is none", "/ws", {"Origin": "http://["}, 403, "ORIGIN_NOT_ALLOWED"),
    ("path before upgrade", "/nowhere", {"Upgrade": None}, 404, "NOT_FOUND"),
    ("upgrade before host", "/ws", {"Sec-WebSocket-Version": "8", "Host": "evil.example"}, 400, "BAD_UPGRADE"),
    ("topics before host", "/ws?subscribe=x", {"Host": "evil.example"}, 400, "INVALID_TOPIC"),
    ("host before origin", "/ws", {"Host": "evil.example", "Origin": "null"}, 421, "HOST_NOT_ALLOWED"),
]


async def answer(
    running: Running, target: str = "/ws", **headers: str | None
) -> tuple[int, dict[str, str], dict[str, str]]:
    raw = await running.socket()
    await raw.request(target, **headers)
    status, found, body = await raw.response()
    assert await raw.end() == b""
    return status, found, orjson.loads(body)["error"] if body else {}


@pytest.mark.parametrize(
    ("target", "headers", "status", "code"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS]
)
async def test_a_refusal_is_an_http_answer_with_a_json_body(
    tmp_path: Path, target: str, headers: dict[str, str | None], status: int, code: str
) -> None:
    async with serving(tmp_path, policy=POLICY) as running:
        found, fields, error = await answer(running, target, **headers)
        assert (found, error["code"]) == (status, code)
        assert set(error) == {"code", "message"}
        assert fields["content-type"] == "application/json"
        assert fields["connection"] == "close"
        assert (fields.get("sec-websocket-version") == "13") == (code in {"BAD_UPGRADE", "BAD_SUBPROTOCOL"})
        assert running.server.counters.refused == {status: 1}
        assert running.server.counters.accepted == 0


async def test_an_http_1_0_request_cannot_be_upgraded(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        raw = await running.socket()
        await raw.stream.send_all(b"GET /ws HTTP/1.0\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n")
        assert (await raw.response())[0] == 400


async def test_what_is_no_http_is_a_bad_request(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        raw = await running.socket()
        await raw.stream.send_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        status, headers, body = await raw.response()
        assert (status, headers["sec-websocket-version"]) == (400, "13")
        assert orjson.loads(body)["error"]["code"] == "BAD_REQUEST"


@pytest.mark.parametrize("size", [upgrade.MAX_HEAD, 10 * upgrade.MAX_HEAD])
async def test_a_head_over_16_kib_is_refused(tmp_path: Path, size: int) -> None:
    async with serving(tmp_path) as running:
        _, _, error = await answer(running, Cookie="x" * size)
        assert error == {"code": "BAD_REQUEST", "message": "the request head is larger than 16384 bytes"}


async def test_a_head_of_just_16_kib_is_fine(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        raw = await running.upgraded(Cookie="x" * (upgrade.MAX_HEAD - 300))
        assert (await raw.message())["type"] == "connection_established"


async def test_all_slots_taken_is_503_with_a_retry_after(tmp_path: Path) -> None:
    async with serving(tmp_path, max_clients=1) as running:
        first = await running.upgraded()
        status, headers, error = await answer(running)
        assert (status, error["code"]) == (503, "FULL")
        assert 1 <= int(headers["retry-after"]) <= 10
        await first.aclose()
        await running.until(lambda: running.server._open == 0)
        await running.upgraded()


async def test_a_draining_server_is_503(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        await running.server.close_now()
        status, headers, error = await answer(running)
        assert (status, error["code"]) == (503, "DRAINING")
        assert "retry-after" in headers
        assert (await answer(running, Host="evil.example"))[0] == 421  # the checks of the request come first


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://localhost:5173"},
        {"Origin": "http://LOCALHOST"},
        {"Origin": "http://localhost:8765", "Host": "LocalHost:8765"},
        {"Host": "[::1]:8765"},
        {"Host": "box.local"},
        {"Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket"},
        {"Sec-WebSocket-Protocol": "observatory.token.abc, observatory.v1"},
        {"Cookie": "naïve=1"},
    ],
)
async def test_who_is_let_in(tmp_path: Path, headers: dict[str, str | None]) -> None:
    async with serving(tmp_path, policy=POLICY) as running:
        raw = await running.socket()
        await raw.request("/ws", **headers)
        status, found, _ = await raw.response()
        assert status == 101
        assert found["sec-websocket-protocol"] == "observatory.v1"
        assert found["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


async def test_the_root_accepts_an_upgrade_too(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        await running.upgraded("/")


async def test_no_extension_is_negotiated(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        raw = await running.socket()
        await raw.request(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits")
        status, headers, _ = await raw.response()
        assert status == 101
        assert "sec-websocket-extensions" not in headers


async def test_frames_right_behind_the_head_are_read(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        raw = await running.socket()
        head = "\r\n".join(["GET /ws HTTP/1.1", *(f"{k}: {v}" for k, v in HEAD.items())]) + "\r\n\r\n"
        await raw.stream.send_all(head.encode() + masked('{"type":"ping","id":7}'))
        assert (await raw.response())[0] == 101
        assert (await raw.message())["type"] == "connection_established"
        assert (await raw.message())["re"] == 7


async def test_a_slow_head_is_dropped_without_an_answer_while_others_are_served(tmp_path: Path) -> None:
    async with serving(tmp_path, timing=Timing(handshake=0.2)) as running:
        slow = await running.socket()
        await slow.stream.send_all(b"GET /ws HT")
        other = await running.upgraded()
        assert (await other.message())["type"] == "connection_established"
        assert await slow.end() == b""
        await running.until(lambda: running.server._open == 1)
        assert running.server.counters.refused == {}


async def test_leaving_during_the_head_is_nobodys_business(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        for leave in (Raw.aclose, Raw.reset):
            raw = await running.socket()
            await raw.stream.send_all(b"GET /ws HT")
            await running.until(lambda: running.server._open == 1)
            gone = leave(raw)
            if gone is not None:
                await gone
            await running.until(lambda: running.server._open == 0)
        assert running.server.counters.failures == 0


async def test_a_head_may_come_byte_by_byte(autojump_clock: trio.testing.MockClock) -> None:
    client, server = memory_stream_pair()
    found = None

    async def read() -> None:
        nonlocal found
        found = await upgrade.read_head(server, 100)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for byte in b"GET /ws HTTP/1.1\r\nHost: a\r\nX: 1\r\nX: 2\r\n\r\n":
            await client.send_all(bytes((byte,)))
            await trio.sleep(1)
    assert found is not None
    assert not isinstance(found.head, Refused)
    assert found.head.headers == {"host": "a", "x": "1, 2"}
