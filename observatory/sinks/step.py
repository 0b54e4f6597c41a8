"""A step of the copy: what is removed and written together, and how far the copy is once that is there."""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from observatory.core.batch import OFFSET_BITS
from observatory.core.mirror_rows import KEYS, Row
from observatory.sinks.state import Place, Ref

KINDS: Mapping[str, str] = {  # table → the kind of change that it holds
    "projects": "project",
    "conversations": "conversation",
    "messages": "record",
    "tool_calls": "call",
}


@attrs.frozen
class Delete:
    """Rows of a table that go: those with these values, a smaller or larger one of a column, if one is named."""

    table: str
    equal: Mapping[str, Any]
    below: tuple[str, int] | None = None
    above: tuple[str, int] | None = None


@attrs.define
class Step:
    """deletes come before rows. rows: by table and what they are of. fine: parked things that are none any more.

    places: after it; cursor: the last change that is wholly in it, if one is.
    """

    deletes: list[Delete] = attrs.field(factory=list)
    rows: dict[str, dict[Ref, Row]] = attrs.field(factory=lambda: {table: {} for table in KEYS})
    places: dict[int, Place] = attrs.field(factory=dict)
    gone: list[int] = attrs.field(factory=list)
    fine: list[Ref] = attrs.field(factory=list)
    cursor: int | None = None
    records: int = 0  # looked at, also those that do not go into the copy
    bytes: int = 0

    def put(self, table: str, ref: str, row: Row) -> None:
        """Write a row; the last one of the same thing counts."""
        self.rows[table][KINDS[table], ref] = row

    def flat(self) -> Iterator[tuple[str, Ref, Row]]:
        """All rows, in the order of the tables."""
        for table, rows in self.rows.items():
            for ref, row in rows.items():
                yield table, ref, row

    def remove(self, delete: Delete) -> None:
        """Rows go, also those that were put here before: what is gone by now must not come after its delete."""
        self.deletes.append(delete)
        kept = self.rows[delete.table]
        for ref in [ref for ref, row in kept.items() if _is_meant(delete, row)]:
            del kept[ref]

    @property
    def count(self) -> int:
        """How many rows there are."""
        return sum(map(len, self.rows.values()))

    @property
    def empty(self) -> bool:
        """Nothing has to be sent."""
        return not self.deletes and not self.count


def _is_meant(delete: Delete, row: Row) -> bool:
    if any(row[name] != value for name, value in delete.equal.items()):
        return False
    values = {**row, "position": row.get("generation", 0) << OFFSET_BITS | row.get("byte_offset", 0)}
    low, high = delete.above, delete.below
    return (low is None or values[low[0]] > low[1]) and (high is None or values[high[0]] < high[1])
