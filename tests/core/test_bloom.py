"""The Bloom filter: never a wrong "no", few wrong "yes", and not a byte more than at the start."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.bloom import MAX_BYTES, Bloom


@given(st.lists(st.text()), st.sampled_from([1, 8, 4096]))
def test_what_was_added_is_never_denied(texts: list[str], size: int) -> None:
    bloom = Bloom(size)
    for text in texts:
        new = text not in bloom
        assert bloom.add(text) is new
        assert text in bloom
        assert not bloom.add(text)
    assert all(text in bloom for text in texts)
    assert bloom.added <= len(set(texts))


def test_nothing_is_in_an_empty_one() -> None:
    assert not any(str(number) in Bloom(64) for number in range(1000))


def test_few_seem_known_that_are_not() -> None:
    bloom = Bloom(64 * 1024)
    bloom.update(f"msg_{number}" for number in range(16_384))
    assert all(f"msg_{number}" in bloom for number in range(16_384))
    wrong = sum(f"other_{number}" in bloom for number in range(20_000))
    assert wrong < 100  # 1 in 1,400 is expected: 14


def test_what_is_added_one_by_one_is_counted_if_it_is_new() -> None:
    bloom = Bloom(64 * 1024)
    texts = [f"msg_{number}" for number in range(10_000)]
    assert 9_990 <= sum(map(bloom.add, texts)) == bloom.added
    assert not any(map(bloom.add, texts))


def test_it_does_not_grow() -> None:
    bloom = Bloom(MAX_BYTES)
    before = sys.getsizeof(bloom._bits)
    bloom.update(f"msg_{number}" for number in range(200_000))
    assert sys.getsizeof(bloom._bits) == before
    assert sum(f"other_{number}" in bloom for number in range(20_000)) < 20


@pytest.mark.parametrize("size", [0, -8, 3, MAX_BYTES * 2])
def test_a_size_that_is_no_power_of_two_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="a power of two"):
        Bloom(size)
