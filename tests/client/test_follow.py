"""Following the log: once, in order, through all that can happen to a connection (protocol.md §14)."""

from trio.testing import MockClock

from observatory.core.client_items import (
    Connected,
    Disconnected,
    Gap,
    Incomplete,
    Snapshot,
)
from observatory.core.events import Position
from tests.client.following import TOPICS, following, seqs, take
from tests.playing import Peer


async def test_it_subscribes_at_the_head_and_hands_over_events(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        assert await peer.subscribed(100) == {"topics": TOPICS, "where": {"key": "role", "cmp": "exists"}}
        await peer.events(101, 103)
        await peer.closed_by_client()

    async with following(script, where={"key": "role", "cmp": "exists"}) as items:
        connected, *events = await take(items, 3)
    assert connected == Connected("c7", Position("e1", 100), None)
    assert seqs(events) == [101, 103]


async def test_events_that_were_seen_are_dropped(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.events(101, 101, 100, 102)
        await peer.closed_by_client()

    async with following(script) as items:
        assert seqs(await take(items, 3)) == [101, 102]


async def test_it_resumes_after_a_cut_from_the_last_event(autojump_clock: MockClock) -> None:
    async def first(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.events(101, 105)

    async def second(peer: Peer) -> None:
        assert (await peer.subscribed(105))["resume"] == {"epoch": "e1", "seq": 105}
        await peer.events(106)
        await peer.closed_by_client()

    async with following(first, second) as items:
        found = await take(items, 6)
    assert seqs(found) == [101, 105, 106]
    assert found[3] == Disconnected("The connection was closed (1006)", 1.0)
    assert found[4] == Connected("c7", Position("e1", 105), True)


async def test_before_the_first_event_it_resumes_from_the_confirmed_head(autojump_clock: MockClock) -> None:
    async def first(peer: Peer) -> None:
        await peer.subscribed(100)

    async def second(peer: Peer) -> None:
        assert (await peer.subscribed(100))["resume"] == {"epoch": "e1", "seq": 100}
        await peer.closed_by_client()

    async with following(first, second) as items:
        await take(items, 3)


async def test_a_ping_is_answered_and_moves_the_position_past_events_that_did_not_match(
    autojump_clock: MockClock,
) -> None:
    async def first(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.events(101)
        await peer.ping(sent=1, pos=150)
        assert (await peer.expect("pong"))["data"] == {"timestamp": 5, "received": 1}

    async def second(peer: Peer) -> None:
        assert (await peer.subscribed(150))["resume"]["seq"] == 150
        await peer.closed_by_client()

    async with following(first, second) as items:
        await take(items, 4)


async def test_a_wrong_count_closes_with_4000_is_told_and_repeats_nothing_but_what_was_missing(
    autojump_clock: MockClock,
) -> None:
    async def first(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.events(101)
        await peer.ping(sent=1, pos=101)
        await peer.events(102, 104)  # 103 is lost on the way
        await peer.expect("pong")
        await peer.ping(sent=4, pos=104)
        assert await peer.closed_by_client() == 4000

    async def second(peer: Peer) -> None:
        assert (await peer.subscribed(101))["resume"]["seq"] == 101
        await peer.events(102, 103, 104, 105)
        await peer.ping(sent=4, pos=105)
        await peer.closed_by_client()

    async with following(first, second) as items:
        found = await take(items, 9)
    assert seqs(found) == [101, 102, 104, 103, 105]
    assert found[4] == Incomplete(sent=4, received=3, since=Position("e1", 101))
    assert isinstance(found[5], Disconnected)


SNAPSHOT = {
    "projects": [{"id": "p1"}],
    "conversations": [{"id": "c1"}],
    "truncated": False,
    "position": {"epoch": "e2", "seq": 7},
}
SNAPSHOT_ITEM = Snapshot(({"id": "p1"},), ({"id": "c1"},), False, Position("e2", 7))


async def give_snapshot(peer: Peer) -> None:
    request = await peer.expect("get_snapshot")
    await peer.send("snapshot", SNAPSHOT, re=request["id"])
    request = await peer.expect("resume")
    assert request["data"] == {"epoch": "e2", "seq": 7}
    await peer.confirm(request, epoch="e2", pos=7, recovered=True)
    await peer.events(8, epoch="e2")
    await peer.closed_by_client()


async def test_what_cannot_be_resumed_is_replaced_by_a_snapshot(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        request = await peer.expect("subscribe")
        assert request["data"]["resume"] == {"epoch": "e0", "seq": 3}
        await peer.confirm(request, epoch="e2", pos=None, recovered=False, reason="epoch_changed")
        await give_snapshot(peer)

    async with following(script, since=Position("e0", 3)) as items:
        snapshot, connected, event = await take(items, 3)
    assert snapshot == SNAPSHOT_ITEM
    assert connected == Connected("c7", Position("e2", 7), False)
    assert seqs([event]) == [8]


async def test_a_resync_is_replaced_by_a_snapshot_on_the_same_connection(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.events(101)
        await peer.send("resync", {"reason": "gap", "epoch": "e2", "head": 7, "oldest": 1})
        await give_snapshot(peer)

    async with following(script) as items:
        found = await take(items, 5)
    assert found[2:4] == [SNAPSHOT_ITEM, Connected("c7", Position("e2", 7), False)]
    assert seqs(found) == [101, 8]


async def test_without_a_snapshot_it_goes_on_at_the_head_and_says_what_is_missing(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        request = await peer.expect("subscribe")
        await peer.confirm(request, pos=None, recovered=False, reason="too_old")
        request = await peer.expect("get_snapshot")
        await peer.send("error", {"code": "NOT_AVAILABLE", "message": "disk", "retryable": True}, re=request["id"])
        request = await peer.expect("subscribe")
        assert "resume" not in request["data"]
        await peer.confirm(request, pos=100)
        await peer.events(101)
        await peer.closed_by_client()

    async with following(script, since=Position("e1", 3)) as items:
        gap, connected, event = await take(items, 3)
    assert gap == Gap("no snapshot: The server refused: disk", Position("e1", 3), Position("e1", 100))
    assert connected == Connected("c7", Position("e1", 100), False)
    assert seqs([event]) == [101]


async def test_it_can_begin_with_a_snapshot(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        request = await peer.expect("get_snapshot")
        await peer.send("snapshot", SNAPSHOT, re=request["id"])
        request = await peer.expect("subscribe")
        assert request["data"] == {"topics": TOPICS, "where": None, "resume": {"epoch": "e2", "seq": 7}}
        await peer.confirm(request, epoch="e2", pos=7, recovered=True)
        await peer.closed_by_client()

    async with following(script, snapshot=True) as items:
        assert await take(items, 2) == [SNAPSHOT_ITEM, Connected("c7", Position("e2", 7), None)]
