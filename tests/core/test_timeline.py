from typing import Any

import orjson
import pytest

from observatory.core.blocks import ToolCall, ToolResult
from observatory.core.lines import Line
from observatory.core.timeline import Answer, Called, Entry, Noted, Picture, Said, Thought, changes, entries
from observatory.core.transcript import parse

ANSWER = Answer("success", 12, "r2", ToolResult("t1", False, "done"), None)
Json = dict[str, Any]


def told(found: Json | bytes, answers: dict[str, Answer] | None = None) -> list[Entry]:
    body = found if isinstance(found, bytes) else orjson.dumps({"uuid": "u", "sessionId": "s", **found})
    (value,) = parse(Line(0, len(body), body))
    return list(entries("r1", value, (answers or {}).get))


def user(content: object, **more: object) -> Json:
    return {"type": "user", "message": {"role": "user", "content": content}, **more}


def assistant(*blocks: object, **more: object) -> Json:
    return {"type": "assistant", "message": {"role": "assistant", "model": "m", "content": list(blocks)}, **more}


def text(said: str) -> Json:
    return {"type": "text", "text": said}


def use(id: str, name: str = "Bash", **asked: object) -> Json:
    return {"type": "tool_use", "id": id, "name": name, "input": asked}


def image(kind: object = "image/png", data: object = "QUJD") -> Json:
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}


def test_prompts_and_answers_are_said() -> None:
    assert told(user("why?")) == [Said("r1", None, "user", "why?")]
    assert told(user([text("why?"), text(" ")])) == [Said("r1", None, "user", "why?")]
    assert told(assistant(text("so"))) == [Said("r1", None, "assistant", "so", "m")]


def test_a_command_is_said_as_it_was_typed() -> None:
    found = user("<command-name>/compact</command-name><command-args>now</command-args>")
    assert told(found) == [Said("r1", None, "user", "/compact now")]


def test_thinking_is_told_apart() -> None:
    assert told(assistant({"type": "thinking", "thinking": "hm"})) == [Thought("r1", None, "hm")]
    assert told(assistant({"type": "thinking", "thinking": 3})) == []


def test_a_call_comes_with_what_came_of_it() -> None:
    call = ToolCall("t1", "Bash", {"command": "ls"})
    assert told(assistant(use("t1", command="ls")), {"t1": ANSWER}) == [Called("r1", None, call, ANSWER)]
    assert told(assistant(use("t1", command="ls"))) == [Called("r1", None, call, None)]
    assert told(assistant({"type": "tool_use", "name": "Bash"})) == []


def test_a_result_is_told_with_its_call_and_by_itself_only_when_it_has_none() -> None:
    found = user([{"type": "tool_result", "tool_use_id": "t1", "content": "done"}])
    own = Answer("success", 12, "r1", ToolResult("t1", False, "done"), None)
    assert told(found, {"t1": own}) == []
    (entry,) = told(found)
    assert isinstance(entry, Called)
    assert entry.call.name == ""
    assert entry.answer is not None
    assert entry.answer.result == ToolResult("t1", False, "done")
    assert len(told(found, {"t1": ANSWER})) == 1


def test_images_are_shown_if_they_are_of_a_kind_that_is_no_program() -> None:
    assert told(user([image()])) == [Picture("r1", None, "user", "image/png", "QUJD")]
    assert told(user([image("image/svg+xml")])) == [Picture("r1", None, "user", "image/svg+xml", "")]
    assert told(user([image(3)])) == [Picture("r1", None, "user", "image", "")]
    assert told(user([image(data=3)])) == [Picture("r1", None, "user", "image/png", "")]
    assert told(user([{"type": "image"}])) == [Picture("r1", None, "user", "image", "")]
    inside = user([{"type": "tool_result", "tool_use_id": "t1", "content": [image(), text("x"), 3]}])
    assert told(inside, {"t1": Answer(None, None, "r1", None, None)}) == [
        Picture("r1", None, "user", "image/png", "QUJD")
    ]


@pytest.mark.parametrize(
    ("found", "entry"),
    [
        (user("meta", isMeta=True), Noted("r1", None, "note", "meta")),
        (user([text("meta")], isMeta=True), Noted("r1", None, "note", "meta")),
        (user("[Request interrupted by user]"), Noted("r1", None, "interruption", "[Request interrupted by user]")),
        (assistant(text("overloaded"), isApiErrorMessage=True), Noted("r1", None, "error", "overloaded")),
        ({"type": "system", "subtype": "api_error", "content": "x"}, Noted("r1", None, "error", "x")),
        ({"type": "system", "subtype": "compact_boundary", "content": "x"}, Noted("r1", None, "compaction", "x")),
        ({"type": "system", "subtype": "stop_hook_summary", "hookCount": 2}, Noted("r1", None, "hook", "2 stop hooks")),
        ({"type": "system", "subtype": "local", "content": "x"}, Noted("r1", None, "event", "x")),
        ({"type": "summary", "summary": "x", "leafUuid": "l"}, Noted("r1", None, "event", "x")),
        (
            {"type": "attachment", "attachment": {"type": "hook_success", "hookName": "Stop", "stdout": "x"}},
            Noted("r1", None, "hook", "Stop: x"),
        ),
        (
            {"type": "attachment", "attachment": {"type": "queued_command", "prompt": "and then"}},
            Noted("r1", None, "note", "and then"),
        ),
        (
            {"type": "attachment", "attachment": {"type": "queued_command", "prompt": "x", "isMeta": True}},
            Noted("r1", None, "note", "x"),
        ),
    ],
)
def test_everything_else_with_a_text_is_noted(found: Json, entry: Entry) -> None:
    assert told(found) == [entry]


def test_what_says_nothing_is_no_entry() -> None:
    assert told({"type": "file-history-snapshot", "messageId": "m", "snapshot": {}}) == []
    assert told(user([], isMeta=True)) == []


def test_a_line_that_is_no_record_is_told() -> None:
    (entry,) = told(b"{broken")
    assert isinstance(entry, Noted)
    assert entry.what == "malformed"
    assert "{broken" in entry.text


def test_an_edit_is_shown_as_what_it_changes() -> None:
    call = ToolCall("t", "Edit", {"file_path": "a", "old_string": "one\ntwo", "new_string": "one\nthree"})
    assert changes(call) == "@@ -1,2 +1,2 @@\n one\n-two\n+three"
    several = [{"old_string": "a", "new_string": "b"}, {"old_string": "c", "new_string": "d"}, 3, {"old_string": "x"}]
    both = changes(ToolCall("t", "MultiEdit", {"edits": several}))
    assert both == "@@ -1 +1 @@\n-a\n+b\n@@ -1 +1 @@\n-c\n+d"
    assert changes(ToolCall("t", "Bash", {"command": "ls"})) is None
    assert changes(ToolCall("t", "Bash", 3)) is None
    assert changes(ToolCall("t", "MultiEdit", {"edits": []})) is None
