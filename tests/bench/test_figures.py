import pytest

from tests.bench.figures import median, median_ratio, quantile, ratios, shown, spread, table


@pytest.mark.parametrize(("q", "expected"), [(0, 1), (0.5, 5), (0.51, 6), (0.9, 9), (0.99, 10), (1, 10)])
def test_a_quantile_is_a_measured_value_by_nearest_rank(q: float, expected: float) -> None:
    assert quantile([3, 1, 2, 10, 9, 8, 7, 6, 5, 4], q) == expected


def test_p99_of_a_hundred_leaves_one_value_above() -> None:
    assert quantile(range(1, 101), 0.99) == 99


def test_a_quantile_of_one_value_is_that_value() -> None:
    assert [quantile([7.5], q) for q in (0, 0.5, 0.99, 1)] == [7.5] * 4


def test_a_quantile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_the_ratio_is_the_median_of_the_rounds_ratios_not_the_ratio_of_medians() -> None:
    ours, theirs = [1.0, 20.0, 3.0], [2.0, 10.0, 3.0]
    assert ratios(ours, theirs) == [0.5, 2.0, 1.0]
    assert median_ratio(ours, theirs) == 1.0


def test_a_machine_that_slows_down_for_a_round_does_not_change_the_ratio() -> None:
    assert median_ratio([1, 100, 3], [2, 200, 6]) == 0.5


def test_a_round_in_which_one_was_not_measured_does_not_count() -> None:
    assert median_ratio([1, None, 9, 4], [2, 2, None, 8]) == 0.5
    assert median_ratio([None], [1]) is None
    assert median_ratio([1], [0]) is None


def test_rounds_must_match() -> None:
    with pytest.raises(ValueError, match="zip"):
        median_ratio([1, 2], [1])


def test_what_was_not_measured_is_left_out_and_shown_as_a_dash() -> None:
    assert median([None, 1, 3]) == 2
    assert median([None]) is None
    assert (shown(None), shown(1234.567), shown(0.5, 1)) == ("–", "1,234.57", "0.5")
    assert (spread([None, 2, 1]), spread([None])) == ("1.0–2.0", "–")


def test_a_table_is_aligned_markdown() -> None:
    assert table(["a", "server"], [["1.25", "x"]]).splitlines() == [
        "| a    | server |",
        "| ---- | ------ |",
        "| 1.25 | x      |",
    ]
