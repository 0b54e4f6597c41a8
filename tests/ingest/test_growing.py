"""Byte by byte, in any chunks, and all at once: reading a real transcript gives the same tables."""

import random
from itertools import accumulate
from typing import Any

import pytest

from tests.ingest.growing import SAMPLES, around_newlines, at_once, differences, every_byte, samples, tables

SMALL = 4_000  # bytes of the samples that are read byte by byte here; `python -m tests.ingest.growing` does it for all

if not SAMPLES.is_dir():
    pytest.skip(f"no sample transcripts at {SAMPLES}", allow_module_level=True)


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return tables(samples(), at_once)


def test_every_line_of_the_samples_is_in_the_tables(whole: dict[str, Any]) -> None:
    assert len(whole["records"]) == 3503 - 4  # ends without a newline: more may come
    assert len(whole["sources"]) == len(whole["conversations"]) == 35


def test_byte_by_byte_equals_all_at_once() -> None:
    files = [file for file in samples() if file.stat().st_size <= SMALL]
    assert len(files) >= 10
    assert differences(tables(files, every_byte), tables(files, at_once)) == []


def test_every_cut_around_a_newline_equals_all_at_once(whole: dict[str, Any]) -> None:
    assert differences(tables(samples(), around_newlines), whole) == []


@pytest.mark.parametrize(("seed", "most"), [(1, 3000), (2, 60_000), (3, 60_000), (4, 400_000), (5, 400_000)])
def test_any_chunks_equal_all_at_once(whole: dict[str, Any], seed: int, most: int) -> None:
    dice = random.Random(seed)

    def sizes(content: bytes) -> list[int]:
        steps = (dice.randint(1, most) for _ in range(2000))
        return [*(size for size in accumulate(steps) if size < len(content)), len(content)]

    assert differences(tables(samples(), sizes), whole) == []
