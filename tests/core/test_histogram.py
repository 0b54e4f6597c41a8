"""Log histograms against sorted lists."""

import json
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.histogram import BUCKETS, LogHistogram, bucket_of, middle_of

RELATIVE_ERROR = 1 / 32
durations = st.integers(min_value=0, max_value=2**62)
samples = st.lists(st.one_of(durations, st.integers(0, 100)), min_size=1, max_size=60)


def histogram_of(values: list[int]) -> LogHistogram:
    histogram = LogHistogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(samples, st.floats(0, 1))
def test_a_quantile_is_within_a_thirty_second_of_the_sorted_list(values: list[int], q: float) -> None:
    true = sorted(values)[max(1, ceil(q * len(values))) - 1]
    got = histogram_of(values).quantile(q) * 1e9
    assert got == pytest.approx(true, rel=RELATIVE_ERROR + 1e-9, abs=1e-6)


@given(samples)
def test_count_and_max_are_exact(values: list[int]) -> None:
    histogram = histogram_of(values)
    assert histogram.count == len(values)
    assert histogram.max == max(values) / 1e9
    assert histogram.quantile(1.0) <= histogram.max


@given(samples, samples)
def test_merging_equals_adding_everything_to_one(left: list[int], right: list[int]) -> None:
    merged = histogram_of(left)
    merged.merge(histogram_of(right))
    assert merged.to_json() == histogram_of(left + right).to_json()


@given(samples)
def test_json_gives_back_an_equal_histogram(values: list[int]) -> None:
    data = json.loads(json.dumps(histogram_of(values).to_json()))
    assert LogHistogram.from_json(data).to_json() == data


@given(durations)
def test_add_uses_the_bucket_that_bucket_of_names(ns: int) -> None:
    assert list(histogram_of([ns]).to_json()["buckets"]) == [str(bucket_of(ns))]


@given(durations, durations)
def test_buckets_keep_the_order_of_durations(a: int, b: int) -> None:
    assert (bucket_of(a) <= bucket_of(b)) or a > b


@given(st.integers(0, BUCKETS - 1))
def test_the_middle_of_a_bucket_lies_in_it(bucket: int) -> None:
    assert bucket_of(int(middle_of(bucket))) == bucket


def test_a_count_adds_many_at_once() -> None:
    histogram = LogHistogram()
    histogram.add(1_000, 7)
    assert histogram.count == 7


def test_a_negative_duration_counts_as_zero() -> None:
    histogram = histogram_of([-5])
    assert (histogram.count, histogram.max, histogram.quantile(0.5)) == (1, 0.0, 0.0)


def test_a_duration_beyond_the_last_bucket_counts_in_it() -> None:
    histogram = histogram_of([2**80])
    assert histogram.to_json()["buckets"] == {str(BUCKETS - 1): 1}
    assert bucket_of(2**80) == BUCKETS - 1


def test_an_empty_histogram_answers_zero() -> None:
    histogram = LogHistogram()
    assert (histogram.count, histogram.max, histogram.quantile(0.99)) == (0, 0.0, 0.0)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"max": 1, "buckets": []},
        {"max": -1, "buckets": {}},
        {"max": True, "buckets": {}},
        {"max": 1, "buckets": {"x": 1}},
        {"max": 1, "buckets": {"960": 1}},
        {"max": 1, "buckets": {"1": 1.5}},
    ],
)
def test_what_is_no_histogram_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match=r"not a|no such|invalid literal"):
        LogHistogram.from_json(data)


@given(samples)
def test_what_is_below_a_bound_is_counted_within_a_thirty_second(values: list[int]) -> None:
    histogram, bounds = histogram_of(values), (0.0, 1e-6, 0.001, 1.0, 1e6)
    below = histogram.below(bounds)
    assert below == sorted(below)
    for bound, count in zip(bounds, below, strict=True):
        surely = sum(value <= bound * 1e9 * (1 - RELATIVE_ERROR) for value in values)
        perhaps = sum(value <= bound * 1e9 * (1 + 2 * RELATIVE_ERROR) + 1 for value in values)
        assert surely <= count <= perhaps


@given(samples, samples)
def test_the_sum_is_exact(left: list[int], right: list[int]) -> None:
    both = histogram_of(left)
    both.merge(histogram_of(right))
    assert both.total_ns == sum(left) + sum(right)
