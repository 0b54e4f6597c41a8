"""`--where` of the command line → a tree: JSON, or KEY=VALUE for what people ask for most."""

from collections.abc import Sequence
from typing import Any

import orjson

from observatory.core.errors import RequestError, UsageError
from observatory.core.facts import BOOLEANS, KEYS
from observatory.core.where import parse_where

Tree = dict[str, Any]
_BOOLEAN = {"true": True, "false": False}


def where_of(texts: Sequence[str]) -> Tree | None:
    """All of them together; None when there are none. Raises UsageError: one of them is no filter."""
    trees = [_tree(text) for text in texts]
    if len(trees) < 2:
        return trees[0] if trees else None
    return _checked({"op": "and", "nodes": trees}, "all --where together")


def with_names(where: Tree | None) -> Tree | None:
    """Lets project updates through beside what is asked for: they teach the names of new projects, and are not printed.

    A filter that has no room for that is left as it is.
    """
    if where is None:
        return None
    wider = {"op": "or", "nodes": [{"key": "type", "cmp": "eq", "val": "project_update"}, where]}
    try:
        parse_where(wider)
    except RequestError:
        return where
    return wider


def _tree(text: str) -> Tree:
    if text.lstrip().startswith("{"):
        try:
            tree = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise UsageError(f"--where {_shown(text)} is no JSON: {error}") from None
        return _checked(tree, f"--where {_shown(text)}")
    key, found, value = text.partition("=")
    if not found:
        raise UsageError(f"--where {_shown(text)} is neither JSON nor KEY=VALUE or KEY!=VALUE")
    negated, key = key.endswith("!"), key.removesuffix("!").strip()
    if key not in KEYS:
        raise UsageError(f"--where {_shown(text)}: there is no key {_shown(key)}; keys are {', '.join(sorted(KEYS))}")
    return _checked(_leaf(key, value.strip(), negated), f"--where {_shown(text)}")


def _leaf(key: str, value: str, negated: bool) -> Tree:
    if "*" in value and key not in BOOLEANS:
        leaf = {"key": key, "cmp": "glob", "val": value}
        return {"op": "not", "node": leaf} if negated else leaf
    val = _BOOLEAN.get(value, value) if key in BOOLEANS else value
    return {"key": key, "cmp": "neq" if negated else "eq", "val": val}


def _checked(tree: Tree, place: str) -> Tree:
    """The tree if the server would take it."""
    try:
        parse_where(tree)
    except RequestError as error:
        raise UsageError(f"{place}: {error.message}") from None
    return tree


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}…")
