import json
from pathlib import Path

from tests.bench import restart
from tests.bench.longline import CAPS, MIB, Phase, failures, good_mark, write_long
from tests.bench.restart import Ears
from tests.bench.transcript import write_history

ROWS = [("long-1.jsonl", 5, "oversize line"), ("long-1.jsonl", 1, None), *[("long-2.jsonl", 5, None)] * 2]


def phases(**changes: object) -> list[Phase]:
    second = {"delays": [0.001], "peak_kb": 1, "passed": True} | changes
    return [Phase("quiet"), Phase("long", **second), Phase("under", delays=[9.0], peak_kb=1, passed=True)]  # type: ignore[arg-type]


def test_a_long_line_is_one_whole_record_with_a_good_one_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_long(str(path), 2, 7)
    long, good, rest = path.read_bytes().split(b"\n")
    assert len(json.loads(long)["message"]["content"][0]["text"]) > 2 * MIB - 1024
    assert good_mark(7) in json.loads(good)["message"]["content"][0]["text"]
    assert rest == b""


def test_what_is_not_as_it_must_be_is_told() -> None:
    assert failures(phases(), ROWS, "") == []
    assert failures(phases(passed=False), ROWS, "2 missing") == [
        "the other file's lines: 2 missing",
        "long: the line behind it did not come",
    ]
    assert len(failures(phases(peak_kb=CAPS * 64 * 1024 + 1), ROWS, "")) == 1
    assert failures(phases(delays=[0.06]), ROWS[:3], "") == [
        f"stored as {ROWS[:3]}",
        "the other file's p99 is 60.0 ms meanwhile",
    ]


def test_the_ears_hear_files_that_are_opened_and_read_but_no_directories(tmp_path: Path) -> None:
    write_history(tmp_path, 3, 2)
    silent, opened, read = sorted((tmp_path / ".claude").rglob("*.jsonl"))
    ears = Ears(tmp_path)
    try:
        list(silent.parent.iterdir())
        silent.stat()
        opened.open().close()
        read.read_bytes()
        assert ears.heard() == {"opened": {opened, read}, "read": {read}}
        assert ears.heard() == {"opened": set(), "read": set()}
    finally:
        ears.close()


def test_a_torn_history_lacks_its_last_newline_only(tmp_path: Path) -> None:
    write_history(tmp_path, 2, 3, torn=frozenset({1}))
    texts = [path.read_bytes() for path in (tmp_path / ".claude").rglob("*.jsonl")]
    assert sorted(text.endswith(b"\n") for text in texts) == [False, True]
    assert all(len([json.loads(line) for line in text.splitlines()]) == 3 for text in texts)


def test_an_opened_file_fails_the_restart() -> None:
    silent = {"opened": 0, "read": 0, "without_newline": 0, "some": []}
    assert restart.failures(silent) == []
    assert restart.failures(silent | {"opened": 1, "some": ["a.jsonl"]}) == [
        "1 files opened, 0 read, 0 of them without a last newline: a.jsonl …"
    ]
