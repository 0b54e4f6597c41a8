"""Records on the wire."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.lines import Line
from observatory.core.message_added import FRAME_BYTES, data
from observatory.core.transcript import Malformed, Record, parse
from observatory.core.usage import NONE, Usage

T = "2026-11-22T21:00:00.100Z"
ENVELOPE: dict[str, Any] = {"parentUuid": "u-9", "uuid": "a-1", "timestamp": T, "sessionId": "5e1f", "cwd": "/w"}


def record(found: dict[str, Any] | bytes) -> Record | Malformed:
    line = found if isinstance(found, bytes) else json.dumps({**ENVELOPE, **found}).encode()
    [value] = parse(Line(9120, len(line), line))
    return value


def wire(found: dict[str, Any] | bytes | Malformed, growth: Usage | None = None, **more: Any) -> dict[str, Any]:
    body = data(
        found if isinstance(found, Malformed) else record(found),
        **{
            "record_id": "r88",
            "conversation_id": "c1",
            "project_id": "p1",
            "session_id": "5e1f",
            "agent_id": None,
            "sequence_number": 41,
            "growth": growth,
        }
        | more,
    )
    loaded = orjson.loads(orjson.dumps(body))
    assert isinstance(loaded, dict)
    return loaded


def assistant(*blocks: Any, **more: Any) -> dict[str, Any]:
    return {"type": "assistant", "message": {"id": "m1", "model": "claude", "content": list(blocks)}, **more}


CALL = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "out", "is_error": True}


def test_a_reply_is_sent_as_the_protocol_shows_it() -> None:
    found = assistant(CALL)
    assert wire(found, Usage(3, 20, 0, 900)) == {
        "conversation_id": "c1",
        "project_id": "p1",
        "session_id": "5e1f",
        "record": {
            "id": "r88",
            "type": "assistant",
            "kind": "assistant",
            "uuid": "a-1",
            "parent_uuid": "u-9",
            "offset": 9120,
            "length": len(json.dumps({**ENVELOPE, **found})),
            "timestamp": T,
            "is_sidechain": False,
            "is_meta": False,
        },
        "message": {
            "id": "r88",
            "conversation_id": "c1",
            "role": "assistant",
            "content": "",
            "timestamp": T,
            "sequence_number": 41,
            "message_id": "m1",
            "model": "claude",
            "blocks": [CALL],
            "tool_calls": [
                {
                    "id": "t1",
                    "message_id": "r88",
                    "tool_name": "Bash",
                    "tool_input": {"command": "ls"},
                    "status": "pending",
                    "created_at": T,
                }
            ],
        },
        "usage_delta": {
            "input_tokens": 3,
            "output_tokens": 20,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 900,
        },
    }


def test_a_plain_prompt_carries_no_optional_keys() -> None:
    found = wire({"type": "user", "message": {"content": "hi"}}, NONE)
    assert "usage_delta" not in found
    assert list(found["message"]) == ["id", "conversation_id", "role", "content", "timestamp", "sequence_number"]
    assert not {"text", "raw", "subtype", "agent_id", "truncated", "error"} & found["record"].keys()


def test_a_reply_of_an_unknown_model_names_none() -> None:
    found = wire({"type": "assistant", "message": {"content": "hi"}})
    assert not {"model", "message_id", "blocks", "tool_calls"} & found["message"].keys()


def test_tool_results_settle_earlier_calls() -> None:
    found = wire({"type": "user", "message": {"content": [RESULT]}})
    assert found["message"]["tool_results"] == [{"tool_use_id": "t1", "is_error": True, "content": "out"}]
    assert found["record"]["kind"] == "tool_result"


def test_what_is_unknown_is_null_where_the_protocol_says_so() -> None:
    found = wire({"type": "user", "uuid": None, "parentUuid": None, "timestamp": None, "message": {"content": "x"}})
    assert found["record"]["uuid"] is found["record"]["parent_uuid"] is found["record"]["timestamp"] is None
    assert found["message"]["timestamp"] is None


def test_a_record_that_is_no_message_carries_its_line() -> None:
    found = wire({"type": "system", "subtype": "turn_duration", "durationMs": 1500})
    assert found["message"] is None
    assert found["record"]["subtype"] == "turn_duration"
    assert found["record"]["text"] == "turn took 1.5 s"
    assert found["record"]["raw"] == {**ENVELOPE, "type": "system", "subtype": "turn_duration", "durationMs": 1500}


def test_account_ids_of_a_bridge_session_stay_here() -> None:
    body = json.dumps(wire({"type": "bridge-session", "ownerAccountUuid": "secret", "bridgeSessionId": "hidden"}))
    assert "secret" not in body
    assert "hidden" not in body
    assert "raw" not in body


@pytest.mark.parametrize(
    ("inline", "of_file", "expected"), [(None, None, None), ("a1", None, "a1"), (None, "a2", "a2"), ("a1", "a2", "a1")]
)
def test_an_agent_is_named_by_its_line_or_its_file(
    inline: str | None, of_file: str | None, expected: str | None
) -> None:
    found = wire({"type": "user", "message": {"content": "x"}, "agentId": inline}, agent_id=of_file)
    assert found["record"].get("agent_id") == expected


def test_a_line_that_cannot_be_parsed_says_why() -> None:
    found = wire(Malformed(5, 9, "not JSON", "<<< HEAD\x00"), agent_id="a1")
    assert found["message"] is None
    assert found["record"] == {
        "id": "r88",
        "type": "",
        "kind": "error",
        "uuid": None,
        "parent_uuid": None,
        "offset": 5,
        "length": 9,
        "timestamp": None,
        "is_sidechain": False,
        "is_meta": False,
        "text": "<<< HEAD\x00",
        "error": "not JSON",
        "agent_id": "a1",
    }


def test_an_oversize_line_shows_its_beginning_only() -> None:
    found = wire(Malformed(5, 99_000_000, "oversize", "x" * 1024))
    assert found["record"]["text"] == "x" * 1024
    assert "truncated" not in found["record"]


BIG = {"type": "tool_result", "tool_use_id": "t1", "content": "é\x01" * 300_000}
MANY = [{"type": "x", "n": number} for number in range(40_000)]
CALLS = [{**CALL, "id": f"t{number}", "input": number} for number in range(20_000)]
DEEP_INPUT = {**CALL, "input": list(range(100_000))}


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (assistant({"type": "text", "text": "x" * 300_000}), "x" * 65536),
        ({"type": "user", "message": {"content": [BIG]}}, None),
        ({"type": "user", "message": {"content": [BIG] * 40}}, None),
        (assistant(*MANY, {"type": "text", "text": "still here"}), "still here"),
        (assistant(*CALLS, {"type": "text", "text": "still here"}), "still here"),
        (assistant(DEEP_INPUT, {"type": "text", "text": "still here"}), "still here"),
        ({"type": "new in 2027", "items": MANY}, None),
        ({"type": "new in 2027", "k" * 300_000: 1}, None),
        ({"type": "y" * 300_000, "uuid": "z" * 300_000, "gitBranch": ["\x01"] * 90_000}, None),
    ],
)
@pytest.mark.parametrize("limit", [FRAME_BYTES, 32 * 1024])
def test_a_frame_stays_within_its_limit(found: dict[str, Any], kept: str | None, limit: int) -> None:
    body = wire(found, limit=limit)
    assert len(orjson.dumps(body)) <= limit - 500  # the envelope takes the rest
    assert body["record"]["truncated"] is True
    assert (body["conversation_id"], body["record"]["id"]) == ("c1", "r88")
    if kept is not None and limit == FRAME_BYTES:
        assert body["message"]["content"] == kept


def test_tool_calls_outlive_their_inputs() -> None:
    body = wire(assistant(DEEP_INPUT))
    assert body["message"]["tool_calls"][0]["tool_name"] == "Bash"
    assert body["message"]["tool_calls"][0]["tool_input"] is None
    assert "blocks" not in body["message"]


def test_cutting_leaves_the_record_alone() -> None:
    value = record(assistant({"type": "text", "text": "x" * 300_000}, {**CALL, "input": "y" * 300_000}))
    assert isinstance(value, Record)
    data(
        value,
        record_id="r",
        conversation_id="c",
        project_id="p",
        session_id="s",
        agent_id=None,
        sequence_number=1,
        growth=None,
    )
    assert value.message is not None
    assert len(value.message.content) == 300_000
    assert len(value.message.tool_calls[0].input) == 300_000


def test_a_large_line_that_fits_is_sent_whole() -> None:
    body = wire(assistant({"type": "text", "text": "x" * 100_000}))
    assert len(body["message"]["content"]) == 100_000
    assert "truncated" not in body["record"]


def test_numbers_that_are_none_do_not_reach_the_wire() -> None:
    found = wire(b'{"type":"x","a":NaN,"b":[Infinity,-Infinity],"c":"\\ud800"}')
    assert found["record"]["raw"] == {"type": "x", "a": None, "b": [None, None], "c": "\ufffd"}


TEXTS = st.text(alphabet=st.characters(exclude_categories=()), max_size=40)
JUNK = st.binary(max_size=60) | st.sampled_from([b"\\ud800", b"\xff", b"NaN", b"1e999", b"[" * 400 + b"]" * 400, b"{}"])
LINES = st.one_of(
    JUNK,
    JUNK.map(lambda junk: b'{"type":"x","v":' + junk + b"}"),
    JUNK.map(lambda junk: b'{"type":"user","message":{"content":"' + junk + b'"}}'),
    TEXTS.map(lambda words: json.dumps(assistant({"type": "text", "text": words}, {**CALL, "input": words})).encode()),
)


@given(LINES)
def test_whatever_a_line_holds_is_valid_json_on_the_wire(line: bytes) -> None:
    for value in parse(Line(0, len(line), line)):
        body = data(
            value,
            record_id="r",
            conversation_id="c",
            project_id="p",
            session_id="s",
            agent_id=None,
            sequence_number=0,
            growth=None,
        )
        encoded = orjson.dumps(body).decode("utf-8", "strict")
        json.loads(encoded, parse_constant=pytest.fail)
        encoded.encode("utf-8", "strict")


@given(st.integers(min_value=100, max_value=16_000).flatmap(lambda n: st.sampled_from([
    b'{"type":"x","v":"' + b"\xff" * n + b'"}',
    b'{"type":"x","v":[' + b"9e15," * (n // 5) + b"1]}",
    b'{"type":"user","message":{"content":[' + b'"\xff",' * (n // 4) + b'""]}}',
    b'{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"' + b"\xff" * n + b'"}]}}',
    b'{"type":"assistant","message":{"content":['
    + b'{"type":"tool_use","id":"t"},' * (n // 29) + b'{"type":"tool_use","id":"t"}]}}',
])))  # fmt: skip
def test_a_line_too_small_to_be_measured_cannot_outgrow_the_limit(line: bytes) -> None:
    assert len(orjson.dumps(wire(line))) <= FRAME_BYTES - 512
