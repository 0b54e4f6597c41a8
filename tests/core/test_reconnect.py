"""When a client connects again."""

import pytest

from observatory.core.reconnect import Backoff, delay_after, delay_after_refusal, is_final


def longest(_low: float, high: float) -> float:
    return high


def test_limits_double_up_to_the_longest_and_every_delay_is_drawn_from_zero() -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return high / 2

    backoff = Backoff(uniform)
    backoff.tune(1000, 5000)
    assert [backoff.draw() for _ in range(4)] == [0.5, 1.0, 2.0, 2.5]
    assert drawn == [(0.0, 1.0), (0.0, 2.0), (0.0, 4.0), (0.0, 5.0)]


def test_only_a_connection_that_lasted_resets() -> None:
    backoff = Backoff(longest)
    backoff.tune(1000, 8000)
    assert [backoff.draw(), backoff.draw()] == [1.0, 2.0]
    backoff.lasted(3.9)
    assert backoff.draw() == 4.0
    backoff.lasted(8.0)
    assert backoff.draw() == 1.0


@pytest.mark.parametrize(
    ("code", "final"),
    [
        (1000, False),
        (1006, False),
        (1012, False),
        (4000, False),
        (4499, False),
        (1009, True),
        (4500, True),
        (4999, True),
    ],
)
def test_45xx_and_protocol_errors_are_final(code: int, final: bool) -> None:
    assert is_final(code) is final


def test_an_announced_shutdown_says_when_within_reason() -> None:
    assert delay_after(1012, Backoff(longest), 2713) == 2.713
    assert delay_after(1012, Backoff(longest), 10**12) == 3600.0


def test_overload_and_flooding_have_a_least_delay() -> None:
    assert [delay_after(code, Backoff(longest), None) for code in (1006, 1013, 4013)] == [0.25, 5.0, 10.0]


def test_a_refusals_wait_is_a_least_delay_too() -> None:
    assert delay_after_refusal(7.0, Backoff(longest)) == 7.25
    assert delay_after_refusal(None, Backoff(longest)) == 0.25
