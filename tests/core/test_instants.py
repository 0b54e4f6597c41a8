"""Timestamps of transcripts."""

import pytest

from observatory.core.instants import instant, ms_of, with_ms


@pytest.mark.parametrize(
    ("text", "found", "normal"),
    [
        ("2026-11-22T21:00:00.100Z", "2026-11-22T21:00:00.100Z", "2026-11-22T21:00:00.100Z"),
        ("2026-11-22T21:00:00Z", "2026-11-22T21:00:00Z", "2026-11-22T21:00:00.000Z"),
        ("2026-11-22T21:00:00.123456Z", "2026-11-22T21:00:00.123456Z", "2026-11-22T21:00:00.123Z"),
        ("2026-11-22T23:30:00+02:30", "2026-11-22T21:00:00.000Z", "2026-11-22T21:00:00.000Z"),
    ],
)
def test_utc_is_kept_as_found_and_an_offset_is_converted(text: str, found: str, normal: str) -> None:
    assert instant(text) == found
    assert with_ms(found) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-11-22",
        "2026-11-22T21:00:00",
        "20261122T210000Z",
        "2026-W47-7T21:00:00.000Z",
        "2026-02-30T00:00:00.000Z",
        "2026-11-22T25:00:00Z",
        "0001-01-01T00:00:00+05:00",
        "٢٠٢٦-11-22T21:00:00.100Z",
        "2026-11-22T21:00:00.1x0Z",
    ],
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert instant(text) is None


def test_a_time_is_told_in_ms() -> None:
    assert ms_of("1970-01-01T00:00:01.500Z") == 1500
    assert ms_of("1970-01-01T01:00:00+01:00") == 0
    assert ms_of("yesterday") is None
