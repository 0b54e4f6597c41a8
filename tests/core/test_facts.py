"""What filters can ask: each key, from where it stands in each type of event."""

from typing import Any

import pytest

from observatory.core import message_added
from observatory.core.events import text_frame
from observatory.core.facts import KEYS, Facts, facts, facts_of, facts_of_frame
from observatory.core.lines import Line
from observatory.core.transcript import Record, parse
from tests.core.filters import payload

IDS = {"conversation_id": "c1", "project_id": "p1", "session_id": "s1"}
RECORD = {"id": "1-0-0", "type": "user", "kind": "prompt", "is_sidechain": False, "is_meta": True}


def test_a_message_of_ours_has_its_facts_in_record_and_message() -> None:
    message = {
        "role": "assistant",
        "model": "opus",
        "tool_calls": [{"tool_name": "Bash"}, {"tool_name": "Bash"}, {"tool_name": "Read"}],
        "tool_results": [{"is_error": False}],
    }
    found = facts("message_added", {**IDS, "record": RECORD | {"agent_id": "a1"}, "message": message})
    assert found == {
        "type": "message_added", **IDS, "record_type": "user", "kind": "prompt", "agent_id": "a1",
        "is_sidechain": False, "is_meta": True, "role": "assistant", "model": "opus",
        "tool": frozenset({"Bash", "Read"}), "is_error": False,
    }  # fmt: skip


def test_is_error_and_tool_are_missing_without_results_and_calls() -> None:
    found = facts("message_added", {**IDS, "record": RECORD, "message": {"role": "user", "content": ""}})
    assert not {"is_error", "tool", "model", "agent_id"} & found.keys()
    assert "role" not in facts("message_added", {**IDS, "record": RECORD, "message": None})


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("conversation_started", {"id": "c1", "status": "active", "model": "opus", "file_path": "/x", "agent_id": "a"},
         {"conversation_id": "c1", "status": "active", "model": "opus", "path": "/x", "agent_id": "a"}),
        ("conversation_update", {"id": "c1", "title": None}, {"conversation_id": "c1"}),
        ("project_update", {"id": "p1", "path": "/shop", "status": "active"}, {"status": "active"}),
        ("file_modified", {"file_path": "/x", "src_path": "/y", "conversation_id": "c1"},
         {"path": "/x", "conversation_id": "c1"}),
        ("system_status", {"service_status": "ok", "status": "bad"}, {"status": "ok"}),
    ],
)  # fmt: skip
def test_other_events_have_theirs_at_the_top_of_data(kind: str, data: dict[str, Any], expected: Facts) -> None:
    assert facts(kind, data) == {"type": kind, **expected}


def test_a_broadcast_message_has_its_facts_at_the_top_of_data_with_the_right_type() -> None:
    told = dict.fromkeys(KEYS, "x") | {"is_meta": True, "tool": ["a", "b"], "file_path": "/x", "record": RECORD}
    found = facts("deployed", told)
    assert found == dict.fromkeys(KEYS - {"is_sidechain", "is_error"}, "x") | {
        "type": "deployed", "is_meta": True, "tool": frozenset({"a", "b"}), "path": "/x",
    }  # fmt: skip


@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], ["a"], {}])
def test_a_string_of_another_type_is_missing(value: object) -> None:
    assert facts("deployed", {"role": value}) == {"type": "deployed"}


@pytest.mark.parametrize("value", [None, "a", ["a", 1], [None], {"a": 1}])
def test_a_set_of_another_type_is_missing(value: object) -> None:
    assert facts("deployed", {"tool": value}) == {"type": "deployed"}
    assert facts("deployed", {"tool": []}) == {"type": "deployed", "tool": frozenset()}


@pytest.mark.parametrize("data", [None, 7, "text", [], [{"role": "x"}], True])
def test_data_that_is_no_object_has_only_a_type(data: object) -> None:
    assert facts("deployed", data) == {"type": "deployed"}


@pytest.mark.parametrize(
    "data",
    [
        {"record": 7, "message": []},
        {"record": None, "message": {"tool_calls": 7, "tool_results": {}}},
        {"message": {"tool_calls": [7, {}, {"tool_name": 7}], "tool_results": [None]}},
    ],
)
def test_somebody_elses_message_added_cannot_make_it_fail(data: dict[str, Any]) -> None:
    assert facts("message_added", data) == {"type": "message_added"}


@pytest.mark.parametrize("size", [1, 100, 1000, 100_000])
def test_a_frame_of_any_length_is_read(size: int) -> None:
    event = {"type": "x", "data": {"model": "m" * size}}
    assert facts_of_frame(text_frame(payload(event))) == {"type": "x", "model": "m" * size}


def test_a_payload_deeper_than_the_parser_goes_has_no_facts() -> None:
    assert facts_of(b'{"type":"x","data":' + b"[" * 5000 + b"]" * 5000 + b"}") == {}


def test_the_deepest_broadcast_message_that_can_be_sent_is_read() -> None:
    from observatory.core.broadcast import to_json

    depth, data = 0, b"[]"
    inside: Any = []
    for depth in range(2000):  # noqa: B007
        try:
            data = to_json({"role": "x", "deep": inside})
        except Exception:
            break
        inside = [inside]
    assert depth > 200
    assert facts_of(b'{"type":"x","data":' + data + b"}") == {"type": "x", "role": "x"}


def test_a_real_line_is_found_by_what_it_says() -> None:
    line = (
        b'{"type":"assistant","uuid":"u","isSidechain":true,"message":{"role":"assistant","model":"opus","content":'
        b'[{"type":"tool_use","id":"t","name":"Bash","input":{}}]}}'
    )
    (record,) = parse(Line(0, len(line), line))
    assert isinstance(record, Record)
    data = message_added.data(
        record, record_id="r", conversation_id="c1", project_id="p1", session_id="s1", agent_id=None,
        sequence_number=1, growth=None,
    )  # fmt: skip
    found = facts_of(payload({"type": "message_added", "data": data}))
    assert found == {
        "type": "message_added", **IDS, "record_type": "assistant", "kind": "assistant", "role": "assistant",
        "model": "opus", "is_sidechain": True, "is_meta": False, "tool": frozenset({"Bash"}),
    }  # fmt: skip
