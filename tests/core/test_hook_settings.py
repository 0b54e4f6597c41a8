"""Our hooks in Claude Code's settings."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.errors import UsageError
from observatory.core.hook_settings import EVENTS, events_of, installed, is_ours, removed, settings_of, written

COMMAND = "/opt/a/bin/observatory-hook --data-dir /d"
entries = st.fixed_dictionaries({"type": st.just("command"), "command": st.sampled_from(["say done", "x 'y", ""])})
groups = st.fixed_dictionaries({"hooks": st.lists(entries, min_size=1)}, optional={"matcher": st.text(max_size=3)})
hooks = st.dictionaries(st.sampled_from([*EVENTS, "PreToolUse"]), st.lists(groups, min_size=1), min_size=1)
others = st.dictionaries(st.sampled_from(["model", "env", "x"]), st.one_of(st.text(), st.integers(), st.none()))


@given(others, st.one_of(st.none(), hooks))
def test_taking_ours_away_leaves_what_was_there(other: dict[str, Any], there: dict[str, Any] | None) -> None:
    before = other if there is None else {**other, "hooks": there}
    with_ours = installed(before, COMMAND)
    assert set(events_of(with_ours)) == set(EVENTS)
    assert installed(with_ours, COMMAND) == with_ours
    assert removed(with_ours) == before
    assert removed(before) == before


def test_an_older_entry_of_ours_is_replaced() -> None:
    older = installed({}, "/old/observatory-hook --data-dir /d")
    assert installed(older, COMMAND) == installed({}, COMMAND)


def test_ours_beside_another_in_one_group_goes_alone() -> None:
    other = {"type": "command", "command": "say done"}
    mixed = {"hooks": {"Stop": [{"matcher": "", "hooks": [other, {"type": "command", "command": COMMAND}]}]}}
    assert removed(mixed) == {"hooks": {"Stop": [{"matcher": "", "hooks": [other]}]}}


@pytest.mark.parametrize(
    ("entry", "ours"),
    [
        ({"command": COMMAND}, True),
        ({"command": "'C:\\x\\observatory-hook'"}, True),
        ({"command": "cat observatory-hook"}, False),
        ({"command": "unclosed 'quote"}, False),
        ({"command": ""}, False),
        ({"command": 5}, False),
        ("text", False),
    ],
)
def test_ours_are_told_by_the_program_that_they_run(entry: object, ours: bool) -> None:
    assert is_ours(entry) is ours


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"hooks": []}', '{"hooks": {"Stop": {}}}', '{"hooks": {"Stop": [1]}}',
             '{"hooks": {"Stop": [{"hooks": 1}]}}'],
)  # fmt: skip
def test_settings_that_claude_code_would_not_read_are_left_alone(text: str) -> None:
    with pytest.raises(UsageError, match=r"settings\.json"):
        settings_of(text, "settings.json")


def test_nothing_is_no_settings() -> None:
    assert settings_of(" \n", "f") == {}
    good = '{"hooks": {"Stop": [{"hooks": []}, {}], "PreToolUse": []}}'
    assert settings_of(good, "f") == json.loads(good)
    assert removed({"hooks": 5}) == {"hooks": 5}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '{\n  "a": "ü"\n}\n'),
        ('{\n\t"a": 1\n}', '{\n\t"a": "ü"\n}'),
        ('{\r\n    "a": 1\r\n}\r\n', '{\r\n    "a": "ü"\r\n}\r\n'),
        ('{"a": 1}\n', '{"a": "ü"}\n'),
        ('{"a": "\\u00fc"}', '{"a": "\\u00fc"}'),
    ],
)
def test_the_file_keeps_its_looks(before: str, after: str) -> None:
    assert written({"a": "ü"}, before) == after
    assert json.loads(after) == {"a": "ü"}
