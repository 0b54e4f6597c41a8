"""Values that cross the library's border, under the names of the original request.

Times may be given as datetimes (naive ones are UTC), ids as UUIDs, paths as Paths; `as_data` gives what JSON can hold.
"""

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid4

import attrs
from attrs.validators import and_, ge, in_, instance_of, min_len, optional

Status = Literal["ok", "degraded", "unavailable"]
Report = Callable[[str, Status, str | None], Awaitable[None]]  # a part's name, how it is, and what is wrong with it
STATUSES: tuple[Status, ...] = ("ok", "degraded", "unavailable")
Id = str | UUID
Time = str | datetime


def worst(statuses: Iterable[Status]) -> Status:
    """The worst of them; of none: ok."""
    return max(statuses, key=STATUSES.index, default="ok")


@attrs.frozen
class Contract:
    """What they have in common."""

    def as_data(self) -> dict[str, Any]:
        """`data` of a message: plain JSON values, every field."""
        return attrs.asdict(self, value_serializer=lambda owner, field, value: plain(value))


def plain(value: Any) -> Any:  # noqa: ANN401 - any field's value
    """Times as on the wire (RFC 3339, ms, Z); ids and paths as text; tuples as lists."""
    match value:
        case datetime():
            zoned = value if value.tzinfo else value.replace(tzinfo=UTC)
            return zoned.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case UUID() | Path():
            return str(value)
        case Enum():
            return value.value
        case tuple():
            return list(value)
    return value


_text = and_(instance_of(str), min_len(1))


@attrs.frozen(kw_only=True)
class ToolUsage(Contract):
    """One call of a tool."""

    tool_name: str = attrs.field(validator=_text)
    tool_input: dict[str, Any] = attrs.field(factory=dict)
    tool_output: Any = None
    status: Literal["pending", "success", "error"] | None = attrs.field(
        default=None, validator=optional(in_(("pending", "success", "error")))
    )


def _tools(given: Iterable[ToolUsage]) -> tuple[ToolUsage, ...]:
    return tuple(given)


@attrs.frozen(kw_only=True)
class ParsedMessage(Contract):
    """One message of a conversation."""

    conversation_id: Id
    message_id: str = attrs.field(validator=_text)
    role: Literal["user", "assistant"] = attrs.field(validator=in_(("user", "assistant")))
    content: str = attrs.field(validator=instance_of(str))
    timestamp: Time
    id: Id | None = None
    parent_id: str | None = None
    tool_usage: tuple[ToolUsage, ...] = attrs.field(default=(), converter=_tools)


def _messages(given: Iterable[ParsedMessage]) -> tuple[ParsedMessage, ...]:
    return tuple(given)


@attrs.frozen(kw_only=True)
class ConversationData(Contract):
    """A conversation's metadata, and messages if its publisher has them at hand."""

    project_id: Id
    session_id: str = attrs.field(validator=_text)
    file_path: str = attrs.field(converter=str)
    id: Id | None = None
    title: str | None = None
    message_count: int = attrs.field(default=0, validator=ge(0))
    messages: tuple[ParsedMessage, ...] = attrs.field(default=(), converter=_messages)
    created_at: Time | None = None
    updated_at: Time | None = None


@attrs.frozen(kw_only=True)
class FileEvent(Contract):
    """A change of a file. dest_path: where a moved one went, and only then."""

    event_type: Literal["created", "modified", "deleted", "moved"] = attrs.field(
        validator=in_(("created", "modified", "deleted", "moved"))
    )
    src_path: str = attrs.field(converter=str)
    dest_path: str | None = attrs.field(default=None, converter=attrs.converters.optional(str))
    is_directory: bool = False
    event_id: Id = attrs.field(factory=uuid4)
    detected_at: Time | None = None

    def __attrs_post_init__(self) -> None:
        if (self.event_type == "moved") != (self.dest_path is not None):
            raise ValueError("dest_path is for moved files, and they need one")


@attrs.frozen
class ComponentHealth(Contract):
    """One part's health; last_checked: when it changed."""

    component_name: str
    status: Status
    details: str | None
    last_checked: str


@attrs.frozen
class SystemHealth(Contract):
    """The worst of the parts' health, and each part that was ever anything but well."""

    service_status: Status
    components: tuple[ComponentHealth, ...]
    checked_at: str
