"""`observatory tail`: what goes to stdout, what to stderr, and when it ends."""

import io
import json
from typing import Any

import pytest
from trio.testing import MockClock

from observatory.cli.tail import epoch_of, tail
from observatory.core.errors import Unreachable
from observatory.core.events import Position
from tests.playing import URL, Peer, Refusal, playing


async def tail_of(
    *scripts: Any, n: int | None = 1, as_json: bool = False, **options: Any
) -> tuple[list[str], list[str]]:
    """Lines on stdout and stderr."""
    out, notices = io.StringIO(), io.StringIO()
    since = options.pop("since", None)
    async with playing(*scripts) as open_stream:
        topics = options.pop("topics", ())
        await tail(URL, topics, n, since, as_json, out, notices, open_stream=open_stream, **options)
    return out.getvalue().splitlines(), notices.getvalue().splitlines()


async def named(peer: Peer) -> None:
    """Give a snapshot with one project, then subscribe."""
    await peer.hello()
    request = await peer.expect("get_snapshot")
    position = {"epoch": "e1", "seq": 100}
    snapshot = {"projects": [{"id": "p1", "name": "shop"}], "conversations": [], "position": position}
    await peer.send("snapshot", snapshot, re=request["id"])
    request = await peer.expect("subscribe")
    assert request["data"]["topics"] == ["all_conversations", "project_updates"]
    await peer.confirm(request, pos=100, recovered=True)


async def test_it_prints_events_with_the_names_of_projects_and_stops_after_n(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await named(peer)
        update = {"id": "p1", "name": "shop", "path": "/shop"}
        await peer.send("project_update", update, seq=101, epoch="e1")  # teaches a name, and is no line of `-n`
        for seq in (102, 103, 104):
            record = {"project_id": "p1", "conversation_id": "c1", "record": {"kind": "prompt", "text": f"no. {seq}"}}
            await peer.send("message_added", record, seq=seq, epoch="e1")
        await peer.closed_by_client()

    out, notices = await tail_of(script, n=2)
    assert [line.split(" ", 1)[1] for line in out] == ["shop/c1 user no. 102", "shop/c1 user no. 103"]
    assert notices == []


async def test_json_prints_each_envelope_as_one_safe_line(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        assert (await peer.subscribed(100))["topics"] == ["system", "file_events"]
        await peer.send("deployed", {"text": "\x9b2J \u202e é"}, seq=101, epoch="e1", stream="main")
        await peer.closed_by_client()

    [line], _ = await tail_of(script, as_json=True, topics=["system", "file_events"])
    assert "\\u009b2J \\u202e é" in line
    assert json.loads(line) == {
        "type": "deployed",
        "data": {"text": "\x9b2J \u202e é"},
        "timestamp": 1795381200000,
        "seq": 101,
        "epoch": "e1",
        "stream": "main",
    }


async def test_json_passes_over_snapshots(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.send("resync", {"reason": "gap"})
        request = await peer.expect("get_snapshot")
        await peer.send("snapshot", {"position": {"epoch": "e1", "seq": 200}}, re=request["id"])
        await peer.confirm(await peer.expect("resume"), pos=200, recovered=True)
        await peer.events(201)
        await peer.closed_by_client()

    out, notices = await tail_of(script, as_json=True)
    assert len(out) == 1
    assert notices == ["observatory: connected again, but not every event could be had"]


async def test_interruptions_are_told_on_stderr(autojump_clock: MockClock) -> None:
    async def restarts(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.send("server_shutdown", {"reason": "restart", "reconnect_after_ms": 1500})
        await peer.close(1012)

    async def miscounts(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.send("server_shutdown", {"reconnect_after_ms": 0})
        await peer.ping(sent=3, pos=103)
        await peer.closed_by_client()

    async def has_forgotten(peer: Peer) -> None:
        await peer.hello()
        request = await peer.expect("subscribe")
        await peer.confirm(request, pos=None, recovered=False, reason="too_old")
        request = await peer.expect("get_snapshot")
        await peer.send("error", {"code": "NOT_AVAILABLE", "message": "busy"}, re=request["id"])
        await peer.confirm(await peer.expect("subscribe"), pos=300)
        await peer.events(301)
        await peer.closed_by_client()

    out, notices = await tail_of(restarts, miscounts, has_forgotten, as_json=True, since=Position("e1", 100))
    assert len(out) == 1
    assert notices == [
        "observatory: The connection was closed (1012); reconnecting",
        "observatory: connected again, nothing was missed",
        "observatory: the server sent 3 events, 0 arrived; asking again for what is missing",
        "observatory: The connection was closed (4000): count mismatch; reconnecting",
        "observatory: events after e1:100 are missing (no snapshot: The server refused: busy); going on at e1:300",
        "observatory: connected again, but not every event could be had",
    ]


async def test_an_absence_is_told_once_however_often_it_is_tried_to_come_back(autojump_clock: MockClock) -> None:
    async def goes(peer: Peer) -> None:
        await peer.subscribed(100)

    async def comes(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.events(101)
        await peer.closed_by_client()

    refusal = Refusal(503, b'{"error":{"code":"DRAINING","message":"The server is going down"}}')
    out, notices = await tail_of(goes, None, refusal, None, comes, as_json=True)
    assert len(out) == 1
    assert notices == [
        "observatory: The connection was closed (1006); reconnecting",
        "observatory: connected again, nothing was missed",
    ]


async def test_without_a_server_it_raises_one_line_that_says_what_to_do(autojump_clock: MockClock) -> None:
    with pytest.raises(Unreachable) as caught:
        await tail_of()
    assert str(caught.value) == "No server answers at observatory.test:8000: is `observatory serve` running?"


async def test_it_ends_quietly_when_nobody_reads_its_output(autojump_clock: MockClock) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    async def script(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.events(101)
        await peer.closed_by_client()

    async with playing(script) as open_stream:
        await tail(URL, (), None, None, True, Closed(), open_stream=open_stream)


async def test_the_epoch_of_a_server_is_in_its_hello(autojump_clock: MockClock) -> None:
    async with playing(Peer.hello) as open_stream:
        assert await epoch_of(URL, open_stream) == "e1"


@pytest.mark.parametrize(("as_json", "topics"), [(True, []), (False, ["system"]), (False, [])])
async def test_a_filter_is_sent_and_lets_names_of_projects_through_where_they_are_of_use(
    as_json: bool, topics: list[str], autojump_clock: MockClock
) -> None:
    where = {"key": "kind", "cmp": "eq", "val": "prompt"}
    asked: list[Any] = []

    async def script(peer: Peer) -> None:
        await peer.hello()
        if not as_json:
            request = await peer.expect("get_snapshot")
            await peer.send("snapshot", {"position": {"epoch": "e1", "seq": 100}}, re=request["id"])
        request = await peer.expect("subscribe")
        asked.append(request["data"]["where"])
        await peer.confirm(request, pos=100, recovered=True)
        record = {"project_id": "p1", "conversation_id": "c1", "record": {"kind": "prompt", "text": "?"}}
        await peer.send("message_added", record, seq=101, epoch="e1")
        await peer.closed_by_client()

    out, _ = await tail_of(script, as_json=as_json, topics=topics, where=where)
    assert len(out) == 1
    wider = {"op": "or", "nodes": [{"key": "type", "cmp": "eq", "val": "project_update"}, where]}
    assert asked == [where if as_json or topics else wider]
