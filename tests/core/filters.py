"""A where-filter worked out by the words of the protocol, on the event as it is on the wire; and random ones."""

from typing import Any

import orjson
from hypothesis import strategies as st

from tests.core.test_globs import naive as glob_matches

CONVERSATION = ("conversation_started", "conversation_update")
STRINGS = ("type", "project_id", "conversation_id", "session_id", "record_type", "kind", "role", "model", "agent_id",
           "status", "path")  # fmt: skip
BOOLEANS = ("is_sidechain", "is_meta", "is_error")
MISSING = object()


def value_of(event: dict[str, Any], key: str) -> Any:
    """A string, a boolean, a list of strings, or MISSING."""
    kind, data = event["type"], event["data"]
    if key == "type":
        return kind
    if not isinstance(data, dict):
        return MISSING
    record, message = data.get("record"), data.get("message")
    places: list[tuple[Any, str]] = [(data, "file_path" if key == "path" else key)]
    if kind == "message_added":
        name = "type" if key == "record_type" else key
        if key in ("record_type", "kind", "agent_id", "is_sidechain", "is_meta"):
            places.insert(0, (record, name))
        if key in ("role", "model"):
            places.insert(0, (message, name))
        if key == "tool" and isinstance(message, dict) and message.get("tool_calls"):
            return [call["tool_name"] for call in message["tool_calls"]]
        if key == "is_error" and isinstance(message, dict) and message.get("tool_results"):
            return any(result["is_error"] for result in message["tool_results"])
    if key == "conversation_id" and kind in CONVERSATION:
        places.insert(0, (data, "id"))
    if key == "status" and kind == "system_status":
        places.insert(0, (data, "service_status"))
    for place, name in places:
        if isinstance(place, dict) and _right_type(key, place.get(name)):
            return place[name]
    return MISSING


def _right_type(key: str, value: object) -> bool:
    if key == "tool":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, bool) if key in BOOLEANS else isinstance(value, str)


def holds(tree: dict[str, Any], event: dict[str, Any]) -> bool:
    """Whether an event passes a filter."""
    if "op" in tree:
        if tree["op"] == "not":
            return not holds(tree["node"], event)
        found = [holds(node, event) for node in tree["nodes"]]
        return all(found) if tree["op"] == "and" else any(found)
    value = value_of(event, tree["key"])
    values = value if isinstance(value, list) else [value]
    match tree["cmp"]:
        case "exists":
            return value is not MISSING
        case "neq":
            return tree["val"] not in values
        case "nin":
            return not any(item in tree["vals"] for item in values)
    if value is MISSING:
        return False
    match tree["cmp"]:
        case "eq":
            return tree["val"] in values
        case "in":
            return any(item in tree["vals"] for item in values)
        case "prefix":
            return any(item[: len(tree["val"])] == tree["val"] for item in values)
    return any(glob_matches(tree["val"], item) for item in values)


# -- random trees and events, from few words so that they meet ---------------------------------------------------------

WORDS = st.sampled_from(["a", "b", "ab", "a/b", "assistant", "message_added", "conversation_update", ""])
GLOBS = st.sampled_from(["*", "**", "?", "a*", "*b", "a?b", "**/b", "ab", "a**"])
ANY_KEY = st.sampled_from([*STRINGS, "tool"])
LEAVES = st.one_of(
    st.fixed_dictionaries({"key": ANY_KEY, "cmp": st.sampled_from(["eq", "neq", "prefix"]), "val": WORDS}),
    st.fixed_dictionaries({"key": ANY_KEY, "cmp": st.just("glob"), "val": GLOBS}),
    st.fixed_dictionaries(
        {"key": ANY_KEY, "cmp": st.sampled_from(["in", "nin"]), "vals": st.lists(WORDS, min_size=1, max_size=3)}
    ),
    st.fixed_dictionaries({"key": ANY_KEY | st.sampled_from(BOOLEANS), "cmp": st.just("exists")}),
    st.fixed_dictionaries(
        {"key": st.sampled_from(BOOLEANS), "cmp": st.sampled_from(["eq", "neq"]), "val": st.booleans()}
    ),
)


def _joints(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    nodes = st.lists(inner, min_size=1, max_size=3)
    return st.fixed_dictionaries({"op": st.sampled_from(["and", "or"]), "nodes": nodes}) | st.fixed_dictionaries(
        {"op": st.just("not"), "node": inner}
    )


def _depth(tree: dict[str, Any]) -> int:
    return 1 + max((_depth(node) for node in tree.get("nodes", [tree["node"]] if "node" in tree else [])), default=0)


TREES = st.recursive(LEAVES, _joints, max_leaves=8).filter(lambda tree: _depth(tree) <= 8)

VALUES = WORDS | st.booleans() | st.none() | st.integers(0, 1) | st.lists(WORDS | st.integers(0, 1), max_size=2)
NAMES = st.sampled_from([*STRINGS, *BOOLEANS, "tool", "id", "file_path", "service_status"])
FIELDS = st.dictionaries(NAMES, VALUES, max_size=6)
CALLS = st.lists(st.fixed_dictionaries({"id": WORDS, "tool_name": WORDS}), max_size=2)
RESULTS = st.lists(st.fixed_dictionaries({"tool_use_id": WORDS, "is_error": st.booleans()}), max_size=2)
MESSAGES = st.none() | st.builds(
    lambda fields, calls, results: fields | {"tool_calls": calls, "tool_results": results}, FIELDS, CALLS, RESULTS
)
EVENTS = st.fixed_dictionaries({
    "type": st.sampled_from(["message_added", *CONVERSATION, "project_update", "file_modified", "system_status", "a"]),
    "data": st.builds(lambda data, record, message: data | {"record": record, "message": message},
                      FIELDS, FIELDS | st.none(), MESSAGES) | FIELDS | VALUES,
})  # fmt: skip


def payload(event: dict[str, Any]) -> bytes:
    """As it is stored."""
    return orjson.dumps(event | {"timestamp": 5, "seq": 1, "epoch": "k3x9q2"})
