"""Supervisor: an optional part that ends is started again, later each time, and the rest goes on."""

import pytest
import trio
from trio.testing import MockClock

from actors.supervisor import Policy, supervise


@pytest.fixture
def clock(autojump_clock: MockClock) -> MockClock:
    return autojump_clock


async def lived(lives: list[float], seconds: float) -> tuple[list[float], list[str]]:
    """When a part that lives so long each time was started, and how it ended, in that time."""
    starts: list[float] = []
    ends: list[str] = []
    begun = trio.current_time()

    async def part() -> None:
        starts.append(round(trio.current_time() - begun, 3))
        await trio.sleep(lives[min(len(starts), len(lives)) - 1])
        if len(starts) % 2:
            raise ValueError("no")

    async def ended(error: BaseException | None) -> None:
        ends.append(type(error).__name__)
        await trio.lowlevel.checkpoint()

    with trio.move_on_after(seconds):
        await supervise(part, ended, Policy(1.0, 8.0, 100.0), lambda low, high: high)
    return starts, ends


async def test_the_pause_doubles_up_to_its_cap(clock: MockClock) -> None:
    starts, ends = await lived([0.0], 30)
    assert starts == [0, 1, 3, 7, 15, 23]
    assert ends[:2] == ["ValueError", "NoneType"]


async def test_a_part_that_lasted_is_well_again(clock: MockClock) -> None:
    starts, _ = await lived([0.0, 0.0, 200.0, 0.0], 230)
    assert starts == [0, 1, 3, 204, 206, 210, 218, 226]


async def test_it_ends_when_it_is_cancelled(clock: MockClock) -> None:
    starts, ends = await lived([1000.0], 10)
    assert (starts, ends) == ([0], [])
