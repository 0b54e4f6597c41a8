"""Events as lines: what is shown, in which style, and that no text is obeyed."""

import io
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from observatory.cli.terminal import Printer, line_of, one_line
from observatory.core.client_items import Event, Snapshot
from observatory.core.events import Position

NAMES = {"p1": "shop"}
WHEN = 1795381200112  # 2026-11-22T21:00:00Z


def event(kind: str, data: Any, timestamp: int | None = WHEN) -> Event:
    return Event(kind, data, 1, "e1", timestamp, "{}")


def message(kind: str, record: dict[str, Any] | None = None, **fields: Any) -> Event:
    data = {"conversation_id": "5e1f0123-4567", "project_id": "p1", "record": {"kind": kind, **(record or {})}}
    return event("message_added", {**data, "message": fields or None})


def shown(what: Event) -> list[str]:
    rendered = line_of(what, NAMES, UTC)
    return [] if rendered is None else ["".join(span.text for span in row) for row in rendered.rows]


def printed(*events: Event, **options: Any) -> str:
    out = io.StringIO()
    printer = Printer(Console(file=out, highlight=False, markup=False, emoji=False, _environ={}, **options), UTC)
    printer.learn(Snapshot(({"id": "p1", "name": "shop"}, {"id": 7}), (), False, Position("e1", 1)))
    for each in events:
        printer.print(each)
    return out.getvalue()


@pytest.mark.parametrize(
    ("what", "lines"),
    [
        (message("prompt", role="user", content="fix\n the   bug"), ["user fix the bug"]),
        (message("assistant", role="assistant", content="Done."), ["claude Done."]),
        (message("command", role="user", content="/clear"), ["command /clear"]),
        (message("interruption", role="user", content="[Request interrupted]"), ["interruption [Request interrupted]"]),
        (message("note", {"text": "compacted"}), ["note compacted"]),
        (message("other", {"text": "later kind"}), ["other later kind"]),
        (message("", {"text": "no kind"}), ["note no kind"]),
        (message("other", {"type": "ai-title", "text": "Bugs"}), []),  # the update that follows tells it
        (message("other", {"type": "mode", "text": "plan"}), ["mode plan"]),
        (message("other"), []),
        (message("error", {"error": "not JSON"}), ["broken line not JSON"]),
        (
            message(
                "assistant",
                content="Looking.",
                tool_calls=[
                    {"tool_name": "Bash", "tool_input": {"timeout": 5, "command": "ls -l\n/tmp"}},
                    {"tool_name": "Task", "tool_input": {"n": 1}},
                    {"tool_name": "None", "tool_input": {}},
                    {"tool_name": "Odd", "tool_input": None},
                    {"tool_input": ["a"]},
                ],
            ),
            ["claude Looking.", "→ Bash ls -l /tmp", '→ Task {"n":1}', "→ None ", "→ Odd ", '→ ? ["a"]'],
        ),
        (
            message("tool_result", tool_results=[{"content": "a b"}, {"is_error": True, "content": "no such file"}]),
            ["✓ ok a b", "✗ error no such file"],
        ),
        (event("conversation_started", {"id": "c1", "project_id": "p1", "title": None}), ["conversation started"]),
        (event("conversation_started", {"id": "c1", "title": "Bugs"}), ["conversation started: Bugs"]),
        (event("conversation_update", {"id": "c1", "title": "Bugs"}), ["title: Bugs"]),
        (event("conversation_update", {"id": "c1", "message_count": 3}), []),
        (event("project_update", {"id": "p1", "name": "w"}), []),
        (event("conversation_forgotten", {"id": "c1", "project_id": "p1"}), ["conversation forgotten c1"]),
        (event("project_forgotten", {"id": "p1"}), ["project forgotten p1"]),
        (
            event("hook_event", {"hook_event_name": "PermissionRequest", "payload": {"tool_name": "Bash"}}),
            ["hook PermissionRequest Bash"],
        ),
        (event("hook_event", {"payload": None}), ["hook ? "]),
        (event("file_modified", {"file_path": "/r/x.jsonl"}), ["file modified /r/x.jsonl"]),
        (
            event(
                "system_status",
                {
                    "service_status": "degraded",
                    "components": [
                        {"component_name": "store", "status": "unavailable", "details": "disk full"},
                        {"component_name": "sink", "status": "degraded", "details": None},
                        {"component_name": "watcher", "status": "ok"},
                    ],
                },
            ),
            ["system degraded store: disk full; sink: degraded"],
        ),
        (event("deployed", {"by": "me"}), ['deployed {"by":"me"}']),
        (event("deployed", [1, 2]), ['deployed {"data":[1,2]}']),
    ],
)
def test_an_event_becomes_these_lines(what: Event, lines: list[str]) -> None:
    assert shown(what) == lines


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"conversation_id": "5e1f0123-4567", "project_id": "p1"}, "shop/5e1f0123"),
        (
            {"conversation_id": "5e1f0123-4567.a1b2c3d4e5", "project_id": "unknown-project"},
            "unknown-/5e1f0123.a1b2c3d4",
        ),
        ({}, "-"),
    ],
)
def test_the_place_is_project_and_short_conversation(data: dict[str, Any], place: str) -> None:
    rendered = line_of(event("deployed", data), NAMES, UTC)
    assert rendered is not None
    assert (rendered.time, rendered.place) == ("21:00:00", place)


@pytest.mark.parametrize("timestamp", [None, 10**20])
def test_a_missing_or_absurd_time_is_a_dash(timestamp: int | None) -> None:
    rendered = line_of(event("deployed", {}, timestamp), NAMES, UTC)
    assert rendered is not None
    assert rendered.time == "--:--:--"


def test_a_pipe_gets_plain_whole_lines() -> None:
    text = printed(message("prompt", role="user", content="word " * 100))
    assert text == f"21:00:00 shop/5e1f0123 user {'word ' * 99}word\n"


def test_a_terminal_gets_colour_and_lines_of_its_width() -> None:
    text = printed(message("prompt", content="word " * 100), force_terminal=True, width=60, color_system="truecolor")
    assert "\x1b[" in text
    assert text.count("\n") == 1
    assert "…" in text


def test_no_color_is_respected() -> None:
    text = printed(
        message("assistant", content="hi"), force_terminal=True, width=60, color_system="standard", no_color=True
    )
    assert "32m" not in text
    assert "hi" in text


def test_project_names_are_learnt_from_events() -> None:
    update = event("project_update", {"id": "p1", "name": "renamed"})
    assert "renamed/5e1f0123" in printed(update, message("prompt", content="x"))


def test_markup_and_emoji_codes_stay_text() -> None:
    assert "[red]:smile:[/red] [/]" in printed(message("prompt", content="[red]:smile:[/red] [/]"))


HOSTILE = "\x1b]52;c;cm0gLXJm\x07\x1b[2J\x9b31m\r\n\u202eevil"


def test_no_text_of_an_event_reaches_the_terminal_as_a_command() -> None:
    events = [
        message("prompt", content=HOSTILE),
        message(HOSTILE, {"text": HOSTILE, "error": HOSTILE}),
        message("assistant", tool_calls=[{"tool_name": HOSTILE, "tool_input": {"command": HOSTILE}}]),
        message("assistant", tool_calls=[{"tool_name": "T", "tool_input": {HOSTILE: HOSTILE}}]),
        message("tool_result", tool_results=[{"content": HOSTILE}]),
        event("message_added", {"conversation_id": HOSTILE, "project_id": HOSTILE, "record": {"text": "x"}}),
        event("conversation_update", {"id": HOSTILE, "title": HOSTILE}),
        event("project_update", {"id": "p1", "name": HOSTILE}),
        message("prompt", content="named now"),
        event("file_created", {"file_path": HOSTILE}),
        event("system_status", {"service_status": HOSTILE, "components": [{"component_name": HOSTILE}]}),
        event(HOSTILE, {HOSTILE: HOSTILE}),
    ]
    text = printed(*events)
    assert not set(text) & {"\x1b", "\x07", "\x9b", "\r", "\u202e"}
    assert text.count("\n") == len(events)  # project_update prints nothing, one record has two rows


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
KEYS = ["record", "message", "id", "kind", "content", "tool_calls", "tool_results", "title", "components", "file_path"]
data_values = st.dictionaries(st.sampled_from(KEYS), json_values) | json_values


@given(st.sampled_from(["message_added", "conversation_update", "file_created", "system_status", "x"]), data_values)
def test_no_shape_of_data_breaks_the_rendering(kind: str, data: Any) -> None:
    for row in shown(event(kind, data)):
        assert "\n" not in row


def test_long_text_is_cut_with_an_ellipsis() -> None:
    assert one_line("x" * 5000, 10) == "xxxxxxxxx…"
    assert one_line("x" * 10, 10) == "x" * 10
