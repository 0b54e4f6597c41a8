"""HTTP beside WebSockets on one port: connections that are kept, torn, slow, full, or ended."""

from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from observatory.api import asgi
from observatory.server.oneport import HttpLimits
from tests.api.asking import asking
from tests.api.listening import listening
from tests.api.stage import staged
from tests.certificates import certificates
from tests.server.serving import Raw

DEADLINE = 20.0
GET = b"GET /api/v1/projects HTTP/1.1\r\nHost: localhost\r\n"


async def exchange(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Everything that comes back until the server closes."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    received = b""
    async with stream:
        with trio.fail_after(DEADLINE):
            try:
                for piece in pieces:
                    await stream.send_all(piece)
                    await trio.sleep(pause)
                while data := await stream.receive_some():
                    received += data
            except trio.BrokenResourceError:
                pass
    return received


async def test_requests_follow_each_other_on_one_connection_also_unasked(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        last = GET + b"Connection: close\r\n\r\n"
        told = await exchange(on.port, GET + b"\r\n" + GET + b"\r\n" + last)
        assert told.count(b"HTTP/1.1 200") == 3
        assert on.manager._server.http is not None
        assert on.manager._server.http.served == 1


async def test_a_head_in_pieces_is_a_head(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        pieces = (b"GET /api/v1/he", b"alth HTTP/1.1\r\nHo", b"st: localhost\r\nConnection: close\r\n\r\n")
        told = await exchange(on.port, *pieces, pause=0.05)
        assert told.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000,
    ],
)
async def test_garbage_is_answered_by_400_at_the_start_and_on_a_kept_connection(tmp_path: Path, garbage: bytes) -> None:
    async with staged(tmp_path) as on:
        told = await exchange(on.port, garbage)
        assert told.split(b" ")[1] in (b"400", b"431")
        told = await exchange(on.port, GET + b"\r\n", garbage, pause=0.2)
        assert told.startswith(b"HTTP/1.1 200")
        assert told.count(b"HTTP/1.1 4") == 1
        assert (await on.get("/health"))["status"] == "ok"


async def test_an_upgrade_to_http_2_is_not_taken(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        upgrade = b"Connection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
        told = await exchange(on.port, GET + upgrade)
        assert told.startswith(b"HTTP/1.1 200")


async def test_a_websocket_wants_a_connection_of_its_own(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        upgrade = (
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        told = await exchange(on.port, GET + b"\r\n", upgrade, pause=0.2)
        assert b"HTTP/1.1 400" in told
        assert b"101" not in told.split(b"\r\n")[0]
        async with listening(on.port, "system"):  # of its own it is fine
            pass


async def test_a_large_body_comes_in_and_one_that_is_too_large_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        body = {"type": "x", "data": "y" * 3_000_000}
        assert (await on.http.post("/api/v1/broadcast", json=body)).status_code == 201
        head = (
            b"POST /api/v1/broadcast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 999999999999\r\n\r\n"
        )
        told = await exchange(on.port, head)
        assert told.startswith(b"HTTP/1.1 413")
        chunked = head.replace(b"Content-Length: 999999999999", b"Transfer-Encoding: chunked")
        piece = b"100000\r\n" + b"[" * 0x100000 + b"\r\n"
        told = await exchange(on.port, chunked, *[piece] * 20)
        assert told.startswith(b"HTTP/1.1 413") or not told  # it may be reset before it reads the answer
        assert (await on.get("/health"))["status"] == "ok"


async def test_who_expects_a_go_ahead_gets_it(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        head = (
            b"POST /api/v1/broadcast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 12\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        told = await exchange(on.port, head, b'{"type":"x"}', pause=0.1)
        assert told.startswith(b"HTTP/1.1 100")
        assert b"HTTP/1.1 201" in told


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"null"])
async def test_a_body_that_is_no_object_is_a_bad_request(tmp_path: Path, body: bytes) -> None:
    kind = {"Content-Type": "application/json"}
    async with staged(tmp_path) as on, asking(on.port, "/api/v1/broadcast", kind, "POST", body) as answer:
        assert answer.status == 400


async def test_a_body_that_comes_too_slowly_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "BODY_SECONDS", 0.2)
    async with staged(tmp_path) as on:
        head = (
            b"POST /api/v1/broadcast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 12\r\n\r\n{"
        )
        assert (await exchange(on.port, head)).startswith(b"HTTP/1.1 408")


async def test_a_connection_that_asks_nothing_more_is_closed_in_time(tmp_path: Path) -> None:
    async with staged(tmp_path, limits=HttpLimits(idle_seconds=0.2)) as on:
        told = await exchange(on.port, GET + b"\r\n")
        assert told.startswith(b"HTTP/1.1 200")
        assert b"onnection: close" not in told


async def test_a_client_that_takes_nothing_of_its_answer_is_dropped(tmp_path: Path) -> None:
    async with staged(tmp_path, limits=HttpLimits(stall_seconds=0.3)) as on:
        for number in range(3):
            await on.post("/broadcast", {"type": "big", "data": "z" * 4_000_000, "filter": "system"}, 201)
            assert number < 3
        stream = await trio.open_tcp_stream("127.0.0.1", on.port)
        async with stream:
            await stream.send_all(b"GET /api/v1/events/ndjson?since=0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with trio.fail_after(DEADLINE):
                while not on.manager.stats()["counters"]["reset"].get("stalled"):  # noqa: ASYNC110 - a gauge
                    await trio.sleep(0.02)
        assert (await on.get("/health"))["status"] == "ok"


async def test_connections_beyond_the_limit_are_refused_and_websockets_are_not(tmp_path: Path) -> None:
    async with staged(tmp_path, limits=HttpLimits(connections=2)) as on:
        await on.get("/health")  # the stage's own connection is kept
        other = await trio.open_tcp_stream("127.0.0.1", on.port)
        async with other:
            await other.send_all(GET + b"\r\n")
            await other.receive_some()
            told = await exchange(on.port, GET + b"\r\n")
            assert told.startswith(b"HTTP/1.1 503")
            async with listening(on.port, "system"):
                pass


async def test_going_down_ends_idle_connections_at_once_and_answers_what_was_asked(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        idle = await trio.open_tcp_stream("127.0.0.1", on.port)
        async with idle:
            await idle.send_all(GET + b"\r\n")
            await idle.receive_some()
            with trio.fail_after(DEADLINE):
                await on.manager.shut_down()
                while await idle.receive_some():
                    pass
        assert (await exchange(on.port, GET + b"\r\n")).startswith(b"HTTP/1.1 503")


async def test_a_defect_costs_its_request_and_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path) as on:

        def broken() -> Any:
            raise RuntimeError("a defect")

        monkeypatch.setattr(on.manager, "clients", broken)
        answer = await on.http.get("/api/v1/clients")
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "INTERNAL")
        assert "defect" not in answer.text
        assert (await on.get("/health"))["status"] == "ok"


async def test_who_leaves_in_the_middle_hurts_nobody(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        for target in (b"/api/v1/events/stream", b"/api/v1/events/ndjson?follow=true", b"/api/v1/events/poll?wait=30"):
            stream = await trio.open_tcp_stream("127.0.0.1", on.port)
            await stream.send_all(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await trio.sleep(0.1)
            await trio.aclose_forcefully(stream)
        with trio.fail_after(DEADLINE):
            while on.manager.http_connections > 1:  # noqa: ASYNC110 - a gauge
                await trio.sleep(0.02)
        assert on.manager.stats()["counters"]["failures"] == 0


async def test_many_connections_that_come_and_go_leave_nothing(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        await on.get("/health")
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(50):
            assert (await exchange(on.port, GET + b"Connection: close\r\n\r\n")).startswith(b"HTTP/1.1 200")
        with trio.fail_after(DEADLINE):
            while on.manager.http_connections > 1:  # noqa: ASYNC110 - a gauge
                await trio.sleep(0.02)
        assert trio.lowlevel.current_statistics().tasks_living <= before + 1


async def test_over_tls_it_is_the_same(tmp_path: Path) -> None:
    made = certificates(tmp_path / "certificates")
    async with staged(tmp_path, tls=made.server) as on, httpx.AsyncClient(verify=made.client) as http:
        base = f"https://localhost:{on.port}/api/v1"
        for _ in range(2):
            assert (await http.get(f"{base}/health")).json()["status"] == "ok"
        body = {"type": "x", "data": "y" * 300_000}
        sent = (await http.post(f"{base}/broadcast", json=body)).json()
        lines = (await http.get(f"{base}/events/ndjson?since={sent['seq'] - 1}")).text.splitlines()
        assert body["data"] in lines[0]


async def test_both_kinds_of_connections_share_what_descriptors_there_are(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        await on.get("/health")
        on.manager._server.max_connections = 2
        async with listening(on.port, "system"):
            assert (await exchange(on.port, GET + b"\r\n")).startswith(b"HTTP/1.1 503")
            raw = Raw(await trio.open_tcp_stream("127.0.0.1", on.port))
            await raw.request("/ws")
            assert (await raw.response())[0] == 503
            await raw.aclose()
            await on.get("/health")  # who is there is served
