"""Status: what silence makes of a conversation, and what the registry of live sessions says of it.

Nothing in a transcript says that a session has ended (transcripts.md §10). What its lines say runs a course: the longer
nothing follows, the further. No clock here: the caller tells the time, and is told when to look again.
"""

from datetime import datetime
from typing import Literal

import attrs

from observatory.core.conversation import Activity, Conversation, Status

Reason = Literal["running", "unanswered", "asking", "over", "silent", "stale", "session", "ended", "error"]

SILENT_MS = 10_000  # text that no call follows within so long was the end of the turn
UNANSWERED_MS = 60_000  # a permission prompt and a long tool look alike; 99 % of the gaps in a turn are below 53 s
STALE_MS = 900_000  # 99.9 % of them are below 698 s
ASKED_MS = 86_400_000  # a question may wait overnight; beyond, whoever asked it is gone
COMPLETED_AFTER_MS = 1_800_000  # 96 % of later prompts come before that

Step = tuple[int, Activity, Reason]  # silence in ms from which on it holds

# What the lines say last → the course of it. Once it is idle, `completed` follows.
COURSES: dict[str, tuple[Step, ...]] = {
    "working": ((0, "working", "running"), (STALE_MS, "idle", "stale")),
    "unanswered": ((0, "working", "running"), (UNANSWERED_MS, "waiting", "unanswered"), (STALE_MS, "idle", "stale")),
    "waiting": ((0, "waiting", "asking"), (ASKED_MS, "idle", "stale")),
    "spoken": ((0, "working", "running"), (SILENT_MS, "idle", "silent")),
    "idle": ((0, "idle", "over"),),
}


@attrs.frozen
class Word:
    """What the registry of live sessions says. since_ms: since when it is so; read_ms: when it was read, so that a line
    that came later knows better. ended: it spoke of the session before, and its process is gone."""

    activity: Activity
    since_ms: int
    read_ms: int
    ended: bool = False


def quiet_since(row: Conversation, now_ms: int) -> int:
    """When the last line that says something was written, in ms. A stamp in the future (another machine's clock) counts
    as now."""
    at = datetime.fromisoformat(row.said_at or row.updated_at)
    return min(now_ms, int(at.timestamp() * 1000))


def settled(
    row: Conversation,
    since_ms: int,
    now_ms: int,
    completed_after_ms: int = COMPLETED_AFTER_MS,
    word: Word | None = None,
) -> tuple[Conversation, int | None]:
    """The row as it is after so long a silence, and when it changes by itself next (ms; None: never).

    It depends on what the lines said, not on what was settled before: call it as often as you like. An error stays one
    until a line clears it.
    """
    if word is not None and since_ms <= word.read_ms:
        steps: tuple[Step, ...] = ((0, word.activity, "ended" if word.ended else "session"),)
        since_ms = max(since_ms, min(word.since_ms, now_ms))
    else:
        told = row.told or row.activity  # a row of an older version does not know
        steps = COURSES["unanswered" if told == "working" and row.open_tools else told]
    silence = now_ms - since_ms
    _, activity, reason = next(step for step in reversed(steps) if step[0] <= max(0, silence))
    ends = steps[-1][0] + completed_after_ms if steps[-1][1] == "idle" and row.status != "error" else None
    status: Status = "completed" if ends is not None and silence >= ends else "active"
    status = "error" if row.status == "error" else status
    if status == "error" and activity == "idle":
        reason = "error"
    turns = [after for after in (*(step[0] for step in steps), ends) if after is not None and after > silence]
    if (row.status, row.activity, row.status_reason) != (status, activity, reason):
        row = attrs.evolve(row, status=status, activity=activity, status_reason=reason)
    return row, since_ms + min(turns) if turns else None
