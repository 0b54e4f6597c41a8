"""broadcast: everybody is reached, by messages of one shape."""

import inspect
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from observatory.core.broadcast import BroadcastResult
from observatory.server.connections import ConnectionManager
from tests.original.stage import embedded


def test_the_manager_has_a_broadcast_that_is_awaited() -> None:
    assert inspect.iscoroutinefunction(ConnectionManager.broadcast)
    parameters = inspect.signature(ConnectionManager.broadcast).parameters
    assert list(parameters) == ["self", "message", "subscription_filter"]
    assert parameters["subscription_filter"].default is None


async def test_a_message_without_a_filter_reaches_everyone_whatever_they_hold(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        await on.client("conversation:a")
        await on.client("system")
        await on.client()
        await on.client(legacy=True)
        await on.say("announcement", text="to all")
        got = await on.received()
        assert [[(m["type"], m["data"]) for m in messages] for messages in got] == [
            [("announcement", {"text": "to all"})]
        ] * 4


async def test_a_client_that_has_not_subscribed_yet_is_not_addressed(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        stranger = await on.stranger()
        await on.say("announcement")
        confirmed = await stranger.ask("subscribe", {"topics": ["system"]})  # the announcement would stand before it
        assert confirmed["type"] == "subscription_confirmed"
        assert confirmed["data"]["pos"] == 1
        assert (await on.manager.broadcast({"type": "ping"})).error == "reserved_type"


async def test_with_nobody_connected_the_list_is_empty_and_the_message_is_in_the_log(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        result = await on.manager.broadcast({"type": "announcement"})
        assert isinstance(result, BroadcastResult)
        assert (result, result.error, result.seq) == ([], None, 1)
        result.raise_for_error()
        assert on.monitor.stats()["position"]["head"] == 1


async def test_every_message_has_the_same_format(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        client = await on.client("all_conversations")
        before = datetime.now(UTC).timestamp() * 1000
        await on.manager.broadcast({"type": "a", "data": {"x": 1}, "extra": True, "timestamp": "mine", "seq": 99})
        await on.manager.broadcast({"type": "b"}, "all_conversations")
        first, second = await client.next(), await client.next()
        for message in (first, second):
            assert list(message) == ["type", "data", "timestamp", "seq", "epoch"]
            assert before - 1 <= message["timestamp"] <= datetime.now(UTC).timestamp() * 1000
        assert (first["data"], second["data"]) == ({"x": 1}, {})
        assert (first["seq"], second["seq"]) == (1, 2)


@pytest.mark.parametrize("data", [[1, "two", None], "text", 7, None, False, {"deep": [{"er": 1.5}]}, "\U0001f600", ""])
async def test_data_may_be_any_json_value(tmp_path: Path, data: Any) -> None:
    async with embedded(tmp_path) as on:
        client = await on.client()
        await on.manager.broadcast({"type": "any", "data": data})
        assert (await client.next())["data"] == data


async def test_what_strict_parsers_would_refuse_arrives_as_they_take_it(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        client = await on.client()
        await on.manager.broadcast({"type": "odd\ud800", "data": {"lone": "a\ud800b", 1: 2}})
        message = await client.next()
        assert message["type"] == "odd\ufffd"
        assert message["data"] == {"lone": "a\ufffdb", "1": 2}


async def test_what_the_caller_does_to_its_dict_later_changes_nothing(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        client = await on.client()
        data = {"n": 1}
        turn = on.monitor.commits.turn
        assert turn.take_nowait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(on.manager.broadcast, {"type": "a", "data": data})
            await wait_all_tasks_blocked()
            data["n"] = 2
            turn.give_back()
        assert (await client.next())["data"] == {"n": 1}
