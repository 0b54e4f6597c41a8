"""Resume: whether what a client missed can be given without a gap (protocol.md §9)."""

from typing import Literal

from observatory.core.events import LogPosition
from observatory.core.requests import Resume

Refusal = Literal["epoch_changed", "ahead", "too_old", "too_many"]


def refusal(wish: Resume, log: LogPosition) -> Refusal | None:
    """Why the log cannot go on after the wished position; None when it can."""
    seq = wish.position.seq
    if wish.position.epoch != log.epoch:
        return "epoch_changed"
    if seq > log.head:
        return "ahead"
    if seq < log.oldest - 1:
        return "too_old"
    if wish.max_events is not None and log.head - seq > wish.max_events:
        return "too_many"
    return None
