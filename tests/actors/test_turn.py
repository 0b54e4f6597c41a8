"""A turn: one holder, taken and given back by any task."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.turn import Turn


async def test_a_turn_has_one_holder_and_goes_on_in_the_order_of_asking() -> None:
    turn, order = Turn(), list[int]()
    assert turn.take_nowait()
    assert not turn.take_nowait()

    async def wait(number: int) -> None:
        await turn.take()
        order.append(number)
        turn.give_back()

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(wait, number)
            await wait_all_tasks_blocked()
        assert order == []
        turn.give_back()
    assert order == [0, 1, 2]
    assert turn.take_nowait()


async def test_whoever_stops_waiting_does_not_get_it() -> None:
    turn = Turn()
    await turn.take()
    with trio.move_on_after(0):
        await turn.take()
    turn.give_back()
    assert turn.take_nowait()


async def test_taking_a_free_one_lets_nobody_else_run() -> None:
    turn, ran = Turn(), list[bool]()

    async def other() -> None:
        ran.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await turn.take()
        assert not ran


def test_what_nobody_holds_cannot_be_given_back() -> None:
    with pytest.raises(ValueError, match="semaphore"):
        Turn().give_back()
