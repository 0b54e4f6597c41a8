"""An import in words."""

import attrs
import pytest

from observatory.core.progress import Progress
from observatory.core.progress_text import clock, line_of, progress_of, total, unread

HALF = Progress(
    running=True, files_done=12, files_total=1234, bytes_done=500_000_000, bytes_total=1_000_000_000, conversations=12,
    records=1000, seconds=10.0, bytes_per_second=50_000_000.0, seconds_left=10.4,
)  # fmt: skip


def test_a_line_tells_files_bytes_rate_and_time_left() -> None:
    assert line_of(HALF) == "12 of 1,234 files, 500.0 of 1,000.0 MB, 50.0 MB/s, 0:10 left"
    assert line_of(Progress(running=True, files_total=1)) == "0 of 1 file, 0.0 of 0.0 MB, 0.0 MB/s, –:–– left"


@pytest.mark.parametrize(("seconds", "told"), [(0.4, "0:00"), (59.6, "1:00"), (754.0, "12:34"), (3723.0, "1:02:03")])
def test_a_clock_has_hours_when_it_needs_them(seconds: float, told: str) -> None:
    assert clock(seconds) == told


def test_the_last_line_has_the_totals() -> None:
    done = attrs.evolve(HALF, running=False, errors=1)
    assert total(done) == "imported 12 conversations, 1,000 records, 500.0 MB in 10.0 s, 50.0 MB/s, 1 error line"
    assert total(Progress()) == "nothing to import: all that these roots hold is in the archive"
    assert total(Progress(files_left_out=1)).startswith("imported 0 conversations")


def test_what_could_not_be_read_is_one_line() -> None:
    assert unread({"/a": "Permission denied"}) == "/a cannot be read: Permission denied"
    assert unread({"/a": "x", "/b": "y", "/c": "z"}) == "/a cannot be read (and 2 more): x"


def test_the_progress_of_another_version_is_understood() -> None:
    assert progress_of(attrs.asdict(HALF)) == HALF
    assert progress_of({"files_done": 3, "moons": 4}) == Progress(files_done=3)
