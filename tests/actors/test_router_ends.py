"""A Router that has failed or ended publishes nothing more, and holds up nobody."""

import time

import pytest
import trio

from actors.commands import Subscribe, Unsubscribe
from actors.router import Router
from tests.actors.fakes import EVERYONE
from tests.actors.test_router import FakeClient, at_head, one, settle


class Failing(FakeClient):
    """Has a defect."""

    def offer_nowait(self, data: bytes, frames: int = 1, stamp: object = None) -> bool:
        raise ZeroDivisionError


async def test_a_router_that_failed_in_another_task_publishes_nothing_more(router: Router[str]) -> None:
    """Else whoever did not get the one would get the next, and would resume behind the hole."""
    first, last, publish = FakeClient(), FakeClient(), one(2, "t")
    await settle()
    for client in (first, Failing(), last):
        await router.post(Subscribe(client, at_head("t")))
    with pytest.raises(ZeroDivisionError):
        router.post_nowait(one(1, "t"))
    await router.post(publish)
    await publish.done.wait()
    assert last.taken == b""
    assert b"2," not in first.taken


async def test_a_router_that_has_ended_publishes_nothing_and_lets_clients_go() -> None:
    router: Router[str] = Router(EVERYONE, 0, 64, time.monotonic_ns)
    client, publish = FakeClient(), one(1, "t")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(router.run)
        await router.post(Subscribe(client, at_head("t")))
        await settle()
        nursery.cancel_scope.cancel()
    await router.post(publish)
    await publish.done.wait()
    assert client.taken == b""
    await router.post(Unsubscribe(client))
    assert router.statistics().live == 0
