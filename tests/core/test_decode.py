"""JSON text into values that orjson can always encode again."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.decode import MAX_DEPTH, NotJson, decode, deeper, harmless, valid


@pytest.mark.parametrize(
    ("data", "value", "notes"),
    [
        (b'{"a":[1,2.5,true,null,"x"]}', {"a": [1, 2.5, True, None, "x"]}, []),
        (b'{"a":"\\ud800x"}', {"a": "\ufffdx"}, ["surrogate"]),
        (b'{"\\ud800":1}', {"\ufffd": 1}, ["surrogate"]),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}, []),
        (b'{"a":"\xff"}', {"a": "\ufffd"}, ["utf-8"]),
        (b'{"a":NaN,"b":-Infinity,"c":1e999}', {"a": None, "b": None, "c": None}, ["number"]),
        (b'{"a":NaN,"b":12345678901234567890123}', {"a": None, "b": 1.2345678901234568e22}, ["number"]),
        (b'{"a":NaN,"b":' + b"9" * 400 + b"}", {"a": None, "b": None}, ["number"]),
        (b'{"a":NaN,"b":false,"c":7}', {"a": None, "b": False, "c": 7}, ["number"]),
    ],
)
def test_what_cannot_be_encoded_becomes_harmless_and_is_noted(data: bytes, value: object, notes: list[str]) -> None:
    assert decode(data) == (value, notes)
    assert orjson.loads(orjson.dumps(value)) == value


@pytest.mark.parametrize(
    "data", [b"", b"{", b"{} {}", b'{"a":"\x01"}', b"[" * 3000 + b"]" * 3000, b"[NaN," + b"9" * 5000 + b"]"]
)
def test_what_is_no_value_is_refused(data: bytes) -> None:
    with pytest.raises(NotJson):
        decode(data)


def test_deep_nesting_is_cut_before_the_encoder_meets_it() -> None:
    value, notes = decode(b'{"a":' + b"[" * 300 + b'"x"' + b"]" * 300 + b"}")
    assert notes == ["depth"]
    assert not deeper(value, MAX_DEPTH)
    assert orjson.dumps(value)


def test_many_brackets_are_not_deep() -> None:
    flat: dict[str, list[object]] = {"a": [{"b": []} for _ in range(200)]}
    assert decode(json.dumps(flat).encode()) == (flat, [])


def test_names_of_files_become_valid_text() -> None:
    assert valid("a\udcffb") == "a\ufffdb"
    assert valid("né") == "né"


@given(st.binary() | st.text(alphabet=st.characters(exclude_categories=())).map(lambda text: json.dumps(text).encode()))
def test_whatever_is_decoded_can_be_encoded(data: bytes) -> None:
    try:
        value, _ = decode(data)
    except NotJson:
        return
    assert orjson.dumps(value).decode() is not None


@given(st.floats() | st.integers() | st.text(alphabet=st.characters(exclude_categories=())))
def test_a_scalar_becomes_harmless(value: object) -> None:
    assert orjson.dumps(harmless([value, {"k": value}], set()))
