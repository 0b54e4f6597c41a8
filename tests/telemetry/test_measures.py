"""What parts count and time."""

import trio
from trio.testing import MockClock

from observatory.telemetry.measures import Measures, watch_loop


def test_things_are_counted_by_their_label() -> None:
    measures = Measures()
    measures.count("commit_retries")
    measures.count("resumes", "too_old", 2)
    measures.count("resumes", "too_old")
    assert (measures.counters["commit_retries"], measures.counters["resumes"]) == ({"": 1}, {"too_old": 3})


def test_fan_outs_are_told_apart_by_the_size_of_their_audience() -> None:
    measures = Measures()
    for audience in (0, 1, 2, 10, 11, 100, 10_000):
        measures.fanout(audience, 1000)
    assert {label: one.count for label, one in measures.fanouts.items()} == {"1": 2, "10": 2, "100": 2, "10000": 1}
    assert measures.times["fanout"].count == 7


async def test_a_loop_that_is_held_up_is_seen(autojump_clock: MockClock) -> None:
    lag = Measures().times["loop_lag"]
    with trio.move_on_after(1.05):
        await watch_loop(lag)
    assert (lag.count, lag.max) == (10, 0.0)
