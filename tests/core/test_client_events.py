"""Typed events: what is known is typed, what is absent is not null, and nothing is out of reach."""

import json
from typing import Any

import attrs
import pytest

from observatory.core import message_added
from observatory.core.client_events import (
    ABSENT,
    CLASSES,
    ConversationStarted,
    ConversationUpdate,
    FileModified,
    MessageAdded,
    OtherEvent,
    ProjectUpdate,
    SystemStatus,
    Tokens,
    TypedEvent,
    typed,
)
from observatory.core.client_items import Event, Snapshot, parse_frame
from observatory.core.client_mirror import Mirror
from observatory.core.events import Position
from observatory.core.lines import Line
from observatory.core.transcript import parse
from tests.test_docs import JSON_EXAMPLES

CONVERSATION = {"id": "c1", "project_id": "p1", "session_id": "s", "message_count": 2, "file_path": "/f"}
PROJECT = {"id": "p1", "name": "shop", "path": "/shop", "created_at": "a", "updated_at": "b", "last_activity": "c"}


def event(kind: str, data: Any, seq: int = 7) -> Event:
    return Event(kind, data, seq, "e1", 1795381200000, json.dumps({"type": kind, "data": data}))


def example(kind: str) -> TypedEvent:
    (text,) = (text for text in JSON_EXAMPLES if json.loads(text)["type"] == kind and '"seq"' in text)
    frame = parse_frame(text)
    assert frame is not None
    return typed(Event(frame.type, frame.data, frame.seq, frame.epoch, frame.timestamp, text))


def test_every_example_of_the_docs_has_its_class() -> None:
    shown = {json.loads(text)["type"] for text in JSON_EXAMPLES if '"seq":' in text and '"epoch":' in text}
    typed_ones = shown & CLASSES.keys()
    assert {"message_added", "conversation_update", "project_update", "file_modified", "system_status"} <= typed_ones
    for kind in typed_ones:
        assert isinstance(example(kind), CLASSES[kind]), kind


def test_a_message_is_typed_down_to_its_tool_calls() -> None:
    found = example("message_added")
    assert isinstance(found, MessageAdded)
    assert (found.record.id, found.record.offset, found.record.is_meta) == ("1-0-868", 868, False)
    assert found.message is not None
    (call,) = found.message.tool_calls
    assert (call.tool_name, call.tool_input, call.status) == ("Bash", {"command": "pytest -q"}, "pending")
    assert (found.message.model, found.message.tool_results) == ("claude-sonnet-4-5", ())
    assert found.usage_delta == Tokens(0, 28, 0, 0)


def test_every_event_has_its_envelope() -> None:
    found = typed(event("project_update", PROJECT | {"invented_later": [1]}))
    assert isinstance(found, ProjectUpdate)
    assert (found.type, found.seq, found.timestamp) == ("project_update", 7, 1795381200000)
    assert found.position == Position("e1", 7)
    assert found.data["invented_later"] == [1]
    assert found.envelope.text.startswith('{"type"')


def test_absent_is_not_null() -> None:
    found = typed(event("conversation_update", CONVERSATION | {"title": None}))
    assert isinstance(found, ConversationUpdate)
    assert found.title is None
    assert found.status is ABSENT
    assert not ABSENT
    started = typed(event("conversation_started", CONVERSATION))
    assert isinstance(started, ConversationStarted)
    assert (started.message_count, started.title, started.tokens) == (2, ABSENT, ABSENT)


def test_the_order_of_keys_means_nothing() -> None:
    envelope = event("project_update", PROJECT)
    backwards = attrs.evolve(envelope, data=dict(reversed(PROJECT.items())))
    assert typed(backwards) == attrs.evolve(typed(envelope), envelope=backwards)


@pytest.mark.parametrize("data", [None, 7, "text", [], {}, CONVERSATION | {"message_count": "2"}, {"envelope": 1}])
def test_a_known_type_with_other_data_is_another_event(data: Any) -> None:
    """A program that embeds the server may broadcast any type with any data."""
    found = typed(event("conversation_update", data))
    assert isinstance(found, OtherEvent)
    assert (found.type, found.data) == ("conversation_update", data)


def test_data_cannot_forge_the_envelope() -> None:
    forged = PROJECT | {"envelope": {"type": "x", "data": 1, "seq": 1, "epoch": "z", "timestamp": 1, "text": ""}}
    assert typed(event("project_update", forged)).position == Position("e1", 7)


def test_an_emergency_status_has_no_position() -> None:
    data = {"service_status": "unavailable", "components": [], "checked_at": "a"}
    found = typed(Event("system_status", data, None, None, 1, ""))
    assert isinstance(found, SystemStatus)
    assert (found.seq, found.position, found.components) == (None, None, ())


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"user","uuid":"u","message":{"role":"user","content":"hi"}}',
        b'{"type":"user","message":{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"ok"}]}}',
        b'{"type":"ai-title","aiTitle":"a name"}',
        b'{"type":"invented","x":{"y":[1,null]}}',
        b'{"broken',
    ],
)
def test_whatever_the_server_makes_of_a_line_is_typed(line: bytes) -> None:
    (record,) = parse(Line(0, len(line), line))
    names = {"record_id": "1-0-0", "conversation_id": "c", "project_id": "p", "session_id": "s", "agent_id": None}
    data = message_added.data(record, **names, sequence_number=1, growth=None)  # type: ignore[arg-type]
    assert isinstance(typed(event("message_added", json.loads(json.dumps(data)))), MessageAdded)


# -- the mirror --------------------------------------------------------------------------------------------------------


def test_updates_are_merged_by_id_and_null_clears() -> None:
    mirror = Mirror()
    mirror.take(typed(event("conversation_started", CONVERSATION | {"title": "old", "status": "active"})))
    mirror.take(typed(event("conversation_update", CONVERSATION | {"title": None, "message_count": 3})))
    mirror.take(typed(event("project_update", PROJECT)))
    mirror.take(typed(event("project_update", PROJECT | {"name": "store"})))
    assert mirror.conversations == {"c1": CONVERSATION | {"title": None, "status": "active", "message_count": 3}}
    assert mirror.projects == {"p1": PROJECT | {"name": "store"}}


def test_an_update_of_something_unknown_is_its_beginning_and_other_events_change_nothing() -> None:
    mirror = Mirror()
    mirror.take(typed(event("conversation_update", CONVERSATION)))
    mirror.take(example("message_added"))
    assert mirror == Mirror({"c1": CONVERSATION}, {})


def test_what_the_user_had_forgotten_leaves_the_mirror() -> None:
    mirror = Mirror({"c1": {"id": "c1"}, "c2": {"id": "c2"}}, {"p1": {"id": "p1"}, "p2": {"id": "p2"}})
    for kind, key in (("conversation_forgotten", "c1"), ("project_forgotten", "p1"), ("project_forgotten", "unknown")):
        mirror.take(typed(event(kind, {"id": key, "project_id": "p1"})))
    assert (set(mirror.conversations), set(mirror.projects)) == ({"c2"}, {"p2"})


def test_a_snapshot_replaces_everything() -> None:
    mirror = Mirror({"c0": {"id": "c0"}}, {"p0": {"id": "p0"}})
    mirror.take(Snapshot(({"id": "p1"},), ({"id": "c1"},), False, Position("e1", 7)))
    assert mirror == Mirror({"c1": {"id": "c1"}}, {"p1": {"id": "p1"}})


def test_file_events_are_typed() -> None:
    found = example("file_modified")
    assert isinstance(found, FileModified)
    assert (found.event_type, found.dest_path, found.file_size) == ("modified", None, 1971)
