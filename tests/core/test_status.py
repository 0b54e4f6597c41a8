"""What silence and the registry of live sessions make of a conversation."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.conversation import Conversation
from observatory.core.status import ASKED_MS, COMPLETED_AFTER_MS, COURSES, STALE_MS, Word, quiet_since, settled

T = "2026-11-22T21:00:00.000Z"
SINCE = 1_795_381_200_000
S, MINUTE, HOUR = 1000, 60_000, 3_600_000
ROW = Conversation("c1", "p1", "s1", "/r/c1.jsonl", T, T, said_at=T)


def after(silence: int, word: Word | None = None, **row: Any) -> tuple[str, str, str | None, int | None]:
    """Status, activity, reason, and in how long it changes by itself."""
    found, due = settled(attrs.evolve(ROW, **row), SINCE, SINCE + silence, word=word)
    return found.status, found.activity, found.status_reason, None if due is None else due - SINCE - silence


@pytest.mark.parametrize(
    ("row", "silence", "wanted"),
    [
        ({"told": "working"}, 0, ("active", "working", "running", 15 * MINUTE)),
        ({"told": "working"}, 15 * MINUTE - 1, ("active", "working", "running", 1)),
        ({"told": "working"}, 15 * MINUTE, ("active", "idle", "stale", 30 * MINUTE)),
        ({"told": "working"}, 45 * MINUTE, ("completed", "idle", "stale", None)),
        ({"told": "working", "open_tools": ("t",)}, 0, ("active", "working", "running", MINUTE)),
        ({"told": "working", "open_tools": ("t",)}, MINUTE, ("active", "waiting", "unanswered", 14 * MINUTE)),
        ({"told": "working", "open_tools": ("t",)}, 15 * MINUTE, ("active", "idle", "stale", 30 * MINUTE)),
        ({"told": "waiting", "asking": ("t",)}, 0, ("active", "waiting", "asking", 24 * HOUR)),
        ({"told": "waiting", "asking": ("t",)}, 24 * HOUR, ("active", "idle", "stale", 30 * MINUTE)),
        ({"told": "spoken"}, 0, ("active", "working", "running", 10 * S)),
        ({"told": "spoken"}, 10 * S, ("active", "idle", "silent", 30 * MINUTE)),
        ({"told": "spoken"}, 30 * MINUTE + 10 * S, ("completed", "idle", "silent", None)),
        ({"told": "idle"}, 0, ("active", "idle", "over", 30 * MINUTE)),
        ({"told": "idle"}, 30 * MINUTE, ("completed", "idle", "over", None)),
        ({"told": "idle"}, 365 * 24 * HOUR, ("completed", "idle", "over", None)),
        ({"told": "idle", "status": "error"}, 0, ("error", "idle", "error", None)),
        ({"told": "idle", "status": "error"}, 2 * HOUR, ("error", "idle", "error", None)),
        ({"told": "working", "status": "error"}, 0, ("error", "working", "running", 15 * MINUTE)),
        ({"activity": "working"}, 0, ("active", "working", "running", 15 * MINUTE)),  # a row of an older version
        ({"told": "idle"}, -HOUR, ("active", "idle", "over", HOUR)),  # the clock was set back
    ],
)
def test_silence_has_its_course(row: dict[str, Any], silence: int, wanted: tuple[object, ...]) -> None:
    assert after(silence, **row) == wanted


def word(activity: Any, since: int = 0, read: int = 0, *, ended: bool = False) -> Word:
    return Word(activity, SINCE + since, SINCE + read, ended)


@pytest.mark.parametrize(
    ("said", "silence", "wanted"),
    [
        (word("working", read=1), 20 * MINUTE, ("active", "working", "session", None)),
        (word("waiting", read=1), 48 * HOUR, ("active", "waiting", "session", None)),
        (word("idle", since=MINUTE, read=MINUTE), 2 * MINUTE, ("active", "idle", "session", 29 * MINUTE)),
        (word("idle", since=MINUTE, read=MINUTE), 31 * MINUTE, ("completed", "idle", "session", None)),
        (word("idle", since=5 * MINUTE, read=5 * MINUTE, ended=True), 6 * MINUTE,
         ("active", "idle", "ended", 29 * MINUTE)),
        (word("idle", since=99 * HOUR, read=1), 0, ("active", "idle", "session", 30 * MINUTE)),  # another clock
        (word("idle", read=-1), 0, ("active", "working", "running", MINUTE)),  # a line came after the look
    ],
)  # fmt: skip
def test_the_registry_wins_over_older_lines(said: Word, silence: int, wanted: tuple[object, ...]) -> None:
    assert after(silence, said, told="working", open_tools=("t",)) == wanted


def test_completion_can_be_set() -> None:
    row = attrs.evolve(ROW, told="idle")
    assert settled(row, SINCE, SINCE + 5, 5)[0].status == "completed"
    assert settled(row, SINCE, SINCE + 4, 5)[1] == SINCE + 5


def test_a_row_that_stays_as_it_is_is_the_same_object() -> None:
    row, _ = settled(ROW, SINCE, SINCE)
    assert settled(row, SINCE, SINCE + 1)[0] is row


def test_silence_counts_from_the_last_line_that_says_something() -> None:
    later = "2026-11-22T22:00:00.000Z"
    assert quiet_since(attrs.evolve(ROW, updated_at=later), SINCE + HOUR) == SINCE
    assert quiet_since(attrs.evolve(ROW, said_at=None), SINCE + HOUR) == SINCE
    assert quiet_since(attrs.evolve(ROW, said_at="2099-01-01T00:00:00Z"), SINCE) == SINCE
    assert quiet_since(attrs.evolve(ROW, said_at="0001-01-01T00:00:00Z"), SINCE) < 0


rows = st.builds(
    lambda told, tools, status: attrs.evolve(ROW, told=told, open_tools=tools, status=status),
    st.sampled_from([*(key for key in COURSES if key != "unanswered"), None]),
    st.sampled_from([(), ("t",)]),
    st.sampled_from(["active", "completed", "error"]),
)
OFFSETS = st.integers(-HOUR, HOUR)
words = st.none() | st.builds(word, st.sampled_from(["working", "waiting", "idle"]), OFFSETS, OFFSETS)
old_words = words.filter(lambda said: said is None or said.since_ms <= SINCE)


@given(rows, words, st.lists(st.integers(0, 2 * ASKED_MS), max_size=5))
def test_looking_in_between_changes_nothing(row: Conversation, said: Word | None, looks: list[int]) -> None:
    end = ASKED_MS + STALE_MS
    once, due = settled(row, SINCE, SINCE + end, word=said)
    for silence in sorted(looks):
        row, _ = settled(row, SINCE, SINCE + silence, word=said)
    assert settled(row, SINCE, SINCE + end, word=said) == (once, due)


@given(rows, old_words)
def test_following_the_due_times_misses_no_change(row: Conversation, said: Word | None) -> None:
    now, due = SINCE, None
    states = []
    for _ in range(10):
        row, due = settled(row, SINCE, now, word=said)
        states.append((row.status, row.activity))
        if due is None:
            break
        assert due > now
        assert settled(row, SINCE, due - 1, word=said) == (row, due)
        now = due
    assert due is None
    assert settled(row, SINCE, SINCE + 3 * ASKED_MS + COMPLETED_AFTER_MS, word=said)[0] == row
