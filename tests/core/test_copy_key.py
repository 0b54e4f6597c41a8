"""Telling a fork's copy of a line from an unrelated line under the same uuid."""

from typing import Any

import orjson
import pytest

from observatory.core.copy_key import copy_key, digest

LINE: dict[str, Any] = {
    "type": "user",
    "uuid": "u1",
    "sessionId": "s1",
    "timestamp": "2026-11-22T21:00:00.100Z",
    "message": {"role": "user", "content": "hello"},
}


def key(**changes: object) -> int | None:
    return copy_key(orjson.dumps({**LINE, **changes}))


def test_a_forks_copy_has_the_same_key_whatever_was_rewritten_around_it() -> None:
    assert key(sessionId="s2", cwd="/elsewhere", version="9", gitBranch="x", sessionKind="bg", forkedFrom={}) == key()


@pytest.mark.parametrize(
    "changes",
    [
        {"message": {"role": "user", "content": "other"}},
        {"timestamp": "2026-11-22T21:00:00.101Z"},
        {"type": "assistant"},
        {"uuid": "u2"},
        {"type": "progress", "data": {"output": "a"}},
        {"type": "progress", "data": {"output": "b"}},
        {"type": "attachment", "attachment": {"type": "a"}},
        {"type": "system", "subtype": "a"},
        {"type": "system", "subtype": "b"},
    ],
)
def test_an_unrelated_line_under_the_same_uuid_has_another_key(changes: dict[str, Any]) -> None:
    assert key(**changes) != key()


def test_the_key_fits_the_store() -> None:
    found = key()
    assert found is not None
    assert -(2**63) <= found < 2**63


@pytest.mark.parametrize("body", [b"", b"no json", b"[1]", b"{}", b'{"uuid":7}'])
def test_without_uuid_there_is_no_key(body: bytes) -> None:
    assert copy_key(body) is None


def test_nul_bytes_around_a_line_do_not_matter() -> None:
    assert copy_key(b"\0\0" + orjson.dumps(LINE) + b"\0") == key()


def test_a_digest_tells_bytes_apart() -> None:
    assert digest(b"a") == digest(b"a") != digest(b"b")
