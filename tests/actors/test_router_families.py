"""Topics that stand for many, whom a message would reach, and the end of a Router."""

import time
from collections.abc import Iterable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.commands import Decision, Publish, Rejoin, Routed, Subscribe, Unsubscribe
from actors.router import Router
from tests.actors.fakes import EVERYONE
from tests.actors.test_router import FakeClient, at_head, one


def members(held: Iterable[str], carried: tuple[str, ...]) -> list[str]:
    """A carried `a+` stands for all that begins with `a`."""
    return [topic for topic in held for wide in carried if wide.endswith("+") and topic.startswith(wide[:-1])]


@pytest.fixture
def router(nursery: trio.Nursery) -> Router[str]:
    made: Router[str] = Router(EVERYONE, 0, 64, time.monotonic_ns, members=members)
    nursery.start_soon(made.run)
    return made


def wide(position: int, *topics: str) -> Publish[str]:
    return Publish((Routed(position, topics, b"%d," % position, families=True),))


async def test_a_topic_that_stands_for_many_reaches_each_holder_of_one_once(router: Router[str]) -> None:
    a1, both, b, none = (FakeClient() for _ in range(4))
    for client, topics in ((a1, ("a1",)), (both, ("a1", "a2", "c")), (b, ("b",)), (none, ())):
        await router.post(Subscribe(client, at_head(*topics)))
    await router.post(wide(1, "a+", "c"))
    await router.post(wide(2, "b"))
    await wait_all_tasks_blocked()
    assert [client.taken for client in (a1, both, b, none)] == [b"1,", b"1,", b"2,", b""]


async def test_other_messages_are_not_asked_about(router: Router[str]) -> None:
    client = FakeClient()
    await router.post(Subscribe(client, at_head("a1")))
    await router.post(one(1, "a+"))
    await wait_all_tasks_blocked()
    assert client.taken == b""


async def test_a_client_that_rejoins_gets_them_too(router: Router[str]) -> None:
    client = FakeClient()
    await router.post(Subscribe(client, at_head("a1")))
    client.refuses = True
    await router.post(wide(1, "a+"))
    await router.post(wide(2, "b+"))
    await wait_all_tasks_blocked()
    client.refuses = False
    await router.post(Rejoin(client, 0, lambda place: None))
    await wait_all_tasks_blocked()
    assert client.taken == b"1,"


async def test_a_message_reaches_whoever_has_a_position_and_one_of_its_topics(router: Router[str]) -> None:
    live, behind, idle, gone, stranger = clients = [FakeClient() for _ in range(5)]
    for client in clients[:4]:
        await router.post(Subscribe(client, at_head("a1")))
    await router.post(Unsubscribe(gone))
    gone.cursor = 0
    behind.refuses = True
    await router.post(one(1, "a1"))
    await router.post(Unsubscribe(idle))
    await router.post(Subscribe(idle, lambda place: None))
    await wait_all_tasks_blocked()
    assert behind.cursor == 0
    for topics in (("a1",), ("a+",), (EVERYONE,)):
        assert [router.reaches(client, topics) for client in clients] == [True, True, False, False, False]
    assert not router.reaches(live, ("b", "c+"))
    assert not router.reaches(stranger, ("a1",))


async def test_a_client_without_position_is_reached_by_nothing(router: Router[str]) -> None:
    idle = FakeClient()
    await router.post(Subscribe(idle, lambda place: Decision(frozenset({"a1"}))))
    await wait_all_tasks_blocked()
    assert not router.reaches(idle, (EVERYONE, "a1"))


async def test_nobody_waits_for_a_router_that_has_ended() -> None:
    router: Router[str] = Router(EVERYONE, 0, 1, time.monotonic_ns)
    publishes = [one(number, "a") for number in range(1, 4)]
    with trio.fail_after(5):
        async with trio.open_nursery() as posting:
            for publish in publishes:  # the first finds room, the others wait for it
                posting.start_soon(router.post, publish)
            posting.start_soon(router.post, Unsubscribe(FakeClient()))
            await wait_all_tasks_blocked()
            with trio.CancelScope() as scope:
                scope.cancel()
                await router.run()
        for publish in publishes:
            await publish.done.wait()
