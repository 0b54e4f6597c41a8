"""An import in words: how far it is, and how it ended."""

from collections.abc import Mapping
from typing import Any

import attrs

from observatory.core.finding import number
from observatory.core.progress import Progress

MB = 1_000_000


def line_of(progress: Progress) -> str:
    """How far it is, in one line."""
    files = f"{progress.files_done:,} of {number(progress.files_total, 'file')}"
    amount = f"{progress.bytes_done / MB:,.1f} of {progress.bytes_total / MB:,.1f} MB"
    return ", ".join([files, amount, rate(progress), left(progress)])


def rate(progress: Progress) -> str:
    """Its speed."""
    return f"{progress.bytes_per_second / MB:,.1f} MB/s"


def left(progress: Progress) -> str:
    """The time until its end, as far as that can be told."""
    seconds = progress.seconds_left
    return "–:–– left" if seconds is None else f"{clock(seconds)} left"


def clock(seconds: float) -> str:
    """A duration: 0:07, 12:34, 1:02:03."""
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}" if hours else f"{minutes}:{whole:02}"


def total(progress: Progress) -> str:
    """What came in, in one line."""
    if not progress.files_done + progress.files_left_out:
        return "nothing to import: all that these roots hold is in the archive"
    parts = [
        number(progress.conversations, "conversation"),
        number(progress.records, "record"),
        f"{progress.bytes_done / MB:,.1f} MB in {progress.seconds:,.1f} s",
        rate(progress),
        number(progress.errors, "error line"),
    ]
    return f"imported {', '.join(parts)}"


def unread(unreadable: Mapping[str, str]) -> str:
    """What could not be read, in one line; its first."""
    what, reason = next(iter(unreadable.items()))
    others = "" if len(unreadable) == 1 else f" (and {len(unreadable) - 1:,} more)"
    return f"{what} cannot be read{others}: {reason}"


def progress_of(data: Mapping[str, Any]) -> Progress:
    """A Progress from JSON, also that of another version: what it does not know is left out. Raises TypeError."""
    known = {field.name for field in attrs.fields(Progress)}
    return Progress(**{key: value for key, value in data.items() if key in known})
