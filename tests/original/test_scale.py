"""Latency, load and size. Work is counted where it can be; where time is the matter, the best of several runs is."""

import sys
import time
import tracemalloc
from pathlib import Path
from types import FrameType
from typing import Any

import trio

from tests.original.stage import END, Client, Embedded, embedded

TARGET_SECONDS = 0.050  # of the original request, for 100 clients; tests/bench/latency.py measures the real figure
RUNS = 10


async def lap(on: Embedded, clients: list[Client], data: Any = None) -> float:
    """Seconds from the call until the last client has the message; they read one after the other."""
    start = time.perf_counter()
    assert await on.manager.broadcast({"type": "message", "data": data}, "all_conversations") == []
    for client in clients:
        assert (await client.next())["data"] == data
    return time.perf_counter() - start


async def test_a_message_reaches_a_hundred_clients_within_the_target(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        clients = [await on.client("all_conversations") for _ in range(100)]
        laps = [await lap(on, clients, number) for number in range(RUNS)]
        assert min(laps) < TARGET_SECONDS, laps


async def test_concurrent_broadcasts_do_not_interfere(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        clients = [await on.client("all_conversations") for _ in range(10)]

        async def speak(speaker: int) -> None:
            for number in range(20):
                result = await on.manager.broadcast({"type": "message", "data": [speaker, number]}, "all_conversations")
                assert (result, result.error) == ([], None)

        async with trio.open_nursery() as nursery:
            for speaker in range(5):
                nursery.start_soon(speak, speaker)
        got = await on.received()
        for messages in got:
            assert [message["seq"] for message in messages] == list(range(1, 101))
            assert messages == got[0]
            for speaker in range(5):
                said = [message["data"][1] for message in messages if message["data"][0] == speaker]
                assert said == list(range(20))
        assert len(clients) == len(got)


async def test_concurrent_broadcasts_to_different_groups_reach_each_its_own(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        groups = [f"conversation:{number}" for number in range(10)]
        for group in groups:
            await on.client(group)
        async with trio.open_nursery() as nursery:
            for group in groups * 5:
                nursery.start_soon(on.manager.broadcast, {"type": "message", "data": group}, group)
        for group, messages in zip(groups, await on.received(), strict=True):
            assert [message["data"] for message in messages] == [group] * 5


async def test_a_payload_of_more_than_a_megabyte_arrives_whole_and_leaves_the_others_running(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        clients = [await on.client("all_conversations") for _ in range(5)]
        data = {"text": "ä" * 800_000, "list": list(range(20_000))}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(on.manager.broadcast, {"type": "big", "data": data})
            nursery.start_soon(on.manager.broadcast, {"type": "small"})
            for client in clients:
                found = {message["type"]: message["data"] for message in (await client.next(), await client.next())}
                assert found == {"big": data, "small": {}}


async def test_the_largest_message_allowed_arrives(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        client = await on.client("all_conversations")
        text = "x" * (16 * 1024 * 1024 - len(b'"""') - len("big") + 1)
        assert (await on.manager.broadcast({"type": "big", "data": text + "x"})).error == "too_big"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(on.manager.broadcast, {"type": "big", "data": text})
            assert (await client.next())["data"] == text


async def test_memory_is_stable_over_repeated_broadcasts(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        clients = [await on.client("all_conversations") for _ in range(3)]

        async def rounds(count: int) -> int:
            for _ in range(count):
                await on.manager.broadcast({"type": "message", "data": "x" * 1000}, "all_conversations")
                for client in clients:
                    await client.next()
                    client.seen.clear()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before = await rounds(400)  # more than the Router keeps for those who rejoin
            after = await rounds(800)
        finally:
            tracemalloc.stop()
        assert after - before < 128 * 1024  # 800 messages are 800 KB


async def calls_of_a_broadcast(on: Embedded) -> int:
    """Function calls, Python's and C's, from the call to its return."""
    count = 0

    def seen(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        await on.manager.broadcast({"type": "message"}, "all_conversations")
    finally:
        sys.setprofile(None)
    return count


async def test_the_work_grows_linearly_with_the_clients(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        work: dict[int, int] = {}
        while len(on.clients) < 160:
            await on.client("all_conversations")
            if len(on.clients) in (40, 80, 160):
                work[len(on.clients)] = min([await calls_of_a_broadcast(on) for _ in range(5)])
        one_more = (work[80] - work[40]) / 40
        assert 0 < one_more < 20  # a look at the topics and a write
        assert (work[160] - work[80]) / 80 < one_more * 1.2
        await on.say(END)
        for client in on.clients:
            await client.until(END)
        sent = [connection.sender.frames_sent for connection in on.manager._server.connections]
        assert sum(sent) == 40 * 16 + 40 * 11 + 80 * 6


async def test_a_message_is_encoded_and_stored_once_however_many_get_it(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        for _ in range(20):
            await on.client("all_conversations")
        await on.say("message", text="x" * 1000)
        await on.say(END)
        got = [await client.until(END) for client in on.clients]
        assert all(messages == got[0] for messages in got)
        assert on.monitor.stats()["position"]["head"] == 2
