"""What a check of `observatory doctor` says: one line, and for a problem its cure."""

from typing import Literal

import attrs

Level = Literal["ok", "warn", "fail"]
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


@attrs.frozen
class Finding:
    """One check's result. cure: what to do about it. commands: to be typed as they are."""

    level: Level
    what: str
    finding: str
    cure: str = ""
    commands: tuple[str, ...] = ()


@attrs.frozen
class Some:
    """How many there are of something, and one of them."""

    count: int = 0
    example: str = ""
    reason: str = ""

    def __bool__(self) -> bool:
        return self.count > 0


NONE = Some()


def size(count: float) -> str:
    """Bytes for people: 12 bytes, 3.4 MiB."""
    unit = 0
    while count >= 1024 and unit < len(UNITS) - 1:
        count, unit = count / 1024, unit + 1
    return f"{count:,.0f} bytes" if not unit else f"{count:,.1f} {UNITS[unit]}"


def number(count: int, one: str, many: str = "") -> str:
    """A count with its noun: 1 file, 2,000 files."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
