"""A line of a transcript into a Record: everything the rest of the program needs to know of it, as plain values.

The format is undocumented and drifts. Each field is read on its own: one of the wrong type is absent and leaves an
anomaly; an unknown type is a record like any other. Nothing here raises. Source: transcripts.md §3, §7, §9, §11.
"""

from typing import Any

import attrs

from observatory.core import blocks, prompts, readable, resync, titles, usage
from observatory.core.blocks import Message, text_field
from observatory.core.decode import NotJson, decode
from observatory.core.detail import Detail, legacy_cost
from observatory.core.frozen import frozen
from observatory.core.instants import instant
from observatory.core.kinds import Kind, kind_of
from observatory.core.lines import BOM, Line
from observatory.core.titles import Title
from observatory.core.usage import Usage

Found = dict[str, Any]
Spent = tuple[tuple[str | None, Usage, Detail], ...]

ERROR_BYTES = 1024  # how much of an unreadable line is shown; the rest is in the file
OVERSIZE = "oversize line"  # why a line beyond the cap is an error
SYNTHETIC = "<synthetic>"  # the model of messages that no model wrote
# Types without uuid that only Claude Code writes: with a sessionId they prove the file (R15).
METADATA_TYPES = frozenset(
    {
        *("summary", "file-history-snapshot", "file-history-delta", "queue-operation", "last-prompt"),
        *("ai-title", "custom-title", "agent-name", "agent-setting", "permission-mode", "mode", "atis-latch"),
        *("pr-link", "worktree-state", "relocated", "bridge-session", "frame-link", "cost-state"),
    }
)
# The envelope's fields that are texts, in the order `_record` takes them.
TEXTS = (
    *("type", "uuid", "parentUuid", "sessionId", "agentId", "cwd", "gitBranch", "version"),
    *("timestamp", "leafUuid", "requestId"),
)
_AGENT_TEXTS = ("id", "model")


@attrs.frozen
class Malformed:
    """Bytes that are no record. `text` is their first KB, decoded with replacement; `offset` and `length` in bytes."""

    offset: int
    length: int
    reason: str
    text: str


@frozen
class Hint:
    """Of a line that tells more than its kind: agent_id: the agent whose result it holds; forked_from: the session it
    was copied from."""

    agent_id: str | None
    forked_from: str | None


@frozen
class Record:
    """One record of a transcript.

    kind:        see `kinds`.
    subtype:     of system lines; the inner `type` of attachment and progress lines.
    timestamp:   RFC 3339 in UTC, as found; None if it is none.
    text:        readable text of a record that is no message; of a command `/x args`.
    raw:         the decoded line for kind "other", never for bridge-session (account ids). Shared: do not change it.
    usage:       (id, counts, detail) of API messages, to be grown per id. The id is the message's; of one without id
                 the line's, see `line_id`; None: that has none either.
    exhausted:   an API error after the last retry.
    recognised:  this line proves that the file is Claude Code's.
    anomalies:   names of fields that had the wrong type, and what `decode` had to change.
    """

    offset: int
    length: int
    type: str
    subtype: str | None
    kind: Kind
    uuid: str | None
    parent_uuid: str | None
    session_id: str | None
    agent_id: str | None
    cwd: str | None
    git_branch: str | None
    version: str | None
    timestamp: str | None
    is_sidechain: bool
    is_meta: bool
    text: str | None
    raw: Found | None
    message: Message | None
    usage: Spent
    title: Title | None
    leaf_uuid: str | None
    request_id: str | None
    anomalies: tuple[str, ...]
    recognised: bool
    exhausted: bool
    hint: Hint | None


def parse(line: Line, decoded: list[object] | None = None) -> tuple[Record | Malformed, ...]:
    """What a line holds: one value; several, in order of offset, if it is glued; none if it is nothing but NULs.

    decoded: gets the JSON value of a line that is just one. Shared with the record: do not change it.
    The empty tuple is an anomaly ("nul") for the caller to count, not a row.
    """
    try:
        value, notes = decode(line.data)
    except NotJson:
        return _damaged(line)
    if decoded is not None:
        decoded.append(value)
    return (_value(value, line.offset, line.length, line.data, notes),)


def malformed(offset: int, length: int, reason: str, data: bytes) -> Malformed:
    """A Malformed whose text is the beginning of `data`; also for lines too long to be read."""
    return Malformed(offset, length, reason, data[:ERROR_BYTES].decode("utf-8", "replace"))


def _damaged(line: Line) -> tuple[Record | Malformed, ...]:
    data = line.data.strip(b"\0")
    if not data.strip():
        return ()
    bom = len(BOM) if line.length - len(line.data) >= len(BOM) else 0
    offset = line.offset + bom + len(line.data) - len(line.data.lstrip(b"\0"))
    if len(data) < len(line.data):
        try:
            value, notes = decode(data)
            return (_value(value, offset, len(data), data, [*notes, "nul"]),)
        except NotJson:
            pass
    return _recovered(data, offset)


def _recovered(data: bytes, offset: int) -> tuple[Record | Malformed, ...]:
    spans, rest = resync.recover(data)
    values: list[Record | Malformed] = []
    for span in spans:
        piece = data[span.start : span.end]
        value, notes = decode(piece)
        values.append(_value(value, offset + span.start, len(piece), piece, [*notes, "glued"]))
    if rest is not None:
        reason = "not JSON" if not spans else "rest of a glued line"
        values.append(malformed(offset + rest.start, rest.end - rest.start, reason, data[rest.start : rest.end]))
    return tuple(sorted(values, key=lambda value: value.offset))


def _value(value: object, offset: int, length: int, data: bytes, notes: list[str]) -> Record | Malformed:
    if type(value) is not dict:
        return malformed(offset, length, "not an object", data)
    return _record(value, offset, length, data, notes)


def _record(found: Found, offset: int, length: int, data: bytes, notes: list[str]) -> Record:
    texts = blocks.text_fields(found, TEXTS, notes)
    named, uuid, parent_uuid, session_id, agent_id, cwd, git_branch, version, stamp, leaf_uuid, request_id = texts
    type_ = named or ""
    is_meta = _flag(found, "isMeta", notes)
    message = _message(found, type_, notes)
    moment = _timestamp(stamp, notes)
    kind = kind_of(found, type_, message, is_meta, notes)
    text = _text(found, type_, kind, message)
    raw = found if kind == "other" and type_ != "bridge-session" else None
    return Record(  # positional, in the order of the class: this is the hot path
        offset, length, type_, _subtype(found, type_, notes), kind, uuid, parent_uuid, session_id, agent_id,
        cwd, git_branch, version, moment, _flag(found, "isSidechain", notes), is_meta,
        text, raw, message, _usage(found, type_, message, (moment, git_branch, uuid), notes),
        _title(found, type_, kind, text, message, leaf_uuid), leaf_uuid, request_id, tuple(notes),
        _recognised(found, type_, session_id, leaf_uuid),
        kind == "error" and type_ == "system" and _exhausted(found), _hint(found, kind),
    )  # fmt: skip


def _flag(found: Found, key: str, notes: list[str]) -> bool:
    value = found.get(key)
    if value is not None and type(value) is not bool:
        notes.append(key)
    return value is True


def _timestamp(stamp: str | None, notes: list[str]) -> str | None:
    if stamp is None:
        return None
    moment = instant(stamp)
    if moment != stamp:
        notes.append("timestamp")
    return moment


def _subtype(found: Found, type_: str, notes: list[str]) -> str | None:
    if type_ == "attachment" or type_ == "progress":
        inside = found.get("attachment" if type_ == "attachment" else "data")
        return text_field(inside, "type", notes, "subtype") if type(inside) is dict else None
    return text_field(found, "subtype", notes)


def _message(found: Found, type_: str, notes: list[str]) -> Message | None:
    if type_ != "user" and type_ != "assistant":
        return None
    value = found.get("message")
    if type(value) is dict:
        return blocks.read(value, type_, notes)
    notes.append("message")
    return None


def _text(found: Found, type_: str, kind: Kind, message: Message | None) -> str | None:
    if kind == "command":
        return prompts.command_line(message.content if message else readable.text(type_, found) or "")
    return None if message else readable.text(type_, found)


def _title(
    found: Found, type_: str, kind: Kind, text: str | None, message: Message | None, leaf_uuid: str | None
) -> Title | None:
    if kind == "prompt" or kind == "command":
        return titles.title("prompt", text if text else message and message.content)
    return titles.named_by(type_, found, leaf_uuid)


def line_id(uuid: str) -> str:
    """Stands for the id of an API message that has none: the line counts once, and so do its copies in forks."""
    return f"line:{uuid}"


def _usage(
    found: Found, type_: str, message: Message | None, line: tuple[str | None, str | None, str | None], notes: list[str]
) -> Spent:
    """line: time, git branch and uuid."""
    if type_ == "assistant" and message is not None and message.model != SYNTHETIC:
        return _own_usage(found, message, line, notes)
    if type_ == "progress":
        return _agent_usage(found, line, notes)
    return ()


def _own_usage(
    found: Found, message: Message, line: tuple[str | None, str | None, str | None], notes: list[str]
) -> Spent:
    """Of an assistant line; also of one without counts, since its message has a time and a model all the same."""
    at, branch, uuid = line
    counts, cost = found["message"].get("usage"), legacy_cost(found, notes)
    if type(counts) is not dict:
        if counts is not None:
            notes.append("usage")
        if message.message_id is None and cost is None:
            return ()
        counts = {}
    spent_id = message.message_id or (line_id(uuid) if uuid else None)
    return ((spent_id, *usage.read(counts, notes, (at, message.model, branch, cost))),)


def _agent_usage(found: Found, line: tuple[str | None, str | None, str | None], notes: list[str]) -> Spent:
    """A sub-agent's API message inside a progress line: its own file may never appear. Without an id it is not
    counted, as it could not be told from the same message there."""
    data = found.get("data")
    outer = data.get("message") if type(data) is dict and data.get("type") == "agent_progress" else None
    inner = outer.get("message") if type(outer) is dict else None
    if type(inner) is not dict or type(inner.get("usage")) is not dict or inner.get("model") == SYNTHETIC:
        return ()
    message_id, model = blocks.text_fields(inner, _AGENT_TEXTS, notes, "message.")
    if not message_id:
        return ()
    return ((message_id, *usage.read(inner["usage"], notes, (line[0], model, line[1], None))),)


def _recognised(found: Found, type_: str, session_id: str | None, leaf_uuid: str | None) -> bool:
    if session_id and (type_ in resync.TREE_TYPES or type_ in METADATA_TYPES or type_.startswith("workflow-")):
        return True
    if type_ == "summary":
        return leaf_uuid is not None
    return type_ == "file-history-snapshot" and resync.is_whole_record(found)


def _hint(found: Found, kind: Kind) -> Hint | None:
    forked = found.get("forkedFrom")
    if kind != "tool_result":
        return None if forked is None else Hint(None, _session_of(forked))
    result = found.get("toolUseResult")
    agent_id = result.get("agentId") if type(result) is dict else None
    if forked is None and type(agent_id) is not str:
        return None
    return Hint(agent_id if type(agent_id) is str else None, _session_of(forked))


def _session_of(forked: object) -> str | None:
    """It is an object now; a plain id would do as well."""
    found = forked.get("sessionId") if type(forked) is dict else forked
    return found if type(found) is str else None


def _exhausted(found: Found) -> bool:
    attempt, most = found.get("retryAttempt"), found.get("maxRetries")
    return type(attempt) is int and type(most) is int and attempt >= most
