"""The `message` of a user or assistant line: text, tool calls, tool results.

Each block is read on its own; a field of the wrong type is absent and leaves an anomaly. Source: transcripts.md §3, R9.
"""

from typing import Any

from observatory.core.frozen import frozen


@frozen
class ToolCall:
    """A `tool_use` block. `input` is any JSON value."""

    id: str
    name: str
    input: Any


@frozen
class ToolResult:
    """A `tool_result` block; `content` is its text, images are left out."""

    tool_use_id: str
    is_error: bool
    content: str


@frozen
class Message:
    """What a user or assistant line says.

    `content` joins the text blocks by newlines ("" if there are none). `blocks` are the content blocks as found, None
    if the content was a plain string; a bare string among the blocks has become a text block.
    """

    role: str
    content: str
    message_id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    blocks: list[dict[str, Any]] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()


def text_field(found: dict[str, Any], key: str, notes: list[str], label: str = "") -> str | None:
    """A string field; None and an anomaly if it has another type. JSON null is simply absent."""
    value = found.get(key)
    if value is None or type(value) is str:
        return value
    notes.append(label or key)
    return None


_TEXT_OR_ABSENT = frozenset({str, type(None)})
_FIELDS = ("id", "model", "stop_reason")


def text_fields(found: dict[str, Any], keys: tuple[str, ...], notes: list[str], prefix: str = "") -> list[str | None]:
    """Several string fields at once, by the rules of `text_field`."""
    values: list[Any] = [*map(found.get, keys)]
    if _TEXT_OR_ABSENT.issuperset(map(type, values)):
        return values
    return [text_field(found, key, notes, prefix + key) for key in keys]


def read(found: dict[str, Any], role: str, notes: list[str]) -> Message:
    """The message of a line whose type is `role`; the type wins over a role that says otherwise."""
    if found.get("role", role) != role:
        notes.append("message.role")
    message_id, model, stop_reason = text_fields(found, _FIELDS, notes, "message.")
    content = found.get("content")
    if type(content) is list:
        blocks = content if _ONLY_OBJECTS.issuperset(map(type, content)) else _objects(content, notes)
        return Message(role, text_of(blocks), message_id, model, stop_reason, blocks, *_tools(blocks, notes))
    if type(content) is not str:
        notes.append("message.content")
        content = ""
    return Message(role, content, message_id, model, stop_reason)


def text_of(content: object) -> str:
    """The plain text of a content value: a string, or the text blocks of a list."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    if len(content) == 1:
        return _text(content[0]) or ""
    return "\n".join([text for item in content if (text := _text(item)) is not None])


def _text(block: object) -> str | None:
    if type(block) is str:
        return block
    text = block.get("text") if type(block) is dict and block.get("type") == "text" else None
    return text if type(text) is str else None


_ONLY_OBJECTS = frozenset({dict})


def _objects(content: list[Any], notes: list[str]) -> list[dict[str, Any]]:
    """The blocks of a list that holds other things too: a bare string is a text block, the rest is left out."""
    notes.append("message.block")
    wrapped = [{"type": "text", "text": item} if isinstance(item, str) else item for item in content]
    return [item for item in wrapped if isinstance(item, dict)]


def _tools(blocks: list[dict[str, Any]], notes: list[str]) -> tuple[tuple[ToolCall, ...], tuple[ToolResult, ...]]:
    calls: list[ToolCall] = []
    results: list[ToolResult] = []
    for block in blocks:
        kind = block.get("type")
        if kind == "tool_use":
            if tool_id := text_field(block, "id", notes, "tool_use.id"):
                name = text_field(block, "name", notes, "tool_use.name")
                calls.append(ToolCall(tool_id, name or "", block.get("input")))
        elif kind == "tool_result" and (tool_id := text_field(block, "tool_use_id", notes, "tool_result.tool_use_id")):
            results.append(_result(tool_id, block, notes))
    return tuple(calls), tuple(results)


def _result(tool_use_id: str, block: dict[str, Any], notes: list[str]) -> ToolResult:
    content, is_error = block.get("content"), block.get("is_error")
    if content is not None and type(content) not in (str, list):
        notes.append("tool_result.content")
    if is_error is not None and type(is_error) is not bool:
        notes.append("tool_result.is_error")
    return ToolResult(tool_use_id, is_error is True, text_of(content))
