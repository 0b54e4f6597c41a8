"""The `data` object of message_added. Source: protocol.md §6."""

from collections.abc import Callable
from typing import Any

import orjson

from observatory.core import usage
from observatory.core.blocks import Message
from observatory.core.decode import valid
from observatory.core.transcript import Malformed, Record
from observatory.core.usage import Usage

FRAME_BYTES = 256 * 1024
ENVELOPE_BYTES = 512  # type, timestamp, seq, epoch and the frame's own head
# A string of a line stands at most twice on the wire, and a byte of it grows at most eightfold (`9e15,` → 17 digits):
# a line this many times smaller than the limit need not be measured.
EXPANSION = 16
CUTS = (
    65536,
    16384,
    4096,
    1024,
    256,
)  # characters left of a string, the first that is enough; ids are shorter than the last
Data = dict[str, Any]


def data(
    record: Record | Malformed,
    *,
    record_id: str,
    conversation_id: str,
    project_id: str,
    session_id: str,
    agent_id: str | None,
    sequence_number: int,
    growth: Usage | None,
    limit: int = FRAME_BYTES,
) -> Data:
    """What message_added says of a record.

    The result shares lists and objects with `record`: encode it, do not change it. orjson encodes it always.

    Args:    agent_id: the file's agent; a line's own wins. sequence_number: order in the file. growth: what the
             record's usage added to its API message; None or nothing → no `usage_delta`. limit: bytes of the encoded
             frame; over it strings are cut, then parts left out, and `truncated` is set. At least 32 KiB.
    """
    body: Data = {
        "conversation_id": conversation_id,
        "project_id": project_id,
        "session_id": session_id,
        "record": _malformed(record, record_id) if isinstance(record, Malformed) else _record(record, record_id),
        "message": None,
    }
    if agent := (None if isinstance(record, Malformed) else record.agent_id) or agent_id:
        body["record"]["agent_id"] = agent
    if not isinstance(record, Malformed) and record.message is not None:
        body["message"] = _message(record, record.message, record_id, conversation_id, sequence_number)
    if growth:
        body["usage_delta"] = usage.wire(growth)
    return body if record.length * EXPANSION <= limit else _fitting(body, limit - ENVELOPE_BYTES)


def _record(record: Record, record_id: str) -> Data:
    found: Data = {
        "id": record_id,
        "type": record.type,
        "kind": record.kind,
        "uuid": record.uuid,
        "parent_uuid": record.parent_uuid,
        "offset": record.offset,
        "length": record.length,
        "timestamp": record.timestamp,
        "is_sidechain": record.is_sidechain,
        "is_meta": record.is_meta,
    }
    if record.subtype is not None:
        found["subtype"] = record.subtype
    if record.text is not None:
        found["text"] = record.text
    if record.raw is not None:
        found["raw"] = record.raw
    return found


def _malformed(line: Malformed, record_id: str) -> Data:
    return {
        "id": record_id,
        "type": "",
        "kind": "error",
        "uuid": None,
        "parent_uuid": None,
        "offset": line.offset,
        "length": line.length,
        "timestamp": None,
        "is_sidechain": False,
        "is_meta": False,
        "text": valid(line.text),
        "error": line.reason,
    }


def _message(record: Record, message: Message, record_id: str, conversation_id: str, sequence_number: int) -> Data:
    found: Data = {
        "id": record_id,
        "conversation_id": conversation_id,
        "role": message.role,
        "content": message.content,
        "timestamp": record.timestamp,
        "sequence_number": sequence_number,
    }
    if message.message_id is not None:
        found["message_id"] = message.message_id
    if message.model is not None:
        found["model"] = message.model
    if message.blocks is not None:
        found["blocks"] = message.blocks
    if message.tool_calls:
        found["tool_calls"] = _tool_calls(message, record_id, record.timestamp)
    if message.tool_results:
        found["tool_results"] = [
            {"tool_use_id": result.tool_use_id, "is_error": result.is_error, "content": result.content}
            for result in message.tool_results
        ]
    return found


def _tool_calls(message: Message, record_id: str, created_at: str | None) -> list[Data]:
    """The calls a line makes; a later record's tool_results settle them."""
    return [
        {
            "id": call.id,
            "message_id": record_id,
            "tool_name": call.name,
            "tool_input": call.input,
            "status": "pending",
            "created_at": created_at,
        }
        for call in message.tool_calls
    ]


def _fitting(body: Data, room: int) -> Data:
    """The data itself if it fits; else its strings cut as little as is enough, and at last without its larger parts."""
    size = len(orjson.dumps(body))
    if size <= room:
        return body
    long = _long_strings(body)
    cut: Data = body
    for chars in CUTS:
        saved = sum([size_of * (1 - chars / length) for length, size_of in long if length > chars])
        if size - saved <= room or chars == CUTS[-1]:  # an estimate: the measure below decides
            cut = _cut(body, chars)
            cut["record"]["truncated"] = True
            if len(orjson.dumps(cut)) <= room:
                return cut
    for leave_out in _PARTS:
        if len(orjson.dumps(cut)) > room:
            leave_out(cut)
    return cut


def _long_strings(value: object) -> list[tuple[int, int]]:
    """Characters and encoded bytes of all strings, keys too, that some cut would shorten."""
    found: list[tuple[int, int]] = []
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack += [*item, *item.values()]
        elif isinstance(item, list):
            stack += item
        elif isinstance(item, str) and len(item) > CUTS[-1]:
            found.append((len(item), len(orjson.dumps(item))))
    return found


def _cut(value: Any, chars: int) -> Any:  # noqa: ANN401 - any JSON value
    """A copy with no string (no key either) longer than `chars`."""
    match value:
        case str():
            return value[:chars]
        case dict():
            return {key[:chars]: _cut(item, chars) for key, item in value.items()}
        case list():
            return [_cut(item, chars) for item in value]
    return value


def _without(place: str, *keys: str) -> Callable[[Data], None]:
    def leave_out(body: Data) -> None:
        for key in keys:
            (body[place] or {}).pop(key, None)

    return leave_out


def _without_inputs(body: Data) -> None:
    for call in (body["message"] or {}).get("tool_calls", ()):
        call["tool_input"] = None


# What is left out when cutting strings is not enough (thousands of short ones): the least telling first.
_PARTS: tuple[Callable[[Data], None], ...] = (
    _without("record", "raw"),
    _without("message", "blocks"),
    _without_inputs,
    _without("message", "tool_calls", "tool_results"),
)
