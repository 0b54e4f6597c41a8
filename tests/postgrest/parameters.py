"""Parameters of a request as SQL: filters, selected columns, order."""

import re
from collections.abc import Iterable, Mapping

from psycopg import sql

from tests.postgrest.errors import Refusal

RESERVED = frozenset({"select", "order", "limit", "offset", "columns", "on_conflict"})
_OPERATORS = {"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "like": "LIKE", "ilike": "ILIKE"}
_STATES = {"null": "NULL", "not_null": "NOT NULL", "true": "TRUE", "false": "FALSE", "unknown": "UNKNOWN"}
_ORDERS = {"asc": "ASC", "desc": "DESC", "nullsfirst": "NULLS FIRST", "nullslast": "NULLS LAST"}
_FILTER = re.compile(r"(not\.)?(is|in|eq|neq|gte?|lte?|i?like)\.")
Pairs = list[tuple[str, str]]


def looks_like_a_filter(value: str) -> bool:
    """Whether a parameter of a function call is one of its result's filters."""
    return _FILTER.match(value) is not None


def column(text: str, relation: str | None = None) -> tuple[sql.Composable, str]:
    """`payload->a->>b` as SQL, and the name that it goes by in the answer."""
    name, *path = re.split("(->>|->)", text)
    found: sql.Composable = sql.Identifier(relation, name) if relation else sql.Identifier(name)
    for arrow, step in zip(path[::2], path[1::2], strict=True):
        key = sql.Literal(int(step)) if re.fullmatch(r"-?\d+", step) else sql.Literal(step)
        found = found + sql.SQL(arrow) + key
    return found, path[-1] if path else name


def selected(text: str | None, columns: Iterable[str]) -> sql.Composable:
    """What `select` names."""
    items: list[sql.Composable] = []
    for part in (text or "*").split(","):
        alias, _, name = part.strip().rpartition(":")
        if name == "*":
            items += [sql.Identifier(one) for one in columns] or [sql.SQL("*")]
            continue
        found, last = column(name)
        renamed = alias or "->" in name
        items.append(sql.SQL("{} AS {}").format(found, sql.Identifier(alias or last)) if renamed else found)
    return sql.SQL(", ").join(items)


def where(pairs: Pairs, relation: str) -> sql.Composable:
    """The filters."""
    tests = [_test(name, value, relation) for name, value in pairs if name not in RESERVED]
    return sql.SQL(" WHERE ") + sql.SQL(" AND ").join(tests) if tests else sql.SQL("")


def _test(name: str, value: str, relation: str) -> sql.Composable:
    operator, _, operand = value.removeprefix("not.").partition(".")
    left, _ = column(name, relation)
    if operator == "is" and operand in _STATES:
        found: sql.Composable = left + sql.SQL(f" IS {_STATES[operand]}")
    elif operator == "in":
        values = [one.strip('"') for one in re.findall(r'"[^"]*"|[^,()]+', operand)]
        found = sql.SQL("{} = ANY({})").format(left, sql.Literal(values)) if values else sql.SQL("FALSE")
    elif operator in _OPERATORS:
        right = operand.replace("*", "%") if "like" in operator else operand
        found = sql.SQL("{} {} {}").format(left, sql.SQL(_OPERATORS[operator]), sql.Literal(right))
    else:
        raise Refusal(400, "PGRST100", f'"failed to parse filter ({value})" (line 1, column 1)', "unexpected operator")
    return sql.SQL("NOT ({})").format(found) if value.startswith("not.") else found


def ordered(text: str | None) -> sql.Composable:
    """What `order` names."""
    if text is None:
        return sql.SQL("")
    terms = []
    for term in text.split(","):
        name, *modifiers = term.split(".")
        terms.append(column(name)[0] + sql.SQL("".join(f" {_ORDERS[one]}" for one in modifiers)))
    return sql.SQL(" ORDER BY ") + sql.SQL(", ").join(terms)


def window(given: Mapping[str, str], ranged: str | None) -> tuple[int, int | None]:
    """Offset and limit. ranged: the Range header of a read."""
    offset, limit = int(given.get("offset", 0)), int(given["limit"]) if "limit" in given else None
    found = re.fullmatch(r"(\d+)-(\d*)", ranged or "")
    if found:
        offset = int(found[1])
        limit = int(found[2]) - offset + 1 if found[2] else limit
    return offset, limit
