"""Broadcast messages and where-filters: who gets them, and who is named."""

from pathlib import Path
from typing import Any

from tests.original.stage import Client, Embedded, embedded
from tests.original.test_failures import fill_the_disk, free_the_disk

BY_ADA = {"key": "session_id", "cmp": "eq", "val": "ada"}


async def filtered(on: Embedded, where: dict[str, Any], *topics: str, legacy: bool = False) -> Client:
    client = await on.client(*topics, legacy=legacy)
    reply = await client.raw.ask("subscribe", {"topics": [], "where": where})
    assert reply["data"]["where"] == where
    return client


async def test_a_message_to_everybody_passes_each_clients_filter(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        clients = [
            await filtered(on, BY_ADA),
            await filtered(on, BY_ADA, legacy=True),
            await filtered(on, {"key": "tool", "cmp": "eq", "val": "Bash"}, "project:p"),
            await on.client("project:p"),
        ]
        await on.say("deployed", session_id="ada")
        await on.say("deployed", session_id=7)
        await on.say("deployed", "project:p", tool=["Read", "Bash"])
        await on.say("end", "project:p", session_id="ada", tool=["Bash"])
        await on.say("end", session_id="ada", tool=["Bash"])
        found = [[message["seq"] for message in await client.until("end")] for client in clients]
        assert found == [[1], [1], [3], [1, 2, 3]]


async def test_only_clients_whose_filter_accepts_a_message_are_found_broken(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        meant, other = await filtered(on, BY_ADA), await filtered(on, {"op": "not", "node": BY_ADA})
        meant.raw.reset()
        other.raw.reset()
        result = await on.manager.broadcast({"type": "deployed", "data": {"session_id": "ada"}})
        assert result == [meant.id]


async def test_a_message_that_cannot_be_stored_names_those_whose_filter_accepts_it(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        meant, plain = await filtered(on, BY_ADA), await on.client()
        await filtered(on, {"op": "not", "node": BY_ADA})
        fill_the_disk(on)
        result = await on.manager.broadcast({"type": "deployed", "data": {"session_id": "ada", "log": "x" * 200_000}})
        assert (result, result.error) == ([meant.id, plain.id], "not_persisted")
        free_the_disk(on)


async def test_a_message_that_is_no_json_cannot_be_asked_about_and_names_all_by_topic(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        clients = [await filtered(on, BY_ADA), await on.client()]
        result = await on.manager.broadcast({"type": "deployed", "data": {"session_id": object()}})
        assert (result, result.error) == ([client.id for client in clients], "not_serialisable")
