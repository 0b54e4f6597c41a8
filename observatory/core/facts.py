"""Facts: what where-filters can ask about an event, read from its payload (protocol.md §8).

Each key has one JSON type. What is not there, or has another type, is missing. The bytes alone decide, so that an event
means the same live, in a replay and years later.
"""

from typing import Any

import orjson

from observatory.core.events import payload_of

Facts = dict[str, str | bool | frozenset[str]]
STRINGS = frozenset({
    "type", "project_id", "conversation_id", "session_id", "record_type", "kind", "role", "model", "agent_id", "status",
    "path",
})  # fmt: skip
SETS = frozenset({"tool"})
BOOLEANS = frozenset({"is_sidechain", "is_meta", "is_error"})
KEYS = STRINGS | SETS | BOOLEANS

# Key → its name at the top level of `data`. That is where broadcast messages carry it.
_AT_TOP = {key: key for key in KEYS - SETS - {"type"}} | {"path": "file_path"}
# Type of event → keys that stand elsewhere: under another name, in `record`, or in `message`.
_UNDER_OTHER_NAMES = {
    "conversation_started": {"conversation_id": "id"},
    "conversation_update": {"conversation_id": "id"},
    "system_status": {"status": "service_status"},
}
_IN_RECORD = {"record_type": "type"} | {key: key for key in ("kind", "agent_id", "is_sidechain", "is_meta")}
_IN_MESSAGE = {"role": "role", "model": "model"}


def facts_of_frame(frame: bytes) -> Facts:
    """Of a finished WebSocket frame, as clients get it."""
    return facts_of(payload_of(frame))


def facts_of(payload: bytes | memoryview) -> Facts:
    """Of an event's payload. Never raises."""
    try:
        event = orjson.loads(payload)
    except orjson.JSONDecodeError:  # a broadcast message nested deeper than the parser goes
        return {}
    return facts(event["type"], event["data"])


def facts(kind: str, data: object) -> Facts:
    """Of an event's type and data."""
    found: Facts = {"type": kind}
    if not isinstance(data, dict):
        return found
    _read(found, data, _AT_TOP)
    if (tools := _strings(data.get("tool"))) is not None:
        found["tool"] = tools
    if kind == "message_added":
        _read(found, data.get("record"), _IN_RECORD)
        _read(found, data.get("message"), _IN_MESSAGE)
        _read_tools(found, data.get("message"))
    elif names := _UNDER_OTHER_NAMES.get(kind):
        _read(found, data, names)
    return found


def _read(found: Facts, values: object, names: dict[str, str]) -> None:
    if not isinstance(values, dict):
        return
    for key, name in names.items():
        value = values.get(name)
        if type(value) is (bool if key in BOOLEANS else str):
            found[key] = value


def _read_tools(found: Facts, message: object) -> None:
    """Tools that the record calls, and whether one of those whose results it brings has failed."""
    if not isinstance(message, dict):
        return
    if names := _strings([call.get("tool_name") for call in _objects(message.get("tool_calls"))]):
        found["tool"] = names
    if results := _objects(message.get("tool_results")):
        found["is_error"] = any(result.get("is_error") is True for result in results)


def _strings(value: object) -> frozenset[str] | None:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return frozenset(value)
    return None


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
