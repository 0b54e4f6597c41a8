"""A program's subscription: typed events, its place in the log, and its end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from observatory.client.api import Client, Subscription, connect
from observatory.client.saved import SavedPosition
from observatory.core.client_events import Delivery, OtherEvent, ProjectUpdate
from observatory.core.client_items import Connected, Disconnected, Gap, Incomplete, Miscounted, Refused, Snapshot
from observatory.core.errors import Unreachable, UsageError
from observatory.core.events import Position
from tests.client.following import longest
from tests.client.test_follow import SNAPSHOT, SNAPSHOT_ITEM, give_snapshot
from tests.playing import URL, Peer, Script, playing, stay

PROJECT = {"id": "p1", "name": "shop", "path": "/shop", "created_at": "", "updated_at": "", "last_activity": ""}


@asynccontextmanager
async def client_of(*scripts: Script) -> AsyncIterator[Client]:
    async with (
        playing(*scripts) as open_stream,
        connect(URL, uniform=longest, open_stream=open_stream) as client,
    ):
        yield client


async def take(events: Subscription, count: int) -> list[Delivery]:
    taken: list[Delivery] = []
    async for event in events:
        taken.append(event)
        if len(taken) == count:
            break
    return taken


def seqs(deliveries: list[Delivery]) -> list[int | None]:
    return [None if isinstance(item, Snapshot | Gap | Incomplete) else item.seq for item in deliveries]


async def test_events_come_typed_through_all_connections(autojump_clock: MockClock) -> None:
    async def first(peer: Peer) -> None:
        data = await peer.subscribed(100)
        assert data == {"topics": ["project_updates", "system"], "where": {"key": "type", "cmp": "exists"}}
        await peer.send("project_update", PROJECT, seq=101, epoch="e1")

    async def second(peer: Peer) -> None:
        assert (await peer.subscribed(101))["resume"]["seq"] == 101
        await peer.send("invented_later", {"x": 1}, seq=102, epoch="e1")
        await peer.closed_by_client()

    where = {"key": "type", "cmp": "exists"}
    async with client_of(first, second) as client:
        update, other = await take(client.subscribe("project_updates", "system", where=where), 2)
    assert isinstance(update, ProjectUpdate)
    assert (update.name, update.position) == ("shop", Position("e1", 101))
    assert isinstance(other, OtherEvent)
    assert (other.type, other.data) == ("invented_later", {"x": 1})


async def test_it_begins_where_it_is_told_to(autojump_clock: MockClock) -> None:
    async def from_a_position(peer: Peer) -> None:
        assert (await peer.subscribed(7))["resume"] == {"epoch": "e1", "seq": 7}
        await peer.events(8)
        await peer.closed_by_client()

    async def with_a_snapshot(peer: Peer) -> None:
        await peer.hello()
        await peer.send("snapshot", SNAPSHOT, re=(await peer.expect("get_snapshot"))["id"])
        await peer.closed_by_client()

    async with client_of(from_a_position, with_a_snapshot) as client:
        assert seqs(await take(client.subscribe("system", since=Position("e1", 7)), 1)) == [8]
        assert await take(client.subscribe("system", snapshot=True), 1) == [SNAPSHOT_ITEM]


async def test_what_cannot_be_had_is_said_in_its_place(autojump_clock: MockClock) -> None:
    async def cannot_resume(peer: Peer) -> None:
        await peer.hello()
        await peer.confirm(await peer.expect("subscribe"), epoch="e2", pos=None, recovered=False, reason="ahead")
        await give_snapshot(peer)

    async def cannot_even_read(peer: Peer) -> None:
        await peer.hello()
        await peer.confirm(await peer.expect("subscribe"), pos=None, recovered=False, reason="too_old")
        request = await peer.expect("get_snapshot")
        await peer.send("error", {"code": "NOT_AVAILABLE", "message": "disk"}, re=request["id"])
        await peer.confirm(await peer.expect("subscribe"), pos=300)
        await peer.events(301)
        await peer.closed_by_client()

    async with client_of(cannot_resume, cannot_even_read) as client:
        events = client.subscribe("system", since=Position("e1", 9))
        assert (await anext(events), (await anext(events)).seq) == (SNAPSHOT_ITEM, 8)  # type: ignore[union-attr]
        assert events.position == Position("e2", 7)
        await events.aclose()
        events = client.subscribe("system", since=Position("e1", 9))
        gap, event = await take(events, 2)
        assert gap == Gap("no snapshot: The server refused: disk", Position("e1", 9), Position("e1", 300))
        assert seqs([event]) == [301]


async def test_the_program_hears_of_its_connection_if_it_wants_to(autojump_clock: MockClock) -> None:
    async def goes(peer: Peer) -> None:
        await peer.subscribed(100)

    async def comes(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.events(101)
        await peer.closed_by_client()

    told: list[Connected | Disconnected] = []
    async with client_of(goes, comes) as client:
        await take(client.subscribe("system", on_connection=told.append), 1)
    assert told == [
        Connected("c7", Position("e1", 100), None),
        Disconnected("The connection was closed (1006)", 1.0),
        Connected("c7", Position("e1", 100), True),
    ]


# -- the saved position ------------------------------------------------------------------------------------------------


def saved(path: Path) -> int | None:
    position = SavedPosition(path).load()
    return None if position is None else position.seq


async def test_a_position_is_saved_when_the_next_event_is_asked_for(autojump_clock: MockClock, tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.events(101, 105)
        await peer.closed_by_client()

    store = tmp_path / "place"
    async with client_of(script) as client:
        events = client.subscribe("system", store=store)
        assert saved(store) is None
        assert seqs([await anext(events)]) == [101]
        assert saved(store) == 100  # the beginning: nothing after it will be missed
        assert seqs([await anext(events)]) == [105]
        assert saved(store) == 101
    assert saved(store) == 101  # 105 was in hand: it comes again


async def test_a_program_goes_on_where_it_was_whatever_since_says(autojump_clock: MockClock, tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        assert (await peer.subscribed(7))["resume"] == {"epoch": "e1", "seq": 7}
        await peer.events(8)
        await peer.closed_by_client()

    SavedPosition(tmp_path / "place").save(Position("e1", 7))
    async with client_of(script) as client:
        events = client.subscribe("system", store=str(tmp_path / "place"), since=Position("e1", 1), snapshot=True)
        assert seqs([await anext(events)]) == [8]


async def test_an_event_is_handled_when_its_block_ends_well_and_not_when_it_fails(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async def script(peer: Peer) -> None:
        data = await peer.subscribed(100)
        await peer.events(data["resume"]["seq"] + 1)
        await peer.closed_by_client()

    store = tmp_path / "place"
    SavedPosition(store).save(Position("e1", 100))

    async def handle(client: Client, error: type[Exception] | None) -> int | None:
        async with client.subscribe("system", store=store) as events:
            event = await anext(events)
            if error is not None:
                raise error
            return seqs([event])[0]

    async with client_of(script, script, script) as client:
        with pytest.raises(KeyError):
            await handle(client, KeyError)
        assert saved(store) == 100
        assert [await handle(client, None), await handle(client, None)] == [101, 102]
        assert saved(store) == 102


async def test_an_agreed_position_is_saved_although_no_event_had_it(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Else a program with rare events would fall out of the log's retention."""

    async def script(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.events(101)
        await peer.ping(sent=1, pos=150)
        await peer.expect("pong")
        await peer.events(151)
        await peer.ping(sent=2, pos=200)
        await peer.closed_by_client()

    store = tmp_path / "place"
    async with client_of(script) as client:
        events = client.subscribe("system", store=store)
        await take(events, 2)
        assert saved(store) == 150
        with trio.move_on_after(1):
            await anext(events)
        assert saved(store) == 200


async def test_after_a_wrong_count_the_last_agreed_position_is_saved_at_once(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async def first(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.events(102)  # 101 is lost on the way
        await peer.ping(sent=2, pos=102)
        assert await peer.closed_by_client() == 4000

    async def second(peer: Peer) -> None:
        assert (await peer.subscribed(100))["resume"]["seq"] == 100
        await peer.events(101, 102, 103)
        await peer.closed_by_client()

    store = tmp_path / "place"
    async with client_of(first, second) as client:
        events = client.subscribe("system", store=store)
        _, incomplete = await take(events, 2)
        assert incomplete == Incomplete(sent=2, received=1, since=Position("e1", 100))
        assert saved(store) == 100
        assert seqs(await take(events, 2)) == [101, 103]


async def test_a_position_that_is_none_ends_it_before_anything_is_dialled(tmp_path: Path) -> None:
    (tmp_path / "place").write_text("nonsense")
    async with client_of() as client:
        with pytest.raises(UsageError, match="holds no position"):
            await anext(client.subscribe("system", store=tmp_path / "place"))


# -- ends --------------------------------------------------------------------------------------------------------------


async def test_why_there_is_no_way_on_comes_out_of_the_iteration(autojump_clock: MockClock) -> None:
    async def refuses(peer: Peer) -> None:
        await peer.hello()
        error = {"code": "INVALID_TOPIC", "message": "no such topic"}
        await peer.send("error", error, re=(await peer.expect("subscribe"))["id"])
        await peer.closed_by_client()

    async with client_of(None, refuses) as client:
        with pytest.raises(Unreachable, match="No server answers"):
            await anext(client.subscribe("system"))
        events = client.subscribe("weather")
        for _ in range(2):  # and stays the reason
            with pytest.raises(Refused, match="no such topic"):
                await anext(events)


async def test_a_count_that_stays_wrong_is_an_error(autojump_clock: MockClock) -> None:
    async def miscounts(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.ping(sent=1, pos=101)
        assert await peer.closed_by_client() == 4000

    async with client_of(miscounts, miscounts, miscounts) as client:
        events = client.subscribe("system")
        for _ in range(3):
            assert isinstance(await anext(events), Incomplete)
        with pytest.raises(Miscounted, match="counted 1 events and 0 arrived, on 3 connections in a row"):
            await anext(events)


async def test_a_patient_subscription_waits_for_its_server(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.events(101)
        await peer.closed_by_client()

    async with client_of(None, None, script) as client:
        assert seqs(await take(client.subscribe("system", patient=True), 1)) == [101]


async def test_subscriptions_of_one_client_are_connections_of_their_own(autojump_clock: MockClock) -> None:
    left: list[str] = []

    async def script(peer: Peer) -> None:
        topics = (await peer.subscribed(100))["topics"]
        await peer.events(101)
        await peer.closed_by_client()
        left.extend(topics)

    async with client_of(script, script) as client:
        one, two = client.subscribe("system"), client.subscribe("file_events")
        await take(one, 1)
        await take(two, 1)
        await one.aclose()
        await wait_all_tasks_blocked()
        assert left == ["system"]
        await one.aclose()  # again: nothing
    with pytest.raises(trio.ClosedResourceError):
        await anext(two)


async def test_after_its_clients_block_there_is_nothing_to_subscribe_to(autojump_clock: MockClock) -> None:
    async with client_of(stay) as client:
        events = client.subscribe("system")
        with pytest.raises(UsageError, match="at least one topic"):
            client.subscribe()
    with pytest.raises(trio.ClosedResourceError, match="has ended"):
        await anext(events)
    await events.aclose()


async def test_a_url_of_something_else_is_the_users_mistake() -> None:
    with pytest.raises(UsageError, match="is no URL of a server"):
        async with connect("ftp://x"):
            pass


async def test_an_error_of_the_program_leaves_its_blocks_as_it_is(autojump_clock: MockClock) -> None:
    async def use(client: Client) -> None:
        async with client.subscribe("system") as events, trio.open_nursery() as nursery:
            nursery.start_soon(wait, events)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        raise KeyError("mine")

    async def wait(events: Any) -> None:
        await anext(events)

    with pytest.raises(KeyError, match="mine"):
        async with client_of(stay) as client:
            await use(client)
