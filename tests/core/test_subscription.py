"""Whether a stored event comes to a client, and how often it is read for that."""

import pytest

from observatory.core.ports import Stored
from observatory.core.subscription import comes_to
from observatory.core.where import parse_where
from tests.core.filters import payload

HELD = frozenset({"*", "a"})
USERS = parse_where({"key": "role", "cmp": "eq", "val": "user"})


def stored(role: str, *topics: str) -> Stored:
    return Stored(1, frozenset(topics), payload({"type": "x", "data": {"role": role}}))


@pytest.mark.parametrize(
    ("role", "topic", "expected"),
    [("user", "a", True), ("assistant", "a", False), ("user", "b", False), ("user", "*", True), ("other", "*", False)],
)
def test_topics_and_filter_must_both_agree(role: str, topic: str, expected: bool) -> None:
    assert comes_to(HELD, USERS, stored(role, topic)) is expected


def test_without_a_filter_topics_decide() -> None:
    assert comes_to(HELD, None, stored("assistant", "a"))
    assert comes_to(frozenset({"*", "a:1"}), None, stored("assistant", "a:*"))


def is_read(event: Stored) -> bool:
    try:
        object.__getattribute__(event, "facts")  # past what makes it on demand
    except AttributeError:
        return False
    return True


def test_an_event_is_read_only_when_a_filter_asks_and_then_once() -> None:
    event = stored("user", "a")
    assert comes_to(HELD, None, event)
    assert not comes_to(frozenset({"b"}), USERS, event)
    assert not is_read(event)
    assert comes_to(HELD, USERS, event)
    assert is_read(event)
    assert event.facts is event.facts
