"""Resume: recoverable or why not, at every edge."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.events import LogPosition, Position
from observatory.core.requests import Resume
from observatory.core.resume import Refusal, refusal

LOG = LogPosition("epoch-1", head=100, oldest=51)


@pytest.mark.parametrize(
    ("epoch", "seq", "most", "reason"),
    [
        ("epoch-1", 100, None, None),
        ("epoch-1", 50, None, None),
        ("epoch-1", 90, 10, None),
        ("epoch-1", 100, 0, None),
        ("epoch-2", 100, None, "epoch_changed"),
        ("epoch-2", 900, None, "epoch_changed"),
        ("epoch-1", 101, None, "ahead"),
        ("epoch-1", 49, None, "too_old"),
        ("epoch-1", 49, 1, "too_old"),
        ("epoch-1", 90, 9, "too_many"),
    ],
)
def test_each_reason_at_its_edge(epoch: str, seq: int, most: int | None, reason: Refusal | None) -> None:
    assert refusal(Resume(Position(epoch, seq), most), LOG) == reason


def test_an_empty_log_goes_on_from_its_head_only() -> None:
    empty = LogPosition("epoch-1", head=7, oldest=8)
    assert refusal(Resume(Position("epoch-1", 7)), empty) is None
    assert refusal(Resume(Position("epoch-1", 6)), empty) == "too_old"


@given(st.integers(0, 120), st.integers(0, 60))
def test_what_is_granted_can_be_given(seq: int, most: int) -> None:
    if refusal(Resume(Position("epoch-1", seq), most), LOG) is None:
        missed = range(seq + 1, LOG.head + 1)
        assert all(LOG.oldest <= one <= LOG.head for one in missed)
        assert len(missed) <= most
