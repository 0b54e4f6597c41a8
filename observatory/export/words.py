"""What is said of entries in every format: names, durations, the input of a tool in a few words."""

from typing import Any

import attrs
import orjson

from observatory.core.blocks import ToolCall
from observatory.core.timeline import Answer, What, changes

# The field of a tool's input that is a text of its own, by the tool.
TELLING = {
    "Bash": "command",
    "BashOutput": "bash_id",
    "Glob": "pattern",
    "Grep": "pattern",
    "NotebookEdit": "notebook_path",
    "Skill": "skill",
    "WebFetch": "url",
    "WebSearch": "query",
}
BODIES = {"Write": "content", "NotebookEdit": "new_source", "Task": "prompt", "Agent": "prompt"}
MARKS: dict[What, str] = {
    "note": "note",
    "error": "API error",
    "interruption": "interrupted",
    "compaction": "compacted",
    "hook": "hook",
    "event": "event",
    "malformed": "unreadable line",
}
LEFT_OUT: frozenset[What] = frozenset({"hook", "event"})  # of what is taken along: they tell nothing of the work


@attrs.frozen
class Asked:
    """A call in words. title: one line; body: what it is about, with its kind: diff, text or json."""

    title: str
    body: str
    kind: str


def asked(call: ToolCall) -> Asked:
    """What a tool was asked."""
    given: dict[str, Any] = call.input if type(call.input) is dict else {}
    path = next((given[key] for key in ("file_path", "notebook_path", "path") if type(given.get(key)) is str), None)
    if (diff := changes(call)) is not None:
        return Asked(path or "", diff, "diff")
    telling, body = given.get(TELLING.get(call.name, "")), given.get(BODIES.get(call.name, ""))
    title = telling if type(telling) is str else path or given.get("description")
    if type(title) is str:
        first, newline, _ = title.partition("\n")
        if type(body) is str:
            return Asked(first, body, "text")
        return Asked(first, title if newline else "", "text")
    shown = "" if call.input in (None, {}) else orjson.dumps(call.input, option=orjson.OPT_INDENT_2).decode()
    return Asked("", shown, "json")


def outcome(answer: Answer | None) -> str:
    """How a call ended: its time and what went wrong; "" when there is nothing to say."""
    if answer is None:
        return ""
    parts = [] if answer.duration_ms is None else [duration(answer.duration_ms)]
    failed = answer.status == "error" or (answer.result is not None and answer.result.is_error)
    if failed or answer.status in ("pending", "orphaned"):
        parts.append({"pending": "no result yet", "orphaned": "no result"}.get(answer.status or "", "error"))
    return ", ".join(parts)


def is_error(answer: Answer | None) -> bool:
    """Whether the call failed."""
    return answer is not None and (answer.status == "error" or (answer.result is not None and answer.result.is_error))


def duration(ms: int) -> str:
    """A duration: 12 ms, 3.4 s, 5:07."""
    if ms < 1000:
        return f"{ms} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    return f"{minutes}:{seconds:02}"


def clock(at: str | None) -> str:
    """The time of day in UTC, as the transcript has it."""
    return at[11:19] if at is not None and len(at) >= 19 else ""
