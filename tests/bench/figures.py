"""Figures: quantiles, ratios within a round, and tables. Numbers of one machine mean something only next to others."""

import math
import statistics
from collections.abc import Iterable, Sequence


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least the share `q` of all values does not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def ratios(ours: Sequence[float | None], theirs: Sequence[float | None]) -> list[float]:
    """One ratio per round in which both were measured: a slow moment of the machine hits both and cancels out."""
    return [a / b for a, b in zip(ours, theirs, strict=True) if a is not None and b]


def median_ratio(ours: Sequence[float | None], theirs: Sequence[float | None]) -> float | None:
    """The median of the rounds' ratios; None without a common round."""
    found = ratios(ours, theirs)
    return statistics.median(found) if found else None


def median(values: Iterable[float | None]) -> float | None:
    """The median of what was measured; None if nothing was."""
    found = [value for value in values if value is not None]
    return statistics.median(found) if found else None


def shown(value: float | None, digits: int = 2) -> str:
    """A number for a table."""
    return "–" if value is None else f"{value:,.{digits}f}"


def spread(values: Iterable[float | None], digits: int = 1) -> str:
    """Least and greatest of what was measured."""
    found = [value for value in values if value is not None]
    return f"{min(found):.{digits}f}–{max(found):.{digits}f}" if found else "–"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with aligned columns."""
    lines = [list(headings), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)
