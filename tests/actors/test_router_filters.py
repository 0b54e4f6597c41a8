"""Filters: who gets what behind them, how often they are asked, and what one of them may cost the others."""

import time
from collections.abc import Callable

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from actors.audience import VERDICTS_KEPT
from actors.commands import Decision, Place, Publish, Rejoin, Routed, Subscribe, Unsubscribe
from actors.router import BREATH, RECENT_FRAMES, Router
from actors.sender import OutboxLimits, Sender
from tests.actors.fakes import EVERYONE, FakeTransport, ListBacklog
from tests.actors.test_router import FakeClient, at_head, one


@attrs.define(eq=False)
class Filter:
    """Accepts the numbers that a rule accepts; counts what it was asked."""

    rule: Callable[[int], bool]
    asked: list[int] = attrs.field(factory=list)

    def __call__(self, number: int) -> bool:
        self.asked.append(number)
        return self.rule(number)


@attrs.define
class Reading:
    """What the Router is given to read messages with: `b"7,"` → 7."""

    reads: list[int] = attrs.field(factory=list)

    def __call__(self, data: bytes) -> int:
        self.reads.append(int(data.rstrip(b",")))
        return self.reads[-1]


@pytest.fixture
def reading() -> Reading:
    return Reading()


@pytest.fixture
def router(nursery: trio.Nursery, reading: Reading) -> Router[str]:
    def members(held: object, carried: tuple[str, ...]) -> list[str]:
        assert isinstance(held, dict | set)
        return [topic for topic in held if f"{topic[0]}+" in carried]

    made: Router[str] = Router(EVERYONE, 0, 64, time.monotonic_ns, members=members, read=reading)
    nursery.start_soon(made.run)
    return made


def even() -> Filter:
    return Filter(lambda number: number % 2 == 0)


def behind(accepts: Filter | None, *topics: str, start: int | None = None) -> Callable[[Place], Decision[str]]:
    """A subscription behind a filter: at the head, or where it is."""
    return lambda place: Decision(
        frozenset(topics), start if start is not None else place.head if place.position is None else None, accepts
    )


async def settle() -> None:
    await wait_all_tasks_blocked()


async def subscribed(router: Router[str], accepts: Filter | None, *topics: str) -> FakeClient:
    client = FakeClient()
    await router.post(Subscribe(client, behind(accepts, *topics)))
    return client


async def test_a_client_gets_what_its_topics_and_its_filter_let_through(router: Router[str]) -> None:
    filtered, plain = await subscribed(router, even(), "a"), await subscribed(router, None, "a")
    for number in range(1, 5):
        await router.post(one(number, "a" if number < 4 else "b"))
    await settle()
    assert (filtered.taken, plain.taken) == (b"2,", b"1,2,3,")


async def test_a_message_for_everyone_passes_the_filter_too(router: Router[str]) -> None:
    client = await subscribed(router, even())
    await router.post(one(1, EVERYONE))
    await router.post(one(2, EVERYONE))
    await settle()
    assert client.taken == b"2,"


async def test_topics_that_stand_for_many_pass_the_filter_too(router: Router[str]) -> None:
    client = await subscribed(router, even(), "a1", "a2")
    for number in (1, 2):
        await router.post(Publish((Routed(number, ("a+",), b"%d," % number, families=True),)))
    await settle()
    assert client.taken == b"2,"


async def test_a_batch_reaches_a_filtered_client_as_one_chunk(router: Router[str]) -> None:
    filtered, plain = await subscribed(router, even(), "a"), await subscribed(router, None, "a")
    await router.post(Publish(tuple(Routed(number, ("a",), b"%d," % number) for number in range(1, 6))))
    await settle()
    assert (filtered.chunks, plain.chunks) == ([(b"2,4,", 2)], [(b"1,2,3,4,5,", 5)])


async def test_without_filters_no_message_is_read(router: Router[str], reading: Reading) -> None:
    client = await subscribed(router, None, "a")
    other = await subscribed(router, even(), "b")
    client.refuses = True
    await router.post(one(1, "a"))
    await settle()
    client.refuses = False
    await router.post(Rejoin(client, 0, lambda place: None))
    await settle()
    assert (client.taken, other.taken, reading.reads) == (b"1,", b"", [])


async def test_a_filter_is_asked_once_for_all_who_share_it_and_a_message_read_once(
    router: Router[str], reading: Reading
) -> None:
    shared, other = even(), even()
    clients = [await subscribed(router, shared, "a", f"a{n}") for n in range(BREATH * 2)]
    late = await subscribed(router, shared, "b")
    await subscribed(router, other, "a")
    late.refuses = True
    for number in (1, 2):
        message = one(number, "a", "b", "a7")
        assert router.reaches(late, ("b",), lambda accepts: router.passes(accepts, message.messages[0])) is (  # noqa: B023
            number == 2
        )
        await router.post(message)
        await settle()
    late.refuses = False
    await router.post(Rejoin(late, 0, lambda place: None))
    await settle()
    assert {client.taken for client in clients} == {b"2,"} == {late.taken}
    assert shared.asked == other.asked == reading.reads == [1, 2]


async def test_a_new_filter_counts_from_its_place_between_two_messages(router: Router[str]) -> None:
    client = await subscribed(router, None, "a")
    await router.post(one(1, "a"))
    await router.post(Subscribe(client, behind(even(), "a")))
    await router.post(one(2, "a"))
    await router.post(one(3, "a"))
    await router.post(Subscribe(client, behind(None, "a")))
    await router.post(one(5, "a"))
    await settle()
    assert client.taken == b"1,2,5,"


async def test_a_client_that_rejoins_gets_what_its_filter_lets_through(router: Router[str]) -> None:
    client = FakeClient()
    for number in range(1, 6):
        await router.post(one(number, "a" if number != 4 else "b"))
    await router.post(Subscribe(client, behind(even(), "a", start=0)))
    await router.post(Rejoin(client, 0, lambda place: None))
    await router.post(one(6, "a"))
    await router.post(one(7, "a"))
    await settle()
    assert client.taken == b"2,6,"


async def test_whom_a_message_reaches_is_asked_of_filters_if_there_is_a_message(router: Router[str]) -> None:
    client = await subscribed(router, even(), "a")
    plain = await subscribed(router, None, "a")
    await settle()
    odd = Routed(1, ("a",), b"1,")
    assert not router.reaches(client, ("a",), lambda accepts: router.passes(accepts, odd))
    assert router.reaches(plain, ("a",), lambda accepts: router.passes(accepts, odd))
    assert router.reaches(client, ("a",))
    assert not router.reaches(client, ("b",))


async def test_nothing_is_left_of_clients_that_came_and_went(router: Router[str]) -> None:
    before = router.statistics()
    for n in range(100):
        client = await subscribed(router, even(), "a", f"c:{n}")
        await router.post(Subscribe(client, behind(even(), "b")))
        await router.post(Unsubscribe(client))
    await router.post(one(1, "a"))
    await settle()
    assert router.statistics() == before
    assert not router._filters
    assert not router._audience.topics


async def test_topics_held_behind_a_filter_are_counted_once(router: Router[str]) -> None:
    await subscribed(router, even(), "a", "b")
    await subscribed(router, None, "a")
    await settle()
    assert router.statistics().topics_held == 2


# -- many filters ------------------------------------------------------------------------------------------------------


async def test_many_filters_let_others_run_in_between(router: Router[str], nursery: trio.Nursery) -> None:
    filters = [even() for _ in range(BREATH * 3)]
    clients = [await subscribed(router, accepts, "a") for accepts in filters]
    await settle()
    seen: list[int] = []

    async def watch() -> None:
        while not filters[-1].asked:
            seen.append(sum(bool(accepts.asked) for accepts in filters))
            await trio.lowlevel.checkpoint()

    nursery.start_soon(watch)
    await router.post(Publish((Routed(1, ("a",), b"1,"), Routed(2, ("a",), b"2,"), Routed(3, ("b",), b"3,"))))
    await settle()
    assert any(0 < count < len(filters) for count in seen)
    assert {client.taken for client in clients} == {b"2,"}


async def test_many_filters_that_accept_nothing_cost_nobody_anything(router: Router[str]) -> None:
    clients = [await subscribed(router, even(), "a") for _ in range(BREATH + 1)]
    await router.post(one(1, "a"))
    await router.post(one(2, "a"))
    await settle()
    assert {client.taken for client in clients} == {b"2,"}


async def test_what_filters_said_is_kept_for_few_of_them_and_as_long_as_the_message(router: Router[str]) -> None:
    for _ in range(VERDICTS_KEPT + 1):
        await subscribed(router, even(), "a")
    await subscribed(router, even(), "b")
    for number in range(1, RECENT_FRAMES + 11):
        await router.post(one(number, "a" if number < 200 else "b"))
    await settle()
    kept = router._audience._verdicts
    assert min(kept) == 11
    assert {len(said) for _, said in kept.values()} == {0, 1}


# -- a filter that fails -----------------------------------------------------------------------------------------------


def failing(number: int) -> bool:
    if number == 3:
        raise RuntimeError("a defect")
    return True


@pytest.mark.parametrize("others", [1, BREATH])
async def test_a_filter_that_fails_costs_only_its_clients_their_place_in_the_index(
    router: Router[str], others: int
) -> None:
    broken = Filter(failing)
    first, second = await subscribed(router, broken, "a"), await subscribed(router, broken, "b", "a")
    well = [await subscribed(router, even(), "a") for _ in range(others)]
    await router.post(one(1, "a"))
    await router.post(Publish((Routed(2, ("a",), b"2,"), Routed(3, ("a", "b"), b"3,"), Routed(4, ("a",), b"4,"))))
    await router.post(one(5, "a"))
    await settle()
    assert [client.taken for client in (first, second)] == [b"1,", b"1,"]
    assert [client.cursor for client in (first, second)] == [1, 1]
    assert {client.taken for client in well} == {b"2,4,"}


async def test_a_filter_that_fails_while_a_client_rejoins_leaves_it_behind(router: Router[str]) -> None:
    client = FakeClient()
    for number in range(1, 5):
        await router.post(one(number, "a"))
    await router.post(Subscribe(client, behind(Filter(failing), "a", start=0)))
    await router.post(Rejoin(client, 0, lambda place: pytest.fail("it is not live")))
    await settle()
    assert (client.taken, client.cursor) == (b"", 0)
    assert not router.passes(Filter(failing), Routed(3, ("a",), b"3,"))


# -- all of it ---------------------------------------------------------------------------------------------------------

RULES: dict[str, Filter | None] = {
    "all": None,
    "even": Filter(lambda number: number % 2 == 0),
    "third": Filter(lambda number: number % 3 == 0),
    "none": Filter(lambda number: False),
}


@attrs.define
class FilteredBacklog(ListBacklog):
    """The log, through a filter too."""

    accepts: Filter | None = None

    def wants(self, topics: frozenset[str], frame: bytes) -> bool:
        return super().wants(topics, frame) and (self.accepts is None or self.accepts(int(frame.rstrip(b","))))


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["publish", "slow", "free", "change"]), st.sampled_from("ab"),
                  st.sampled_from(sorted(RULES))),
        max_size=60,
    )
)  # fmt: skip
async def test_a_filter_replaced_under_load_cuts_at_its_pos(
    steps: list[tuple[int, str, str, str]],
) -> None:
    entries: list[tuple[frozenset[str], bytes]] = []
    held: list[list[tuple[int, frozenset[str], Filter | None]]] = [[(0, frozenset({"a"}), None)] for _ in range(3)]
    async with trio.open_nursery() as nursery:
        router: Router[str] = Router(EVERYONE, 0, 8, time.monotonic_ns, read=Reading())
        nursery.start_soon(router.run)
        transports = [FakeTransport() for _ in range(3)]
        logs = [FilteredBacklog(entries, router, topics=frozenset({"a"}), page=2) for _ in range(3)]
        for log, transport in zip(logs, transports, strict=True):
            log.sender = Sender(transport, OutboxLimits(frames=2, bytes=40), log)
            nursery.start_soon(log.sender.run)
            await router.post(Subscribe(log.sender, at_head("a")))

        for who, what, topic, rule in steps:
            if what == "publish":
                entries.append((frozenset({topic}), b"%d," % (len(entries) + 1)))
                await router.post(one(len(entries), topic, data=entries[-1][1]))
            elif what == "slow":
                transports[who].room = 0
            elif what == "free":
                transports[who].make_room()
            else:
                await router.post(Subscribe(sender_of(logs[who]), changing(logs[who], held[who], topic, RULES[rule])))
            await trio.lowlevel.checkpoint()
        await wait_all_tasks_blocked()
        for transport in transports:
            transport.make_room()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    for changes, transport in zip(held, transports, strict=True):
        assert transport.taken == due(entries, changes)


def sender_of(log: ListBacklog) -> Sender:
    assert log.sender is not None
    return log.sender


def changing(
    log: FilteredBacklog, changes: list[tuple[int, frozenset[str], Filter | None]], topic: str, accepts: Filter | None
) -> Callable[[Place], Decision[str]]:
    """A change of topic and filter, with the position at which it happened."""

    def decide(place: Place) -> Decision[str]:
        log.topics, log.accepts = frozenset({topic}), accepts
        assert place.position is not None
        changes.append((place.position, log.topics, accepts))
        return Decision(log.topics, None, accepts)

    return decide


def due(entries: list[tuple[frozenset[str], bytes]], changes: list[tuple[int, frozenset[str], Filter | None]]) -> bytes:
    """What a client should have got, by the topics and the filter in force at each position."""
    found = b""
    for position, (topics, frame) in enumerate(entries, 1):
        _, held, accepts = [change for change in changes if change[0] < position][-1]
        if not topics.isdisjoint(held) and (accepts is None or accepts.rule(position)):
            found += frame
    return found
