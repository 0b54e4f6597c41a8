"""Looking through real roots."""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from observatory.core.finding import NONE, Some
from observatory.doctor.walk import existing, transcripts, walk

NOW = 1_795_381_200.0


def write(path: Path, content: bytes = b"{}\n", mtime: float = NOW - 60) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (mtime, mtime))
    return path


def test_transcripts_are_counted_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "-w" / "a.jsonl", b"12345", NOW - 5)
    write(tmp_path / "-w" / "s" / "subagents" / "agent-1.jsonl", b"1", NOW - 9.5)
    write(tmp_path / "-w" / "s" / "tool-results" / "x.jsonl")
    write(tmp_path / "-w" / "b.json")
    facts, found = walk(str(tmp_path), NOW)
    assert (facts.transcripts, facts.bytes, facts.watches, facts.coarse) == (2, 6, 5, 1)
    assert (facts.oldest_ns, facts.newest_ns) == (round((NOW - 9.5) * 1e9), round((NOW - 5) * 1e9))
    assert {facts.loops, facts.special, facts.closed_files, facts.closed_directories, facts.future} == {NONE}
    assert {Path(path).name for path in found} == {"a.jsonl", "agent-1.jsonl"}


def test_a_loop_is_followed_once_and_told(tmp_path: Path) -> None:
    write(tmp_path / "-w" / "a.jsonl")
    (tmp_path / "-w" / "up").symlink_to(tmp_path)
    (tmp_path / "-w" / "me.jsonl").symlink_to("me.jsonl")
    facts, _ = walk(str(tmp_path), NOW)
    assert (facts.transcripts, facts.watches, facts.loops.count) == (1, 2, 2)
    assert str(tmp_path / "-w") in facts.loops.example


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.jsonl")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.jsonl"))
        facts, found = walk(str(tmp_path), NOW)
    assert (found, facts.special) == ([], Some(2, str(tmp_path / "p.jsonl"), "FIFO"))


def test_links_and_times_in_the_future_are_told(tmp_path: Path) -> None:
    file = write(tmp_path / "-w" / "a.jsonl", mtime=NOW + 3600)
    (tmp_path / "-w" / "b.jsonl").symlink_to(file)
    (tmp_path / "-w" / "c.jsonl").symlink_to("nowhere")
    facts, _ = walk(str(tmp_path), NOW)
    assert (facts.transcripts, facts.future.count, facts.linked) == (2, 2, Some(1, str(tmp_path / "-w" / "b.jsonl")))


def test_a_root_that_is_missing_or_no_directory(tmp_path: Path) -> None:
    assert not walk(str(tmp_path / "none"), NOW)[0].exists
    assert walk(str(write(tmp_path / "file")), NOW)[0].error == "is no directory"
    assert not walk(str(tmp_path / "file" / "below"), NOW)[0].exists


def test_a_root_that_cannot_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "me").symlink_to("me")
    assert walk(str(tmp_path / "me"), NOW)[0].error


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's rights, which no mode stops."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """pytest's own directories are closed to others."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)
        for path in Path(directory).rglob("*"):
            path.chmod(0o700)


def test_what_may_not_be_read_is_counted_with_an_example(open_to_all: Path) -> None:
    closed = write(open_to_all / "-w" / "a.jsonl")
    write(open_to_all / "-v" / "b.jsonl")
    closed.chmod(0)
    (open_to_all / "-v").chmod(0)
    with as_nobody():
        facts, _ = walk(str(open_to_all), NOW)
    assert facts.closed_files == Some(1, str(closed), "Permission denied")
    assert facts.closed_directories == Some(1, str(open_to_all / "-v"), "Permission denied")
    (open_to_all / "-v").chmod(0o700)
    with as_nobody():
        assert walk(str(open_to_all / "-w"), NOW)[0].closed_files
    open_to_all.chmod(0)
    with as_nobody():
        assert walk(str(open_to_all), NOW)[0].error == "Permission denied"
    open_to_all.chmod(0o755)


def test_every_transcript_is_listed_once(tmp_path: Path) -> None:
    file = write(tmp_path / "-w" / "a.jsonl")
    assert list(transcripts((str(tmp_path), str(tmp_path)))) == [str(file)]


def test_the_nearest_place_that_is_there(tmp_path: Path) -> None:
    assert existing(tmp_path / "a" / "b") == tmp_path.resolve()
