"""What kind of record a line is, in the words of protocol.md §6.

prompt        typed by a person: a user line, or a queued command. By shape alone: whether a sidechain's text counts as
              a prompt is the conversation's affair.
command       `/x`, typed by a person.
tool_result   a user line that answers tool calls.
interruption  `[Request interrupted`, with or without tool results.
note          any other user line or queued command: isMeta, compact summary, injected text, no text.
assistant     a line of a reply.
error         an API error: an assistant line (isApiErrorMessage) or a system line (api_error, error).
other         everything else, as it stands in the file: also a user or assistant line without a readable message.
Source: transcripts.md §9, §11.
"""

from typing import Any, Literal

from observatory.core import blocks, prompts
from observatory.core.blocks import Message

Kind = Literal["prompt", "command", "tool_result", "note", "interruption", "assistant", "error", "other"]
Found = dict[str, Any]


def kind_of(found: Found, type_: str, message: Message | None, is_meta: bool, notes: list[str]) -> Kind:
    """The kind of a decoded line of type `type_` with this message."""
    if message is not None:
        if type_ == "assistant":
            return "error" if found.get("isApiErrorMessage") is True else "assistant"
        return _user_kind(found, message, is_meta)
    if type_ == "system" and found.get("subtype") in ("api_error", "error"):
        return "error"
    if type_ == "attachment":
        inside = found.get("attachment")
        if type(inside) is not dict:
            notes.append("attachment")
        elif inside.get("type") == "queued_command":
            return _queued_kind(inside)
    return "other"


def _user_kind(found: Found, message: Message, is_meta: bool) -> Kind:
    origin = found.get("origin")
    shape = prompts.shape(
        message.content, origin.get("kind") if type(origin) is dict else None, found.get("promptSource")
    )
    if shape == "interruption":
        return shape
    if message.tool_results:
        return "tool_result"
    return "note" if is_meta or found.get("isCompactSummary") is True else shape


def _queued_kind(attachment: Found) -> Kind:
    origin = attachment.get("origin")
    text = blocks.text_of(attachment.get("prompt"))
    shape = prompts.shape(text, origin.get("kind") if type(origin) is dict else None)
    return "note" if attachment.get("isMeta") is True else shape
