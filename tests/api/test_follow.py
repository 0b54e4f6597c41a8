"""The log from a position on: by long polls, lines, and server-sent events."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import orjson
import pytest
import trio

from observatory.core.ports import Stored
from tests.api.asking import asking
from tests.api.stage import DEADLINE, TWO, Stage, staged
from tests.ingest.stage import prompt


def said(number: int) -> bytes:
    return prompt(number, "more", sessionId=TWO, uuid=f"more{number}", cwd="/v")


@asynccontextmanager
async def streaming(
    on: Stage, path: str, headers: dict[str, str] | None = None, **query: str
) -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """What gives a stream's next line; it raises EndOfChannel at its end."""
    async with asking(on.port, f"/api/v1/events/{path}?{urlencode(query)}", headers or {}) as answer:
        assert answer.status == 200
        assert answer.headers["cache-control"] == "no-store"
        yield answer.line


async def test_lines_to_the_head_are_the_log_byte_for_byte(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        on.write(f"-v/{TWO}.jsonl", *map(said, range(1, 301)))
        await on.settled()
        answer = await on.http.get("/api/v1/events/ndjson", params={"since": 0})
        assert answer.headers["content-type"] == "application/x-ndjson"
        lines = answer.content.splitlines()
        stored: list[Stored] = []
        while len(stored) < on.monitor.events.position.head:
            stored += await on.monitor.events.read(len(stored), on.monitor.events.position.head)
        assert lines == [event.payload for event in stored]
        assert [orjson.loads(line)["seq"] for line in lines] == list(range(1, len(lines) + 1))


async def test_lines_that_follow_go_on_with_what_is_new(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        topic, where = f"conversation:{TWO}", '{"key":"kind","cmp":"exists"}'
        async with streaming(on, "ndjson", follow="true", topic=topic, where=where) as lines:
            on.write(f"-v/{TWO}.jsonl", said(1), said(2))
            for number in (1, 2):
                with trio.fail_after(DEADLINE):
                    event = orjson.loads(await lines())
                assert (event["type"], event["data"]["record"]["uuid"]) == ("message_added", f"more{number}")


async def test_server_sent_events_go_on_after_the_last_id(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        head, epoch = on.monitor.events.position.head, on.monitor.events.position.epoch
        on.write(f"-v/{TWO}.jsonl", said(1))
        await on.until(head + 1)
        async with streaming(on, "stream", {"Last-Event-ID": f"{epoch}:{head}"}) as lines:
            told = [await lines() for _ in range(5)]
        assert told[:3] == ["retry: 1000", "", f"id: {epoch}:{head + 1}"]
        assert orjson.loads(told[3].removeprefix("data: "))["seq"] == head + 1
        assert told[4] == ""


async def test_a_stream_from_a_place_that_is_gone_says_so_and_goes_on(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        now = on.monitor.events.position
        for id, expected in (
            ("another0:3", "epoch_changed"),
            (f"{now.epoch}:{now.head + 1000}", "ahead"),
            ("nonsense", "no_position"),
        ):
            async with streaming(on, "stream", {"Last-Event-ID": id}) as lines:
                told = [await lines() for _ in range(6)]
                assert told[2:4] == ["event: resync", f"id: {now.epoch}:{now.head}"], id
                reason = orjson.loads(told[4].removeprefix("data: "))["reason"]
                assert reason == expected


async def test_a_long_poll_waits_for_the_first_event_and_tells_how_far_it_looked(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        now = on.monitor.events.position
        nothing = await on.get("/events/poll", since=f"{now.epoch}:{now.head}")
        assert (nothing["events"], nothing["position"]["seq"], nothing["head"]) == ([], now.head, now.head)

        async def write_later() -> None:
            await trio.sleep(0.2)
            on.write(f"-v/{TWO}.jsonl", said(1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_later)
            told = await on.get("/events/poll", since=f"{now.epoch}:{now.head}", wait=15)
        assert told["events"][0]["seq"] == now.head + 1
        elsewhere = await on.get("/events/poll", since=0, topic="conversation:nobody")
        assert (elsewhere["events"], elsewhere["position"]["seq"]) == ([], elsewhere["head"])
        few = await on.get("/events/poll", since=0, limit=1)
        assert (len(few["events"]), few["position"]["seq"]) == (1, 1)
        waited = await on.get("/events/poll", wait=0.1)
        assert waited["events"] == []


@pytest.mark.parametrize(("since", "code"), [("other000:1", "EPOCH_CHANGED"), ("999999", "AHEAD")])
async def test_a_position_that_leads_nowhere_is_gone(tmp_path: Path, since: str, code: str) -> None:
    async with staged(tmp_path) as on:
        for path in ("poll", "ndjson"):
            answer = await on.http.get(f"/api/v1/events/{path}", params={"since": since})
            assert (answer.status_code, answer.json()["error"]["code"]) == (410, code)
            assert answer.json()["position"]["seq"] == on.monitor.events.position.head


async def test_topics_and_filters_that_are_none_are_refused(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        for query, code in (
            ({"topic": "everything"}, "INVALID_TOPIC"),
            ({"where": "{"}, "INVALID_FILTERS"),
            ({"where": '{"key":"colour","cmp":"exists"}'}, "INVALID_FILTERS"),
        ):
            assert (await on.get("/events/poll", 422, **query))["error"]["code"] == code
        await on.get("/events/poll", 400, since="yesterday")


async def test_streams_end_with_the_server(tmp_path: Path) -> None:
    async with staged(tmp_path) as on, streaming(on, "ndjson", follow="true") as lines:
        with trio.fail_after(DEADLINE):
            await on.manager.shut_down()
            with pytest.raises(trio.EndOfChannel):
                await lines()
