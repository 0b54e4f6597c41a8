"""Points in time as RFC 3339 text."""

import re
from datetime import UTC, datetime

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_USUAL = 24  # 2026-11-22T21:00:00.100Z


def instant(text: str) -> str | None:
    """A transcript's timestamp: as found if it is RFC 3339 in UTC, an offset converted, None if it is no time."""
    if not is_usual(text) and not _RFC3339.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return text if text.endswith("Z") else _milliseconds(moment)
    except (ValueError, OverflowError):  # February 30th; year 1 moved before year 1
        return None


def is_usual(text: str) -> bool:
    """Whether the text has the one shape that Claude Code writes: UTC with milliseconds."""
    return (
        len(text) == _USUAL
        and text[10] == "T"
        and text[23] == "Z"
        and text[7] == "-"
        and text[13] == ":"
        and text[16] == ":"
        and text[19] == "."
    )


def with_ms(text: str) -> str:
    """An `instant` with milliseconds and Z: the wire's form, and comparable as text."""
    return text if is_usual(text) else _milliseconds(datetime.fromisoformat(text))


def _milliseconds(moment: datetime) -> str:
    naive = moment.astimezone(UTC).replace(tzinfo=None)
    return naive.isoformat(timespec="milliseconds") + "Z"


def ms_of(text: str) -> int | None:
    """An RFC 3339 text as ms since the epoch; None if it is no time."""
    found = instant(text)
    return None if found is None else round(datetime.fromisoformat(found).timestamp() * 1000)
