"""Writing at a pace: when each line is written, what time it says, and where it ends."""

import re
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from observatory.core.errors import WorldError
from observatory.demo.player import MOST_LATE, Pace, Tally, play
from observatory.demo.stream import Write

LINES = [Write(0, "p/a.jsonl", b"one\n"), Write(3, "p/a.jsonl", b"two\n"), Write(1, "p/s/b.meta.json", b"{}")]


async def test_lines_are_appended_when_their_time_has_come(tmp_path: Path, autojump_clock: MockClock) -> None:
    tally, began = Tally(), trio.current_time()
    assert await play(LINES, tmp_path, Pace(speed=2), tally, inf)
    assert trio.current_time() - began == pytest.approx(2.0)
    assert (tmp_path / "p/a.jsonl").read_bytes() == b"one\ntwo\n"
    assert (tmp_path / "p/s/b.meta.json").read_bytes() == b"{}"
    assert (tmp_path / "p/a.jsonl").stat().st_mode & 0o777 == 0o600
    assert (tally.lines, tally.written, tally.files) == (2, 10, {"p/a.jsonl", "p/s/b.meta.json"})


async def test_it_ends_before_it_fills_the_disk(tmp_path: Path, autojump_clock: MockClock) -> None:
    tally = Tally()
    assert not await play(LINES, tmp_path, Pace(speed=1), tally, 7)
    assert (tmp_path / "p/a.jsonl").read_bytes() == b"one\n"
    assert tally.written == 4


async def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "p").touch()
    with pytest.raises(WorldError, match=r"a.jsonl cannot be written \(Not a directory\): free some space"):
        await play(LINES, tmp_path, Pace(speed=1), Tally(), inf)


async def test_a_writer_that_is_late_moves_its_plan_and_its_clock(tmp_path: Path, mock_clock: MockClock) -> None:
    pace = Pace(speed=1, began=0.0)

    def slow() -> Iterator[Write]:
        yield Write(0, "a.jsonl", b"x\n")
        mock_clock.jump(11)  # making the next line took so long
        yield Write(1, "a.jsonl", b"x\n")

    await play(slow(), tmp_path, pace, Tally(), inf)
    assert pace.late == pytest.approx(10 - MOST_LATE)
    assert pace.stamp(1) == "1970-01-01T00:00:10.000Z"


def test_stamps_are_wall_time_at_the_speed() -> None:
    assert Pace(speed=10, began=1.0).stamp(25) == "1970-01-01T00:00:03.500Z"
    assert re.fullmatch(r"20\d\d-.*Z", Pace(speed=1).stamp(0))
