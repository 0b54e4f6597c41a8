"""Where-filters: a tree of comparisons over an event's facts → one function (protocol.md §8).

Filters that say the same, however they are written, are one function: it is compiled once and shared by all who ask for
it, for as long as somebody does. So whoever asks filters about an event needs to ask each only once.
"""

from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import attrs
import orjson

from observatory.core.errors import RequestError
from observatory.core.facts import BOOLEANS, KEYS, SETS, Facts
from observatory.core.globs import compile_glob, wildcards

MAX_DEPTH = 8
MAX_NODES = 64
MAX_VALUES = 64
MAX_BYTES = 256  # of one string
MAX_WILDCARDS = 8

Filter = Callable[[Facts], bool]  # told apart by identity; it never raises
Form = tuple[Any, ...]  # a tree without what makes no difference, to be compared and compiled
NOTHING: frozenset[str] = frozenset()


@attrs.frozen(eq=False)
class Where:
    """A filter as one client wrote it. tree: its JSON, to be echoed; accepts: what it says of an event's facts."""

    tree: bytes
    accepts: Filter


_written: WeakValueDictionary[bytes, Where] = WeakValueDictionary()
_compiled: WeakValueDictionary[Form, Filter] = WeakValueDictionary()


def parse_where(value: object) -> Where:
    """The filter of a `where` that is not null. Raises RequestError INVALID_FILTERS, which says what is wrong where."""
    if not isinstance(value, dict):
        raise _invalid("where", "must be an object or null")
    try:
        tree = orjson.dumps(value)
    except TypeError:
        raise _invalid("where", "must be JSON, in valid Unicode, and not nested so deep") from None
    where = _written.get(tree)
    if where is None:
        form = _Reading().node(value, "where", 1)
        where = _written[tree] = Where(tree, _filter(form))
    return where


def _filter(form: Form) -> Filter:
    found = _compiled.get(form)
    if found is None:
        found = _compiled[form] = _compile(form)
    return found


def _invalid(place: str, problem: str) -> RequestError:
    return RequestError("INVALID_FILTERS", f"{place} {problem}")


# -- a tree → its form -------------------------------------------------------------------------------------------------


@attrs.define
class _Reading:
    """Reads one tree and counts its nodes. A place is written as in `where.nodes[1].node`."""

    nodes: int = 0

    def node(self, value: object, place: str, depth: int) -> Form:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise _invalid("where", f"has more than {MAX_NODES} nodes")
        if depth > MAX_DEPTH:
            raise _invalid(place, f"is nested more than {MAX_DEPTH} deep")
        if not isinstance(value, dict):
            raise _invalid(place, "must be an object")
        return self._joint(value, place, depth) if "op" in value else _leaf(value, place)

    def _joint(self, value: dict[str, Any], place: str, depth: int) -> Form:
        op = value["op"]
        if op == "not":
            _only(value, place, "op", "node")
            return _negated(self.node(value.get("node"), f"{place}.node", depth + 1))
        if op not in ("and", "or"):
            raise _invalid(f"{place}.op", "must be and, or, not")
        _only(value, place, "op", "nodes")
        nodes = value.get("nodes")
        if not isinstance(nodes, list) or not nodes:
            raise _invalid(f"{place}.nodes", "must be a list of one or more nodes")
        return _joined(op, [self.node(node, f"{place}.nodes[{n}]", depth + 1) for n, node in enumerate(nodes)])


def _leaf(value: dict[str, Any], place: str) -> Form:
    key: object = value.get("key")
    cmp: object = value.get("cmp")
    if not isinstance(key, str) or key not in KEYS:
        raise _invalid(f"{place}.key", f"must be one of {', '.join(sorted(KEYS))}")
    allowed = ("eq", "neq", "exists") if key in BOOLEANS else ("eq", "neq", "in", "nin", "prefix", "glob", "exists")
    if not isinstance(cmp, str) or cmp not in allowed:
        raise _invalid(f"{place}.cmp", f"must be one of {', '.join(allowed)} for {key}")
    if cmp == "exists":
        _only(value, place, "key", "cmp")
        return ("exists", key)
    if cmp in ("in", "nin"):
        _only(value, place, "key", "cmp", "vals")
        form: Form = ("in", key, frozenset(_values(value.get("vals"), f"{place}.vals")))
    else:
        _only(value, place, "key", "cmp", "val")
        form = _single(key, cmp, value.get("val"), f"{place}.val")
    return _negated(form) if cmp in ("neq", "nin") else form


def _single(key: str, cmp: str, val: object, place: str) -> Form:
    if key in BOOLEANS:
        if not isinstance(val, bool):
            raise _invalid(place, f"must be true or false for {key}")
        return ("is", key, val)
    text = _text(val, place)
    count = wildcards(text) if cmp == "glob" else 0
    if count > MAX_WILDCARDS:
        raise _invalid(place, f"has more than {MAX_WILDCARDS} wildcards")
    if cmp == "prefix" or count:
        return (cmp, key, text)
    return ("in", key, frozenset((text,)))


def _values(value: object, place: str) -> list[str]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_VALUES:
        raise _invalid(place, f"must be a list of 1 to {MAX_VALUES} strings")
    return [_text(item, f"{place}[{n}]") for n, item in enumerate(value)]


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise _invalid(place, "must be a string")
    if len(value.encode()) > MAX_BYTES:
        raise _invalid(place, f"is longer than {MAX_BYTES} bytes")
    return value


def _only(value: dict[str, Any], place: str, *names: str) -> None:
    """A name that is not understood might have narrowed the filter: it is an error, not ignored."""
    for name in value:
        if name not in names:
            raise _invalid(place, f"must have only {', '.join(names)} here, not {name[:40]!r}")


def _negated(form: Form) -> Form:
    return form[1] if form[0] == "not" else ("not", form)


def _joined(op: str, forms: list[Form]) -> Form:
    """Neither order nor repetition matters, nor brackets around the same operator."""
    parts: set[Form] = set()
    for form in forms:
        parts.update(form[1] if form[0] == op else (form,))
    return (op, frozenset(parts)) if len(parts) > 1 else parts.pop()


# -- a form → a function -----------------------------------------------------------------------------------------------


def _compile(form: Form) -> Filter:
    match form:
        case ("and", parts):
            return _all(tuple(map(_compile, parts)))
        case ("or", parts):
            return _any(tuple(map(_compile, parts)))
        case ("not", part):
            inner = _compile(part)
            return lambda facts: not inner(facts)
        case ("exists", key):
            return lambda facts: key in facts
        case ("is", key, val):
            return lambda facts: facts.get(key) is val
        case ("in", key, vals):
            return _member(key, vals)
    cmp, key, val = form
    return _passing(key, compile_glob(val) if cmp == "glob" else lambda text: text.startswith(val))


def _all(tests: tuple[Filter, ...]) -> Filter:
    def accepts(facts: Facts) -> bool:
        for test in tests:  # noqa: SIM110 - a generator costs as much as the tests
            if not test(facts):
                return False
        return True

    return accepts


def _any(tests: tuple[Filter, ...]) -> Filter:
    def accepts(facts: Facts) -> bool:
        for test in tests:  # noqa: SIM110 - as above
            if test(facts):
                return True
        return False

    return accepts


def _member(key: str, vals: frozenset[str]) -> Filter:
    if key in SETS:
        return lambda facts: not vals.isdisjoint(_set(facts, key))
    if len(vals) == 1:
        (val,) = vals
        return lambda facts: facts.get(key) == val
    return lambda facts: facts.get(key) in vals


def _passing(key: str, test: Callable[[str], bool]) -> Filter:
    if key in SETS:
        return lambda facts: any(map(test, _set(facts, key)))

    def accepts(facts: Facts) -> bool:
        value = facts.get(key)
        return isinstance(value, str) and test(value)

    return accepts


def _set(facts: Facts, key: str) -> frozenset[str]:
    value = facts.get(key, NOTHING)
    assert isinstance(value, frozenset)
    return value
