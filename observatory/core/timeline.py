"""A conversation as a person reads it: records into entries, in order, calls together with what came of them.

Each record is turned into entries by itself, so that a conversation of any size can be read from its beginning to its
end without being in memory. Source: transcripts.md §3, §11.
"""

from collections.abc import Callable, Iterator
from difflib import unified_diff
from typing import Any, Literal

import attrs

from observatory.core.blocks import Message, ToolCall, ToolResult
from observatory.core.transcript import Malformed, Record

Who = Literal["user", "assistant"]
What = Literal["note", "error", "interruption", "compaction", "hook", "event", "malformed"]
COMPACTIONS = frozenset({"compact_boundary", "microcompact_boundary"})
HOOKS = frozenset({"stop_hook_summary"})
IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})  # what may be shown
DIFF_CONTEXT = 3  # lines around a change


@attrs.frozen
class Answer:
    """What came of a call. status: pending, success, error, orphaned; None when that was not kept. record: the result's
    id. agent: the sub-agent that did it."""

    status: str | None
    duration_ms: int | None
    record: str | None
    result: ToolResult | None
    agent: str | None


@attrs.frozen
class Said:
    """A prompt, a command, or an answer."""

    record: str
    at: str | None
    who: Who
    text: str
    model: str | None = None


@attrs.frozen
class Thought:
    """The model's thinking."""

    record: str
    at: str | None
    text: str


@attrs.frozen
class Called:
    """A tool call, and what came of it."""

    record: str
    at: str | None
    call: ToolCall
    answer: Answer | None


@attrs.frozen
class Picture:
    """An image. data: base64 as it stands in the transcript; "" for one of a kind that is not shown."""

    record: str
    at: str | None
    who: Who
    media_type: str
    data: str


@attrs.frozen
class Noted:
    """Everything else that has a text."""

    record: str
    at: str | None
    what: What
    text: str


Entry = Said | Thought | Called | Picture | Noted
AnswerOf = Callable[[str], Answer | None]  # of a call's id


def entries(record_id: str, value: Record | Malformed, answer_of: AnswerOf) -> Iterator[Entry]:
    """What a record says. A result is told with its call, so that by itself it says nothing, unless it has no call."""
    if isinstance(value, Malformed):
        yield Noted(record_id, None, "malformed", f"{value.reason}: {value.text}")
    elif value.message is not None:
        yield from _spoken(record_id, value, value.message, answer_of)
    elif value.text:
        yield Noted(record_id, value.timestamp, _what(value), value.text)


def _spoken(record_id: str, record: Record, message: Message, answer_of: AnswerOf) -> Iterator[Entry]:
    at, who = record.timestamp, _who(message)
    if record.kind in ("note", "interruption", "error"):
        if message.content:
            what: What = "note" if record.kind == "note" else record.kind
            yield Noted(record_id, at, what, message.content)
    elif record.kind == "command":
        yield Said(record_id, at, who, record.text or message.content)
    elif message.blocks is None and message.content.strip():
        yield Said(record_id, at, who, message.content, message.model)
    calls = {call.id: call for call in message.tool_calls}
    for block in message.blocks or ():
        yield from _block(record_id, record, message, block, calls, answer_of)
    for result in message.tool_results:
        answer = answer_of(result.tool_use_id)
        if answer is None or answer.record != record_id:
            call = ToolCall(result.tool_use_id, "", None)
            yield Called(record_id, at, call, Answer(None, None, record_id, result, None))


def _block(
    record_id: str, record: Record, message: Message, block: dict[str, Any], calls: dict[str, ToolCall], of: AnswerOf
) -> Iterator[Entry]:
    at, who = record.timestamp, _who(message)
    match block.get("type"):
        case "text" if record.kind in ("prompt", "assistant", "tool_result"):
            if type(text := block.get("text")) is str and text.strip():
                yield Said(record_id, at, who, text, message.model)
        case "thinking":
            if type(text := block.get("thinking")) is str and text:
                yield Thought(record_id, at, text)
        case "tool_use" if type(id := block.get("id")) is str and id in calls:
            yield Called(record_id, at, calls[id], of(id))
        case "image":
            yield _picture(record_id, at, who, block)
        case "tool_result" if type(inner := block.get("content")) is list:
            for item in inner:
                if type(item) is dict and item.get("type") == "image":
                    yield _picture(record_id, at, who, item)


def _picture(record_id: str, at: str | None, who: Who, block: dict[str, Any]) -> Picture:
    source = block.get("source")
    source = source if type(source) is dict else {}
    kind, data = source.get("media_type"), source.get("data")
    shown = type(kind) is str and kind in IMAGES and type(data) is str
    return Picture(record_id, at, who, kind if type(kind) is str else "image", str(data) if shown else "")


def _who(message: Message) -> Who:
    return "assistant" if message.role == "assistant" else "user"


def _what(record: Record) -> What:
    if record.kind in ("note", "interruption", "error"):
        return record.kind
    if record.subtype in COMPACTIONS:
        return "compaction"
    if record.subtype in HOOKS or (record.type == "attachment" and (record.subtype or "").startswith("hook_")):
        return "hook"
    return "note" if record.kind in ("prompt", "command") else "event"


def changes(call: ToolCall) -> str | None:
    """What an edit changes, as a unified diff; None for a call that is no edit."""
    asked = call.input if type(call.input) is dict else {}
    edits = asked.get("edits") if type(asked.get("edits")) is list else [asked]
    found = [
        _diff(edit["old_string"], edit["new_string"])
        for edit in edits or ()
        if type(edit) is dict and type(edit.get("old_string")) is str and type(edit.get("new_string")) is str
    ]
    return "\n".join(found) if found else None


def _diff(old: str, new: str) -> str:
    lines = unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=DIFF_CONTEXT)
    return "\n".join(list(lines)[2:])  # without the names of files, which there are none of
