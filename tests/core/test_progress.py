"""The meter of an import: totals, the rate over a window, the time left."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.progress import SAME_SECONDS, WINDOW_SECONDS, Meter, Progress

MB = 1_000_000


def meter(*sizes: int, now: float = 0.0) -> Meter:
    """One that expects files f0, f1, … of these sizes."""
    made = Meter()
    for number, size in enumerate(sizes):
        made.expect(f"f{number}", size, now)
    return made


def test_a_meter_that_expects_nothing_does_not_run() -> None:
    assert Meter().progress(5.0) == Progress()
    assert not Meter().running
    assert not Meter().is_over(1e9)


def test_files_and_bytes_are_counted_as_they_come_in() -> None:
    made = meter(3 * MB, MB)
    made.advance("f0", MB, 1.0)
    made.count(records=10, errors=2)
    assert made.progress(2.0) == Progress(
        running=True, files_total=2, bytes_done=2 * MB, bytes_total=4 * MB, records=10, errors=2, seconds=2.0,
        bytes_per_second=MB, seconds_left=2.0,
    )  # fmt: skip
    made.advance("f0", 0, 2.0)
    made.finish("f0", 2.0, conversation=True)
    made.advance("f1", 0, 4.0)
    made.finish("f1", 4.0, conversation=False)
    assert made.progress(9.0) == Progress(
        files_done=2, files_total=2, bytes_done=4 * MB, bytes_total=4 * MB, conversations=1, records=10, errors=2,
        seconds=4.0, bytes_per_second=MB,
    )  # fmt: skip


def test_the_time_left_cannot_be_told_before_anything_came_in() -> None:
    assert meter(MB).progress(0.0).seconds_left is None
    assert meter(MB).progress(3.0).seconds_left is None


def test_the_rate_is_of_the_window_and_not_of_all_the_time() -> None:
    made = meter(1000 * MB)
    for second in range(1, 61):
        made.advance("f0", 1000 * MB - second * MB, float(second))
    for second in range(61, 81):
        made.advance("f0", 940 * MB - 20 * (second - 60) * MB, float(second))
    assert made.progress(80.0).bytes_per_second == pytest.approx(20 * MB)
    assert made.progress(80.0).seconds_left == pytest.approx(27.0)
    assert made.progress(80.0 + WINDOW_SECONDS).bytes_per_second == pytest.approx(10 * MB)  # it has come to a stop


def test_many_small_steps_leave_few_marks() -> None:
    made = meter(100_000)
    for step in range(100_000):
        made.advance("f0", 100_000 - step, step / 1000)
    assert len(made._marks) < 50


def test_a_file_that_is_left_out_is_in_no_total() -> None:
    made = meter(MB, MB)
    made.leave_out("f1", 1.0)
    made.leave_out("unknown", 1.0)
    made.advance("unknown", 5, 1.0)
    made.finish("unknown", 1.0, conversation=True)
    found = made.progress(1.0)
    assert (found.files_total, found.bytes_total, found.files_left_out, found.conversations) == (1, MB, 1, 0)
    assert made.waits_for("f0")
    assert not made.waits_for("f1")


def test_an_import_of_no_time_has_no_rate() -> None:
    made = meter(MB)
    made.advance("f0", 0, 0.0)
    made.finish("f0", 0.0, conversation=True)
    assert made.progress(0.0).bytes_per_second == 0.0


def test_what_comes_soon_after_the_end_belongs_to_the_same_import() -> None:
    made = meter(MB)
    made.finish("f0", 1.0, conversation=True)
    assert not made.running
    assert not made.is_over(1.0 + SAME_SECONDS)
    assert made.is_over(1.1 + SAME_SECONDS)
    made.expect("f1", MB, 2.0)
    assert made.progress(3.0).seconds == 3.0
    assert made.running


SIZES = st.lists(st.integers(0, 10 * MB), min_size=1, max_size=8)


@given(SIZES, st.randoms(use_true_random=False))
def test_whatever_happens_the_numbers_add_up(sizes: list[int], dice: Random) -> None:
    made, left, now = meter(*sizes), {f"f{number}": size for number, size in enumerate(sizes)}, 0.0
    while left:
        now += dice.random()
        path = dice.choice(sorted(left))
        left[path] = dice.randint(0, left[path])
        made.advance(path, left[path], now)
        if not left[path] or dice.random() < 0.2:
            (made.leave_out(path, now) if left.pop(path) else made.finish(path, now, conversation=True))
        found = made.progress(now)
        assert 0 <= found.bytes_done <= found.bytes_total <= sum(sizes)
        assert found.bytes_total - found.bytes_done == sum(left.values())
        assert found.files_total + found.files_left_out == len(sizes)
        assert found.running == bool(left)
    assert made.progress(now).bytes_done == made.progress(now).bytes_total
