"""Titles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.titles import Title, named_by, one_line, title


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("fix the test", "fix the test"),
        ("  two\n\n lines\t here ", "two lines here"),
        ("a\x1b[31mred\x07", "a[31mred"),
        ("a \x07 b", "a b"),
        ("x\u202eevil", "xevil"),
        ("été 日本", "été 日本"),
        ("w " * 300, ("w " * 60).rstrip()),
        ("a" + " " * 1000 + "b", "a b"),
    ],
)
def test_a_title_is_one_clean_line(text: str, line: str) -> None:
    assert one_line(text) == line


@given(st.text())
def test_any_title_is_short_and_printable(text: str) -> None:
    line = one_line(text)
    assert len(line) <= 120
    assert "\n" not in line
    assert "\x1b" not in line
    assert line == line.strip()


def test_nothing_readable_is_no_title() -> None:
    assert title("prompt", " \n") is None
    assert title("prompt", None) is None
    assert title("ai-title", ["x"]) is None


@pytest.mark.parametrize(
    ("kind", "found", "expected"),
    [
        ("summary", {"summary": "A name"}, Title("summary", "A name", "leaf")),
        ("ai-title", {"aiTitle": "A name"}, Title("ai-title", "A name")),
        ("custom-title", {"customTitle": "A name"}, Title("custom-title", "A name")),
        ("agent-name", {"agentName": "A name"}, Title("agent-name", "A name")),
        ("custom-title", {"customTitle": ""}, None),
        ("mode", {"mode": "plan"}, None),
    ],
)
def test_some_types_name_a_conversation(kind: str, found: dict[str, object], expected: Title | None) -> None:
    assert named_by(kind, found, "leaf") == expected
