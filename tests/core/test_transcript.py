"""Lines into records."""

import json
from typing import Any

import pytest

from observatory.core.blocks import Message, ToolCall, ToolResult
from observatory.core.lines import Line
from observatory.core.titles import Title
from observatory.core.transcript import Record, parse
from observatory.core.usage import NONE, Usage

T = "2026-11-22T21:00:00.100Z"
ENVELOPE: dict[str, Any] = {
    "parentUuid": "u0",
    "isSidechain": False,
    "cwd": "/w",
    "sessionId": "s1",
    "version": "2.1.39",
    "gitBranch": "main",
    "uuid": "u1",
    "timestamp": T,
}
COUNTS = {"input_tokens": 3, "output_tokens": 20, "cache_read_input_tokens": 900}


def record(found: dict[str, Any]) -> Record:
    data = json.dumps(found).encode()
    [value] = parse(Line(7, len(data), data))
    assert isinstance(value, Record)
    assert value.offset == 7
    assert value.length == len(data)
    return value


def user(content: object, **more: object) -> Record:
    return record({**ENVELOPE, "type": "user", "message": {"role": "user", "content": content}, **more})


def assistant(content: object, envelope: dict[str, Any] | None = None, **message: object) -> Record:
    said = {"id": "m1", "model": "claude", "role": "assistant", "content": content, "usage": COUNTS, **message}
    return record({**ENVELOPE, "type": "assistant", "message": said, **(envelope or {})})


RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "out", "is_error": True}


def test_an_envelope_is_read() -> None:
    found = user("hello", agentId="a1", requestId="r", isMeta=False)
    assert (found.type, found.uuid, found.parent_uuid, found.session_id) == ("user", "u1", "u0", "s1")
    assert (found.cwd, found.git_branch, found.version, found.timestamp) == ("/w", "main", "2.1.39", T)
    assert (found.agent_id, found.request_id, found.is_sidechain, found.is_meta) == ("a1", "r", False, False)
    assert found.anomalies == ()
    assert found.recognised
    assert found.raw is None


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (user("hello"), "prompt"),
        (user([{"type": "text", "text": "hello"}]), "prompt"),
        (user("hello", isSidechain=True), "prompt"),
        (user("hello", isMeta=True), "note"),
        (user("hello", isCompactSummary=True), "note"),
        (user("Caveat: x"), "note"),
        (user("Caveat: x", origin={"kind": "human"}), "prompt"),
        (user("x", origin={"kind": "task-notification"}), "note"),
        (user("x", promptSource="system"), "note"),
        (user([{"type": "image", "source": {}}]), "note"),
        (user([]), "note"),
        (user("<command-name>/x</command-name>"), "command"),
        (user([RESULT]), "tool_result"),
        (user([RESULT], isMeta=True), "tool_result"),
        (user([{"type": "text", "text": "[Request interrupted by user for tool use]"}]), "interruption"),
        (user([RESULT, {"type": "text", "text": "[Request interrupted by user]"}]), "interruption"),
        (record({**ENVELOPE, "type": "user", "message": "error"}), "other"),
        (record({**ENVELOPE, "type": "user"}), "other"),
        (assistant("hi"), "assistant"),
        (assistant("hi", {"isApiErrorMessage": True}), "error"),
        (record({**ENVELOPE, "type": "system", "subtype": "api_error"}), "error"),
        (record({**ENVELOPE, "type": "system", "subtype": "turn_duration"}), "other"),
        (record({**ENVELOPE, "type": "progress", "data": {}}), "other"),
        (record({**ENVELOPE, "type": "attachment", "attachment": {"type": "file"}}), "other"),
        (record({**ENVELOPE, "type": "attachment", "attachment": 5}), "other"),
        (record({"type": "new in 2027", "sessionId": "s"}), "other"),
        (record({}), "other"),
    ],
)
def test_every_record_has_one_kind(found: Record, kind: str) -> None:
    assert found.kind == kind
    assert (found.raw is not None) == (kind == "other")


@pytest.mark.parametrize(
    ("attachment", "kind", "text", "title"),
    [
        ({"prompt": "also fix b"}, "prompt", "also fix b", Title("prompt", "also fix b")),
        ({"prompt": [{"type": "text", "text": "and c"}]}, "prompt", "and c", Title("prompt", "and c")),
        ({"prompt": "done", "origin": {"kind": "task-notification"}}, "note", "done", None),
        ({"prompt": "x", "isMeta": True}, "note", "x", None),
        ({"prompt": "<command-name>/c</command-name>"}, "command", "/c", Title("prompt", "/c")),
        ({}, "note", None, None),
    ],
)
def test_a_queued_command_is_a_prompt_without_a_message(
    attachment: dict[str, Any], kind: str, text: str | None, title: Title | None
) -> None:
    found = record({**ENVELOPE, "type": "attachment", "attachment": {"type": "queued_command", **attachment}})
    assert (found.kind, found.subtype, found.text, found.title) == (kind, "queued_command", text, title)
    assert found.message is None
    assert found.raw is None


def test_text_tools_and_thinking_of_one_message_are_told_apart() -> None:
    blocks: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": ""},
        {"type": "text", "text": "one"},
        {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}},
        {"type": "new in 2027"},
        {"type": "text", "text": "two"},
    ]
    assert assistant(blocks, stop_reason="tool_use").message == Message(
        "assistant", "one\ntwo", "m1", "claude", "tool_use", blocks, (ToolCall("t1", "Bash", {"command": "ls"}),)
    )


@pytest.mark.parametrize(
    ("block", "result", "anomalies"),
    [
        (RESULT, ToolResult("t1", True, "out"), ()),
        ({"type": "tool_result", "tool_use_id": "t1"}, ToolResult("t1", False, ""), ()),
        (
            {**RESULT, "content": [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]},
            ToolResult("t1", True, "a\nb"),
            (),
        ),
        ({**RESULT, "content": [{"type": "image"}]}, ToolResult("t1", True, ""), ()),
        ({**RESULT, "content": 5}, ToolResult("t1", True, ""), ("tool_result.content",)),
        ({**RESULT, "is_error": "yes"}, ToolResult("t1", False, "out"), ("tool_result.is_error",)),
        ({**RESULT, "tool_use_id": 5}, None, ("tool_result.tool_use_id",)),
    ],
)
def test_tool_results_are_read_field_by_field(
    block: dict[str, Any], result: ToolResult | None, anomalies: tuple[str, ...]
) -> None:
    found = user([block])
    assert found.message is not None
    assert found.message.tool_results == ((result,) if result else ())
    assert found.anomalies == anomalies


@pytest.mark.parametrize(
    ("content", "text", "blocks", "anomalies"),
    [
        ("plain", "plain", None, ()),
        (["bare"], "bare", [{"type": "text", "text": "bare"}], ("message.block",)),
        ([7, {"type": "text", "text": "x"}], "x", [{"type": "text", "text": "x"}], ("message.block",)),
        ([{"type": "text", "text": 7}], "", [{"type": "text", "text": 7}], ()),
        (None, "", None, ("message.content",)),
        ({"0": "h"}, "", None, ("message.content",)),
        ([{"type": "tool_use", "id": 5}], "", [{"type": "tool_use", "id": 5}], ("tool_use.id",)),
        ([{"type": "tool_use", "id": ""}], "", [{"type": "tool_use", "id": ""}], ()),
        ([{"type": "tool_use", "id": "t", "name": 5}], "", [{"type": "tool_use", "id": "t", "name": 5}],
         ("tool_use.name",)),
    ],
)  # fmt: skip
def test_content_of_any_shape_is_a_message(
    content: object, text: str, blocks: list[Any] | None, anomalies: tuple[str, ...]
) -> None:
    found = user(content)
    assert found.message is not None
    assert (found.message.content, found.message.blocks) == (text, blocks)
    assert found.anomalies == anomalies


@pytest.mark.parametrize(
    ("change", "anomaly"),
    [
        ({"uuid": 5}, "uuid"),
        ({"sessionId": ["s"]}, "sessionId"),
        ({"cwd": {}}, "cwd"),
        ({"isSidechain": "no"}, "isSidechain"),
        ({"isMeta": 0}, "isMeta"),
        ({"timestamp": 5}, "timestamp"),
        ({"timestamp": "then"}, "timestamp"),
        ({"timestamp": ""}, "timestamp"),  # passed for a time, and ended the server at this line at every start
        ({"leafUuid": 5}, "leafUuid"),
        ({"subtype": 5}, "subtype"),
    ],
)
def test_a_field_of_the_wrong_type_is_absent_and_noted(change: dict[str, Any], anomaly: str) -> None:
    found = user("hello", **change)
    assert found.anomalies == (anomaly,)
    assert found.message is not None


def test_a_message_is_read_field_by_field() -> None:
    found = assistant("x", id=5, model=["m"], stop_reason={}, role="user")
    assert found.message == Message("assistant", "x")
    assert found.anomalies == ("message.role", "message.id", "message.model", "message.stop_reason")


def test_null_is_simply_absent() -> None:
    assert user("hello", uuid=None, timestamp=None, isMeta=None, parentUuid=None).anomalies == ()


@pytest.mark.parametrize(
    ("found", "usage"),
    [
        (assistant("x"), (("m1", Usage(3, 20, 0, 900)),)),
        (assistant("x", id=None), (("line:u1", Usage(3, 20, 0, 900)),)),
        (
            record({**ENVELOPE, "uuid": None, "type": "assistant", "message": {"usage": COUNTS}}),
            ((None, Usage(3, 20, 0, 900)),),
        ),
        (assistant("x", model="<synthetic>"), ()),
        (assistant("x", usage=None), (("m1", NONE),)),
        (assistant("x", usage=5), (("m1", NONE),)),
        (assistant("x", usage=None, id=None), ()),
        (record({**ENVELOPE, "type": "assistant", "message": {}, "costUSD": 0.5}), (("line:u1", NONE),)),
        (user("x"), ()),
        (record({**ENVELOPE, "type": "assistant"}), ()),
    ],
)
def test_an_assistant_line_contributes_its_usage(found: Record, usage: object) -> None:
    assert tuple(pair[:2] for pair in found.usage) == usage
    assert ("usage" in found.anomalies) == (found == assistant("x", usage=5))


@pytest.mark.parametrize(
    ("data", "usage"),
    [
        ({"type": "agent_progress", "message": {"message": {"id": "m9", "usage": COUNTS}}}, True),
        ({"type": "agent_progress", "message": {"message": {"usage": COUNTS}}}, False),
        ({"type": "agent_progress", "message": {"message": {"id": "m9", "usage": 5}}}, False),
        ({"type": "agent_progress", "message": {"message": {"id": "m9", "usage": {}, "model": "<synthetic>"}}}, False),
        ({"type": "agent_progress", "message": {"message": "x"}}, False),
        ({"type": "agent_progress", "message": 5}, False),
        ({"type": "bash_progress", "message": {"message": {"id": "m9", "usage": COUNTS}}}, False),
        (5, False),
    ],
)
def test_a_sub_agents_usage_hides_in_progress_lines(data: object, usage: bool) -> None:
    found = record({**ENVELOPE, "type": "progress", "data": data})
    assert [pair[:2] for pair in found.usage] == ([("m9", Usage(3, 20, 0, 900))] if usage else [])


@pytest.mark.parametrize(
    ("found", "title"),
    [
        (user("do\nthis"), Title("prompt", "do this")),
        (user("<command-name>/init</command-name>"), Title("prompt", "/init")),
        (user("Caveat: x"), None),
        (record({"type": "summary", "summary": "S", "leafUuid": "l"}), Title("summary", "S", "l")),
        (record({"type": "custom-title", "customTitle": "C", "sessionId": "s"}), Title("custom-title", "C")),
        (assistant("x"), None),
    ],
)
def test_titles_are_hinted(found: Record, title: Title | None) -> None:
    assert found.title == title


def test_a_command_is_shown_as_typed_and_its_message_stays() -> None:
    found = user("<command-name>/x</command-name><command-args>a b</command-args>")
    assert found.text == "/x a b"
    assert found.message is not None
    assert found.message.content.startswith("<command-name>")


def test_account_ids_of_a_bridge_session_go_nowhere() -> None:
    found = record({"type": "bridge-session", "sessionId": "s", "ownerAccountUuid": "secret"})
    assert found.kind == "other"
    assert found.raw is None
    assert found.text is None


def test_subtypes_come_from_where_the_type_keeps_them() -> None:
    assert record({"type": "system", "subtype": "turn_duration"}).subtype == "turn_duration"
    assert record({"type": "progress", "data": {"type": "bash_progress"}}).subtype == "bash_progress"
    assert record({"type": "attachment", "attachment": {"type": "file"}}).subtype == "file"
    assert record({"type": "progress", "data": {"type": 5}}).anomalies == ("subtype",)


@pytest.mark.parametrize(
    ("change", "exhausted"),
    [
        ({"retryAttempt": 10, "maxRetries": 10}, True),
        ({"retryAttempt": 1, "maxRetries": 10}, False),
        ({"retryAttempt": "10", "maxRetries": 10}, False),
        ({}, False),
    ],
)
def test_the_last_retry_is_told_from_the_first(change: dict[str, Any], exhausted: bool) -> None:
    assert record({"type": "system", "subtype": "api_error", **change}).exhausted is exhausted


@pytest.mark.parametrize(
    ("found", "recognised"),
    [
        ({"type": "user", "sessionId": "s"}, True),
        ({"type": "ai-title", "sessionId": "s"}, True),
        ({"type": "workflow-started", "sessionId": "s"}, True),
        ({"type": "summary", "leafUuid": "l"}, True),
        ({"type": "file-history-snapshot", "messageId": "m", "snapshot": {}}, True),
        ({"type": "user"}, False),
        ({"type": "user", "sessionId": ""}, False),
        ({"type": "summary"}, False),
        ({"type": "file-history-snapshot", "messageId": "m"}, False),
        ({"type": "session_meta", "payload": {}}, False),
        ({"type": "session_meta", "sessionId": "s"}, False),
        ({"type": "started", "key": "k", "agentId": "a"}, False),
        ({"sessionId": "s"}, False),
    ],
)
def test_some_lines_prove_whose_file_it_is(found: dict[str, Any], recognised: bool) -> None:
    assert record(found).recognised is recognised
