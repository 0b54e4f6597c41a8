"""Typed events: what a client's program is given, one class per type of the wire (docs/protocol.md, Events).

A field that may be absent has `ABSENT` then, which is false and is not None: in updates absent means unchanged and None
means cleared. What this version does not know is `OtherEvent`, and every event keeps its `data` as it came, so nothing
that a later server adds is out of reach. Times are RFC 3339 texts in UTC. Texts are other people's: never trust them.
"""

from typing import Any

import attrs
import msgspec
from msgspec import UnsetType

from observatory.core.client_items import Event, Gap, Incomplete, Snapshot
from observatory.core.events import Position

ABSENT = msgspec.UNSET  # `if update.title is not ABSENT: …`
Absent = UnsetType
_NOWHERE = Event("", None, None, None, None, "")


@attrs.frozen
class Tokens:
    """Counts of tokens: totals in a conversation's events, growth in `usage_delta`."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0


@attrs.frozen(kw_only=True)
class Record:
    """One line of a transcript. `offset`, `length`: bytes in the file. `uuid` is not unique, `id` is."""

    id: str
    type: str
    kind: str
    uuid: str | None
    parent_uuid: str | None
    offset: int
    length: int
    timestamp: str | None
    is_sidechain: bool
    is_meta: bool
    subtype: str | Absent = ABSENT
    agent_id: str | Absent = ABSENT
    text: str | Absent = ABSENT
    raw: dict[str, Any] | Absent = ABSENT
    truncated: bool | Absent = ABSENT
    error: str | Absent = ABSENT
    redacted: bool | Absent = ABSENT


@attrs.frozen(kw_only=True)
class ToolCall:
    """A tool that the assistant calls; a later record's ToolResult settles it."""

    id: str
    message_id: str
    tool_name: str
    tool_input: Any
    status: str
    created_at: str | None
    tool_output: str | Absent = ABSENT


@attrs.frozen(kw_only=True)
class ToolResult:
    """What came of an earlier call."""

    tool_use_id: str
    is_error: bool
    content: str


@attrs.frozen(kw_only=True)
class Message:
    """What was said. `message_id` is the API's: one API message is written as several records. `blocks` as written."""

    id: str
    conversation_id: str
    role: str
    content: str
    timestamp: str | None
    sequence_number: int
    message_id: str | Absent = ABSENT
    model: str | Absent = ABSENT
    token_count: int | Absent = ABSENT
    blocks: list[dict[str, Any]] | Absent = ABSENT
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()


@attrs.frozen(kw_only=True)
class Component:
    """A part of the server, and how it is."""

    component_name: str
    status: str
    last_checked: str
    details: str | Absent | None = ABSENT


@attrs.frozen(kw_only=True)
class _Envelope:
    """What all events have: the envelope they came in."""

    envelope: Event = attrs.field(default=_NOWHERE, repr=False)

    @property
    def type(self) -> str:
        """Its type on the wire."""
        return self.envelope.type

    @property
    def data(self) -> Any:  # noqa: ANN401 - any JSON value
        """Its data as it came, with fields that this version does not know."""
        return self.envelope.data

    @property
    def seq(self) -> int | None:
        """Its number in the log; None only on an emergency system_status."""
        return self.envelope.seq

    @property
    def timestamp(self) -> int | None:
        """When it was committed, in ms since 1970 by the server's clock."""
        return self.envelope.timestamp

    @property
    def position(self) -> Position | None:
        """Its place in the log: what to resume from once it is handled."""
        return self.envelope.position


@attrs.frozen(kw_only=True)
class MessageAdded(_Envelope):
    """One record of a transcript. `message` is None unless a user or the assistant speaks."""

    conversation_id: str
    project_id: str
    session_id: str
    record: Record
    message: Message | None
    usage_delta: Tokens | Absent = ABSENT


@attrs.frozen(kw_only=True)
class _Conversation(_Envelope):
    id: str
    project_id: str
    session_id: str
    message_count: int
    file_path: str
    title: str | Absent | None = ABSENT
    status: str | Absent = ABSENT
    activity: str | Absent = ABSENT
    tool_usage_count: int | Absent = ABSENT
    created_at: str | Absent = ABSENT
    updated_at: str | Absent = ABSENT
    agent_id: str | Absent | None = ABSENT
    parent_id: str | Absent | None = ABSENT
    model: str | Absent | None = ABSENT
    tokens: Tokens | Absent = ABSENT
    cost_usd: float | Absent | None = ABSENT


@attrs.frozen(kw_only=True)
class ConversationStarted(_Conversation):
    """A transcript seen for the first time: all that is known of it."""


@attrs.frozen(kw_only=True)
class ConversationUpdate(_Conversation):
    """What changed about a conversation; totals are absolute. One of an unknown id is its beginning."""


@attrs.frozen(kw_only=True)
class ProjectUpdate(_Envelope):
    """A project, new or changed."""

    id: str
    name: str
    path: str
    created_at: str
    updated_at: str
    last_activity: str
    conversation_count: int | Absent = ABSENT
    status: str | Absent = ABSENT


@attrs.frozen(kw_only=True)
class ConversationForgotten(_Envelope):
    """The user had a conversation removed for good: drop what was kept of it."""

    id: str
    project_id: str


@attrs.frozen(kw_only=True)
class ProjectForgotten(_Envelope):
    """The user had a project removed for good, after all its conversations."""

    id: str


@attrs.frozen(kw_only=True)
class _File(_Envelope):
    event_id: str
    event_type: str
    src_path: str
    file_path: str
    is_directory: bool
    dest_path: str | None
    detected_at: str
    project_id: str | Absent = ABSENT
    conversation_id: str | Absent = ABSENT
    file_size: int | Absent = ABSENT
    modification_time: str | Absent = ABSENT


@attrs.frozen(kw_only=True)
class FileCreated(_File):
    """A transcript file appeared, perhaps as the new name of one that moved."""


@attrs.frozen(kw_only=True)
class FileModified(_File):
    """A transcript file grew or was replaced; several writes may be one event."""


@attrs.frozen(kw_only=True)
class FileDeleted(_File):
    """A transcript file is gone, or has moved: then `event_type` is "moved" and `dest_path` says where to."""


@attrs.frozen(kw_only=True)
class SystemStatus(_Envelope):
    """The server's health changed. `service_status` is the worst of its parts'."""

    service_status: str
    components: tuple[Component, ...]
    checked_at: str


@attrs.frozen(kw_only=True)
class HookEvent(_Envelope):
    """What a hook of Claude Code, or a script, told of a session. payload: all of it."""

    id: str
    hook_event_name: str
    session_id: str
    conversation_id: str
    project_id: str | None
    at: str
    payload: dict[str, Any]


@attrs.frozen(kw_only=True)
class OtherEvent(_Envelope):
    """A type this version does not know, a program's own message, or data of another shape than documented."""


TypedEvent = (
    MessageAdded
    | ConversationStarted
    | ConversationUpdate
    | ProjectUpdate
    | ConversationForgotten
    | ProjectForgotten
    | FileCreated
    | FileModified
    | FileDeleted
    | SystemStatus
    | HookEvent
    | OtherEvent
)
Delivery = TypedEvent | Snapshot | Gap | Incomplete  # what a subscription hands out

CLASSES: dict[str, type[TypedEvent]] = {
    "message_added": MessageAdded,
    "conversation_started": ConversationStarted,
    "conversation_update": ConversationUpdate,
    "project_update": ProjectUpdate,
    "conversation_forgotten": ConversationForgotten,
    "project_forgotten": ProjectForgotten,
    "file_created": FileCreated,
    "file_modified": FileModified,
    "file_deleted": FileDeleted,
    "system_status": SystemStatus,
    "hook_event": HookEvent,
}


def typed(event: Event) -> TypedEvent:
    """An event as the class of its type; OtherEvent if it is of none, or of another shape than that class."""
    if (kind := CLASSES.get(event.type)) is not None:
        try:
            return attrs.evolve(msgspec.convert(event.data, kind), envelope=event)
        except msgspec.ValidationError:  # broadcast() may use any type with any data
            pass
    return OtherEvent(envelope=event)
