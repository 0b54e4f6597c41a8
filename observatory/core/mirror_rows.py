"""Rows of the copy in a PostgreSQL database: what records, tool calls, conversations and projects become there.

Whatever is in a row can be stored: PostgreSQL takes no NUL in a text, and a text is cut where nobody would read on.
Both are marked in the row; the archive has it as it was. Source: docs/supabase.md, The tables.
"""

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import orjson

from observatory.core.batch import Flag, split_key
from observatory.core.blocks import Message, ToolCall, ToolResult
from observatory.core.conversation import Conversation
from observatory.core.project import NEVER, Project
from observatory.core.tools import ToolCallRow
from observatory.core.transcript import Record

Row = dict[str, Any]
Leaving = Callable[[bytes], bytes]

KEYS: Mapping[str, tuple[str, ...]] = {  # the copy's tables, in the order they are written, with their keys
    "projects": ("machine_id", "id"),
    "conversations": ("machine_id", "id"),
    "messages": ("machine_id", "source_id", "generation", "byte_offset"),
    "tool_calls": ("machine_id", "conversation_id", "tool_use_id"),
}
TEXT_CHARS = 1_000_000  # of one text: a request stays far below what gateways take
NUL, SHOWN_NUL = "\0", "\u2400"
_ESCAPED_NUL = b"\\u0000"
SPEECH = frozenset({"prompt", "command", "tool_result", "note", "interruption", "assistant", "error"})
_ROLES = frozenset({"user", "assistant"})


@attrs.frozen
class Owner:
    """Whose record it is."""

    machine_id: str
    conversation_id: str
    project_id: str


@attrs.define
class Fit:
    """Makes values fit, and remembers what it took."""

    altered: bool = False
    truncated: bool = False

    def text(self, text: str | None) -> str | None:
        """A text that can be stored."""
        if text is None:
            return None
        if NUL in text:
            self.altered = True
            text = text.replace(NUL, SHOWN_NUL)
        if len(text) > TEXT_CHARS:
            self.truncated = True
            text = text[:TEXT_CHARS]
        return text

    def json(self, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        """A value that can be stored; of one that is too large the beginning of its text."""
        encoded = orjson.dumps(value)
        if len(encoded) > TEXT_CHARS:
            self.truncated = True
            return self.text(encoded[:TEXT_CHARS].decode("utf-8", "ignore"))
        if _ESCAPED_NUL in encoded:
            return self._without_nul(value)
        return value

    def _without_nul(self, value: Any) -> Any:  # noqa: ANN401 - any JSON value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self._without_nul(item) for item in value]
        if isinstance(value, dict):
            return {self.text(key): self._without_nul(item) for key, item in value.items()}
        return value


def is_wanted(record: Record, flags: int, *, all_kinds: bool) -> bool:
    """Whether a record goes into the copy: what was said, once. all_kinds: progress, snapshots and the like, too."""
    return not flags & Flag.KNOWN and (all_kinds or record.kind in SPEECH)


def message_row(owner: Owner, key: int, line: int, flags: int, record: Record, raw: Any = None) -> Row:  # noqa: ANN401
    """A record. raw: its JSON value, if it is to be stored whole."""
    source, generation, offset = split_key(key)
    message, fit = record.message, Fit()
    spent = record.usage[0][1] if record.usage else None
    return {
        "machine_id": owner.machine_id,
        "source_id": source,
        "generation": generation,
        "byte_offset": offset,
        "conversation_id": owner.conversation_id,
        "project_id": owner.project_id,
        "line": line,
        "type": fit.text(record.type),
        "kind": record.kind,
        "role": message.role if message else record.type if record.type in _ROLES else "system",
        "uuid": fit.text(record.uuid),
        "parent_uuid": fit.text(record.parent_uuid),
        "message_id": fit.text(message.message_id) if message else None,
        "model": fit.text(message.model) if message else None,
        "content": fit.text(message.content if message else record.text) or "",
        "thinking": fit.text(_thinking(message)) if message and message.blocks else None,
        "timestamp": record.timestamp,
        "token_count": None if spent is None else spent.input_tokens + spent.output_tokens,
        "input_tokens": None if spent is None else spent.input_tokens,
        "output_tokens": None if spent is None else spent.output_tokens,
        "cache_creation_tokens": None if spent is None else spent.cache_creation_input_tokens,
        "cache_read_tokens": None if spent is None else spent.cache_read_input_tokens,
        "is_sidechain": record.is_sidechain,
        "is_meta": record.is_meta,
        "is_copy": bool(flags & Flag.COPY),
        "superseded": bool(flags & Flag.SUPERSEDED),
        "raw": None if raw is None else fit.json(without_images(raw)),
        "altered": fit.altered,
        "truncated": fit.truncated,
    }


def _thinking(message: Message) -> str | None:
    texts = [
        block["thinking"]
        for block in message.blocks or ()
        if block.get("type") == "thinking" and type(block.get("thinking")) is str
    ]
    return "\n".join(texts) if texts else None


def without_images(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A line's value without the bytes of its pictures."""
    if isinstance(value, list):
        return [without_images(item) for item in value]
    if isinstance(value, dict):
        if value.get("type") == "base64" and isinstance(value.get("data"), str):
            return {**value, "data": ""}
        return {key: without_images(item) for key, item in value.items()}
    return value


def call_row(owner: Owner, call: ToolCallRow, key: int, asked: ToolCall | None, answer: ToolResult | None) -> Row:
    """A tool call. key: of the record that calls. asked, answer: its blocks, as far as they are there."""
    source, generation, offset = split_key(key)
    fit = Fit()
    return {
        "machine_id": owner.machine_id,
        "conversation_id": owner.conversation_id,
        "tool_use_id": fit.text(call.tool_use_id),
        "project_id": owner.project_id,
        "name": fit.text(call.name),
        "input": None if asked is None else fit.json(asked.input),
        "output": None if answer is None else fit.text(answer.content),
        "status": call.status,
        "called_at": call.called_at,
        "answered_at": call.answered_at,
        "duration_ms": call.duration_ms,
        "source_id": source,
        "generation": generation,
        "byte_offset": offset,
        "altered": fit.altered,
        "truncated": fit.truncated,
    }


def conversation_row(machine_id: str, row: Conversation, leaving: Leaving | None) -> Row:
    """A conversation, with its totals."""
    fit = Fit()
    texts = _left({name: getattr(row, name) for name in ("title", "cwd", "git_branch")}, leaving)
    return {
        "machine_id": machine_id,
        "id": row.id,
        "project_id": row.project_id,
        "session_id": fit.text(row.session_id),
        "parent_id": row.parent_id,
        "agent_id": fit.text(row.agent_id),
        "title": fit.text(texts["title"]),
        "status": row.status,
        "message_count": row.message_count,
        "prompt_count": row.prompt_count,
        "reply_count": row.reply_count,
        "tool_usage_count": row.tool_usage_count,
        "tool_error_count": row.tool_error_count,
        "model": fit.text(row.model),
        "input_tokens": row.tokens.input_tokens,
        "output_tokens": row.tokens.output_tokens,
        "cache_creation_tokens": row.tokens.cache_creation_input_tokens,
        "cache_read_tokens": row.tokens.cache_read_input_tokens,
        "cwd": fit.text(texts["cwd"]),
        "git_branch": fit.text(texts["git_branch"]),
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "altered": fit.altered,
        "truncated": fit.truncated,
    }


def project_row(machine_id: str, row: Project, leaving: Leaving | None) -> Row:
    """A project."""
    fit = Fit()
    texts = _left({"name": row.name, "path": row.path}, leaving)
    return {
        "machine_id": machine_id,
        "id": row.id,
        "name": fit.text(texts["name"]),
        "path": fit.text(texts["path"]),
        "status": row.status,
        "conversation_count": row.conversation_count,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "last_activity": row.created_at if row.last_activity == NEVER else row.last_activity,
        "altered": fit.altered,
        "truncated": fit.truncated,
    }


def _left(texts: dict[str, str | None], leaving: Leaving | None) -> dict[str, str | None]:
    """Texts as they may leave the machine."""
    valid = {name: None if text is None else text.encode("utf-8", "replace").decode() for name, text in texts.items()}
    if leaving is None:
        return valid
    left: dict[str, str | None] = orjson.loads(leaving(orjson.dumps(valid)))
    return left
