"""Requests: what is understood, and with which code the rest is refused."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.errors import RequestError
from observatory.core.events import Position
from observatory.core.requests import (
    MAX_NESTING,
    MAX_TOPICS,
    MAX_UINT53,
    GetSnapshot,
    GetStatus,
    GetSubscriptions,
    Ping,
    Pong,
    Request,
    Resume,
    ResumeRequest,
    Subscribe,
    Unsubscribe,
    parse_envelope,
    parse_request,
)
from observatory.core.where import parse_where

WHERE = {"key": "role", "cmp": "exists"}
RESUME = {"epoch": "k3x9q2", "seq": 5}
NESTED_TOO_DEEP = '{"type":"ping","data":' + '{"a":' * MAX_NESTING + "1" + "}" * MAX_NESTING + "}"
DEEP_ENOUGH_FOR_ANY_PARSER = "[" * 100_000 + "]" * 100_000
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KINDS = st.sampled_from(["subscribe", "unsubscribe", "resume", "get_snapshot", "ping", "pong"])
KEYS = st.sampled_from(["topics", "where", "replace", "resume", "limit", "epoch", "seq", "max"])


def refusal_of(text: str) -> str | None:
    """The code; None when the text is a request."""
    try:
        parse_request(parse_envelope(text))
    except RequestError as error:
        return error.code
    return None


def parse(kind: str, data: Any = None, **envelope: Any) -> Request:
    message = {"type": kind, **({} if data is None else {"data": data}), **envelope}
    return parse_request(parse_envelope(orjson.dumps(message).decode()))


def refused(kind: str, data: Any = None, **envelope: Any) -> str:
    with pytest.raises(RequestError) as caught:
        parse(kind, data, **envelope)
    return caught.value.code


@pytest.mark.parametrize(
    ("kind", "data", "request_"),
    [
        ("subscribe", {"topics": []}, Subscribe(1, ())),
        ("subscribe", {"topics": ["system", "system"], "where": None}, Subscribe(1, ("system",), gives_where=True)),
        ("subscribe", {"topics": [], "where": WHERE}, Subscribe(1, (), where=parse_where(WHERE), gives_where=True)),
        ("subscribe", {"topics": ["system"], "replace": True, "resume": RESUME},
         Subscribe(1, ("system",), True, Resume(Position("k3x9q2", 5)))),
        ("unsubscribe", None, Unsubscribe(1, None)),
        ("unsubscribe", {"topics": None}, Unsubscribe(1, None)),
        ("unsubscribe", {"topics": ["project:p"]}, Unsubscribe(1, ("project:p",))),
        ("resume", RESUME | {"max": 9}, ResumeRequest(1, Resume(Position("k3x9q2", 5), 9))),
        ("get_subscriptions", {}, GetSubscriptions(1)),
        ("get_snapshot", {}, GetSnapshot(1, 1000)),
        ("get_snapshot", {"limit": 1}, GetSnapshot(1, 1)),
        ("get_status", {}, GetStatus(1)),
        ("ping", {}, Ping(1, None, False)),
        ("ping", {"timestamp": None}, Ping(1, None, True)),
        ("pong", {"timestamp": 5, "received": 7}, Pong(1)),
    ],
)  # fmt: skip
def test_each_request_is_understood(kind: str, data: Any, request_: Request) -> None:
    assert parse(kind, data, id=1) == request_


@pytest.mark.parametrize("id_", [None, "", "x" * 64, 0, MAX_UINT53])
def test_an_id_is_a_short_text_or_a_small_whole_number(id_: str | int | None) -> None:
    assert parse("get_status", id=id_) == GetStatus(id_)


@pytest.mark.parametrize("id_", ["x" * 65, -1, MAX_UINT53 + 1, 1.5, True, [], {}])
def test_any_other_id_is_refused(id_: object) -> None:
    assert refused("get_status", id=id_) == "INVALID_MESSAGE"


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "[]", '"ping"', "7", "{}", '{"type":7}', '{"type":""}', '{"type":"ping","data":[]}',
     '{"type":"ping","data":null}', '{"type":"ping","data":{"x":NaN}}', '{"type":"ping"}{"type":"ping"}',
     '{"type":"ping","data":{"x":"\\ud800"}}', NESTED_TOO_DEEP, DEEP_ENOUGH_FOR_ANY_PARSER],
)  # fmt: skip
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_envelope(text)
    assert caught.value.code == "INVALID_MESSAGE"


def test_a_refused_message_is_answered_under_its_id_if_that_could_be_read() -> None:
    with pytest.raises(RequestError) as caught:
        parse_envelope('{"type":7,"id":"a"}')
    assert caught.value.re == "a"


def test_nesting_up_to_the_bound_is_fine() -> None:
    inside: Any = 1
    for _ in range(MAX_NESTING - 2):
        inside = [inside]
    assert parse("ping", {"timestamp": inside}) == Ping(None, inside, True)


@pytest.mark.parametrize(
    ("kind", "data", "code"),
    [
        ("fly", {}, "UNKNOWN_MESSAGE_TYPE"),
        ("subscribe", {}, "INVALID_TOPIC"),
        ("subscribe", {"topics": "system"}, "INVALID_TOPIC"),
        ("subscribe", {"topics": ["nonsense"]}, "INVALID_TOPIC"),
        ("subscribe", {"topics": [7]}, "INVALID_TOPIC"),
        ("subscribe", {"topics": ["x" * 1000]}, "INVALID_TOPIC"),
        ("subscribe", {"topics": ["system"] * (MAX_TOPICS + 1)}, "TOO_MANY_SUBSCRIPTIONS"),
        ("subscribe", {"topics": ["system"], "replace": 1}, "INVALID_MESSAGE"),
        ("subscribe", {"topics": ["system"], "where": WHERE | {"cmp": "like"}}, "INVALID_FILTERS"),
        ("subscribe", {"topics": ["system"], "where": []}, "INVALID_FILTERS"),
        ("subscribe", {"topics": ["system"], "where": False}, "INVALID_FILTERS"),
        ("subscribe", {"topics": ["system"], "where": {}}, "INVALID_FILTERS"),
        ("subscribe", {"topics": ["system"], "resume": 7}, "INVALID_POSITION"),
        ("unsubscribe", {"topics": {}}, "INVALID_TOPIC"),
        ("resume", {}, "INVALID_POSITION"),
        ("resume", {"epoch": "short", "seq": 5}, "INVALID_POSITION"),
        ("resume", {"epoch": "x" * 33, "seq": 5}, "INVALID_POSITION"),
        ("resume", {"epoch": 7, "seq": 5}, "INVALID_POSITION"),
        ("resume", {"epoch": "k3x9q2", "seq": -1}, "INVALID_POSITION"),
        ("resume", {"epoch": "k3x9q2", "seq": True}, "INVALID_POSITION"),
        ("resume", RESUME | {"max": "9"}, "INVALID_POSITION"),
        ("get_snapshot", {"limit": 0}, "INVALID_MESSAGE"),
        ("get_snapshot", {"limit": 1001}, "INVALID_MESSAGE"),
        ("get_snapshot", {"limit": True}, "INVALID_MESSAGE"),
    ],
)
def test_each_bad_request_has_its_code(kind: str, data: Any, code: str) -> None:
    assert refused(kind, data) == code


def test_unknown_keys_are_ignored() -> None:
    assert parse("get_status", {"new": 1}, timestamp=3, stream="main") == GetStatus(None)


def test_a_refusal_shows_a_bad_topic_shortened() -> None:
    with pytest.raises(RequestError) as caught:
        parse("subscribe", {"topics": ["x" * 1000]})
    assert str(caught.value).startswith("INVALID_TOPIC: 'xxx")
    assert len(caught.value.message) < 160


@given(st.text() | JSON.map(json.dumps))
def test_no_text_ends_in_anything_but_a_request_or_a_refusal(text: str) -> None:
    assert refusal_of(text) in {None, "INVALID_MESSAGE", "UNKNOWN_MESSAGE_TYPE"}


@given(KINDS, st.dictionaries(KEYS, JSON))
def test_no_data_of_a_request_ends_in_anything_else_either(kind: str, data: dict[str, Any]) -> None:
    assert refusal_of(json.dumps({"type": kind, "data": data})) != "UNKNOWN_MESSAGE_TYPE"
