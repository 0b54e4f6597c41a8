"""The contracts of the original request: checked when made, plain when sent."""

from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs
import orjson
import pytest

from observatory.core.contracts import (
    ComponentHealth,
    ConversationData,
    FileEvent,
    ParsedMessage,
    SystemHealth,
    ToolUsage,
    plain,
    worst,
)

PLAIN: dict[str, Any] = {"conversation_id": "c", "message_id": "m", "role": "user", "content": "", "timestamp": "t"}


class Colour(Enum):
    RED = "red"


def test_a_conversation_with_all_that_belongs_to_it_becomes_plain_json() -> None:
    tool = ToolUsage(tool_name="Bash", tool_input={"at": datetime(2026, 1, 1, tzinfo=UTC)}, status="pending")
    message = ParsedMessage(**PLAIN | {"role": "assistant", "tool_usage": [tool]})
    place = Path("/r/s")
    made = ConversationData(project_id=UUID(int=1), session_id="s", file_path=place, messages=[message])
    data = made.as_data()
    assert orjson.loads(orjson.dumps(data)) == data
    assert (data["project_id"], data["file_path"]) == ("00000000-0000-0000-0000-000000000001", "/r/s")
    (told,) = data["messages"][0]["tool_usage"]
    assert told == {"tool_name": "Bash", "tool_input": {"at": "2026-01-01T00:00:00.000Z"}, "tool_output": None,
                    "status": "pending"}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 1, 1, 1), "2026-01-01T01:00:00.000Z"),
        (datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "2026-01-01T00:00:00.000Z"),
        (Path("/a"), "/a"),
        (Colour.RED, "red"),
        (7, 7),
    ],
)
def test_values_become_what_the_wire_has_for_them(value: Any, text: Any) -> None:
    assert plain(value) == text


@pytest.mark.parametrize(
    "make",
    [
        lambda: ConversationData(project_id="p", session_id="", file_path="/f"),
        lambda: ConversationData(project_id="p", session_id="s", file_path="/f", message_count=-1),
        lambda: ParsedMessage(**PLAIN | {"role": "system"}),
        lambda: ToolUsage(tool_name="", tool_input={}),
        lambda: ToolUsage(tool_name="t", status="done"),  # type: ignore[arg-type]
        lambda: FileEvent(event_type="renamed", src_path="/f"),  # type: ignore[arg-type]
        lambda: FileEvent(event_type="moved", src_path="/f"),
        lambda: FileEvent(event_type="deleted", src_path="/f", dest_path="/g"),
    ],
)
def test_what_is_not_as_agreed_is_not_made(make: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - attrs' own words
        make()


def test_a_moved_file_says_where_it_went_and_every_event_has_an_id() -> None:
    event = FileEvent(event_type="moved", src_path="/f", dest_path=Path("/g"))
    assert event.as_data()["dest_path"] == "/g"
    assert UUID(event.as_data()["event_id"]) != FileEvent(event_type="created", src_path="/f").event_id


def test_contracts_are_frozen() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        ToolUsage(tool_name="t").tool_name = "u"  # type: ignore[misc]


def test_health_is_that_of_the_worst_part() -> None:
    assert worst([]) == "ok"
    assert worst(["degraded", "ok"]) == "degraded"
    assert worst(["degraded", "unavailable", "ok"]) == "unavailable"
    health = SystemHealth("degraded", (ComponentHealth("store", "degraded", None, "t"),), "t")
    assert health.as_data()["components"][0]["component_name"] == "store"
