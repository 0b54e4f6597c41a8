"""Where-filters: each comparison, each bound, and all of it against an evaluator that follows the words."""

import gc
from typing import Any

import pytest
from hypothesis import given, settings

from observatory.core.errors import RequestError
from observatory.core.facts import facts, facts_of
from observatory.core.where import MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_VALUES, parse_where
from tests.core.filters import EVENTS, TREES, holds, payload

Tree = dict[str, Any]
ROLE: Tree = {"key": "role", "cmp": "eq", "val": "user"}
MESSAGE = {
    "type": "message_added",
    "data": {
        "conversation_id": "c1", "project_id": "p1", "session_id": "s1",
        "record": {"type": "user", "kind": "tool_result", "is_sidechain": True, "is_meta": False},
        "message": {
            "role": "user",
            "tool_calls": [{"tool_name": "Bash"}, {"tool_name": "Read"}],
            "tool_results": [{"is_error": False}, {"is_error": True}],
        },
    },
}  # fmt: skip


def leaf(key: str, cmp: str, val: Any = None) -> Tree:
    name = "vals" if cmp in ("in", "nin") else "val"
    return {"key": key, "cmp": cmp} if val is None else {"key": key, "cmp": cmp, name: val}


def accepts(tree: Tree, event: Tree = MESSAGE) -> bool:
    return parse_where(tree).accepts(facts(event["type"], event["data"]))


def problem(tree: object) -> str:
    with pytest.raises(RequestError) as caught:
        parse_where(tree)
    assert caught.value.code == "INVALID_FILTERS"
    assert "\n" not in caught.value.message
    return caught.value.message


# -- what it says ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "cmp", "val", "expected"),
    [
        ("kind", "eq", "tool_result", True),
        ("kind", "eq", "tool", False),
        ("kind", "eq", "Tool_result", False),
        ("kind", "neq", "tool_result", False),
        ("kind", "neq", "prompt", True),
        ("kind", "in", ["prompt", "tool_result"], True),
        ("kind", "in", ["prompt", "note"], False),
        ("kind", "nin", ["prompt", "tool_result"], False),
        ("kind", "nin", ["prompt"], True),
        ("kind", "prefix", "tool", True),
        ("kind", "prefix", "", True),
        ("kind", "prefix", "result", False),
        ("kind", "glob", "tool_*", True),
        ("kind", "glob", "tool", False),
        ("kind", "glob", "tool_result", True),
        ("kind", "exists", None, True),
        # missing
        ("model", "eq", "", False),
        ("model", "neq", "x", True),
        ("model", "in", ["x"], False),
        ("model", "nin", ["x"], True),
        ("model", "prefix", "", False),
        ("model", "glob", "**", False),
        ("model", "exists", None, False),
        # a set: one member is enough
        ("tool", "eq", "Bash", True),
        ("tool", "eq", "Edit", False),
        ("tool", "neq", "Bash", False),
        ("tool", "neq", "Edit", True),
        ("tool", "in", ["Edit", "Read"], True),
        ("tool", "nin", ["Edit", "Read"], False),
        ("tool", "nin", ["Edit"], True),
        ("tool", "prefix", "Re", True),
        ("tool", "prefix", "e", False),
        ("tool", "glob", "B?sh", True),
        ("tool", "glob", "B?s", False),
        ("tool", "exists", None, True),
        # booleans
        ("is_sidechain", "eq", True, True),
        ("is_sidechain", "eq", False, False),
        ("is_meta", "neq", False, False),
        ("is_meta", "neq", True, True),
        ("is_error", "eq", True, True),
        ("is_error", "exists", None, True),
    ],
)  # fmt: skip
def test_each_comparison(key: str, cmp: str, val: Any, expected: bool) -> None:
    tree = leaf(key, cmp, val)
    assert accepts(tree) is expected
    assert holds(tree, MESSAGE) is expected


@pytest.mark.parametrize("cmp", ["eq", "neq", "in", "nin", "prefix", "glob", "exists"])
def test_a_set_that_is_missing_makes_positive_comparisons_false(cmp: str) -> None:
    tree = leaf("tool", cmp, None if cmp == "exists" else ["x"] if cmp in ("in", "nin") else "x")
    assert accepts(tree, {"type": "x", "data": {}}) is (cmp in ("neq", "nin"))


def test_a_boolean_that_is_missing_is_neither() -> None:
    other = {"type": "x", "data": {}}
    assert not accepts(leaf("is_error", "eq", False), other)
    assert not accepts(leaf("is_error", "eq", True), other)
    assert accepts(leaf("is_error", "neq", True), other)
    assert not accepts(leaf("is_error", "exists"), other)


def test_and_or_not() -> None:
    yes, no = leaf("kind", "exists"), leaf("model", "exists")
    assert accepts({"op": "and", "nodes": [yes, yes]})
    assert not accepts({"op": "and", "nodes": [yes, no]})
    assert accepts({"op": "or", "nodes": [no, yes]})
    assert not accepts({"op": "or", "nodes": [no, leaf("agent_id", "exists")]})
    assert accepts({"op": "not", "node": no})
    assert not accepts({"op": "not", "node": {"op": "not", "node": no}})


@settings(max_examples=1000)
@given(TREES, EVENTS)
def test_it_agrees_with_an_evaluator_that_follows_the_words(tree: Tree, event: Tree) -> None:
    assert parse_where(tree).accepts(facts_of(payload(event))) is holds(tree, event)


# -- what it shares ----------------------------------------------------------------------------------------------------


def test_what_was_written_is_kept_as_it_was() -> None:
    assert parse_where({"cmp": "eq", "val": "x", "key": "role"}).tree == b'{"cmp":"eq","val":"x","key":"role"}'


def both(*nodes: Tree, op: str = "and") -> Tree:
    return {"op": op, "nodes": list(nodes)}


A, B, C = (leaf("role", "eq", name) for name in "abc")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (A, {"val": "a", "cmp": "eq", "key": "role"}),
        (both(A, B), both(B, A, B)),
        (both(A, both(B, C)), both(C, B, A)),
        (both(A, both(B, C, op="or"), op="or"), both(A, B, C, op="or")),
        (both(A), A),
        (leaf("role", "neq", "a"), {"op": "not", "node": A}),
        (leaf("role", "nin", ["b", "a"]), {"op": "not", "node": leaf("role", "in", ["a", "b", "b"])}),
        (A, {"op": "not", "node": {"op": "not", "node": A}}),
        (A, leaf("role", "in", ["a"])),
        (A, leaf("role", "glob", "a")),
    ],
)
def test_filters_that_say_the_same_are_one_function(one: Tree, other: Tree) -> None:
    first, second = parse_where(one), parse_where(other)
    assert first.accepts is second.accepts


def test_filters_that_differ_are_two() -> None:
    trees = [A, B, both(A, B), both(A, B, op="or"), {"op": "not", "node": A}, leaf("role", "prefix", "a"),
             leaf("kind", "eq", "a"), leaf("is_meta", "eq", True), leaf("is_meta", "eq", False),
             leaf("is_error", "exists"), leaf("role", "glob", "a*")]  # fmt: skip
    found = [parse_where(tree) for tree in trees]
    assert len({where.accepts for where in found}) == len(trees)


def test_ten_thousand_equal_subscriptions_share_one_filter() -> None:
    found = [parse_where(both(A, leaf("path", "glob", "**/x*"))) for _ in range(10_000)]
    assert len(set(found)) == 1


def test_a_filter_that_nobody_holds_any_more_is_forgotten() -> None:
    from observatory.core import where

    gc.collect()
    before = len(where._compiled), len(where._written)
    held = [parse_where(leaf("path", "eq", f"/{n}")) for n in range(100)]
    assert (len(where._compiled), len(where._written)) == (before[0] + 100, before[1] + 100)
    del held
    gc.collect()
    assert (len(where._compiled), len(where._written)) == before


# -- what it refuses ---------------------------------------------------------------------------------------------------


def nested(depth: int) -> Tree:
    tree = ROLE
    for _ in range(depth - 1):
        tree = {"op": "not", "node": tree}
    return tree


@pytest.mark.parametrize(
    "tree",
    [
        nested(MAX_DEPTH),
        both(*[ROLE] * (MAX_NODES - 1)),
        leaf("role", "in", ["x"] * MAX_VALUES),
        leaf("role", "eq", "é" * (MAX_BYTES // 2)),
        leaf("role", "glob", "?*" * 4 + "x" * 200),
        leaf("role", "glob", "**" * 8),
    ],
)
def test_up_to_its_bounds_a_filter_is_fine(tree: Tree) -> None:
    assert parse_where(tree)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([], "where must be an object or null"),
        ("role", "where must be an object or null"),
        (False, "where must be an object or null"),
        ({}, "where.key must be one of agent_id, conversation_id, is_error, is_meta, is_sidechain, kind, model, path, "
             "project_id, record_type, role, session_id, status, tool, type"),
        (nested(MAX_DEPTH + 1), f"where{'.node' * MAX_DEPTH} is nested more than {MAX_DEPTH} deep"),
        (both(*[ROLE] * MAX_NODES), f"where has more than {MAX_NODES} nodes"),
        ({"op": "xor", "nodes": [ROLE]}, "where.op must be and, or, not"),
        ({"op": ["and"], "nodes": [ROLE]}, "where.op must be and, or, not"),
        ({"op": "and"}, "where.nodes must be a list of one or more nodes"),
        ({"op": "or", "nodes": []}, "where.nodes must be a list of one or more nodes"),
        ({"op": "and", "nodes": ROLE}, "where.nodes must be a list of one or more nodes"),
        ({"op": "not"}, "where.node must be an object"),
        ({"op": "not", "node": [ROLE]}, "where.node must be an object"),
        ({"op": "not", "nodes": [ROLE]}, "where must have only op, node here, not 'nodes'"),
        ({"op": "and", "nodes": [ROLE], "node": ROLE}, "where must have only op, nodes here, not 'node'"),
        (both(ROLE, {"op": "not", "node": leaf("role", "eq", 7)}), "where.nodes[1].node.val must be a string"),
        ({"op": "and", "nodes": [7]}, "where.nodes[0] must be an object"),
        (leaf("weather", "eq", "x"), None),
        ({"key": ["role"], "cmp": "exists"}, None),
        (leaf("role", "like", "x"), "where.cmp must be one of eq, neq, in, nin, prefix, glob, exists for role"),
        ({"key": "role", "cmp": {}}, "where.cmp must be one of eq, neq, in, nin, prefix, glob, exists for role"),
        (leaf("is_meta", "in", [True]), "where.cmp must be one of eq, neq, exists for is_meta"),
        (leaf("is_meta", "glob", "*"), "where.cmp must be one of eq, neq, exists for is_meta"),
        (leaf("is_meta", "eq", "true"), "where.val must be true or false for is_meta"),
        (leaf("is_meta", "eq", 1), "where.val must be true or false for is_meta"),
        (leaf("role", "eq"), "where.val must be a string"),
        (leaf("role", "eq", True), "where.val must be a string"),
        (leaf("role", "eq", "é" * (MAX_BYTES // 2) + "x"), f"where.val is longer than {MAX_BYTES} bytes"),
        (leaf("role", "in", "x"), f"where.vals must be a list of 1 to {MAX_VALUES} strings"),
        (leaf("role", "in", []), f"where.vals must be a list of 1 to {MAX_VALUES} strings"),
        (leaf("role", "nin", ["x"] * (MAX_VALUES + 1)), f"where.vals must be a list of 1 to {MAX_VALUES} strings"),
        (leaf("role", "in", ["x", 7]), "where.vals[1] must be a string"),
        (leaf("role", "in", ["x", "x" * 257]), f"where.vals[1] is longer than {MAX_BYTES} bytes"),
        ({"key": "role", "cmp": "in", "val": "x"}, "where must have only key, cmp, vals here, not 'val'"),
        ({"key": "role", "cmp": "exists", "val": "x"}, "where must have only key, cmp here, not 'val'"),
        (ROLE | {"not": True}, "where must have only key, cmp, val here, not 'not'"),
        (leaf("role", "glob", "*a" * 9), "where.val has more than 8 wildcards"),
        (leaf("role", "glob", "?" * 9), "where.val has more than 8 wildcards"),
        (leaf("role", "eq", "\ud800"), "where must be JSON, in valid Unicode, and not nested so deep"),
        (nested(1000), "where must be JSON, in valid Unicode, and not nested so deep"),
    ],
)  # fmt: skip
def test_whatever_is_wrong_is_said_in_one_line_with_its_place(tree: object, message: str | None) -> None:
    found = problem(tree)
    assert message is None or found == message


def test_a_refusal_shows_only_the_beginning_of_a_long_name() -> None:
    assert len(problem(ROLE | {"x" * 10_000: 1})) < 120
