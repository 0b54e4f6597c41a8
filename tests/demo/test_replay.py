"""Real files again: every line, in the order of the times, and nothing is written to where they come from."""

import os
from pathlib import Path

import pytest

from observatory.demo.replay import LONGEST_PAUSE, Source, moment_of, replay, sources
from observatory.demo.stream import Write


def line(second: float | None, text: str) -> bytes:
    stamp = "" if second is None else f',"timestamp":"2026-01-01T00:00:{second:06.3f}Z"'
    return f'{{"text":"{text}"{stamp}}}\n'.encode()


def laid_out(root: Path, **files: bytes) -> list[Source]:
    for name, data in files.items():
        path = root / "slug" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (0, 0))
    troubles: list[str] = []
    found = sources(root, troubles.append)
    assert troubles == []
    return found


def played(files: list[Source]) -> list[Write]:
    troubles: list[str] = []
    writes = list(replay(files, troubles.append))
    assert troubles == []
    return writes


def test_lines_of_several_files_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    files = laid_out(tmp_path, a=line(1, "a1") + line(4, "a2"), b=line(2, "b1") + line(3, "b2"), c=line(9, "c1"))
    writes = played(files)
    assert [write.data[9:11] for write in writes] == [b"a1", b"b1", b"b2", b"a2", b"c1"]
    assert [write.delay for write in writes] == [0, 1, 1, 1, 5]
    assert {write.path for write in writes} == {"slug/a.jsonl", "slug/b.jsonl", "slug/c.jsonl"}


def test_a_file_keeps_its_own_order_also_where_times_are_missing_or_go_back(tmp_path: Path) -> None:
    content = line(None, "1") + line(5, "2") + line(3, "3") + b"no json\n" + line(6, "4")
    writes = played(laid_out(tmp_path, a=content, b=line(5.5, "b")))
    assert b"".join(write.data for write in writes if write.path == "slug/a.jsonl") == content
    assert [write.delay for write in writes] == [0, 0, 0, 0, 0.5, 0.5]


def test_nights_are_cut_short(tmp_path: Path) -> None:
    writes = played(laid_out(tmp_path, a=line(0, "a") + line(50, "b")))
    assert [write.delay for write in writes] == [0, LONGEST_PAUSE]


def test_a_file_without_times_is_placed_by_when_it_was_written(tmp_path: Path) -> None:
    writes = played(laid_out(tmp_path, a=line(1, "a"), b=line(None, "b")))
    assert [write.path for write in writes] == ["slug/b.jsonl", "slug/a.jsonl"]


def test_a_last_line_without_a_newline_gets_one(tmp_path: Path) -> None:
    assert played(laid_out(tmp_path, a=line(1, "a").rstrip()))[-1].data == line(1, "a")


def test_what_lies_beside_a_sub_agents_file_comes_before_it(tmp_path: Path) -> None:
    folder = tmp_path / "slug" / "s" / "subagents"
    folder.mkdir(parents=True)
    (folder / "agent-1.jsonl").write_bytes(line(1, "a"))
    (folder / "agent-1.meta.json").write_bytes(b'{"agentType":"Explore"}')
    (tmp_path / "slug" / "s" / "notes.txt").write_text("no transcript")
    writes = played(sources(tmp_path, pytest.fail))
    assert [(write.path, write.data) for write in writes] == [
        ("slug/s/subagents/agent-1.meta.json", b'{"agentType":"Explore"}'),
        ("slug/s/subagents/agent-1.jsonl", line(1, "a")),
    ]


def test_a_file_that_went_away_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    files = laid_out(tmp_path, a=line(1, "a"), b=line(2, "b"))
    (tmp_path / "slug" / "a.jsonl").unlink()
    troubles: list[str] = []
    assert [write.path for write in replay(files, troubles.append)] == ["slug/b.jsonl"]
    assert troubles == [f"{tmp_path}/slug/a.jsonl cannot be read: No such file or directory"]


def test_a_dangling_link_is_told_when_files_are_looked_for(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "nowhere")
    troubles: list[str] = []
    assert sources(tmp_path, troubles.append) == []
    assert troubles == [f"{tmp_path}/a.jsonl cannot be read: No such file or directory"]


def test_thousands_of_files_are_not_open_at_once(tmp_path: Path) -> None:
    files = laid_out(tmp_path, **{f"f{n:03}": line(n / 10, "x") + line(n / 10, "y") for n in range(300)})
    here = Path("/proc/self/fd")
    before = len(list(here.iterdir()))
    assert max(len(list(here.iterdir())) for _ in replay(files, pytest.fail)) <= before + 3


@pytest.mark.parametrize("data", [b"", b"[1]", b'{"timestamp":5}', b'{"timestamp":"soon"}', b"{}", b"{"])
def test_a_line_may_have_no_time(data: bytes) -> None:
    assert moment_of(data) is None


def test_times_may_have_any_offset() -> None:
    assert moment_of(b'{"timestamp":"1970-01-01T01:00:01+01:00"}') == 1.0
