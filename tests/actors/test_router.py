"""Topics to clients: who gets what, once, in order; joins, refusals, rejoins."""

import time
from collections.abc import Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from actors.commands import At, Decision, Place, Publish, Rejoin, Routed, Subscribe, Unsubscribe
from actors.router import BREATH, RECENT_FRAMES, Router
from actors.sender import OutboxLimits, Sender
from tests.actors.fakes import EVERYONE, FakeTransport, ListBacklog


class FakeClient:
    """Takes everything, or refuses."""

    def __init__(self) -> None:
        self.cursor: int | None = None
        self.chunks: list[tuple[bytes, int]] = []
        self.refuses = False

    @property
    def taken(self) -> bytes:
        return b"".join(data for data, _ in self.chunks)

    def offer_nowait(self, data: bytes, frames: int = 1, stamp: object = None) -> bool:
        if not self.refuses:
            self.chunks.append((data, frames))
        return not self.refuses

    def reply_nowait(self, data: bytes) -> None:
        self.chunks.append((data, 0))

    def fall_behind(self, position: int) -> None:
        self.cursor = position

    def go_live(self) -> None:
        self.cursor = None


def at_head(*topics: str) -> Callable[[Place], Decision[str]]:
    return lambda place: Decision(frozenset(topics), place.head)


def one(position: int, *topics: str, data: bytes | None = None) -> Publish[str]:
    return Publish((Routed(position, topics, data if data is not None else b"%d," % position),))


async def settle() -> None:
    await wait_all_tasks_blocked()


async def test_an_event_reaches_exactly_the_holders_of_its_topics(router: Router[str]) -> None:
    a, b, both, none = (FakeClient() for _ in range(4))
    await router.post(Subscribe(a, at_head("a")))
    await router.post(Subscribe(b, at_head("b")))
    await router.post(Subscribe(both, at_head("a", "b")))
    await router.post(Subscribe(none, at_head()))
    await router.post(one(1, "a"))
    await router.post(one(2, "b", "a"))
    await router.post(one(3, "c"))
    await settle()
    assert [a.taken, b.taken, both.taken, none.taken] == [b"1,2,", b"2,", b"1,2,", b""]


async def test_a_message_for_everyone_reaches_clients_without_topics(router: Router[str]) -> None:
    client, stranger = FakeClient(), FakeClient()
    await router.post(Subscribe(client, at_head()))
    await router.post(Subscribe(stranger, lambda place: Decision(frozenset({"a"}))))
    await router.post(one(1, EVERYONE, "a"))
    await settle()
    assert client.taken == b"1,"
    assert stranger.taken == b""  # it has no position yet


async def test_a_batch_reaches_a_client_as_one_chunk(router: Router[str]) -> None:
    a, b = FakeClient(), FakeClient()
    await router.post(Subscribe(a, at_head("a")))
    await router.post(Subscribe(b, at_head("b")))
    await router.post(Publish(tuple(Routed(n, ("a",) if n % 2 else ("a", "b"), b"%d," % n) for n in range(1, 6))))
    await settle()
    assert a.chunks == [(b"1,2,3,4,5,", 5)]
    assert b.chunks == [(b"2,4,", 2)]


async def test_equal_audiences_share_the_same_bytes(router: Router[str]) -> None:
    clients = [FakeClient() for _ in range(3)]
    for client in clients:
        await router.post(Subscribe(client, at_head("a", "b")))
    await router.post(Publish((Routed(1, ("a",), b"x"), Routed(2, ("b",), b"y"))))
    await settle()
    first = clients[0].chunks[0][0]
    assert all(client.chunks[0][0] is first for client in clients)


async def test_subscribing_counts_from_its_place_between_two_messages(router: Router[str]) -> None:
    client, places = FakeClient(), []

    def decide(place: Place) -> Decision[str]:
        places.append(place)
        return Decision(frozenset({"a"}), place.head)

    await router.post(one(1, "a"))
    await router.post(Subscribe(client, decide))
    await router.post(one(2, "a"))
    await settle()
    assert places == [Place(1, None)]
    assert client.taken == b"2,"


async def test_topics_change_at_their_place(router: Router[str]) -> None:
    client = FakeClient()
    await router.post(Subscribe(client, at_head("a")))
    await router.post(one(1, "a", "b"))
    await router.post(Subscribe(client, lambda place: Decision(frozenset({"b"}))))
    await router.post(one(2, "a"))
    await router.post(one(3, "b"))
    await settle()
    assert client.taken == b"1,3,"
    assert router.statistics().topics_held == 1


async def test_a_decision_of_none_changes_nothing(router: Router[str]) -> None:
    client = FakeClient()
    await router.post(Subscribe(client, at_head("a")))
    await router.post(Subscribe(client, lambda place: None))
    await router.post(one(1, "a"))
    await settle()
    assert client.taken == b"1,"


async def test_a_client_that_starts_in_the_past_is_told_to_catch_up(router: Router[str]) -> None:
    client = FakeClient()
    await router.post(one(1, "a"))
    await router.post(Subscribe(client, lambda place: Decision(frozenset({"a"}), 0)))
    await router.post(one(2, "a"))
    await settle()
    assert client.cursor == 0
    assert client.taken == b""
    assert router.statistics().behind == 1


async def test_a_full_outbox_sends_only_that_client_to_catch_up(router: Router[str]) -> None:
    slow, fast = FakeClient(), FakeClient()
    await router.post(Subscribe(slow, at_head("a")))
    await router.post(Subscribe(fast, at_head("a")))
    await router.post(one(1, "a"))
    await settle()
    slow.refuses = True
    await router.post(one(2, "a"))
    await router.post(one(3, "a"))
    await settle()
    assert slow.cursor == 1
    assert fast.taken == b"1,2,3,"
    stats = router.statistics()
    assert (stats.live, stats.behind, stats.idle) == (1, 1, 0)


async def test_a_client_near_the_head_rejoins_with_what_it_missed(router: Router[str]) -> None:
    client = FakeClient()
    live: list[Place] = []
    await router.post(one(1, "a"))
    await router.post(Subscribe(client, lambda place: Decision(frozenset({"a"}), 0)))
    for n in range(2, 5):
        await router.post(one(n, "a" if n != 3 else "b"))
    await router.post(Rejoin(client, 2, live.append))
    await router.post(one(5, "a"))
    await settle()
    assert client.taken == b"4,5,"
    assert live == [Place(4, 4)]


async def test_a_client_far_from_the_head_is_told_to_read_on(router: Router[str]) -> None:
    client = FakeClient()
    for n in range(1, RECENT_FRAMES + 3):
        await router.post(one(n, "a"))
    await router.post(Subscribe(client, lambda place: Decision(frozenset({"a"}), 0)))
    await router.post(Rejoin(client, 1, lambda place: pytest.fail("it is not live")))
    await settle()
    assert client.cursor == 1
    assert client.taken == b""


async def test_a_client_that_refuses_while_rejoining_stays_behind(router: Router[str]) -> None:
    client = FakeClient()
    client.refuses = True
    await router.post(one(1, "a"))
    await router.post(Subscribe(client, lambda place: Decision(frozenset({"a"}), 0)))
    await router.post(Rejoin(client, 0, lambda place: pytest.fail("it is not live")))
    await settle()
    assert client.cursor == 0


async def test_a_client_that_left_does_not_rejoin(router: Router[str]) -> None:
    client = FakeClient()
    await router.post(Subscribe(client, lambda place: Decision(frozenset({"a"}), place.head)))
    await router.post(Unsubscribe(client))
    await router.post(Unsubscribe(client))
    await router.post(Rejoin(client, 0, lambda place: pytest.fail("it is gone")))
    await router.post(one(1, "a"))
    await settle()
    assert client.taken == b""


async def test_the_registry_is_empty_after_a_thousand_clients_came_and_went(router: Router[str]) -> None:
    before = router.statistics()
    for n in range(1000):
        client = FakeClient()
        await router.post(Subscribe(client, at_head("a", f"c:{n}")))
        await router.post(Unsubscribe(client))
    await settle()
    assert router.statistics() == before


async def test_at_is_called_with_the_clients_place(router: Router[str]) -> None:
    client = FakeClient()
    places: list[Place] = []
    await router.post(At(client, places.append))
    await router.post(Subscribe(client, at_head("a")))
    await router.post(one(1, "b"))
    await router.post(At(client, places.append))
    await settle()
    assert places == [Place(0, None), Place(1, 1)]


async def test_a_large_audience_lets_others_run_in_between(router: Router[str], nursery: trio.Nursery) -> None:
    clients = [FakeClient() for _ in range(BREATH * 3)]
    for client in clients:
        await router.post(Subscribe(client, at_head("a")))
    await settle()
    seen: list[int] = []

    async def watch() -> None:
        while not clients[-1].chunks:
            seen.append(sum(bool(client.chunks) for client in clients))
            await trio.lowlevel.checkpoint()

    nursery.start_soon(watch)
    await router.post(one(1, "a"))
    await settle()
    assert any(0 < count < len(clients) for count in seen)
    assert all(client.taken == b"1," for client in clients)


async def test_an_idle_router_handles_a_command_at_once(router: Router[str]) -> None:
    client = FakeClient()
    await settle()
    assert router.post_nowait(Subscribe(client, at_head("a")))
    publish = one(1, "a")
    assert router.post_nowait(publish)
    assert publish.done.is_set()
    assert client.taken == b"1,"


async def test_a_router_with_a_queue_keeps_the_order(router: Router[str]) -> None:
    clients = [FakeClient() for _ in range(BREATH + 1)]
    for client in clients:
        await router.post(Subscribe(client, at_head("a")))
    await settle()
    large, small = one(1, "a"), one(2, "a")
    assert not router.post_nowait(large)  # so many clients need pauses, which only its task can make
    await router.post(large)
    assert not router.post_nowait(small)
    await router.post(small)
    await small.done.wait()
    assert {client.taken for client in clients} == {b"1,2,"}


async def test_a_full_inbox_makes_the_publisher_wait() -> None:
    router: Router[str] = Router(EVERYONE, 0, 1, time.monotonic_ns)
    await router.post(one(1, "a"))
    with trio.move_on_after(0.01) as scope:
        await router.post(one(2, "a"))
    assert scope.cancelled_caught


async def test_whoever_traces_is_told_of_publishes_that_reached_someone(nursery: trio.Nursery) -> None:
    told: list[Publish[str]] = []
    router = Router(EVERYONE, 0, 8, time.monotonic_ns, told.append)
    nursery.start_soon(router.run)
    client = FakeClient()
    await router.post(Subscribe(client, at_head("a")))
    await router.post(one(1, "b"))
    publish = one(2, "a")
    await router.post(publish)
    await settle()
    assert told == [publish]
    assert publish.routed_ns > 0


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["publish", "slow", "free", "retopic"]), st.sampled_from("abc")),
        max_size=60,
    )
)
async def test_slow_and_fast_clients_get_each_matching_message_once_in_order(
    steps: list[tuple[int, str, str]],
) -> None:
    entries: list[tuple[frozenset[str], bytes]] = []
    async with trio.open_nursery() as nursery:
        router: Router[str] = Router(EVERYONE, 0, 8, time.monotonic_ns)
        nursery.start_soon(router.run)
        transports = [FakeTransport() for _ in range(3)]
        logs, senders, expected = [], [], [bytearray() for _ in range(3)]
        for transport in transports:
            log = ListBacklog(entries, router, topics=frozenset({"a"}), page=2)
            log.sender = Sender(transport, OutboxLimits(frames=2, bytes=40), log)
            nursery.start_soon(log.sender.run)
            await router.post(Subscribe(log.sender, at_head("a")))
            logs.append(log)
            senders.append(log.sender)
        held: list[list[tuple[int, frozenset[str]]]] = [[(0, frozenset({"a"}))] for _ in range(3)]

        for who, what, topic in steps:
            if what == "publish":
                entries.append((frozenset({topic}), b"%d%s," % (len(entries) + 1, topic.encode())))
                await router.post(Publish((Routed(len(entries), (topic,), entries[-1][1]),)))
            elif what == "slow":
                transports[who].room = 0
            elif what == "free":
                transports[who].make_room()
            else:
                log, changes = logs[who], held[who]

                def decide(place: Place, log: ListBacklog = log, topic: str = topic,
                           changes: list[tuple[int, frozenset[str]]] = changes) -> Decision[str]:  # fmt: skip
                    log.topics = frozenset({topic})
                    assert place.position is not None
                    changes.append((place.position, log.topics))
                    return Decision(log.topics)

                await router.post(Subscribe(senders[who], decide))
            await trio.lowlevel.checkpoint()
        await wait_all_tasks_blocked()
        for transport in transports:
            transport.make_room()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    for who in range(3):
        for position, (topics, frame) in enumerate(entries, 1):
            in_force = [t for start, t in held[who] if start < position][-1]
            if not topics.isdisjoint(in_force):
                expected[who] += frame
        assert transports[who].taken == expected[who]


async def test_clients_that_leave_after_the_router_are_not_held_up() -> None:
    router: Router[str] = Router(EVERYONE, 0, 1, time.monotonic_ns)
    client = FakeClient()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(router.run)
        await settle()
        await router.post(Subscribe(client, at_head("a")))
        nursery.cancel_scope.cancel()
    with trio.fail_after(1):
        for _ in range(3):
            await router.post(Unsubscribe(client))
    assert router.statistics().live == 0


async def test_a_full_outbox_in_a_large_audience_sends_only_that_client_to_catch_up(router: Router[str]) -> None:
    clients = [FakeClient() for _ in range(BREATH + 2)]
    for client in clients:
        await router.post(Subscribe(client, at_head("a")))
    clients[3].refuses = True
    await router.post(one(1, "a"))
    await settle()
    assert clients[3].cursor == 0
    assert [client.taken for client in clients].count(b"1,") == BREATH + 1


async def test_a_reader_of_the_log_waits_for_what_is_routed_next() -> None:
    router: Router[str] = Router(EVERYONE, 5, 8, time.monotonic_ns)
    seen: list[int] = []

    async def wait() -> None:
        await router.wait_beyond(5)
        seen.append(router.head)
        await router.wait_beyond(5)  # at once

    async with trio.open_nursery() as nursery:
        nursery.start_soon(router.run)
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        await router.post(Publish((Routed(6, ("a",), b"x"),)))
        await router.post(Publish((Routed(7, ("a",), b"x"),)))
        await wait_all_tasks_blocked()
        await router.wait_turn()
        nursery.cancel_scope.cancel()
    assert len(seen) == 2


async def test_a_place_without_a_client_is_the_head() -> None:
    router: Router[str] = Router(EVERYONE, 5, 8, time.monotonic_ns)
    places: list[Place] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(router.run)
        await router.post(At(None, places.append))
        await router.wait_turn()
        nursery.cancel_scope.cancel()
    assert places == [Place(5, None)]
