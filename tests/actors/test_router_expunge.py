"""Messages that are taken back: a client that rejoins does not get them, and no place is missing."""

from actors.commands import Decision, Expunge, Place, Rejoin, Subscribe
from actors.router import Router
from tests.actors.fakes import EVERYONE
from tests.actors.test_router import FakeClient, one, settle


async def test_a_client_that_rejoins_gets_all_but_what_was_expunged(router: Router[str]) -> None:
    client = FakeClient()
    live: list[Place] = []
    for n in range(1, 6):
        await router.post(one(n, "a", EVERYONE))
    await router.post(Expunge(frozenset({2, 4, 77})))
    await router.post(Subscribe(client, lambda place: Decision(frozenset({"a"}), 0)))
    await router.post(Rejoin(client, 0, live.append))
    await settle()
    assert client.taken == b"1,3,5,"
    assert live == [Place(5, 5)]


async def test_what_is_expunged_takes_no_room_and_what_comes_later_is_not_touched(router: Router[str]) -> None:
    client = FakeClient()
    await router.post(one(1, "a", data=b"x" * 1000))
    await router.post(Expunge(frozenset({1, 2})))
    assert router._recent_bytes == 0
    await router.post(one(2, "a"))
    await router.post(Subscribe(client, lambda place: Decision(frozenset({"a"}), 0)))
    await router.post(Rejoin(client, 0, lambda place: None))
    await settle()
    assert client.taken == b"2,"


async def test_what_filters_have_read_of_it_is_dropped_too(router: Router[str]) -> None:
    client = FakeClient()
    await router.post(Subscribe(client, lambda place: Decision(frozenset({"a"}), place.head, lambda read: True)))
    await router.post(one(1, "a"))
    await settle()
    assert client.taken == b"1,"
    assert router._audience._verdicts
    await router.post(Expunge(frozenset({1})))
    assert not router._audience._verdicts
