"""Spilled outputs: names, places, and redaction of plain text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.identity import locate
from observatory.core.lines import Line
from observatory.core.redact import redact
from observatory.core.spilled import CHUNK, is_spilled, named_in, redacted, session_folder
from observatory.core.transcript import Record, parse

ROOT = "/home/u/.claude/projects"
SESSION = f"{ROOT}/-w/5e1f"


def record(**fields: object) -> Record:
    data = json.dumps(fields).encode()
    (value,) = parse(Line(0, len(data), data))
    assert isinstance(value, Record)
    return value


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        (f"{SESSION}.jsonl", SESSION),
        (f"{SESSION}/subagents/agent-a1.jsonl", SESSION),
        (f"{SESSION}/subagents/workflows/r1/agent-a1.jsonl", SESSION),
        (f"{SESSION}/subagents/workflows/r1/journal.jsonl", SESSION),
        (f"{SESSION}/subagents/x/subagents/agent-a1.jsonl", SESSION),
        (f"{ROOT}/-w/agent-a1.jsonl", None),  # the old flat layout has none
        (f"{ROOT}/subagents/agent-a1.jsonl", None),  # no session above it
    ],
)
def test_a_session_s_folder_lies_beside_its_main_file(path: str, folder: str | None) -> None:
    assert session_folder(path, locate(path, ROOT)) == folder


def test_a_relative_path_without_a_session_has_no_folder() -> None:
    assert session_folder("subagents/agent-a1.jsonl", locate(f"{SESSION}/subagents/agent-a1.jsonl", ROOT)) is None


@pytest.mark.parametrize(("name", "whether"), [
    ("toolu_1.txt", True), ("mcp-x-1.json", True), ("größe 1.txt", True), ("a.png", False), (".txt", False),
    ("a/b.txt", False), ("a\0.txt", False), ("..", False), ("a\n.txt", False), ("a\x1b[2J.txt", False),
    ("x" * 250 + ".txt", False), ("a\udcff.txt", False),
])  # fmt: skip
def test_only_text_and_json_files_with_a_plain_name_are_spilled_outputs(name: str, whether: bool) -> None:
    assert is_spilled(name) is whether


def test_a_record_names_the_paths_in_its_results() -> None:
    told = "<persisted-output>\nOutput too large. Full output saved to: /x/tool-results/t1.txt\n\nPreview:\n…"
    blocks = [{"type": "tool_result", "tool_use_id": "t1", "content": told}]
    assert named_in(record(type="user", message={"role": "user", "content": blocks})) == ["/x/tool-results/t1.txt"]
    assert named_in(record(type="user", message={"role": "user", "content": told})) == []
    assert named_in(record(type="summary", summary=told)) == []


KEY = "-----BEGIN PRIVATE KEY-----\n" + "A1b2C3d4" * 8 + "\n" + "Zz" * 20 + "\r\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize("around", ["", "\n", "text\n", "\\n \\\\\\\\\\\\\\\\\\n\n"])
def test_a_private_key_is_found_over_its_line_ends(around: str) -> None:
    found = redacted(f"{around}{KEY}{around}".encode(), redact).decode()
    assert found == f"{around}[redacted:private-key]{around}"


def test_a_token_is_found_in_a_long_text() -> None:
    token = "ghp_" + "a1" * 18
    line = "x" * 99 + "\n"
    text = line * (CHUNK // 50) + token + "\n" + line * 10
    assert redacted(text.encode(), redact).decode() == text.replace(token, "[redacted:github]")


@given(st.text("PRIVATE KEY\\n\r\n-", max_size=200))
def test_a_text_without_keys_stays_as_it_is(text: str) -> None:
    assert redacted(text.encode(), lambda found: found) == text.encode()
