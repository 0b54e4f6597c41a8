"""One client on a real socket: requests, codes, and how each connection ends."""

import time
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from observatory.client.connection import connect
from observatory.core.client_items import Closed
from observatory.core.errors import StoreError
from observatory.core.ports import Stored
from observatory.core.protocol import Settled
from observatory.core.replies import Timing
from observatory.storage.reader import LogReader
from tests.server.serving import QUICK, code_of, data_of, masked, serving, subscribed

# -- requests and replies ----------------------------------------------------------------------------------------------


async def test_the_hello_tells_where_the_log_is_and_what_the_limits_are(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        await running.publish(3)
        raw = await running.upgraded()
        hello = await raw.message()
        at = hello.pop("timestamp")
        server_time = hello["data"].pop("server_time")
        assert isinstance(at, int)
        assert server_time.endswith("Z")
        assert hello == {
            "type": "connection_established",
            "data": {
                "client_id": "c1",
                "subscriptions": [],
                "protocol": "observatory.v1",
                "position": {"epoch": running.log.position.epoch, "head": 3, "oldest": 1},
                "ping": {"interval_ms": 25000, "timeout_ms": 10000},
                "retry": {"min_ms": 250, "max_ms": 30000},
                "limits": {"outbox_frames": 1024, "outbox_bytes": 1048576, "topics": 128, "requests_per_s": 20,
                           "message_bytes": 65536},
            },
        }  # fmt: skip


async def test_without_a_subscription_there_are_no_events_and_with_one_only_its_own(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, connect(running.url) as connection:
        await running.publish()
        reply = await connection.request("subscribe", {"topics": ["project:p1"]})
        assert (reply.data["pos"], reply.data["state"]) == (1, "live")
        [_, event] = [await running.publish(topics=("system",)), (await running.publish())[0]]
        found = await connection.event()
        assert found.text.encode() == event.payload
        assert (await connection.request("get_subscriptions")).data["sent"] == 1
        assert (await connection.request("unsubscribe")).data["topics"] == []
        await running.publish()
        reply = await connection.request("get_subscriptions")
        assert (reply.type, reply.data["sent"], reply.data["pos"]) == ("subscription_status", 1, 4)


async def test_every_other_request_has_its_reply_in_order(tmp_path: Path) -> None:
    async with serving(tmp_path, status=lambda: {"version": "9"}) as running:
        raw = await running.upgraded()
        await raw.message()
        for kind, id_ in (("get_status", 1), ("get_snapshot", 2), ("pong", 3), ("ping", "x"), ("get_subscriptions", 5)):
            await raw.send(orjson.dumps({"type": kind, "id": id_, "data": {}}))
        replies = [await raw.message() for _ in range(4)]
        assert [reply["re"] for reply in replies] == [1, 2, "x", 5]
        assert data_of(replies[0]) == {"version": "9"}
        position = {"epoch": running.log.position.epoch, "seq": 0}
        assert data_of(replies[1]) == {"projects": [], "conversations": [], "truncated": False, "position": position}
        assert replies[2]["type"] == "pong"
        assert data_of(replies[3])["state"] == "idle"
        pong = await raw.ask("ping", {"timestamp": 1.5})
        assert data_of(pong)["timestamp"] == 1.5


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"type":"ping","data":{"timestamp":NaN}}', "INVALID_MESSAGE"),
        ('{"type":"ping"}{"type":"ping"}', "INVALID_MESSAGE"),
        ('{"type":"ping","data":{"x":' + "[" * 40 + "]" * 40 + "}}", "INVALID_MESSAGE"),
        ('{"type":"auth","data":{}}', "INVALID_MESSAGE"),
        ('{"type":"subscribe","data":{"topics":["x"]}}', "INVALID_TOPIC"),
        ('{"type":"subscribe","data":{"topics":[],"where":{}}}', "INVALID_FILTERS"),
        ('{"type":"resume","data":{"epoch":1}}', "INVALID_POSITION"),
        ('{"type":"subscribe","data":{"topics":[' + ",".join(['"system"'] * 129) + "]}}", "TOO_MANY_SUBSCRIPTIONS"),
    ],
)
async def test_a_bad_request_is_an_error_with_its_code_and_the_connection_goes_on(
    tmp_path: Path, text: str, code: str
) -> None:
    async with serving(tmp_path) as running:
        raw = await running.upgraded()
        await raw.message()
        await raw.send(text)
        assert code_of(await raw.message()) == code
        assert (await raw.ask("ping"))["type"] == "pong"


async def test_a_second_position_is_refused_under_the_id_of_the_request(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, connect(running.url, topics=["system"]) as connection:
        reply = await connection.request("resume", {"epoch": running.log.position.epoch, "seq": 0})
        assert (reply.type, reply.data["code"]) == ("error", "POSITION_SET")
        assert reply.reply_to is not None


class Unreadable(LogReader):
    """Another program holds the log."""

    async def snapshot(self, limit: int) -> dict[str, Any]:
        raise StoreError("the log", "wait", retryable=True)

    async def read(self, after: int, upto: int) -> list[Stored]:
        raise StoreError("the log", "wait", retryable=True)


async def test_a_snapshot_that_cannot_be_read_now_is_not_available(tmp_path: Path) -> None:
    async with serving(tmp_path, reader=Unreadable) as running, connect(running.url) as connection:
        reply = await connection.request("get_snapshot")
        assert (reply.data["code"], reply.data["retryable"]) == ("NOT_AVAILABLE", True)


class Defective(LogReader):
    """A defect of ours."""

    async def read(self, after: int, upto: int) -> list[Stored]:
        raise RuntimeError("a defect")


async def test_a_defect_in_reading_the_backlog_ends_that_connection_with_1011(tmp_path: Path) -> None:
    async with serving(tmp_path, reader=Defective) as running:
        await running.publish()
        raw = await running.upgraded()
        await raw.message()
        await raw.ask("resume", {"epoch": running.log.position.epoch, "seq": 0})
        assert await raw.close_frame() == (1011, "internal error")


async def test_a_backlog_that_cannot_be_read_ends_that_connection_with_1011(tmp_path: Path) -> None:
    async with serving(tmp_path, reader=Unreadable) as running:
        await running.publish()
        raw = await running.upgraded()
        await raw.message()
        await raw.ask("resume", {"epoch": running.log.position.epoch, "seq": 0})
        assert await raw.close_frame() == (1011, "the log cannot be read now")


# -- topics in the URL, and the original client ------------------------------------------------------------------------


async def test_topics_in_the_url_start_at_the_head_and_count_as_a_request(tmp_path: Path) -> None:
    timing = Timing(first_request=0.05, ping_interval=0.2)
    async with serving(tmp_path, timing=timing) as running:
        raw = await running.upgraded("/ws?subscribe=system&subscribe=project:p1")
        assert data_of(await raw.message())["subscriptions"] == ["project:p1", "system"]
        [event] = await running.publish()
        assert (await raw.message())["seq"] == event.seq
        ping = await raw.message()  # later than the first request was due
        assert (ping["type"], data_of(ping)["pos"], data_of(ping)["sent"]) == ("ping", 1, 1)


async def test_a_legacy_client_has_three_topics_and_a_position(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, connect(running.url, legacy=True) as connection:
        assert connection.hello.data["protocol"] is None
        assert connection.hello.data["subscriptions"] == ["all_conversations", "file_events", "project_updates"]
        [event] = await running.publish()
        assert (await connection.event()).seq == event.seq
        assert (await connection.request("ping", {"timestamp": 3})).data["timestamp"] == 3
        reply = await connection.request("resume", {"epoch": running.log.position.epoch, "seq": 0})
        assert reply.data["code"] == "POSITION_SET"


async def test_a_legacy_client_with_topics_in_the_url_has_only_those(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        raw = await running.upgraded("/ws?subscribe=system", Sec_WebSocket_Protocol=None)
        assert data_of(await raw.message())["subscriptions"] == ["system"]


async def test_a_legacy_client_gets_control_pings_only_and_may_stay_silent(tmp_path: Path) -> None:
    async with serving(tmp_path, timing=Timing(0.1, 0.1, first_request=0.05)) as running:
        raw = await running.upgraded(Sec_WebSocket_Protocol=None)
        await raw.message()
        for _ in range(5):
            opcode, payload = await raw.frame()
            assert opcode == 9
            await raw.send(payload, 10)


# -- closing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (masked(b"\x01", 2), 1003),
        (masked("x" * 65_537), 1009),
        (masked("é" * 40_000), 1009),  # fewer characters than bytes
        (masked("x" * 40_000, first=0) + masked("x" * 40_000, 0), 1009),
        (masked("x" * 65_537) + masked(b"", 9) * 50, 1009),  # a ping that crosses the close
        (masked(b"\xff"), 1007),
        (masked("x", first=0xC0), 1002),
        (masked("x", 3), 1002),
        (b"\x81\x01x", 1002),  # not masked
        (masked(b"\x03", 8), 1002),
        (masked(b"\x03\xed", 8), 1002),  # 1005 is never sent
    ],
)
@pytest.mark.parametrize("protocol", ["observatory.v1", None])
async def test_a_bad_frame_closes_with_its_code_and_nothing_follows(
    tmp_path: Path, frames: bytes, code: int, protocol: str | None
) -> None:
    async with serving(tmp_path, timing=Timing(close_timeout=0.1)) as running:
        raw = await running.upgraded(Sec_WebSocket_Protocol=protocol)
        await raw.message()
        await raw.stream.send_all(frames)
        assert (await raw.close_frame())[0] == code
        await running.publish()
        assert await raw.end() == b""
        await raw.aclose()
        await running.until(lambda: not running.server.connections)
        assert running.server.counters.closes == {code: 1}
        assert running.server.counters.failures == 0


@pytest.mark.parametrize(
    ("payload", "echo"),
    [(b"\x03\xe8", (1000, "")), (b"\x0f\xa0bye", (4000, "bye")), (b"", (1000, "")), (b"\x03\xe9", (1001, ""))],
)
async def test_a_peers_close_is_echoed_1000_if_it_has_no_code(
    tmp_path: Path, payload: bytes, echo: tuple[int, str]
) -> None:
    async with serving(tmp_path) as running:
        raw = await subscribed(running)
        await raw.send(payload, 8)
        assert await raw.close_frame() == echo
        await running.publish()
        assert await raw.end() == b""
        await running.until(lambda: running.router.statistics().live == 0)


async def test_the_tenth_error_is_followed_by_4509(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        raw = await running.upgraded()
        await raw.message()
        for _ in range(11):
            await raw.send("?")
        assert [code_of(await raw.message()) for _ in range(10)] == ["INVALID_MESSAGE"] * 10
        assert await raw.close_frame() == (4509, "too many bad requests")


async def test_a_flood_is_told_once_a_second_and_closed_with_4013(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        raw = await running.upgraded()
        await raw.message()
        await raw.stream.send_all(masked('{"type":"ping"}') * 200)
        kinds = []
        while (frame := await raw.frame())[0] == 1:
            message = orjson.loads(frame[1])
            kinds.append(message["type"] if message["type"] != "error" else code_of(message))
        assert frame[0] == 8
        assert int.from_bytes(frame[1][:2], "big") == 4013
        assert 40 <= kinds.count("pong") <= 60  # the burst, and what the rate gave meanwhile
        assert 1 <= kinds.count("RATE_LIMIT_EXCEEDED") <= 2


async def test_a_client_that_never_asks_is_closed_with_4000(tmp_path: Path) -> None:
    async with serving(tmp_path, timing=Timing(first_request=0.1)) as running:
        raw = await running.upgraded()
        await raw.message()
        await raw.send("no request at all")
        assert code_of(await raw.message()) == "INVALID_MESSAGE"
        assert await raw.close_frame() == (4000, "no request in time")


async def test_pings_come_from_the_first_interval_on_while_the_first_request_is_awaited(tmp_path: Path) -> None:
    async with serving(tmp_path, timing=Timing(ping_interval=0.05, first_request=0.5)) as running:
        raw = await running.upgraded()
        await raw.message()
        for _ in range(3):
            ping = await raw.message()
            assert (ping["type"], data_of(ping)["pos"]) == ("ping", None)
        assert (await raw.close_frame())[0] == 4000


async def test_a_half_open_peer_is_closed_with_4012_and_reset_when_it_does_not_answer(tmp_path: Path) -> None:
    async with serving(tmp_path, timing=QUICK) as running:
        raw = await subscribed(running)
        started = trio.current_time()
        assert (await raw.message())["type"] == "ping"
        assert (await raw.close_frame())[0] == 4012
        await raw.until_reset()
        assert trio.current_time() - started >= 0.35
        await running.until(lambda: not running.server.connections)
        assert running.server.counters.closes == {4012: 1}


async def test_a_client_that_answers_pings_lives(tmp_path: Path) -> None:
    async with serving(tmp_path, timing=QUICK) as running:
        raw = await subscribed(running)
        for _ in range(6):
            assert (await raw.message())["type"] == "ping"
            await raw.send('{"type":"pong"}')


async def test_a_server_that_was_stalled_itself_accuses_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path, timing=QUICK) as running:
        raw = await subscribed(running)
        for _ in range(5):
            await raw.send('{"type":"pong"}')
            time.sleep(0.3)  # noqa: ASYNC251 - the stall
            assert (await raw.message())["type"] == "ping"


async def test_requests_after_the_servers_close_are_ignored(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        raw = await running.upgraded()
        await raw.message()
        await raw.send(b"\x01", 2)
        assert (await raw.close_frame())[0] == 1003
        for opcode in (1, 9, 1, 1):
            await raw.send('{"type":"ping"}', opcode)
        await raw.send(b"\x03\xeb", 8)
        assert await raw.end() == b""
        await running.until(lambda: not running.server.connections)
        assert running.server.counters.failures == 0


async def test_a_handler_that_raises_costs_that_one_client_with_1011(tmp_path: Path) -> None:
    def broken() -> dict[str, Any]:
        raise RuntimeError("a defect")

    async with serving(tmp_path, status=broken) as running, connect(running.url, topics=["system"]) as other:
        async with connect(running.url) as connection:
            with pytest.raises(Closed) as caught:
                await connection.request("get_status")
            assert caught.value.code == 1011
        await running.publish(topics=("system",))
        assert (await other.event()).seq == 1
        assert running.router.statistics().live == 1
        await running.until(lambda: running.server.counters.failures == 1)


async def test_a_defect_at_the_routers_turn_costs_that_one_client_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Settled:
        raise RuntimeError("a defect")

    async with serving(tmp_path) as running, connect(running.url, topics=["system"]) as other:
        async with connect(running.url) as connection:
            monkeypatch.setattr("observatory.core.protocol.Session.settle", broken)
            with pytest.raises(Closed) as caught:
                await connection.request("subscribe", {"topics": ["system"]})
            assert caught.value.code == 1011
        await running.publish(topics=("system",))
        assert (await other.event()).seq == 1
