"""One client on a real socket: requests, codes, replay, and how each connection ends."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from actors.sender import OutboxLimits
from observatory.client.connection import connect
from observatory.client.follow import follow
from observatory.core.client_items import Closed, Connected, Disconnected, Event, Item
from observatory.core.errors import StoreError
from observatory.core.events import Position
from observatory.core.ports import Stored
from observatory.core.protocol import Settled
from observatory.core.replies import Timing
from observatory.storage.log import Retention
from observatory.storage.reader import PAGE_BYTES, PAGE_EVENTS, LogReader
from tests.server.serving import DEADLINE, Raw, Running, masked, serving

QUICK = Timing(ping_interval=0.1, ping_timeout=0.1, first_request=5, close_timeout=0.2)


def data_of(message: dict[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = message["data"]
    return data


def code_of(message: dict[str, Any]) -> str:
    assert message["type"] == "error", message
    code: str = message["data"]["code"]
    return code


async def subscribed(running: Running, topic: str = "all_conversations", **options: Any) -> Raw:
    raw = await running.upgraded(**options)
    await raw.message()
    assert (await raw.ask("subscribe", {"topics": [topic]}))["type"] == "subscription_confirmed"
    return raw


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
        ('{"type":"auth","data":{}}', "UNKNOWN_MESSAGE_TYPE"),
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


# -- resume ------------------------------------------------------------------------------------------------------------


async def test_a_resume_gives_the_confirmation_first_then_each_event_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        await running.publish(700)
        since = Position(running.log.position.epoch, 10)
        async with connect(running.url) as connection, trio.open_nursery() as nursery:

            async def publish_on() -> None:
                for _ in range(50):
                    await running.publish(3)

            nursery.start_soon(publish_on)
            resume = {"epoch": since.epoch, "seq": since.seq}
            reply = await connection.request("subscribe", {"topics": ["project:p1"], "resume": resume})
            assert (reply.data["recovered"], reply.data["pos"], reply.data["state"]) == (True, 10, "behind")
            with trio.fail_after(DEADLINE):
                assert [(await connection.event()).seq for _ in range(840)] == list(range(11, 851))


async def test_publishing_between_any_two_steps_of_a_resume_loses_and_repeats_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        await running.publish(5)
        for start in range(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(running.publish)
                head = running.log.position.head
                since = Position(running.log.position.epoch, head - start)
                async with connect(running.url, topics=["project:p1"], since=since) as connection:
                    await running.publish()
                    last = running.log.position.head
                    found = [(await connection.event()).seq for _ in range(last - since.seq)]
                    assert found == list(range(since.seq + 1, last + 1))


@pytest.mark.parametrize("reason", ["too_old", "epoch_changed", "ahead", "too_many"])
async def test_each_refusal_has_its_reason_gives_no_event_and_lets_another_resume_follow(
    tmp_path: Path, reason: str
) -> None:
    async with serving(tmp_path) as running, connect(running.url) as connection:
        await running.publish(20)
        running.log.trim(Retention(events=10), 0)
        epoch = running.log.position.epoch
        wishes: dict[str, dict[str, Any]] = {
            "too_old": {"epoch": epoch, "seq": 9},
            "epoch_changed": {"epoch": "another", "seq": 15},
            "ahead": {"epoch": epoch, "seq": 21},
            "too_many": {"epoch": epoch, "seq": 12, "max": 7},
        }
        reply = await connection.request("subscribe", {"topics": ["project:p1"], "resume": wishes[reason]})
        assert (reply.data["recovered"], reply.data["reason"], reply.data["pos"]) == (False, reason, None)
        await running.publish()
        assert (await connection.request("get_subscriptions")).data["sent"] == 0
        reply = await connection.request("resume", {"epoch": epoch, "seq": 10})
        assert reply.data["recovered"]
        assert [(await connection.event()).seq for _ in range(11)] == list(range(11, 22))


async def test_reconnecting_without_new_events_recovers_and_repeats_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        await running.publish(3)
        position = Position(running.log.position.epoch, 3)
        for _ in range(5):
            async with connect(running.url, topics=["project:p1"], since=position) as connection:
                assert (await connection.request("get_subscriptions")).data["sent"] == 0


# -- slow clients ------------------------------------------------------------------------------------------------------

SMALL = OutboxLimits(frames=8, bytes=64 * 1024)


async def test_a_client_that_stops_reading_falls_behind_then_gets_every_event_once_and_in_order(tmp_path: Path) -> None:
    async with serving(tmp_path, outbox=SMALL, send_buffer=4096) as running:
        raw = await subscribed(running, receive_bytes=4096)
        async with connect(running.url, topics=["project:p1"]) as other:
            for _ in range(100):
                await running.publish(3, size=2000)
            [connection] = [c for c in running.server.connections if c.client_id == "c1"]
            queued = connection.sender.statistics()
            assert queued.behind_at is not None
            assert queued.queued_frames <= SMALL.frames + PAGE_EVENTS
            assert queued.queued_bytes <= SMALL.bytes + PAGE_BYTES + 4096
            assert [(await other.event()).seq for _ in range(300)] == list(range(1, 301))
        seqs: list[int] = []
        pings: list[dict[str, Any]] = []
        while not pings:
            message = await raw.message()
            if message["type"] == "ping":
                pings.append(data_of(message))
            else:
                seqs.append(message["seq"])
        assert seqs == list(range(1, 301))
        assert (pings[0]["pos"], pings[0]["sent"]) == (300, 300)  # live again
        [event] = await running.publish()
        assert (await raw.message())["seq"] == event.seq
        assert running.router.statistics().behind == 0


async def test_a_client_whose_cursor_falls_off_the_log_is_closed_with_4008_and_told_too_old(tmp_path: Path) -> None:
    async with serving(tmp_path, outbox=SMALL, send_buffer=4096) as running:
        raw = await subscribed(running, receive_bytes=4096)
        for _ in range(100):
            await running.publish(3, size=2000)
        running.log.trim(Retention(events=1), 0)
        assert await raw.close_frame() == (4008, "the log no longer holds what you missed")
        since = Position(running.log.position.epoch, 20)
        async with connect(running.url, topics=["project:p1"], since=since) as again:
            assert (await again.request("get_subscriptions")).data["state"] == "idle"


async def test_a_client_that_takes_nothing_is_reset_and_only_the_log_says_4009(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = OutboxLimits(frames=8, bytes=64 * 1024, stall_seconds=0.2)
    async with serving(tmp_path, outbox=limits, send_buffer=4096) as running:
        raw = await subscribed(running, receive_bytes=4096)
        while running.server.connections:
            await running.publish(3, size=4000)
            await trio.lowlevel.checkpoint()
        await raw.until_reset()
        assert running.server.counters.resets == 1
        assert "code=4009" in capsys.readouterr().out


async def test_a_behind_client_gets_no_byte_after_the_servers_close_frame(tmp_path: Path) -> None:
    async with serving(tmp_path, outbox=SMALL, send_buffer=4096) as running:
        raw = await subscribed(running, receive_bytes=4096)
        for _ in range(100):
            await running.publish(3, size=2000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.server.shut_down, 5.0)
            assert (await raw.close_frame())[0] == 1012
            await raw.send(b"\x03\xf4", 8)
            assert await raw.end() == b""


async def test_a_peer_that_makes_the_server_answer_without_reading_is_not_read_from(tmp_path: Path) -> None:
    limits = OutboxLimits(stall_seconds=0.3)
    big = {"text": "x" * 100_000}
    async with serving(tmp_path, outbox=limits, send_buffer=4096, status=lambda: big) as running:
        raw = await running.upgraded(receive_bytes=4096)
        [connection] = running.server.connections
        with trio.move_on_after(DEADLINE):
            while running.server.connections:
                with trio.move_on_after(0.05), suppress(trio.BrokenResourceError):
                    await raw.send('{"type":"get_status"}')
                assert connection.sender.statistics().queued_replies <= 64
        assert running.server.counters.resets == 1


# -- the client library through faults ---------------------------------------------------------------------------------


async def test_following_survives_resets_with_every_event_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        found: list[Item] = []
        async with follow(running.url, ["project:p1"], uniform=lambda low, high: 0.0) as items:
            assert isinstance(await items.receive(), Connected)
            for round_ in range(5):
                await running.publish(20)
                if round_ % 2:
                    await running.until(lambda: running.router.statistics().live == 1)
                    for connection in running.server.connections:
                        connection.sender.abort()
                    await running.until(lambda: not running.server.connections)
                await running.publish(20)
            with trio.fail_after(DEADLINE):
                while sum(isinstance(item, Event) for item in found) < 200:
                    found.append(await items.receive())
        assert [item.seq for item in found if isinstance(item, Event)] == list(range(1, 201))
        assert sum(isinstance(item, Disconnected) for item in found) == 2
