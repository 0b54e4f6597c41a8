"""Rates: a bucket of tokens, and a window that counts."""

from hypothesis import given
from hypothesis import strategies as st

from observatory.core.rates import TokenBucket, Window

GAPS = st.lists(st.floats(0, 5), max_size=100)


def taken(bucket: TokenBucket, now: float, tries: int) -> int:
    return sum(bucket.take(now) for _ in range(tries))


def test_a_burst_is_taken_at_once_then_tokens_come_at_the_rate() -> None:
    bucket = TokenBucket(20, 40)
    assert taken(bucket, 100.0, 50) == 40
    assert taken(bucket, 100.5, 50) == 10
    assert taken(bucket, 200.0, 50) == 40  # no more than the burst is saved up


def test_a_clock_that_steps_back_gives_and_takes_nothing() -> None:
    bucket = TokenBucket(1, 2)
    assert taken(bucket, 10.0, 2) == 2
    assert not bucket.take(5.0)
    assert bucket.take(6.0)


@given(GAPS)
def test_no_schedule_gets_more_than_burst_and_rate(gaps: list[float]) -> None:
    bucket, now, got = TokenBucket(2, 5), 0.0, 0
    for gap in gaps:
        now += gap
        got += bucket.take(now)
    assert got <= 5 + 2 * now + 1e-6


def test_the_window_is_reached_by_the_last_of_its_limit() -> None:
    window = Window(10, 3)
    assert [window.reached(at) for at in (0, 1, 2, 3)] == [False, False, True, True]
    assert not window.reached(12)  # 3 and 12: those at 0, 1 and 2 are too old
    assert not window.reached(30)


@given(GAPS, st.integers(1, 5))
def test_the_window_counts_as_a_naive_one(gaps: list[float], limit: int) -> None:
    window, now, moments = Window(4, limit), 0.0, list[float]()
    for gap in gaps:
        now += gap
        moments.append(now)
        assert window.reached(now) == (sum(at > now - 4 for at in moments) >= limit)
        assert len(window._moments) <= limit
