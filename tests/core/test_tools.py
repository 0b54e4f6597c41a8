"""A call and its result, in whatever order and however often they come."""

import pytest

from observatory.core.tools import ToolCallRow, answered, duration_ms, orphaned

CALL = ToolCallRow("c", "t", "Bash", "1-0-0", "2026-11-22T20:00:00.100Z")


def test_a_call_is_pending_until_its_result_comes() -> None:
    assert CALL.status == "pending"
    done = answered(CALL, is_error=False, at="2026-11-22T20:00:02.345Z", record="1-0-9")
    assert (done.status, done.duration_ms, done.result_record) == ("success", 2245, "1-0-9")
    failed = answered(CALL, is_error=True, at=None, record="1-0-9")
    assert (failed.status, failed.duration_ms, failed.answered_at) == ("error", None, None)


def test_the_first_result_counts() -> None:
    done = answered(CALL, is_error=True, at=None, record="1-0-9")
    assert answered(done, is_error=False, at="2026-11-22T20:00:02.345Z", record="1-0-20") is done


def test_an_orphan_is_taken_back_by_its_result() -> None:
    lost = orphaned(CALL)
    assert lost.status == "orphaned"
    assert orphaned(lost) is lost
    done = answered(lost, is_error=False, at="2026-11-22T20:00:01.100Z", record="1-0-9")
    assert (done.status, done.duration_ms) == ("success", 1000)
    assert orphaned(done) is done


@pytest.mark.parametrize(
    ("begin", "end", "wanted"),
    [
        ("2026-11-22T20:00:00Z", "2026-11-22T20:00:00.0019Z", 1),
        ("2026-11-22T20:00:01Z", "2026-11-22T20:00:00Z", None),
        (None, "2026-11-22T20:00:00Z", None),
        ("2026-11-22T20:00:00Z", None, None),
    ],
)
def test_a_duration_needs_two_times_in_order(begin: str | None, end: str | None, wanted: int | None) -> None:
    assert duration_ms(begin, end) == wanted
