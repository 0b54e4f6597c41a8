"""Broadcast messages, decided: who is meant, and what can be sent."""

from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.broadcast import CONTROL_TYPES, BroadcastResult, Failure, Unfit, prepare, to_json, topics_of
from observatory.core.errors import NotBroadcast
from observatory.core.events import Draft
from observatory.core.topics import meet, members
from tests.original.test_replay import TOPICS, is_due
from tests.test_docs import calls, first_text, named


class Kind(str, Enum):  # noqa: UP042 - as callers of Python 3.10 have them
    FILE = "file_created"


def data_of(message: dict[str, Any]) -> Any:
    draft = prepare(message, ("*",))
    assert isinstance(draft, Draft)
    return orjson.loads(orjson.dumps(draft.data))


@given(st.one_of(st.none(), st.sampled_from(TOPICS)), st.frozensets(st.sampled_from(TOPICS)))
def test_a_filter_meets_the_holders_that_the_table_names(subscription_filter: str | None, held: frozenset[str]) -> None:
    assert meet({*held, "*"}, topics_of(subscription_filter)) == is_due(subscription_filter, held)


def test_topics_are_stored_without_doubles_and_only_families_end_like_one() -> None:
    assert topics_of(None) == ("*",)
    assert topics_of("all_conversations") == ("all_conversations", "conversation:*", "project:*")
    assert topics_of("project:p") == ("project:p", "project_updates", "all_conversations")
    assert topics_of("system") == ("system",)


def test_a_family_has_its_members_and_other_topics_have_none() -> None:
    held = ["conversation:a", "conversation:*", "conversations", "project:a"]
    assert members(held, ("x", "conversation:*")) == ["conversation:a", "conversation:*"]
    assert members(held, ("conversation:a", "project_updates")) == []
    assert members([], ("conversation:*",)) == []


@pytest.mark.parametrize("wrong", ["", "*", "conversation:*", "conversation:x:*", "conversation:\n", 7, b"system"])
def test_what_is_no_filter_raises(wrong: Any) -> None:
    with pytest.raises(ValueError, match="no subscription filter"):
        topics_of(wrong)


def test_only_type_and_data_are_taken_and_data_has_a_default() -> None:
    draft = prepare({"type": "a", "timestamp": 1, "seq": 2}, ("system",))
    assert isinstance(draft, Draft)
    assert (draft.type, draft.topics) == ("a", ("system",))
    assert data_of({"type": "a"}) == {}
    assert data_of({"type": "a", "data": None}) is None


def test_a_type_that_is_an_enum_goes_as_its_text() -> None:
    draft = prepare({"type": Kind.FILE}, ("*",))
    assert isinstance(draft, Draft)
    assert (draft.type, type(draft.type)) == ("file_created", str)


@pytest.mark.parametrize(
    ("message", "error", "kind"),
    [
        (7, "not_a_dict", None),
        ({}, "no_type", None),
        ({"type": ""}, "no_type", None),
        ({"type": b"a"}, "no_type", None),
        ({"type": "pong"}, "reserved_type", "pong"),
        ({"type": "a", "data": object()}, "not_serialisable", "a"),
        ({"type": "a", "data": "x" * 100}, "too_big", "a"),
    ],
)
def test_what_cannot_be_sent_says_why(message: Any, error: Failure, kind: str | None) -> None:
    unfit = prepare(message, ("*",), max_bytes=100)
    assert isinstance(unfit, Unfit)
    assert (unfit.error, unfit.kind) == (error, kind)
    assert unfit.reason


def test_the_largest_message_is_counted_to_the_byte() -> None:
    assert isinstance(prepare({"type": "ab", "data": "x" * 6}, ("*",), max_bytes=10), Draft)
    assert isinstance(prepare({"type": "ab", "data": "x" * 7}, ("*",), max_bytes=10), Unfit)


def test_an_object_that_raises_while_it_is_written_is_an_unfit_message() -> None:
    class Wild(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("no items today")

    unfit = prepare({"type": "a", "data": {"needs the tolerant writer": 2**70, "wild": Wild(a=1)}}, ("*",))
    assert isinstance(unfit, Unfit)
    assert (unfit.error, unfit.reason) == ("not_serialisable", "RuntimeError: no items today")


def test_what_is_nested_without_end_is_an_unfit_message() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    unfit = prepare({"type": "a", "data": deep}, ("*",))
    assert isinstance(unfit, Unfit)
    assert unfit.error == "not_serialisable"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": None, "b": [1.5, True]}, b'{"a":null,"b":[1.5,true]}'),
        ({1: 2}, b'{"1":2}'),
        (2**70, b"1180591620717411303424"),
        ("\ud800", '"\ufffd"'.encode()),
        (UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
        ([None, UUID(int=1)], b'[null,"00000000-0000-0000-0000-000000000001"]'),
        ("null", b'"null"'),
    ],
)
def test_json_is_written_as_strict_parsers_take_it(value: Any, text: bytes) -> None:
    assert to_json(value) == text


@attrs.frozen
class Thing:
    a: int


@pytest.mark.parametrize(
    "value", [float("nan"), {"a": [float("-inf"), None]}, {float("nan"): 1}, datetime.min, Thing(1)]
)
def test_what_json_has_no_form_for_raises(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        to_json(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)  # fmt: skip


@given(JSON)
def test_json_values_come_through_unchanged(value: Any) -> None:
    assert data_of({"type": "a", "data": value}) == value


def test_every_control_message_of_the_server_is_reserved() -> None:
    sent = {
        name for call in calls() if named(call) in ("message", "standing", "_standing") and (name := first_text(call))
    }
    assert {"ping", "status", "error"} <= sent <= CONTROL_TYPES


def test_a_result_is_the_list_of_clients_and_tells_why_nobody_got_it() -> None:
    sent = BroadcastResult(["c1"], seq=7)
    assert (sent, sent.seq, sent.error) == (["c1"], 7, None)
    sent.raise_for_error()
    failed = BroadcastResult(["c1"], None, "too_big", "17 bytes")
    with pytest.raises(NotBroadcast, match="too_big: 17 bytes"):
        failed.raise_for_error()
