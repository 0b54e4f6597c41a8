"""Resume, slow clients, and the client library through faults, on real sockets."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from actors.sender import OutboxLimits
from observatory.client.connection import connect
from observatory.client.follow import follow
from observatory.core.client_items import Connected, Disconnected, Event, Item
from observatory.core.events import Position
from observatory.server.backlog import STRIDE
from observatory.storage.log import Retention
from observatory.storage.reader import PAGE_BYTES, PAGE_EVENTS, LogReader
from tests.server.serving import DEADLINE, data_of, serving, subscribed

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


async def test_a_resume_before_any_event_is_recovered_and_misses_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        epoch = running.log.position.epoch
        for _ in range(2):
            async with connect(running.url) as connection:
                wish = {"topics": ["project:p1"], "resume": {"epoch": epoch, "seq": 0, "max": 0}}
                reply = await connection.request("subscribe", wish)
                assert (reply.data["recovered"], reply.data["pos"], reply.data["state"]) == (True, 0, "live")
        async with connect(running.url, topics=["project:p1"], since=Position(epoch, 0)) as connection:
            await running.publish(2)
            assert [(await connection.event()).seq for _ in range(2)] == [1, 2]


async def test_resuming_twice_from_the_same_position_gives_the_same_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        await running.publish(600)
        since = Position(running.log.position.epoch, 300)
        found = []
        for _ in range(3):
            async with connect(running.url, topics=["project:p1"], since=since) as connection:
                found.append([(await connection.event()).text for _ in range(300)])
        assert found[0] == found[1] == found[2]


async def test_a_resume_reads_pages_and_ends_with_a_ping_at_the_head(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        await running.publish(2 * PAGE_EVENTS + 10)
        raw = await running.upgraded()
        await raw.message()
        reply = await raw.ask(
            "subscribe", {"topics": ["project:p1"], "resume": {"epoch": running.log.position.epoch, "seq": 0}}
        )
        assert (reply["data"]["state"], reply["data"]["head"]) == ("behind", 2 * PAGE_EVENTS + 10)
        seqs = [(await raw.message())["seq"] for _ in range(2 * PAGE_EVENTS + 10)]
        ping = await raw.message()
        assert seqs == list(range(1, 2 * PAGE_EVENTS + 11))
        assert (data_of(ping)["pos"], data_of(ping)["sent"]) == (len(seqs), len(seqs))


class Large(LogReader):
    """Many conversations."""

    async def snapshot(self, limit: int) -> dict[str, Any]:
        return {**await super().snapshot(limit), "text": "x" * 500_000}


async def test_a_second_snapshot_while_one_waits_to_be_written_is_refused_in_its_turn(tmp_path: Path) -> None:
    async with serving(tmp_path, reader=Large, send_buffer=4096) as running:
        raw = await running.upgraded(receive_bytes=4096)
        await raw.message()
        for id_ in (1, 2):
            await raw.send(f'{{"type":"get_snapshot","id":{id_}}}')
        [connection] = running.server.connections
        await running.until(lambda: connection.sender.statistics().queued_replies == 2)
        first, second = await raw.message(), await raw.message()
        assert (first["re"], first["type"]) == (1, "snapshot")
        assert (second["re"], second["data"]["code"]) == (2, "RATE_LIMIT_EXCEEDED")
        assert second["data"]["retryable"]
        assert (await raw.ask("get_snapshot", id=3))["type"] == "snapshot"


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


async def test_clients_that_resume_from_one_place_cost_few_reads(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        await running.publish(600, size=500)
        since = Position(running.log.position.epoch, 0)
        seen: list[list[int | None]] = []
        pages, another = running.server.pages, object()
        pages.enter(another)  # pages are kept while anyone is behind

        async def resume() -> None:
            async with connect(running.url, topics=["project:p1"], since=since) as connection:
                seen.append([(await connection.event()).seq for _ in range(600)])

        with trio.fail_after(DEADLINE):
            async with trio.open_nursery() as nursery:
                for _ in range(30):
                    nursery.start_soon(resume)
        assert seen == [list(range(1, 601))] * 30
        assert (pages.totals.reads, pages.totals.behind) == (-(-600 // STRIDE), 31)
        await running.until(lambda: not running.server.connections)
        assert pages.readers == {another}


async def test_a_client_that_is_fed_from_the_log_has_at_most_64_kib_waiting(tmp_path: Path) -> None:
    async with serving(tmp_path, send_buffer=4096) as running:
        await running.publish(1000, size=1000)
        raw = await running.upgraded(receive_bytes=4096)
        await raw.message()
        resume = {"epoch": running.log.position.epoch, "seq": 0}
        reply = await raw.ask("subscribe", {"topics": ["project:p1"], "resume": resume})
        assert data_of(reply)["state"] == "behind"
        [connection] = running.server.connections
        await running.until(lambda: connection.sender.statistics().queued_bytes > 32 * 1024)
        largest = 0
        for seq in range(1, 1001):
            assert (await raw.message())["seq"] == seq
            largest = max(largest, connection.sender.statistics().queued_bytes)
        assert 32 * 1024 < largest <= 64 * 1024
        assert data_of(await raw.message())["pos"] == 1000


async def test_a_log_that_is_trimmed_under_a_running_replay_ends_it_with_4008_and_no_gap(tmp_path: Path) -> None:
    async with serving(tmp_path, send_buffer=4096) as running:
        await running.publish(1000, size=1000)
        raw = await running.upgraded(receive_bytes=4096)
        await raw.message()
        epoch = running.log.position.epoch
        await raw.ask("subscribe", {"topics": ["project:p1"], "resume": {"epoch": epoch, "seq": 0}})
        assert (await raw.message())["seq"] == 1
        running.log.trim(Retention(events=50), 0)
        seqs, code = [1], 0
        while not code:
            opcode, payload = await raw.frame()
            if opcode == 8:
                code = int.from_bytes(payload[:2], "big")
            else:
                seqs.append(orjson.loads(payload)["seq"])
        assert code == 4008
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) < 950
        async with connect(running.url) as again:
            resume = {"epoch": epoch, "seq": seqs[-1]}
            reply = await again.request("subscribe", {"topics": ["system"], "resume": resume})
            assert reply.data["reason"] == "too_old"


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
            nursery.start_soon(running.server.close_now)
            assert (await raw.close_frame())[0] == 1001
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
