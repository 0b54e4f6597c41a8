"""Removing records by their age: what is meant, and what would go."""

import re
from datetime import UTC, datetime

import attrs

from observatory.core.errors import UsageError

_UNITS = {"h": 3600, "d": 86_400, "w": 7 * 86_400, "m": 30 * 86_400, "y": 365 * 86_400}
_AGE = re.compile(r"(\d{1,6})([hdwmy])")
_SIZES = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1024, "mi": 1024**2, "gi": 1024**3, "ti": 1024**4}
_SIZE = re.compile(r"(\d{1,15})\s*([kmgt]i?)?b?", re.IGNORECASE)


@attrs.frozen
class Prune:
    """Conversations that nothing has happened in since `before` (RFC 3339) lose their records. project: only its ones.

    marked: those with a star or a tag, too.
    """

    before: str
    project: str | None = None
    marked: bool = False


@attrs.frozen
class Pruned:
    """What goes, or went. bytes: of the lines. kept: conversations as old that stay because they are marked."""

    conversations: int = 0
    records: int = 0
    bytes: int = 0
    kept: int = 0


def age(text: str) -> float:
    """An age as typed, in seconds: 12h, 30d, 8w, 6m, 2y. Raises UsageError."""
    found = _AGE.fullmatch(text.strip().lower())
    if found is None or not int(found[1]):
        raise UsageError(f"'{text[:40]}' is no age; write it as 12h, 30d, 8w, 6m (months of 30 days) or 2y")
    return int(found[1]) * float(_UNITS[found[2]])


def size(text: str) -> int:
    """A number of bytes as typed: 1073741824, 500MB, 2GiB. Raises UsageError."""
    found = _SIZE.fullmatch(text.strip())
    unit = None if found is None else _SIZES.get((found[2] or "").lower())
    if found is None or unit is None:
        raise UsageError(f"'{text[:40]}' is no size; write it as 500MB or 2GiB")
    return int(found[1]) * unit


def before(now: float, seconds: float) -> str:
    """The moment so long ago, as conversations have their times."""
    moment = datetime.fromtimestamp(max(0.0, now - seconds), UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds") + "Z"
