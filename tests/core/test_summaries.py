"""Whose name a summary is."""

import pytest

from observatory.core.lines import Line
from observatory.core.summaries import Summary, last, owner_of, summary_of
from observatory.core.transcript import Record, parse


def test_of_several_summaries_the_last_counts_wherever_it_stands() -> None:
    early, late, elsewhere = (Summary("l", "b", 5, "early"), Summary("l", "b", 9, "late"), Summary("l", "a", 99, "x"))
    for order in ((early, late, elsewhere), (elsewhere, late, early)):
        assert last(order) is late
    assert last(()) is None


@pytest.mark.parametrize(
    ("ends", "owner"),
    [({}, None), ({"a": None}, "a"), ({"a": "x", "b": "l"}, "b"), ({"a": "x", "b": None}, None)],
)
def test_a_leaf_of_several_belongs_to_who_ends_with_it(ends: dict[str, str | None], owner: str | None) -> None:
    assert owner_of("l", ends.keys(), ends.__getitem__) == owner


def test_a_leaf_that_two_end_with_is_nobodys() -> None:
    assert owner_of("l", ["a", "b"], lambda holder: "l") is None


@pytest.mark.parametrize(
    ("data", "title"),
    [
        (b'{"type":"summary","summary":" Fix\\nit ","leafUuid":"l"}', "Fix it"),
        (b'{"type":"summary","summary":"Fix it"}', None),
        (b'{"type":"ai-title","aiTitle":"Fix it","leafUuid":"l"}', None),
        (b'{"type":"mode"}', None),
    ],
)
def test_a_summary_has_a_leaf(data: bytes, title: str | None) -> None:
    (record,) = parse(Line(7, len(data), data))
    assert isinstance(record, Record)
    assert summary_of(record, "c") == (None if title is None else Summary("l", "c", 7, title))
