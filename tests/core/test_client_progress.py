"""A client's position: it only moves with proof, and going back repeats nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core import client_progress
from observatory.core.client_progress import Progress
from observatory.core.events import Position


def at(seq: int, epoch: str = "e1") -> Position:
    return Position(epoch, seq)


def test_an_event_is_news_once() -> None:
    progress = Progress(at(10))
    assert [progress.take("e1", seq) for seq in (9, 10, 11, 11, 15)] == [False, False, True, False, True]
    assert progress.last == at(15)


def test_every_frame_counts_and_a_new_connection_counts_from_zero() -> None:
    progress = Progress()
    for seq in (1, 1, 2):
        progress.take("e1", seq)
    assert progress.received == 3
    progress.connect()
    assert progress.received == 0


def test_another_epoch_begins_anew() -> None:
    progress = Progress(at(10))
    progress.take("e1", 11)
    assert progress.take("e2", 1)
    assert progress.last == at(1, "e2")


def test_a_confirmation_gives_a_place_only_to_who_has_none() -> None:
    progress = Progress()
    progress.confirm(at(5))
    assert (progress.last, progress.agreed) == (at(5), at(5))
    progress.confirm(at(9))
    assert progress.last == at(5)


def test_an_agreement_moves_forward_but_never_back() -> None:
    progress = Progress(at(10))
    progress.take("e1", 20)
    progress.agree(at(15))
    assert (progress.last, progress.agreed) == (at(20), at(20))
    progress.agree(at(30))
    assert progress.last == at(30)
    progress.agree(at(1, "e2"))
    assert progress.last == at(1, "e2")


def test_a_jump_may_go_back() -> None:
    progress = Progress(at(10))
    progress.jump(at(3))
    assert (progress.last, progress.agreed) == (at(3), at(3))


@given(st.sets(st.integers(11, 60)), st.sets(st.integers(11, 60)))
def test_after_going_back_only_what_was_missing_is_news(got: set[int], lost: set[int]) -> None:
    progress = Progress(at(10))
    first = [seq for seq in sorted(got) if progress.take("e1", seq)]
    progress.rewind()
    assert progress.last == at(10)
    second = [seq for seq in sorted(got | lost) if progress.take("e1", seq)]
    assert first == sorted(got)
    assert second == sorted(lost - got)


def test_going_back_twice_still_repeats_nothing() -> None:
    progress = Progress(at(10))
    news = []
    for round_of in ([11, 13], [11, 12, 13], [11, 12, 13, 14]):
        news += [seq for seq in round_of if progress.take("e1", seq)]
        progress.rewind()
    assert news == [11, 13, 12, 14]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_progress, "SEEN_LIMIT", 10)
    progress = Progress(at(0))
    for seq in range(1, 100):
        assert progress.take("e1", seq)
    progress.rewind()
    news = [seq for seq in range(1, 100) if progress.take("e1", seq)]
    assert 99 not in news
    assert len(news) < 100
