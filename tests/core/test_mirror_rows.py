"""Rows of the copy: what a record becomes there, and that whatever is in it can be stored."""

from typing import Any

import orjson
import pytest

from observatory.core.batch import Flag, record_key
from observatory.core.blocks import ToolCall, ToolResult
from observatory.core.conversation import Conversation
from observatory.core.lines import Line
from observatory.core.mirror_rows import (
    KEYS,
    TEXT_CHARS,
    Owner,
    call_row,
    conversation_row,
    is_wanted,
    message_row,
    project_row,
    without_images,
)
from observatory.core.project import NEVER, Project
from observatory.core.redact import redact
from observatory.core.tools import ToolCallRow
from observatory.core.transcript import Record, parse

OWNER = Owner("m", "c", "p")
KEY = record_key(7, 2, 100)
STAMP = "2026-11-25T10:00:00.000Z"


def record(**fields: Any) -> Record:
    body = orjson.dumps({"uuid": "u", "sessionId": "s", "timestamp": STAMP, **fields})
    (found,) = parse(Line(100, len(body), body))
    assert isinstance(found, Record)
    return found


def assistant(*blocks: dict[str, Any], **message: Any) -> Record:
    usage = {"input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 6}
    said = {"role": "assistant", "id": "m1", "model": "opus", "content": [*blocks], "usage": usage, **message}
    return record(type="assistant", message=said)


def test_an_answer_is_a_row_with_its_place_its_texts_and_its_tokens() -> None:
    blocks = {"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}
    row = message_row(OWNER, KEY, 9, Flag.COPY, assistant(*blocks))
    expected = {
        "machine_id": "m", "source_id": 7, "generation": 2, "byte_offset": 100, "conversation_id": "c",
        "project_id": "p", "line": 9, "kind": "assistant", "role": "assistant", "uuid": "u", "message_id": "m1",
        "model": "opus", "content": "yes", "thinking": "hm", "timestamp": STAMP, "token_count": 7, "input_tokens": 3,
        "output_tokens": 4, "cache_creation_tokens": 6, "cache_read_tokens": 5, "is_copy": True, "superseded": False,
        "altered": False, "truncated": False, "raw": None,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert {*KEYS["messages"]} <= row.keys()


def test_a_line_of_calls_only_has_no_content() -> None:
    row = message_row(OWNER, KEY, 0, Flag.SUPERSEDED, assistant({"type": "tool_use", "id": "t", "name": "Bash"}))
    assert (row["content"], row["thinking"], row["superseded"]) == ("", None, True)


@pytest.mark.parametrize(
    ("fields", "role", "content"),
    [
        ({"type": "system", "subtype": "api_error", "content": "overloaded"}, "system", "overloaded"),
        ({"type": "user", "message": {"role": "user", "content": "do"}}, "user", "do"),
    ],
)
def test_who_speaks(fields: dict[str, Any], role: str, content: str) -> None:
    row = message_row(OWNER, KEY, 0, 0, record(**fields))
    assert (row["role"], row["content"], row["token_count"]) == (role, content, None)


def test_what_is_wanted() -> None:
    said, mode = assistant(), record(type="permission-mode", mode="plan")
    assert is_wanted(said, 0, all_kinds=False)
    assert not is_wanted(said, Flag.KNOWN, all_kinds=True)
    assert not is_wanted(mode, 0, all_kinds=False)
    assert is_wanted(mode, 0, all_kinds=True)


def test_a_nul_is_shown_and_marked_wherever_it_is() -> None:
    row = message_row(OWNER, KEY, 0, 0, record(type="user", message={"role": "user", "content": "a\0b"}))
    assert (row["content"], row["altered"]) == ("a\u2400b", True)
    call = call_row(
        OWNER, ToolCallRow("c", "t", "Bash", "7-2-100"), KEY, ToolCall("t", "Bash", {"k\0": ["\0", 1, None]}), None
    )
    assert (call["input"], call["altered"]) == ({"k\u2400": ["\u2400", 1, None]}, True)
    told = call_row(OWNER, ToolCallRow("c", "t", "Bash", "7-2-100"), KEY, ToolCall("t", "Bash", {"k": "\\u0000"}), None)
    assert (told["input"], told["altered"]) == ({"k": "\\u0000"}, False)


def test_what_is_too_long_is_cut_and_marked() -> None:
    long = "x" * (TEXT_CHARS + 1)
    call = ToolCallRow("c", "t", "Bash", "7-2-100", STAMP, "success", STAMP, 0, "7-2-200")
    row = call_row(OWNER, call, KEY, ToolCall("t", "Bash", {"k": long}), ToolResult("t", False, long))
    assert (len(row["input"]), len(row["output"]), row["truncated"]) == (TEXT_CHARS, TEXT_CHARS, True)
    assert row["input"].startswith('{"k":"xxx')
    assert row["status"] == "success"


def test_pictures_stay_here() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    value = {"content": [{"type": "image", "source": source}, "text"]}
    kept = {"content": [{"type": "image", "source": {**source, "data": ""}}, "text"]}
    assert without_images(value) == kept
    assert message_row(OWNER, KEY, 0, 0, assistant(), value)["raw"] == kept


def test_conversations_and_projects_leave_without_keys() -> None:
    key = "ghp_" + "a" * 36
    row = Conversation("c", "p", "s", "/f", STAMP, STAMP, title=f"use {key}", cwd="/w\udc80")
    assert conversation_row("m", row, None)["title"] == f"use {key}"
    left = conversation_row("m", row, redact)
    assert (left["title"], left["cwd"], left["git_branch"]) == ("use [redacted:github]", "/w?", None)
    project = Project("p", "w", "/w\0", "-w", True, STAMP, STAMP, NEVER)
    told = project_row("m", project, redact)
    assert (told["path"], told["altered"], told["last_activity"]) == ("/w\u2400", True, STAMP)
    assert project_row("m", Project("p", "w", "/w", "-w", True, STAMP, STAMP, STAMP), None)["last_activity"] == STAMP
