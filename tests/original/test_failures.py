"""What goes wrong stays where it went wrong: with one client, or with one message."""

from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from actors import router
from actors.sender import OutboxLimits
from observatory.core.errors import NotBroadcast
from observatory.core.replies import Timing
from tests.original.stage import END, Embedded, embedded

IN_SELF: dict[str, Any] = {}
IN_SELF["me"] = IN_SELF


# -- clients -----------------------------------------------------------------------------------------------------------


async def test_clients_found_broken_are_named_in_order_of_connection_and_evicted(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        clients = [await on.client("all_conversations") for _ in range(5)]
        await on.wait(lambda: on.manager.stats()["clients"]["live"] == 5)
        for client in (clients[3], clients[1]):
            client.raw.reset()
        result = await on.manager.broadcast({"type": "message"})
        assert (result, result.error) == ([clients[1].id, clients[3].id], None)
        result.raise_for_error()
        assert on.manager.stats()["clients"]["live"] == 3
        assert (await on.manager.broadcast({"type": "again"})) == []
        for client in (clients[0], clients[2], clients[4]):
            assert [(await client.next())["type"], (await client.next())["type"]] == ["message", "again"]
        assert on.manager.stats()["counters"]["broadcasts"] == {"sent": 2, "evicted": 2, "failed": {}}


async def test_only_clients_that_the_message_was_meant_for_are_found_broken(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        meant, other = await on.client("conversation:1"), await on.client("conversation:2")
        meant.raw.reset()
        other.raw.reset()
        assert await on.manager.broadcast({"type": "message"}, "conversation:1") == [meant.id]


async def test_dead_clients_leave_nothing_behind(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        for _ in range(20):
            clients = [await on.client("all_conversations", "project:p") for _ in range(5)]
            for client in clients:
                client.raw.reset()
            result = await on.manager.broadcast({"type": "message"})
            assert result == [client.id for client in clients]
            await on.wait(lambda: on.manager.client_count == 0)
        found = on.manager.stats()
        assert found["clients"] == {"live": 0, "behind": 0, "idle": 0}
        assert {name: value for name, value in found["gauges"].items() if value and name != "tasks"} == {}
        assert found["counters"]["broadcasts"]["evicted"] == 100


async def test_broken_clients_are_also_found_when_the_audience_needs_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router, "BREATH", 2)
    async with embedded(tmp_path) as on:
        clients = [await on.client("all_conversations") for _ in range(9)]
        for client in clients[::4]:
            client.raw.reset()
        assert await on.manager.broadcast({"type": "message"}) == [clients[0].id, clients[4].id, clients[8].id]
        for client in (clients[1], clients[7]):
            assert (await client.next())["type"] == "message"


async def test_a_client_that_disconnects_during_broadcasts_costs_the_others_nothing(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        clients = [await on.client("all_conversations") for _ in range(10)]

        async def leave() -> None:
            for client in clients[::3]:
                await client.next()
                await client.raw.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave)
            for number in range(50):
                await on.manager.broadcast({"type": "message", "data": number})
        await on.wait(lambda: on.manager.client_count == 6)
        await on.say(END)
        for client in set(clients) - set(clients[::3]):
            assert [message["data"] for message in await client.until(END)] == list(range(50))


async def test_a_client_that_does_not_read_is_slow_and_not_broken_and_gets_everything_later(tmp_path: Path) -> None:
    async with embedded(tmp_path, outbox=OutboxLimits(4, 64 * 1024), send_buffer=4096) as on:
        slow, fast = await on.client("all_conversations", receive_bytes=4096), await on.client("all_conversations")
        for number in range(60):
            assert await on.manager.broadcast({"type": "message", "data": [number, "x" * 8000]}) == []
            assert (await fast.next())["data"][0] == number
        assert on.manager.stats()["clients"] == {"live": 1, "behind": 1, "idle": 0}
        assert 0 < on.manager.stats()["gauges"]["client_lag_events"] < 60
        await on.say(END)
        assert [message["data"][0] for message in await slow.until(END)] == list(range(60))
        await on.wait(lambda: on.manager.stats()["clients"]["live"] == 2)
        found = on.manager.stats()
        assert found["gauges"]["client_lag_events"] == 0
        assert found["counters"]["behind"] == found["counters"]["caught_up"] > 0


async def test_a_client_whose_writes_time_out_is_reset_alone(tmp_path: Path) -> None:
    async with embedded(tmp_path, outbox=OutboxLimits(stall_seconds=0.1), send_buffer=4096) as on:
        stalled = await on.client("all_conversations", receive_bytes=4096)
        fast = await on.client("all_conversations")
        for number in range(5):
            assert await on.manager.broadcast({"type": "message", "data": [number, "x" * 50_000]}) == []
            assert (await fast.next())["data"][0] == number
        await on.wait(lambda: on.manager.client_count == 1)
        await stalled.raw.until_reset()
        assert await on.manager.broadcast({"type": "after"}) == []
        assert (await fast.next())["type"] == "after"


async def test_a_silent_client_is_closed_alone(tmp_path: Path) -> None:
    async with embedded(tmp_path, timing=Timing(ping_interval=0.05, ping_timeout=0.05, close_timeout=0.1)) as on:
        await on.client("all_conversations")
        talking = await on.client("all_conversations")
        with trio.fail_after(20):
            while on.manager.client_count == 2:
                await talking.raw.send(b'{"type":"pong"}')
                await trio.sleep(0.06)
        await talking.raw.send(b'{"type":"pong"}')
        assert await on.manager.broadcast({"type": "after"}) == []
        assert (await talking.next())["type"] == "after"


# -- messages ----------------------------------------------------------------------------------------------------------

UNFIT: list[tuple[Any, str]] = [
    (["no", "dict"], "not_a_dict"),
    ("text", "not_a_dict"),
    (None, "not_a_dict"),
    ({}, "no_type"),
    ({"type": ""}, "no_type"),
    ({"type": 7, "data": {}}, "no_type"),
    *[({"type": kind}, "reserved_type") for kind in ("ping", "error", "connection_established", "snapshot", "resync")],
    ({"type": "m", "data": {1, 2}}, "not_serialisable"),
    ({"type": "m", "data": {"fn": print}}, "not_serialisable"),
    ({"type": "m", "data": IN_SELF}, "not_serialisable"),
    ({"type": "m", "data": float("nan")}, "not_serialisable"),
    ({"type": "m", "data": b"bytes"}, "not_serialisable"),
    ({"type": "m", "data": "x" * 5000}, "too_big"),
]


@pytest.mark.parametrize(("message", "error"), UNFIT, ids=[f"{error}-{n}" for n, (_, error) in enumerate(UNFIT)])
async def test_a_message_that_cannot_be_sent_is_told_and_nobody_gets_it(
    tmp_path: Path, message: Any, error: str
) -> None:
    async with embedded(tmp_path, max_message_bytes=4096) as on:
        first, _other, third = [await on.client(topic) for topic in ("project:p", "system", "all_conversations")]
        with capture_logs() as logs:
            result = await on.manager.broadcast(message, "project:p")
        assert (result, result.error, result.seq) == ([first.id, third.id], error, None)
        (told,) = [one for one in logs if one["event"] == "broadcast.failed"]
        assert told["log_level"] == "error"
        assert told["error"] == error
        assert told["reason"]
        assert told["caller"].startswith(__file__)
        with pytest.raises(NotBroadcast, match=error):
            result.raise_for_error()
        assert await on.types() == [[], [], []]
        counts = on.manager.stats()["counters"]["broadcasts"]
        assert counts == {"sent": 1, "evicted": 0, "failed": {error: 1}}
        assert on.manager.client_count == 3


async def test_the_log_line_names_the_type_and_the_line_that_called(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        with capture_logs() as logs:
            await on.manager.broadcast_file_monitoring_update({"fn": print}, "file_created")
        (told,) = logs
        assert told["type"] == "file_created"
        assert told["caller"].startswith(f"{__file__}:")


async def test_good_messages_around_a_bad_one_arrive(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        await on.client("all_conversations")

        async def send(number: int) -> None:
            await on.manager.broadcast({"type": "message", "data": print if number % 3 == 1 else number})

        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(send, number)
        (messages,) = await on.received()
        assert sorted(message["data"] for message in messages) == [n for n in range(30) if n % 3 != 1]
        assert [message["seq"] for message in messages] == list(range(1, 21))


# -- the store ---------------------------------------------------------------------------------------------------------


def fill_the_disk(on: Embedded) -> None:
    """The database may not grow any more."""
    db = on.monitor.commits._log._db
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count={pages}")


def free_the_disk(on: Embedded) -> None:
    """It may again."""
    on.monitor.commits._log._db.execute("PRAGMA max_page_count=1000000")


async def test_on_a_full_disk_nothing_is_sent_that_is_not_stored(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        client = await on.client("all_conversations")
        fill_the_disk(on)
        with capture_logs() as logs:
            result = await on.manager.broadcast({"type": "message", "data": "x" * 200_000})
        assert (result, result.error, result.seq) == ([client.id], "not_persisted", None)
        assert "the disk is full" in result.reason
        assert [(one["event"], one["error"]) for one in logs] == [("broadcast.failed", "not_persisted")]
        free_the_disk(on)
        assert (await on.manager.broadcast({"type": "message", "data": "y"})).seq == 1
        assert (await client.next())["data"] == "y"


async def test_on_a_full_disk_holders_of_system_hear_of_it_at_once_and_of_its_end_as_an_event(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        client, other = await on.client("system"), await on.client("all_conversations")
        fill_the_disk(on)
        on.write("-w/s.jsonl", *(line_of(n) for n in range(20)))
        trouble = await client.raw.message()
        assert (trouble["type"], trouble["data"]["service_status"]) == ("system_status", "unavailable")
        assert trouble.keys() == {"type", "data", "timestamp"}
        [store] = trouble["data"]["components"]
        assert (store["component_name"], store["status"], "disk is full" in store["details"]) == (
            "store", "unavailable", True,
        )  # fmt: skip
        assert (await client.raw.ask("get_subscriptions"))["data"]["sent"] == 0
        free_the_disk(on)
        end = await client.next()
        assert (end["type"], end["data"]["service_status"]) == ("system_status", "ok")
        assert (await client.raw.ask("get_subscriptions"))["data"]["sent"] == 1
        started = [message["type"] for message in await other.until("conversation_started")]
        assert "system_status" not in started


async def test_a_broadcast_is_answered_at_once_while_the_ingest_waits_for_the_disk(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        client = await on.client("all_conversations")
        fill_the_disk(on)
        with capture_logs() as logs:
            on.write("-w/s.jsonl", *(line_of(n) for n in range(20)))
            await on.wait(lambda: any(one["event"] == "log.not_written" for one in logs))
            for _ in range(5):
                result = await on.manager.broadcast({"type": "message", "data": "x" * 200_000})
                assert (result, result.error) == ([client.id], "not_persisted")
            free_the_disk(on)
            started = [message["type"] for message in await client.until("conversation_started")]
        assert "message" not in started
        assert (await on.manager.broadcast({"type": "message"})).error is None


def line_of(number: int) -> bytes:
    text = "y" * 20_000
    return b'{"type":"user","uuid":"u%d","sessionId":"s","cwd":"/w","message":{"role":"user","content":"%s"}}' % (
        number,
        text.encode(),
    )


# -- the caller --------------------------------------------------------------------------------------------------------


async def test_a_broadcast_cancelled_while_it_waits_its_turn_sends_nothing(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        await on.client("all_conversations")
        turn = on.monitor.commits.turn
        assert turn.take_nowait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(on.manager.broadcast, {"type": "message"})
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        turn.give_back()
        assert await on.types() == [[]]


async def test_a_broadcast_cancelled_after_it_was_stored_is_published_all_the_same(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        client = await on.client("all_conversations")
        with trio.CancelScope() as scope:
            scope.cancel()
            await on.manager.broadcast({"type": "message"})
        assert scope.cancelled_caught
        assert (await client.next())["type"] == "message"
        assert await on.types() == [[]]
