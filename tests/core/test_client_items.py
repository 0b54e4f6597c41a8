"""Frames, positions and refusals, read from untrusted bytes."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.client_items import Event, Frame, parse_frame, parse_position, position_of, refusal
from observatory.core.errors import UsageError
from observatory.core.events import Position


def test_a_frame_is_read_with_its_text() -> None:
    text = '{"type":"x","data":{"a":1},"timestamp":7,"seq":3,"epoch":"e1","re":"r1","later":true}'
    assert parse_frame(text) == Frame("x", {"a": 1}, 7, 3, "e1", "r1", text)


@pytest.mark.parametrize("text", ["", "no", "[]", "{}", '{"type":1}', '"type"'])
def test_what_is_no_message_is_none(text: str) -> None:
    assert parse_frame(text) is None


@given(
    st.dictionaries(st.sampled_from(["type", "seq", "epoch", "re", "timestamp"]), st.none() | st.booleans() | st.text())
)
def test_wrong_types_are_absent(message: dict[str, Any]) -> None:
    frame = parse_frame(orjson.dumps(message, default=str).decode())
    assert frame is None or (frame.seq is None and frame.timestamp is None)


@pytest.mark.parametrize(
    ("data", "position"),
    [
        ({"epoch": "e1", "seq": 7}, Position("e1", 7)),
        ({"epoch": "e1", "pos": 7}, Position("e1", 7)),
        ({"epoch": "e1", "pos": None}, None),
        ({"epoch": "e1", "pos": True}, None),
        ({"epoch": 1, "pos": 7}, None),
        (None, None),
    ],
)
def test_a_position_is_epoch_and_seq_or_pos(data: object, position: Position | None) -> None:
    assert position_of(data) == position


def test_a_user_writes_a_position_as_epoch_colon_seq() -> None:
    assert parse_position("k3x9q2:120345") == Position("k3x9q2", 120345)


@pytest.mark.parametrize("text", ["", "12", ":12", "e1:", "e1:-1", "e 1:1", "e1:1:1", "e1:²"])
def test_what_is_no_position_is_the_users_mistake(text: str) -> None:
    with pytest.raises(UsageError, match="no position"):
        parse_position(text)


def test_an_event_knows_its_position() -> None:
    assert Event("x", {}, 3, "e1", None, "").position == Position("e1", 3)
    assert Event("x", {}, None, None, None, "").position is None


@pytest.mark.parametrize(
    ("retry_after", "body", "message", "code", "seconds"),
    [
        ("7", b'{"error":{"code":"full","message":"Try later"}}', "Try later", "full", 7.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", b"<html>", "HTTP 503", "", None),
        (None, b"[]", "HTTP 503", "", None),
        (None, b'{"error":"\x1b"}', "HTTP 503", "", None),
        (None, b'{"error":{"message":"a\\u001b[2J"}}', "a␛[2J", "", None),
    ],
)
def test_a_refusal_carries_what_the_server_said(
    retry_after: str | None, body: bytes, message: str, code: str, seconds: float | None
) -> None:
    error = refusal(503, retry_after, body)
    assert str(error) == f"The server refused: {message}"
    assert (error.status, error.code, error.retry_after) == (503, code, seconds)
