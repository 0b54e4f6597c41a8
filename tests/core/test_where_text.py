"""`--where`, as people write it."""

from typing import Any

import pytest

from observatory.core.errors import UsageError
from observatory.core.where_text import where_of, with_names

Tree = dict[str, Any]
ROLE: Tree = {"key": "role", "cmp": "eq", "val": "user"}
NAMES: Tree = {"key": "type", "cmp": "eq", "val": "project_update"}


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("role=user", ROLE),
        (" role = user ", ROLE),
        ("role!=user", {"key": "role", "cmp": "neq", "val": "user"}),
        ("model=claude-*", {"key": "model", "cmp": "glob", "val": "claude-*"}),
        ("model!=claude-*", {"op": "not", "node": {"key": "model", "cmp": "glob", "val": "claude-*"}}),
        ("path=**/a=b", {"key": "path", "cmp": "glob", "val": "**/a=b"}),
        ("kind=what?", {"key": "kind", "cmp": "eq", "val": "what?"}),
        ("agent_id=", {"key": "agent_id", "cmp": "eq", "val": ""}),
        ("is_error=true", {"key": "is_error", "cmp": "eq", "val": True}),
        ("is_meta!=false", {"key": "is_meta", "cmp": "neq", "val": False}),
        (' {"key":"role","cmp":"eq","val":"user"}', ROLE),
    ],
)
def test_each_form(text: str, tree: Tree) -> None:
    assert where_of([text]) == tree


def test_none_is_no_filter_and_several_must_all_hold() -> None:
    assert where_of([]) is None
    tool = {"key": "tool", "cmp": "eq", "val": "Bash"}
    assert where_of(["role=user", "tool=Bash"]) == {"op": "and", "nodes": [ROLE, tool]}


@pytest.mark.parametrize(
    ("texts", "line"),
    [
        (["role"], "--where 'role' is neither JSON nor KEY=VALUE or KEY!=VALUE"),
        ([""], "--where '' is neither JSON nor KEY=VALUE or KEY!=VALUE"),
        (["weather=rain"], "--where 'weather=rain': there is no key 'weather'; keys are agent_id, "),
        (["is_error=yes"], "--where 'is_error=yes': where.val must be true or false for is_error"),
        (["is_error=*"], "--where 'is_error=*': where.val must be true or false for is_error"),
        (["path=" + "*/" * 9], "where.val has more than 8 wildcards"),
        (["role=" + "x" * 300], "…': where.val is longer than 256 bytes"),
        (["role=\udcff"], "where must be JSON, in valid Unicode"),
        (['{"key":'], """--where '{"key":' is no JSON: """),
        (['{"key":"role"}'], """: where.cmp must be one of eq, neq, """),
        (["role=user"] * 64, "all --where together: where has more than 64 nodes"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(texts: list[str], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        where_of(texts)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_names_of_projects_are_let_through_where_there_is_room() -> None:
    assert with_names(None) is None
    assert with_names(ROLE) == {"op": "or", "nodes": [NAMES, ROLE]}
    deep = ROLE
    for _ in range(7):
        deep = {"op": "not", "node": deep}
    assert with_names(deep) is deep
