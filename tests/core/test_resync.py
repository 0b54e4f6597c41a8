"""Whole records inside damaged lines."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.decode import MAX_DEPTH
from observatory.core.lines import Line, split
from observatory.core.resync import Span, is_whole_record, recover
from observatory.core.transcript import Malformed, Record, parse


def tree(number: int = 1, **more: object) -> dict[str, Any]:
    """A whole user record."""
    found = {
        "parentUuid": None,
        "type": "user",
        "sessionId": "s",
        "uuid": f"u{number}",
        "timestamp": "2026-11-22T21:00:00.100Z",
        "message": {"role": "user", "content": f"hé {number}"},
    }
    return found | more


def text(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


ONE, TWO = text(tree(1)), text(tree(2))
PROGRESS = text(
    tree(
        3,
        type="progress",
        data={"type": "agent_progress", "message": {"type": "assistant", "uuid": "i", "timestamp": "t", "message": {}}},
    )
)


def parsed(data: bytes, offset: int = 100) -> list[Record | Malformed]:
    return list(parse(Line(offset, len(data), data)))


def shape(data: bytes) -> list[tuple[str, bytes]]:
    """Each value as (uuid or reason, its bytes in the line)."""
    found = []
    for value in parsed(data):
        start = value.offset - 100
        name = (value.uuid or "") if isinstance(value, Record) else value.reason
        found.append((name, data[start : start + value.length]))
    return found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (ONE + TWO, [("u1", ONE), ("u2", TWO)]),
        (ONE + b" \0 " + TWO + b" ", [("u1", ONE), ("u2", TWO)]),
        (ONE[:40] + TWO, [("rest of a glued line", ONE[:40]), ("u2", TWO)]),
        (PROGRESS[:-9] + TWO, [("rest of a glued line", PROGRESS[:-9]), ("u2", TWO)]),
        (ONE + TWO[:30], [("u1", ONE), ("rest of a glued line", TWO[:30])]),
        (b"# " + ONE + b"x" + TWO, [("rest of a glued line", b"# " + ONE + b"x"), ("u1", ONE), ("u2", TWO)]),
        (b"42" + ONE, [("rest of a glued line", b"42"), ("u1", ONE)]),
        (b'{"type":"text","text":"x"}{"type":', [("not JSON", b'{"type":"text","text":"x"}{"type":')]),
        (b"// comment", [("not JSON", b"// comment")]),
        (b'{"type": "user", "uuid": "unterminated', [("not JSON", b'{"type": "user", "uuid": "unterminated')]),
        (b"\0\0" + ONE, [("u1", ONE)]),
        (ONE + b"\0" * 9, [("u1", ONE)]),
        (b"\0" + ONE + TWO + b"\0", [("u1", ONE), ("u2", TWO)]),
        (b"\0x", [("not JSON", b"x")]),
    ],
)
def test_a_damaged_line_yields_its_whole_records_and_one_rest(data: bytes, expected: list[tuple[str, bytes]]) -> None:
    assert shape(data) == expected


def test_a_line_of_nothing_but_nuls_is_no_row() -> None:
    assert parsed(b"\0" * 20) == []
    assert parsed(b"\0 \0") == []


def test_nuls_around_a_record_are_an_anomaly_and_not_part_of_it() -> None:
    [record] = parsed(b"\0\0" + ONE + b"\0")
    assert isinstance(record, Record)
    assert record.anomalies == ("nul",)
    assert (record.offset, record.length) == (102, len(ONE))


def test_the_bom_is_no_part_of_a_record_behind_nuls() -> None:
    [line], _ = split(b"\xef\xbb\xbf\0\0" + ONE + b"\n", 0)
    [record] = parse(line)
    assert record.offset == 5


def test_glued_records_say_so() -> None:
    assert all(isinstance(record, Record) and record.anomalies == ("glued",) for record in parsed(ONE + TWO))


@pytest.mark.parametrize(
    ("value", "whole"),
    [
        (tree(), True),
        ({**tree(), "uuid": 5}, False),
        ({key: value for key, value in tree().items() if key != "parentUuid"}, False),
        ({key: value for key, value in tree().items() if key != "timestamp"}, False),
        ({"type": "summary", "summary": "x", "leafUuid": "u"}, True),
        ({"type": "summary", "summary": "x"}, False),
        ({"type": "file-history-snapshot", "messageId": "m", "snapshot": {}}, True),
        ({"type": "file-history-snapshot", "messageId": "m"}, False),
        ({"type": "ai-title", "aiTitle": "x", "sessionId": "s"}, True),
        ({"type": "tool_use", "id": "t"}, False),
        ({"sessionId": "s"}, False),
        ([1], False),
    ],
)
def test_the_guard_takes_whole_records_only(value: object, whole: bool) -> None:
    assert is_whole_record(value) is whole


def test_what_nests_too_deep_is_not_recovered() -> None:
    deep = text(tree(message={"content": json.loads("[" * 200 + "]" * 200)}))
    assert recover(deep + b"x") == ([], Span(0, len(deep) + 1))
    assert MAX_DEPTH < 200


@pytest.mark.parametrize(
    "hostile",
    [
        b'{"type":' * 60_000,
        b'{"type":[1,1,1,1,' * 30_000,
        b'{"type":"\\"' + b'{\\"type' * 60_000,
        (b"[" * 2000 + b'{"type":') * 100,
        b'{"type":' + b"9" * 5000 + b"}x",
    ],
)
def test_a_hostile_line_costs_no_more_than_its_length(hostile: bytes) -> None:
    began = time.process_time()
    assert [type(value) for value in parsed(hostile)] == [Malformed]
    assert time.process_time() - began < 5  # quadratic work would take minutes


@given(
    st.lists(st.sampled_from([ONE, TWO, PROGRESS, ONE[:50], TWO[-20:], b"\0", b" ", b"}", b'"', b"\xff"]), max_size=7)
)
def test_recovered_records_are_the_bytes_they_point_to(parts: list[bytes]) -> None:
    data = b"".join(parts)
    end = 0
    for value in parsed(data):
        if isinstance(value, Record):
            start = value.offset - 100
            assert data[start : start + value.length].strip(b" \0") in (ONE, TWO, PROGRESS)
            assert start >= end
            end = start + value.length
