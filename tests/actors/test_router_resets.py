"""Clients that lose their place, and frames that have none."""

from collections.abc import Callable

import pytest
import trio

from actors.commands import Decision, Notify, Place, Reset, Subscribe, Unsubscribe
from actors.router import Router
from actors.sender import OutboxLimits, Sender
from tests.actors.fakes import FakeTransport, ListBacklog
from tests.actors.test_router import FakeClient, at_head, one, settle


def says(client: FakeClient, places: list[Place]) -> Callable[[Place], None]:
    """Note the place, and tell the client."""

    def on_reset(place: Place) -> None:
        places.append(place)
        client.reply_nowait(b"resync,")

    return on_reset


@pytest.mark.parametrize("behind", [False, True])
async def test_a_reset_takes_the_position_and_leaves_the_topics(router: Router[str], behind: bool) -> None:
    client, places = FakeClient(), list[Place]()
    await router.post(Subscribe(client, at_head("a")))
    await settle()
    client.refuses = behind
    await router.post(one(1, "a"))
    await settle()
    client.refuses = False
    await router.post(Reset(client, False, says(client, places)))
    await settle()
    await router.post(one(2, "a"))
    await settle()
    await settle()
    assert client.taken == (b"resync," if behind else b"1,resync,")
    assert places == [Place(2 - 1, None)]
    assert (router.statistics().idle, router.statistics().topics_held) == (1, 0)
    await router.post(Subscribe(client, lambda place: Decision(frozenset({"a"}), place.head)))
    await settle()
    await router.post(one(3, "a"))
    await settle()
    await settle()
    assert client.taken.endswith(b"resync,3,")


@pytest.mark.parametrize("behind", [False, True])
async def test_a_reset_to_the_head_goes_on_with_what_comes_next(router: Router[str], behind: bool) -> None:
    client, places = FakeClient(), list[Place]()
    await router.post(Subscribe(client, at_head("a")))
    await settle()
    client.refuses = behind
    await router.post(one(1, "a"))
    await settle()
    client.refuses = False
    await router.post(Reset(client, True, says(client, places)))
    await settle()
    await router.post(one(2, "a"))
    await settle()
    await settle()
    assert client.taken == (b"resync,2," if behind else b"1,resync,2,")
    assert places == [Place(1, 1)]
    assert (router.statistics().live, router.statistics().behind) == (1, 0)


async def test_a_reset_of_a_client_that_left_does_nothing(router: Router[str]) -> None:
    client, places = FakeClient(), list[Place]()
    await router.post(Subscribe(client, at_head("a")))
    await settle()
    await router.post(Unsubscribe(client))
    await router.post(Reset(client, True, says(client, places)))
    await settle()
    await settle()
    assert (client.taken, places) == (b"", [])
    assert router.statistics().live == 0


async def test_a_notice_comes_to_the_holders_with_a_position_in_its_order_and_is_not_kept(router: Router[str]) -> None:
    holder, behind, stranger, other = (FakeClient() for _ in range(4))
    await router.post(Subscribe(holder, at_head("a")))
    await settle()
    await router.post(Subscribe(behind, at_head("a")))
    await settle()
    await router.post(Subscribe(stranger, lambda place: Decision(frozenset({"a"}))))
    await settle()
    await router.post(Subscribe(other, at_head("b")))
    await settle()
    behind.refuses = True
    await router.post(one(1, "a"))
    await settle()
    await router.post(Notify(("a",), b"notice,"))
    await router.post(one(2, "a"))
    await settle()
    await settle()
    assert holder.chunks == [(b"1,", 1), (b"notice,", 0), (b"2,", 1)]
    assert behind.chunks == [(b"notice,", 0)]
    assert (stranger.taken, other.taken, router.head) == (b"", b"", 2)


async def test_a_client_whose_backlog_has_a_hole_is_reset_by_it_and_goes_on(
    router: Router[str], nursery: trio.Nursery
) -> None:
    """The Sender once took the cursor away after the backlog had answered, and with it a new start made meanwhile."""

    class Holed(ListBacklog):
        async def read(self, after: int) -> None:
            sender.cursor = None
            await router.post(Reset(sender, False, lambda place: sender.reply_nowait(b"resync,")))
            await router.post(Subscribe(sender, lambda place: Decision(frozenset({"a"}), 1)))
            whole.sender = sender
            sender._backlog = whole

    transport = FakeTransport()
    whole = ListBacklog([(frozenset({"a"}), b"1,"), (frozenset({"a"}), b"2,")], router, topics=frozenset({"a"}))
    sender = Sender(transport, OutboxLimits(), Holed())
    nursery.start_soon(sender.run)
    await router.post(one(1, "a"))
    await settle()
    await router.post(one(2, "a"))
    await settle()
    await router.post(Subscribe(sender, lambda place: Decision(frozenset({"a"}), 1)))
    await settle()
    await settle()
    await router.post(one(3, "a"))
    await settle()
    await settle()
    assert transport.taken == b"resync,2,3,"
    assert router.statistics().live == 1


async def test_a_notice_passes_the_filter_of_its_holder(router: Router[str]) -> None:
    picky, easy = FakeClient(), FakeClient()
    for client, likes in ((picky, "b"), (easy, "a")):
        await router.post(Subscribe(client, decided(likes)))
    await router.post(Notify(("a",), b"notice,", lambda accepts: accepts("a")))
    await settle()
    assert (picky.taken, easy.taken) == (b"", b"notice,")


def decided(likes: str) -> Callable[[Place], Decision[str]]:
    """At the head, with a filter."""
    return lambda place: Decision(frozenset({"a"}), place.head, lambda told: told == likes)
