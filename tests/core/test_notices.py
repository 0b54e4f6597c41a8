from typing import Any

import pytest

from observatory.core import notices as module
from observatory.core.notices import HOLD, KINDS, MOST, PER_SECONDS, Notices, Spending

ALL = frozenset(KINDS)


def update(notices: Notices, now: float, id: str = "c1", **data: Any) -> None:
    notices.take("conversation_update", {"id": id, "project_id": "p1", **data}, now)


def said(notices: Notices, now: float) -> list[tuple[str, str]]:
    return [(notice.kind, notice.text) for notice in notices.due(now)]


def working(id: str = "c1") -> Notices:
    notices = Notices(ALL)
    update(notices, 0, id, title="Cart", activity="working")
    return notices


@pytest.mark.parametrize(
    ("activity", "told"),
    [("waiting", ("waiting", "waits for you: Cart")), ("idle", ("finished", "finished: Cart"))],
)
def test_what_lasts_is_told_once(activity: str, told: tuple[str, str]) -> None:
    notices = working()
    update(notices, 10, activity=activity)
    assert said(notices, 10 + HOLD - 0.1) == []
    assert said(notices, 10 + HOLD) == [told]
    update(notices, 20, activity=activity)
    assert said(notices, 40) == []
    update(notices, 50, activity="working")
    update(notices, 51, activity=activity)
    assert said(notices, 60) == [told]


def test_a_moment_between_two_turns_is_nothing() -> None:
    notices = working()
    update(notices, 10, activity="idle")
    update(notices, 11, activity="working")
    assert said(notices, 100) == []


def test_what_was_so_when_we_came_is_no_news() -> None:
    notices = Notices(ALL)
    update(notices, 0, activity="waiting")
    notices.take("conversation_started", {"id": "c2", "activity": "idle"}, 0)
    assert said(notices, 100) == []


def test_errors_are_told_at_once() -> None:
    notices = working()
    notices.take("message_added", {"conversation_id": "c1", "record": {"kind": "error"}}, 5)
    assert said(notices, 5) == [("error", "met an error: Cart")]
    update(notices, 6, status="error")
    assert said(notices, 6) == []
    update(notices, 7, "c2", status="error")
    assert said(notices, 7) == [("error", "met an error: a session")]


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("conversation_update", None),
        ("conversation_update", {"activity": "waiting"}),
        ("conversation_update", {"id": "c1.agent", "status": "error"}),
        ("message_added", {"conversation_id": "c1", "record": {"kind": "prompt"}}),
        ("message_added", {"conversation_id": "c1"}),
        ("project_update", {"id": "p1"}),
        ("conversation_update", {"id": "c1", "title": "New"}),
    ],
)
def test_everything_else_is_not(type_: str, data: Any) -> None:
    notices = working()
    notices.take(type_, data, 1)
    assert said(notices, 100) == []


def test_only_what_is_wanted() -> None:
    notices = Notices(frozenset({"waiting"}))
    for id, activity in (("c1", "idle"), ("c2", "waiting")):
        update(notices, 0, id, activity="working")
        update(notices, 1, id, activity=activity)
    assert [kind for kind, _ in said(notices, 10)] == ["waiting"]


def test_a_storm_ends_in_a_number() -> None:
    notices = Notices(ALL)
    for number in range(MOST + 12):
        update(notices, 0, f"c{number}", status="error")
    first = notices.due(1)
    assert len(first) == MOST
    assert said(notices, 2) == []
    assert said(notices, 2 + PER_SECONDS) == [("more", "and 12 more")]


def test_what_was_forgotten_is_not_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    notices = working()
    update(notices, 1, activity="idle")
    notices.forget("c1")
    notices.forget("c9")
    assert said(notices, 10) == []
    monkeypatch.setattr(module, "MOST_KNOWN", 2)
    for number in range(5):
        update(notices, 11, f"c{number}", status="error")
    assert len(notices.due(12)) == 2


def test_a_budget_is_told_once_a_period() -> None:
    spending = Spending(10)
    assert spending.check("2026-11-25", 10, 1) is None
    notice = spending.check("2026-11-25", 12.5, 2)
    assert notice is not None
    assert notice.text == "$12.50 spent in 2026-11-25, more than the budget of $10.00"
    assert spending.check("2026-11-25", 13, 3) is None
    assert spending.check("2026-11-26", 11, 4) is not None


def test_a_permission_that_a_hook_tells_of_is_told_if_it_lasts() -> None:
    notices = working()
    asked = {"conversation_id": "c1.a", "hook_event_name": "PermissionRequest"}
    notices.take("hook_event", asked, 10)
    assert said(notices, 11) == []
    assert said(notices, 10 + HOLD) == [("waiting", "waits for you: Cart")]
    notices.take("hook_event", asked | {"hook_event_name": "Stop"}, 20)
    notices.take("hook_event", {"hook_event_name": "PermissionRequest"}, 20)
    assert said(notices, 40) == []


def test_a_permission_that_is_given_at_once_is_nothing() -> None:
    notices = working()
    notices.take("hook_event", {"conversation_id": "c1", "hook_event_name": "PermissionRequest"}, 10)
    update(notices, 11, activity="idle")
    update(notices, 11.5, activity="working")
    assert said(notices, 100) == []
