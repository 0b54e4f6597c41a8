from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.search_text import COLUMNS, Document, Passage, Role, document, passages_of

Line = dict[str, Any]


def line(**fields: Any) -> bytes:
    return orjson.dumps(fields)


def said(type_: str, content: object, **message: object) -> bytes:
    return line(type=type_, message={"content": content, **message})


def texts(body: bytes) -> dict[str, str]:
    found = document(body)
    assert found is not None
    return {name: text for name, text in zip(COLUMNS, found.texts, strict=True) if text}


def test_prompts_and_answers_are_what_was_said() -> None:
    assert texts(said("user", "Why?")) == {"said": "Why?"}
    assert texts(said("assistant", [{"type": "text", "text": "So."}, "And so."])) == {"said": "So.\nAnd so."}


def test_each_kind_of_block_has_its_column() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "tool_use", "id": "t1", "name": "Edit", "input": {"path": "a/b.py", "edits": [{"new": "x"}, 3]}},
        {"type": "image", "source": {"data": "AAAA"}},
        7,
    ]
    assert texts(said("assistant", blocks)) == {"thinking": "hm", "input": "Edit\na/b.py\nx"}
    result = [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "done"}]}]
    assert texts(said("user", result)) == {"result": "done"}


def test_who_speaks_and_with_what_is_told_beside_the_text() -> None:
    use = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}
    found = document(said("assistant", [{"type": "text", "text": "I look."}, use], model="claude-x"))
    assert found is not None
    assert (found.role, found.tool, found.model) == (Role.ASSISTANT | Role.TOOL_USE, "Bash", "claude-x")
    found = document(said("user", [{"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": "no"}]))
    assert found is not None
    assert (found.role, found.answers, found.error) == (Role.TOOL_RESULT, "t1", True)


def test_errors_of_the_api_are_errors() -> None:
    for body in (
        line(type="assistant", isApiErrorMessage=True, message={"content": "overloaded"}),
        line(type="system", subtype="api_error", content="overloaded"),
    ):
        found = document(body)
        assert found is not None
        assert found.error


def test_of_other_records_it_is_the_readable_text() -> None:
    assert texts(line(type="summary", summary="Cart totals")) == {"other": "Cart totals"}
    assert document(line(type="file-history-snapshot", snapshot={})) is None
    assert document(line(type=3, summary="x")) is None


def test_what_is_no_record_is_its_text() -> None:
    assert texts(b"{broken \xff line") == {"other": "{broken \ufffd line"}
    assert texts(b'"text"') == {"other": "text"}
    assert document(b"[1]") is None
    assert document(b"") is None


def test_what_has_the_wrong_shape_says_nothing() -> None:
    wrong: list[object] = [
        None,
        3,
        {},
        [{"type": "text", "text": 3}],
        [{"type": "thinking"}],
        [{"type": "tool_result"}],
    ]
    for content in wrong:
        assert document(said("user", content)) is None
    assert document(line(type="user", message="x")) is None
    assert document(said("user", [{"type": "tool_use", "id": 1, "name": 2, "input": None}])) is None


def test_texts_without_spaces_are_spread() -> None:
    assert texts(said("user", "東京都"))["said"].split() == ["東京", "京都", "都"]


def test_a_snippet_is_cut_from_the_text_itself() -> None:
    assert passages_of(said("user", "東京都")) == [Passage(Role.USER, "東京都")]


@given(
    st.recursive(
        st.none() | st.text() | st.integers(0, 9), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_whatever_a_message_holds_is_no_error(content: object) -> None:
    for body in (said("user", content), line(type="assistant", message=content), orjson.dumps(content)):
        assert document(body) is None or isinstance(document(body), Document)
