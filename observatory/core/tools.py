"""Tool calls and their results: two lines, often far apart, and not always both. Source: transcripts.md §3, §9, §10."""

from datetime import datetime, timedelta
from typing import Literal

from observatory.core.frozen import frozen

Outcome = Literal["pending", "success", "error", "orphaned"]
_MS = timedelta(milliseconds=1)


@frozen
class ToolCallRow:
    """One call in one conversation.

    record, result_record: public ids of the lines. called_at, answered_at: their times, RFC 3339 in UTC. status:
    orphaned when the turn or the session ended without a result; one that still comes counts.
    None in an archive that did not know it. duration_ms: None if a time is missing
    or they are the wrong way round.
    """

    conversation_id: str
    tool_use_id: str
    name: str
    record: str
    called_at: str | None = None
    status: Outcome | None = "pending"
    answered_at: str | None = None
    duration_ms: int | None = None
    result_record: str | None = None


def answered(call: ToolCallRow, *, is_error: bool, at: str | None, record: str) -> ToolCallRow:
    """The call with its result; the first one counts."""
    if call.result_record is not None:
        return call
    status: Outcome = "error" if is_error else "success"
    duration = duration_ms(call.called_at, at)
    return ToolCallRow(
        call.conversation_id, call.tool_use_id, call.name, call.record, call.called_at, status, at, duration, record
    )


def orphaned(call: ToolCallRow) -> ToolCallRow:
    """The call when nothing waits for its result any more."""
    if call.status != "pending":
        return call
    return ToolCallRow(call.conversation_id, call.tool_use_id, call.name, call.record, call.called_at, "orphaned")


def duration_ms(begin: str | None, end: str | None) -> int | None:
    """Milliseconds between two times."""
    if begin is None or end is None:
        return None
    passed = (datetime.fromisoformat(end) - datetime.fromisoformat(begin)) // _MS
    return passed if passed >= 0 else None
