"""What `top` knows of sessions."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.top_state import MOST_SESSIONS, SORTS, TopState, Window

NOW = 1_795_381_200_000


def row(id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "project_id": "p", "activity": "working", "status": "active", "message_count": 2,
            "updated_at": "2026-11-22T21:00:00.000Z", "title": f"title {id}", **more}  # fmt: skip


def loaded(*rows: dict[str, Any]) -> TopState:
    state = TopState()
    state.load([{"id": "p", "name": "shop"}], rows, NOW)
    return state


def heard(id: str = "a", usage: dict[str, int] | None = None, **message: Any) -> dict[str, Any]:
    body = {"role": "assistant", "content": "", **message}
    found: dict[str, Any] = {"conversation_id": id, "project_id": "p", "message": body}
    return found if usage is None else found | {"usage_delta": usage}


def ids(state: TopState, now: int = NOW, **how: Any) -> list[str]:
    return [row.id for row in state.rows(now, how.pop("sort", "activity"), **{"agents": False, "idle": True} | how)]


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 5))))
def test_a_window_sums_the_last_minute(added: list[tuple[int, int]]) -> None:
    window, now = Window(), 0
    seen: list[tuple[int, int]] = []
    for step, amount in added:
        now += step * 100
        window.add(amount, now)
        seen.append((now // 1000, amount))
    fresh = [(at, amount) for at, amount in seen if at > now // 1000 - 60]
    assert window.total(now) == sum(amount for _, amount in fresh)
    assert sum(window.bars(now)) == window.total(now)
    assert len(window.bars(now)) == 60
    assert window.total(now + 61_000) == 0


def test_a_session_tells_what_it_does_now() -> None:
    state = loaded(row("a"))
    call = {"id": "t1", "tool_name": "Bash", "tool_input": {"command": "make"}}
    state.take("message_added", heard(content="I build it. ", tool_calls=[call]), NOW)
    assert state.sessions["a"].now == "→ Bash make"
    results = [{"tool_use_id": "t1", "is_error": True, "content": "no"}, {"tool_use_id": "t9", "content": "x"}]
    state.take("message_added", heard(role="user", content="no", tool_results=results), NOW)
    assert state.sessions["a"].now == "✗ Bash make"
    state.take("message_added", heard(role="user", content="go on"), NOW)
    assert state.sessions["a"].now == "you: go on"
    calls = [{"id": "t2", "tool_name": "Read", "tool_input": None}, "no call"]
    state.take("message_added", heard(tool_calls=calls), NOW)
    assert state.sessions["a"].now == "→ Read"
    lines = ["claude: I build it.", "→ Bash make", "✗ no", "✓ x", "you: go on", "→ Read"]
    assert list(state.sessions["a"].lines) == lines
    state.take("conversation_update", row("a", activity="idle"), NOW)
    assert state.sessions["a"].open_calls == {}


def test_tokens_are_told_per_minute_and_in_all() -> None:
    state = loaded(row("a", tokens={"input_tokens": 3, "output_tokens": 4}))
    state.take("message_added", heard(usage={"input_tokens": 10, "output_tokens": 5}), NOW)
    (found,) = state.rows(NOW, "tokens", agents=False, idle=True)
    assert (found.tokens_per_min, found.tokens, state.tokens.total(NOW)) == (15, 7, 15)
    assert state.rows(NOW + 61_000, "tokens", agents=False, idle=True)[0].tokens_per_min == 0


def test_a_permission_that_is_asked_for_stands_out_until_something_follows() -> None:
    state = loaded(row("a"), row("b", activity="waiting"))
    told = {"conversation_id": "a", "hook_event_name": "PermissionRequest", "payload": {"tool_name": "Bash"}}
    state.take("hook_event", told, NOW)
    assert (state.sessions["a"].shown, state.sessions["a"].now) == ("waiting", "⚑ PermissionRequest Bash")
    state.take("hook_event", {"conversation_id": "a", "hook_event_name": "Stop", "payload": None}, NOW)
    assert state.sessions["a"].lines[-1] == "⚑ Stop"
    state.take("message_added", heard(content="done"), NOW)
    assert state.sessions["a"].shown == "working"


def test_rows_are_sorted_as_wanted_and_agents_stand_below_theirs() -> None:
    state = loaded(
        row("a", message_count=1, title="z"),
        row("b", activity="idle", message_count=9, title="y"),
        row("c", activity="waiting", message_count=3, title="x"),
        row("a.1", parent_id="a"),
        row("a.2", parent_id="a", activity="idle"),
        row("d", status="error", message_count=0),
    )
    assert ids(state) == ["c", "a", "b", "d"]
    assert ids(state, sort="messages") == ["b", "c", "a", "d"]
    assert ids(state, sort="name")[:3] == ["d", "c", "b"]
    assert set(ids(state, sort="tokens")) == {"a", "b", "c", "d"}
    assert ids(state, agents=True) == ["c", "a", "a.1", "a.2", "b", "d"]
    assert ids(state, agents=True, idle=False) == ["c", "a", "a.1", "b", "d"]
    first = state.rows(NOW, "activity", agents=False, idle=True)
    assert [(one.agents, one.project) for one in first[:2]] == [(0, "shop"), (1, "shop")]
    assert ids(state, NOW + 3_600_000, idle=False) == ["c", "a"]
    assert SORTS[0] == "activity"


def test_what_is_forgotten_is_gone_and_projects_get_their_names() -> None:
    state = loaded(row("a"))
    state.take("project_update", {"id": "q", "name": "blog"}, NOW)
    state.take("conversation_started", row("b", project_id="q", updated_at="no time"), NOW)
    state.take("conversation_forgotten", {"id": "a"}, NOW)
    state.take("conversation_forgotten", {"id": "unknown"}, NOW)
    state.take("deployed", [1], NOW)
    state.take("deployed", {"x": 1}, NOW)
    state.take("message_added", {"conversation_id": "b", "message": None}, NOW)
    (found,) = state.rows(NOW, "name", agents=False, idle=True)
    assert (found.id, state.events.total(NOW)) == ("b", 7)


def test_a_snapshot_replaces_all_but_what_was_heard_last() -> None:
    state = loaded(row("a"), row("gone"))
    state.take("message_added", heard(content="hello"), NOW)
    state.load([], [row("a")], NOW)
    assert list(state.sessions) == ["a"]
    assert state.sessions["a"].now == "claude: hello"
    assert state.rows(NOW, "name", agents=False, idle=True)[0].project == "p"


@pytest.mark.parametrize("extra", [3])
def test_memory_is_bounded(extra: int) -> None:
    state = TopState()
    for number in range(MOST_SESSIONS + extra):
        state.take("conversation_started", {"id": f"s{number}"}, NOW)
    assert len(state.sessions) == MOST_SESSIONS
    assert "s0" not in state.sessions
