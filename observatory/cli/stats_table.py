"""Figures as tables: numbers whole where they have room, short where they have not; texts give way first to none."""

from collections.abc import Sequence
from typing import TextIO

import attrs
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from observatory.cli.terminal import PlainConsole, one_line

GAP = "  "
NARROWEST = 6  # cells that a text keeps
UNITS = ("", "k", "M", "B", "T")


@attrs.frozen
class Column:
    """One column. short, brief: cells and head where the line is too long. Without `short` the cells are cut there."""

    head: str
    cells: Sequence[str]
    short: Sequence[str] | None = None
    style: str = ""
    brief: str = ""

    @property
    def is_text(self) -> bool:
        """Aligned to the left, and cut when it has to be."""
        return self.short is None

    def texts(self, brief: bool) -> list[str]:
        """The head and the cells."""
        if brief:
            return [self.brief or self.head, *(self.cells if self.short is None else self.short)]
        return [self.head, *self.cells]


def text(head: str, values: Sequence[str | None], style: str = "") -> Column:
    """A column of texts from transcripts: made harmless."""
    return Column(head, [one_line(value, 200) if value else "-" for value in values], None, style)


def number(head: str, values: Sequence[int | None], brief: str = "") -> Column:
    """A column of counts."""
    full = ["-" if value is None else f"{value:,}" for value in values]
    return Column(head, full, ["-" if value is None else compact(value) for value in values], "", brief)


def fixed(head: str, cells: Sequence[str], style: str = "") -> Column:
    """A column of numbers in words, as they are."""
    return Column(head, cells, cells, style)


def compact(value: int) -> str:
    """Two or three digits and a unit."""
    amount, unit = float(value), 0
    while amount >= (1000 if unit == 0 else 999.5) and unit < len(UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    if unit == 0:
        return str(value)
    return f"{amount:.1f}{UNITS[unit]}" if amount < 9.95 else f"{amount:.0f}{UNITS[unit]}"


def money(usd: float | None, partly: bool = False) -> str:
    """Dollars and cents; + for an amount that some messages are missing from."""
    return "-" if usd is None else f"${usd:,.2f}{'+' if partly else ''}"


def duration(ms: int | None) -> str:
    """In the unit that fits."""
    if ms is None:
        return "-"
    for size, unit in ((3_600_000, "h"), (60_000, "min"), (1000, "s")):
        if ms >= size:
            return f"{ms / size:.1f} {unit}"
    return f"{ms} ms"


def write_table(columns: Sequence[Column], out: TextIO, *, totals: bool, width: int | None = None) -> None:
    """Print a table; the last row stands out if it holds totals. On a terminal no line is longer than it is wide."""
    console = PlainConsole(out, width)
    texts = fitted(columns, console.width if console.is_terminal or width is not None else None)
    widths = [max(map(cell_len, column)) for column in texts]
    for place in range(len(texts[0])):
        line = Text()
        for column, cells, room in zip(columns, texts, widths, strict=True):
            line.append(GAP if line else "")
            line.append(_padded(cells[place], room, column.is_text), _style(column, place, len(cells), totals))
        line.rstrip()
        if console.is_terminal:
            console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
        else:
            console.print(line, soft_wrap=True)


def fitted(columns: Sequence[Column], width: int | None) -> list[list[str]]:
    """The columns' texts, head first, no wider together than `width` if that can be: numbers short, then texts cut."""
    texts = [column.texts(brief=False) for column in columns]
    if width is None or _width(texts) <= width:
        return texts
    texts = [column.texts(brief=True) for column in columns]
    while (over := _width(texts) - width) > 0:
        wide = [n for n, column in enumerate(columns) if column.is_text and _widest(texts[n]) > NARROWEST]
        if not wide:
            break
        widest = max(wide, key=lambda n: _widest(texts[n]))
        second = max((_widest(texts[n]) for n in wide if n != widest), default=NARROWEST)
        room = max(NARROWEST, _widest(texts[widest]) - over, min(second, _widest(texts[widest]) - 1))
        texts[widest] = [_cut(cell, room) for cell in texts[widest]]
    return texts


def _widest(cells: Sequence[str]) -> int:
    return max(map(cell_len, cells))


def _width(texts: Sequence[Sequence[str]]) -> int:
    return sum(map(_widest, texts)) + len(GAP) * (len(texts) - 1)


def _cut(cell: str, room: int) -> str:
    return cell if cell_len(cell) <= room else set_cell_size(cell, room - 1).rstrip() + "…"


def _padded(cell: str, room: int, left: bool) -> str:
    return set_cell_size(cell, room) if left else " " * (room - cell_len(cell)) + cell


def _style(column: Column, place: int, count: int, totals: bool) -> str:
    if place == 0:
        return "dim"
    return "bold" if totals and place == count - 1 else column.style
