"""Reading from an offset: whole lines only, bounded memory, and nothing that could hang."""

import os
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observatory.core.lines import Line, split
from observatory.ingest import reading
from observatory.ingest.reading import START, Chunk, Mark, Oversize, Place, Replaced, Unreadable, read, rest


def chunk(path: Path, place: Place = START) -> Chunk:
    found = read(str(path), place)
    assert isinstance(found, Chunk)
    return found


def whole(path: Path, place: Place = START) -> tuple[list[Line | Oversize], int, Place]:
    """All there is to read, turn by turn, and the turns it took."""
    lines: list[Line | Oversize] = []
    turns = 0
    more = True
    while more:
        found = chunk(path, place)
        lines += found.lines
        place, more = found.place, found.more
        turns += 1
    return lines, turns, place


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a.jsonl"


def test_whole_lines_are_read_and_a_torn_one_is_left(file: Path) -> None:
    file.write_bytes(b"one\ntwo\nthr")
    found = chunk(file)
    assert [(line.offset, line.length) for line in found.lines] == [(0, 3), (4, 3)]
    assert (found.place.offset, found.more, found.place.searched) == (8, False, 0)
    assert chunk(file, found.place).lines == ()
    with file.open("ab") as more:
        more.write(b"ee\n")
    assert chunk(file, found.place).lines == (Line(8, 5, b"three"),)


def test_the_state_is_the_files(file: Path) -> None:
    file.write_bytes(b"one\n")
    stat = file.stat()
    state = chunk(file).state
    assert (state.dev, state.ino, state.size, state.mtime_ns) == (stat.st_dev, stat.st_ino, 4, stat.st_mtime_ns)
    place = chunk(file).place
    assert place == Place(4, head=b"one\n", tail=b"one\n")
    assert chunk(file, place) == Chunk(state, (), False, place)
    assert chunk(file, place).place is place


def test_a_large_file_is_read_in_turns(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_BYTES", 100)
    content = b"".join(b"%d" % n * (n % 20) + b"\n" for n in range(300))
    file.write_bytes(content)
    lines, turns, _ = whole(file)
    assert b"".join(line.data for line in lines if isinstance(line, Line)) == content.replace(b"\n", b"")
    assert turns >= len(content) // 100


@pytest.mark.parametrize("length", [99, 100, 101, 399, 400, 401, 2000, 9000])
def test_a_line_longer_than_a_turn_is_found_whole(file: Path, monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    monkeypatch.setattr(reading, "READ_BYTES", 100)
    monkeypatch.setattr(reading, "SEARCH_BYTES", 800)
    file.write_bytes(b"a\n" + b"x" * length + b"\nb\n")
    lines, _, _ = whole(file)
    assert [(line.offset, line.length) for line in lines] == [(0, 1), (2, length), (length + 3, 1)]


def test_a_long_torn_line_is_not_searched_twice(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_BYTES", 100)
    file.write_bytes(b"x" * 1000)
    found = chunk(file)
    assert (found.lines, found.more, found.place) == ((), False, Place(searched=1000))
    with file.open("ab") as more:
        more.write(b"y\n")
    found = chunk(file, found.place)
    assert found.lines == (Line(0, 1001, b"x" * 1000 + b"y"),)


def test_a_line_beyond_the_limit_becomes_its_head(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_BYTES", 100)
    monkeypatch.setattr(reading, "MAX_LINE", 500)
    monkeypatch.setattr(reading, "OVERSIZE_HEAD", 10)
    file.write_bytes(b"a\n" + b"x" * 501 + b"\nb\n" + b"y" * 500 + b"\n")
    lines, _, _ = whole(file)
    assert lines == [Line(0, 1, b"a"), Oversize(2, 501, b"x" * 10), Line(504, 1, b"b"), Line(506, 500, b"y" * 500)]


def test_only_regular_files_are_read_and_none_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.jsonl")
    (tmp_path / "dir.jsonl").mkdir()
    for name in ("fifo.jsonl", "dir.jsonl"):
        assert read(str(tmp_path / name)) == Unreadable("not a regular file")


def test_what_is_not_there_is_gone(tmp_path: Path, file: Path) -> None:
    assert read(str(file)) == Unreadable("No such file or directory", gone=True)
    file.write_bytes(b"x")
    assert read(str(file / "b.jsonl")) == Unreadable("Not a directory", gone=True)
    (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
    found = read(str(tmp_path / "loop.jsonl"))
    assert isinstance(found, Unreadable)
    assert not found.gone


def test_an_error_of_the_disk_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(fd: int, size: int, offset: int) -> bytes:
        raise OSError(5, "Input/output error")

    file.write_bytes(b"one\n")
    monkeypatch.setattr(os, "pread", broken)
    assert read(str(file)) == Unreadable("Input/output error")


def test_no_descriptor_is_left_open(file: Path) -> None:
    file.write_bytes(b"one\n")
    before = len(os.listdir("/proc/self/fd"))
    for path in (file, file.parent, file.with_name("none")):
        read(str(path))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("length", [3, 300, 2000])
@pytest.mark.parametrize("changed", ["head", "tail", "cut", "emptied"])
def test_other_content_is_told_from_more_of_the_same(
    file: Path, monkeypatch: pytest.MonkeyPatch, length: int, changed: str
) -> None:
    monkeypatch.setattr(reading, "READ_BYTES", 500)
    content = b"".join(b"%d" % n * length + b"\n" for n in range(5))
    file.write_bytes(content)
    place = whole(file)[2]
    assert isinstance(read(str(file), place), Chunk)
    for after in (b"", b"more\n", b"a torn line " * 200):
        other = {"head": b"!" + content[1:], "tail": content[:-2] + b"!\n", "cut": content[:-1], "emptied": b""}[
            changed
        ]
        file.write_bytes(other + (after if changed in ("head", "tail") else b""))
        assert isinstance(read(str(file), place), Replaced)
        file.write_bytes(content + after)
        assert isinstance(read(str(file), place), Chunk)


def test_what_the_archive_knows_is_compared_too(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfone\ntwo\nthree\n")
    place = Place(11, tail=b"\n", marks=(Mark(3, b"one"), Mark(7, b"two")))
    assert chunk(file, place).lines == (Line(11, 5, b"three"),)
    for other in (attrs.evolve(place, marks=(Mark(7, b"twO"),)), attrs.evolve(place, offset=10)):
        assert isinstance(read(str(file), other), Replaced)


def test_a_torn_line_that_was_cut_back_is_searched_anew(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_BYTES", 100)
    file.write_bytes(b"x" * 1000)
    place = chunk(file).place
    file.write_bytes(b"x" * 10 + b"\n")
    assert chunk(file, place).lines == (Line(0, 10, b"x" * 10),)


def test_the_rest_of_a_file_is_read_unless_it_is_too_much_for_a_line(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(b"one\ntwo")
    assert rest(str(file), 4, 7) == b"two"
    assert rest(str(file), 4, 99) == b"two"
    monkeypatch.setattr(reading, "MAX_LINE", 2)
    assert rest(str(file), 4, 7) == b""
    assert rest(str(file.with_name("none")), 0, 1) == b""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(1, 30), st.lists(st.integers(1, 60), max_size=8))
def test_however_it_grows_the_same_lines_are_read_once(
    tmp_path: Path, parts: list[bytes], read_bytes: int, steps: list[int]
) -> None:
    content = b"\n".join(parts)
    file = tmp_path / "grown.jsonl"
    lines: list[Line | Oversize] = []
    place = START
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "READ_BYTES", read_bytes)
        patch.setattr(reading, "SEARCH_BYTES", read_bytes * 8)
        for size in (*sorted({min(step, len(content)) for step in steps}), len(content)):
            file.write_bytes(content[:size])
            more = True
            while more:
                found = chunk(file, place)
                lines += found.lines
                place, more = found.place, found.more
    wanted, consumed = split(content, 0)
    assert lines == wanted
    assert place.offset == consumed
    assert content[:consumed].startswith(place.head)
    assert content[:consumed].endswith(place.tail)
    assert len(place.tail) == min(consumed, reading.MARK_BYTES)
