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
    """`attrs.evolve` for one class, at less than half its cost: a row of 30 fields is evolved for each line.

    The copy is made by position and then changed, which only this function does, before anybody has it.
    """
    values_of = attrgetter(*(field.name for field in attrs.fields(cast(Any, cls))))

    def evolve(value: T, changes: dict[str, Any]) -> T:
        new = cls(*values_of(value))
        for name, changed in changes.items():
            setattr(new, name, changed)
        return new

    return evolve
