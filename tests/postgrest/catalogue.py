"""What a schema exposes: its tables with their columns and keys, and its functions. Read once, as PostgREST does."""

from collections.abc import Sequence
from typing import Any

import attrs
import psycopg

from tests.postgrest.errors import Refusal

_COLUMNS = """
select c.relname, a.attname, pg_get_expr(d.adbin, d.adrelid), coalesce(a.attnum = any(i.indkey), false)
from pg_class c
left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
left join pg_index i on i.indrelid = c.oid and i.indisprimary
where c.relnamespace = %s::regnamespace and c.relkind in ('r', 'v', 'm', 'p', 'f')
order by c.relname, a.attnum"""
_FUNCTIONS = """
select p.proname, coalesce(p.proargnames[1:p.pronargs], '{}'), p.pronargs, p.pronargdefaults, p.proretset,
       t.typtype = 'c' or t.typname = 'record', t.typname = 'void',
       array(select format_type(a, null) from unnest(p.proargtypes) a)
from pg_proc p join pg_type t on t.oid = p.prorettype where p.pronamespace = %s::regnamespace"""


@attrs.define
class Table:
    """columns: name → default, as SQL, in their order."""

    columns: dict[str, str | None] = attrs.field(factory=dict)
    key: list[str] = attrs.field(factory=list)


@attrs.frozen
class Function:
    """rows: it returns a set; composite: of rows; whole: its one argument, without a name, is the body."""

    arguments: tuple[str, ...]
    required: int
    rows: bool
    composite: bool
    void: bool
    whole: bool

    def takes(self, given: Sequence[str]) -> bool:
        """Whether it can be called with arguments of these names."""
        return not self.whole and set(given) <= set(self.arguments) and set(self.arguments[: self.required]) <= {*given}


class Catalogue:
    """Of one schema."""

    def __init__(self, db: psycopg.Connection[Any], schema: str) -> None:
        self.schema = schema
        self._tables: dict[str, Table] = {}
        self._functions: dict[str, list[Function]] = {}
        for relation, column, default, in_key in db.execute(_COLUMNS, (schema,)):
            table = self._tables.setdefault(relation, Table())
            if column is not None:
                table.columns[column] = default
                table.key += [column] if in_key else []
        for name, names, count, defaults, rows, composite, void, types in db.execute(_FUNCTIONS, (schema,)):
            whole = count == 1 and not any(names) and types[0] in ("json", "jsonb")
            made = Function(tuple(names), count - defaults, rows, composite, void, whole)
            self._functions.setdefault(name, []).append(made)

    def table(self, name: str) -> Table:
        """Raises Refusal."""
        if name not in self._tables:
            raise Refusal(404, "PGRST205", f"Could not find the table '{self.schema}.{name}' in the schema cache")
        return self._tables[name]

    def function(self, name: str, given: Sequence[str], *, with_body: bool) -> Function:
        """The one that is meant. Raises Refusal."""
        known = self._functions.get(name, [])
        found = [one for one in known if one.takes(given)] or [one for one in known if one.whole and with_body]
        if not found:
            raise self._unknown(name, given, known, with_body=with_body)
        return found[0]

    def _unknown(self, name: str, given: Sequence[str], known: list[Function], *, with_body: bool) -> Refusal:
        full = f"{self.schema}.{name}"
        called = f"{full}({', '.join(given)})" if given else full
        with_ = f"with parameter{'s' if len(given) > 1 else ''} {', '.join(given)}" if given else "without parameters"
        if with_body:
            with_ += " or with a single unnamed json/jsonb parameter"
        return Refusal(
            404,
            "PGRST202",
            f"Could not find the function {called} in the schema cache",
            f"Searched for the function {full} {with_}, but no matches were found in the schema cache.",
            f"Perhaps you meant to call the function {full}({', '.join(known[0].arguments)})" if known else None,
        )
