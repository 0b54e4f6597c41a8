"""The plan of a server's end: evenly, at random, within its window."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.drain import Pace, plan


@pytest.mark.parametrize(
    ("clients", "window"),
    [(1, 1.0), (500, 1.0), (501, 1.002), (5000, 10.0), (15_000, 30.0), (1_000_000, 30.0)],
)
def test_the_window_grows_with_the_clients_between_a_second_and_the_longest(clients: int, window: float) -> None:
    assert Pace().window(clients) == pytest.approx(window)


def test_a_window_shorter_than_a_second_has_to_be_asked_for() -> None:
    assert Pace(longest=0.2).window(1) == 0.2
    assert Pace(rate=1).window(10) == 10


def test_nobody_needs_no_slots() -> None:
    assert plan(0, Pace(), random.Random(1).randint).slots == ()


@pytest.mark.parametrize("clients", [100, 1000, 10_000])
def test_in_no_tenth_of_a_second_are_more_closed_than_planned(clients: int) -> None:
    pace = Pace()
    found = plan(clients, pace, random.Random(7).randint)
    closes = Counter(int(slot.due * 10) for slot in found.slots)
    assert max(closes.values()) <= clients / found.window / 10 + 1
    assert sum(closes.values()) == clients


def test_the_plan_is_drawn_anew_for_each_client() -> None:
    found = plan(1000, Pace(), random.Random(7).randint)
    assert [slot.due for slot in found.slots] != sorted(slot.due for slot in found.slots)
    delays = [slot.reconnect_after_ms for slot in found.slots]
    assert len(set(delays)) > 900
    assert min(delays) < 1000
    assert max(delays) > 6500  # uniform in 500 to 7,000
    assert found == plan(1000, Pace(), random.Random(7).randint)
    assert found != plan(1000, Pace(), random.Random(8).randint)


@given(st.integers(1, 300), st.floats(0.01, 60), st.integers(1, 1000), st.randoms(use_true_random=False))
def test_every_slot_lies_in_the_window_and_every_delay_in_its_bounds(
    clients: int, longest: float, rate: int, draw: random.Random
) -> None:
    found = plan(clients, Pace(longest, rate), draw.randint)
    assert len(found.slots) == clients
    assert all(0 <= slot.due <= found.window for slot in found.slots)
    assert all(500 <= slot.reconnect_after_ms <= 5000 + round(found.window * 1000) for slot in found.slots)
    in_order = sorted(slot.due for slot in found.slots)
    width = found.window / clients
    assert all(place * width <= due * 1.000001 for place, due in enumerate(in_order))
    assert all(due <= (place + 1) * width * 1.000001 for place, due in enumerate(in_order))
