"""The registry of live sessions: what its files say, and what says nothing."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.sessions import Session, parse, pid_of, start_of

ENTRY = {"pid": 7, "sessionId": "s1", "status": "busy", "statusUpdatedAt": 1_795_381_200_000, "procStart": "12345"}


def text(**changed: Any) -> bytes:
    return json.dumps({key: value for key, value in (ENTRY | changed).items() if value is not None}).encode()


@pytest.mark.parametrize(
    ("status", "activity"), [("busy", "working"), ("waiting", "waiting"), ("idle", "idle"), ("shell", "idle")]
)
def test_the_known_values_are_activities(status: str, activity: str) -> None:
    assert parse(text(status=status)) == Session("s1", activity, "12345", 1_795_381_200_000)  # type: ignore[arg-type]


@pytest.mark.parametrize("changed", [
    {"status": None}, {"status": "dreaming"}, {"status": 1}, {"status": ["busy"]}, {"sessionId": None},
    {"sessionId": ""}, {"sessionId": 5}, {"procStart": None}, {"procStart": True}, {"procStart": 1.5},
    {"procStart": {}},
])  # fmt: skip
def test_what_is_not_understood_says_nothing(changed: dict[str, Any]) -> None:
    assert parse(text(**changed)) is None


def test_a_start_may_be_a_number_and_a_time_may_be_missing() -> None:
    assert parse(text(procStart=12345, statusUpdatedAt=None)) == Session("s1", "working", "12345", None)
    for nonsense in ("soon", True, -1, 0, 1.5):
        found = parse(text(statusUpdatedAt=nonsense))
        assert found is not None
        assert found.since_ms is None


@given(st.binary(max_size=100) | st.just(b"[]") | st.just(b"{}") | st.just(b"[" * 5000))
def test_garbage_says_nothing(data: bytes) -> None:
    assert parse(data) is None


@pytest.mark.parametrize(
    ("name", "pid"),
    [("7.json", 7), ("4194304.json", 4194304), ("pid-7.json", None), ("7.json.tmp", None), ("7", None), (".json", None),
     ("-7.json", None), ("٣.json", None), ("²5.json", None), ("1" * 11 + ".json", None)],
)  # fmt: skip
def test_only_files_named_after_a_process_are_of_the_registry(name: str, pid: int | None) -> None:
    assert pid_of(name) == pid


def test_the_start_is_field_22_whatever_the_process_is_called() -> None:
    fields = " ".join(str(number) for number in range(4, 53))
    assert start_of(f"7 (a) b) c) S {fields}".encode()) == "22"
    assert start_of(b"7 (short) S 1 2") is None
    assert start_of(b"") is None


def test_the_start_of_this_process_is_found() -> None:
    found = start_of(Path(f"/proc/{os.getpid()}/stat").read_bytes())
    assert found is not None
    assert found.isdecimal()
