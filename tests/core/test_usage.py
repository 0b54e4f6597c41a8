"""Token counts and their growth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.usage import MAX_COUNT, NONE, Usage, add, grow, read, wire

COUNTS = st.builds(Usage, *[st.integers(min_value=0, max_value=1000)] * 4)


@pytest.mark.parametrize(
    ("found", "usage", "notes"),
    [
        ({}, NONE, []),
        ({"input_tokens": 3, "output_tokens": 20, "cache_read_input_tokens": 9}, Usage(3, 20, 0, 9), []),
        ({"cache_creation_input_tokens": 5}, Usage(0, 0, 5, 0), []),
        (
            {
                "cache_creation_input_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 3},
            },
            Usage(0, 0, 7, 0),
            [],
        ),
        ({"cache_creation_input_tokens": 9, "cache_creation": {}}, Usage(0, 0, 9, 0), []),
        ({"cache_creation": 7}, NONE, ["usage.cache_creation"]),
        ({"input_tokens": -1, "output_tokens": "5"}, NONE, ["usage.input_tokens", "usage.output_tokens"]),
        ({"input_tokens": True, "output_tokens": 2.0}, NONE, ["usage.input_tokens", "usage.output_tokens"]),
        ({"input_tokens": MAX_COUNT + 1, "output_tokens": None}, NONE, ["usage.input_tokens"]),
    ],
)
def test_a_count_that_is_none_is_zero_and_noted(found: dict[str, object], usage: Usage, notes: list[str]) -> None:
    met: list[str] = []
    assert read(found, met)[0] == usage
    assert met == notes


def test_a_line_adds_only_what_grew() -> None:
    first, delta = grow(None, Usage(3, 1, 100, 900))
    assert (first, delta) == (Usage(3, 1, 100, 900), Usage(3, 1, 100, 900))
    assert grow(first, Usage(3, 20, 0, 900)) == (Usage(3, 20, 100, 900), Usage(0, 19, 0, 0))


@given(st.lists(COUNTS, min_size=1).flatmap(lambda lines: st.tuples(st.just(lines), st.permutations(lines * 2))))
def test_repeats_and_order_change_no_total(lists: tuple[list[Usage], list[Usage]]) -> None:
    totals = []
    for lines in lists:
        maximum, total = None, NONE
        for line in lines:
            maximum, delta = grow(maximum, line)
            total = add(total, delta)
        assert total == maximum
        totals.append(total)
    assert totals[0] == totals[1]


def test_nothing_is_false_and_the_wire_names_all_four() -> None:
    assert not NONE
    assert Usage(0, 0, 0, 1)
    assert list(wire(Usage(1, 2, 3, 4)).values()) == [1, 2, 3, 4]
