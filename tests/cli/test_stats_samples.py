"""The totals of the real transcripts, through the archive and `observatory stats`; wrong ways to count must fail."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from observatory.cli.main import main
from observatory.core.lines import split
from observatory.core.transcript import Record, parse
from observatory.core.usage import NONE, Usage, add
from tests.ingest.stage import Stage

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = Path(os.environ.get("OBSERVATORY_SAMPLES", ROOT.parent / "shared" / "transcripts")).resolve()

if not SAMPLES.is_dir():
    pytest.skip(f"no sample transcripts at {SAMPLES}", allow_module_level=True)

TOKENS = Usage(3_783, 129_720, 3_479_833, 90_043_447)
EVERY_LINE = Usage(5_739, 157_713, 6_326_513, 146_452_324)
FIRST_LINE = Usage(3_591, 85_100, 3_479_833, 90_043_447)
FIELDS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


async def through_the_archive(directory: Path) -> Usage:
    """What `observatory stats` makes of all of them."""
    total = (await stats(directory, "day"))["total"]
    assert total["messages"] == 722
    return tokens(total)


async def stats(directory: Path, group: str) -> dict[str, Any]:
    if not (directory / "observatory.db").exists():
        shutil.copytree(SAMPLES / "projects", directory / "projects")
        async with Stage(directory).running():
            pass
    done = CliRunner().invoke(main, ["stats", group, "--json", "--data-dir", str(directory)])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def tokens(row: dict[str, Any]) -> Usage:
    return Usage(*(row[name] for name in FIELDS))


def usages() -> list[tuple[str, Usage]]:
    """Of every assistant line: its message's id, and its counts."""
    found: list[tuple[str, Usage]] = []
    for path in sorted(SAMPLES.glob("projects/**/*.jsonl")):
        content = path.read_bytes()
        lines, _ = split(content if content.endswith(b"\n") else content + b"\n", 0)
        records = [value for line in lines for value in parse(line) if isinstance(value, Record)]
        found += [(str(u[0]), u[1]) for record in records if record.type == "assistant" for u in record.usage]
    return found


async def every_line(_: Path) -> Usage:
    total = NONE
    for _id, counts in usages():
        total = add(total, counts)
    return total


async def first_line_per_id(_: Path) -> Usage:
    total = NONE
    for counts in dict(reversed(usages())).values():
        total = add(total, counts)
    return total


WRONG = pytest.mark.xfail(reason="a wrong way to count", strict=True)


@pytest.mark.parametrize(
    "count",
    [through_the_archive, pytest.param(every_line, marks=WRONG), pytest.param(first_line_per_id, marks=WRONG)],
)
async def test_tokens_are_the_maximum_per_field_and_id(tmp_path: Path, count: Callable[[Path], Any]) -> None:
    assert await count(tmp_path) == TOKENS


async def test_wrong_ways_to_count_are_as_wrong_as_they_are_known_to_be(tmp_path: Path) -> None:
    assert await every_line(tmp_path) == EVERY_LINE
    assert await first_line_per_id(tmp_path) == FIRST_LINE


async def test_every_group_has_the_same_total(tmp_path: Path) -> None:
    totals = [(await stats(tmp_path, group))["total"] for group in ("day", "week", "month", "project", "model")]
    totals += [(await stats(tmp_path, group))["total"] for group in ("branch", "conversation")]
    assert all(total == totals[0] for total in totals)
    assert tokens(totals[0]) == TOKENS
    assert set(totals[0]["unpriced"]) <= {
        "service tier default",
        "service tier [trimmed for fixture]",
        "inference_geo us",
    }
