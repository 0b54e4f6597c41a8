"""`frozen` for values on the hot path: immutable to the type checker, plain slots at run time.

attrs' own frozen classes cost 1.7 µs to build with 25 fields, plain ones 0.3 µs; a line on its way builds twenty.
They compare by value and cannot be hashed.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs

if TYPE_CHECKING:
    from attrs import frozen
else:
    from attrs import define as frozen

__all__ = ["evolver", "frozen"]
T = TypeVar("T")


def evolver(cls: type[T]) -> Callable[[T, dict[str, Any]], T]:
    """`attrs.evolve` for one class, at a third of its cost: a row of 25 fields is evolved for each line."""
    names = tuple(field.name for field in attrs.fields(cast(Any, cls)))
    values_of = attrgetter(*names)

    def evolve(value: T, changes: dict[str, Any]) -> T:
        fields = dict(zip(names, values_of(value), strict=True))
        fields.update(changes)
        return cls(**fields)

    return evolve
