"""SearchIndex: each record is in once, whoever brings it up to date, in steps of any size, wherever that is cut off."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from observatory.core.batch import Flag, SourceRow
from observatory.core.errors import StoreError
from observatory.core.search_text import ERROR, Role
from observatory.storage import search_index, search_steps
from observatory.storage.log import EventLog
from observatory.storage.opening import DATABASE
from observatory.storage.search_index import SearchIndex
from observatory.storage.search_steps import SEARCH, drop
from tests.storage.indexing import STATE, Shelf, result, said, use
from tests.storage.packing import pack_all


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    log = EventLog(tmp_path, "boot")
    yield Shelf(log)
    log.close()


def found(directory: Path, query: str) -> list[int]:
    """Keys of the records that are found."""
    with closing(sqlite3.connect(directory / SEARCH)) as db:
        rows = db.execute("SELECT record FROM words JOIN docs ON docs.id = words.rowid WHERE words MATCH ?", (query,))
        return sorted(key for (key,) in rows)


def brought_up(directory: Path) -> None:
    with closing(SearchIndex(directory)) as index:
        index.catch_up()
        assert index.lag() == 0


def test_what_is_written_is_found_after_the_next_step(tmp_path: Path, shelf: Shelf) -> None:
    first, second = shelf.write(1, said("the cart total"), said("the blog"))
    brought_up(tmp_path)
    assert found(tmp_path, "cart") == [first]
    (third,) = shelf.write(1, said("another cart"))
    with closing(SearchIndex(tmp_path)) as index:
        assert index.lag() == 1
        assert index.advance() is not None
        assert index.advance() is None
    assert found(tmp_path, "cart") == [first, third]
    assert found(tmp_path, "blog") == [second]


@pytest.mark.parametrize("limit", [1, 60, 10_000])
def test_steps_of_any_size_make_the_same_index(tmp_path: Path, shelf: Shelf, limit: int) -> None:
    keys = [key for source in (1, 2, 3) for key in shelf.write(source, *[said(f"word{n} all") for n in range(5)])]
    pack_all(shelf.log)
    with closing(SearchIndex(tmp_path)) as index:
        while index.advance(limit) is not None:
            pass
        assert index.documents == 15
    assert found(tmp_path, "all") == sorted(keys)
    assert len(found(tmp_path, "word3")) == 3


def test_a_document_tells_who_spoke_when_with_what(tmp_path: Path, shelf: Shelf) -> None:
    shelf.call("c2", "t9", "Grep")
    shelf.write(1, use("Bash", "t1", command="ls"), result("no such file", "t1", is_error=True))
    shelf.write(2, result("three lines", "t9"), result("of an unknown one", "t0"), flags=Flag.COPY, at="never")
    brought_up(tmp_path)
    with closing(sqlite3.connect(tmp_path / SEARCH)) as db:
        name = "(SELECT text FROM names WHERE id = {})"
        columns = ", ".join([name.format(column) for column in ("conversation", "tool", "model")])
        rows = db.execute(f"SELECT {columns}, at, role, flags FROM docs ORDER BY record").fetchall()
    at = 1_795_377_600_000
    assert rows == [
        ("c1", "Bash", "m-1", at, Role.TOOL_USE, 0),
        ("c1", "Bash", None, at, Role.TOOL_RESULT, ERROR),
        ("c2", "Grep", None, 0, Role.TOOL_RESULT, Flag.COPY),
        ("c2", None, None, 0, Role.TOOL_RESULT, Flag.COPY),
    ]


def test_calls_that_are_remembered_are_bounded(tmp_path: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_steps, "CALLS_KEPT", 1)
    shelf.call("c1", "t1", "Bash")
    shelf.write(1, use("Bash", "t1"), use("Read", "t2"), result("x", "t1"), result("y", "t2"))
    brought_up(tmp_path)
    with closing(sqlite3.connect(tmp_path / SEARCH)) as db:
        query = "SELECT text FROM docs JOIN names ON names.id = tool ORDER BY docs.id"
        assert [name for (name,) in db.execute(query)] == ["Bash", "Read", "Bash", "Read"]


def test_files_that_nothing_proves_to_be_transcripts_wait(tmp_path: Path, shelf: Shelf) -> None:
    shelf.rows[1] = SourceRow(1, "/r/1.jsonl", "/r", STATE)
    shelf.write(1, said("cart"))
    with closing(SearchIndex(tmp_path)) as index:
        assert index.lag() == 0
        assert index.advance() is None


def test_an_end_without_newline_is_found_and_is_one_document_when_the_newline_comes(
    tmp_path: Path, shelf: Shelf
) -> None:
    shelf.write(1, said("first"))
    shelf.write_tail(1, said("the very last"))
    brought_up(tmp_path)
    (tail,) = found(tmp_path, "very")
    with closing(SearchIndex(tmp_path)) as index:
        assert index.advance() is None
    shelf.end_tail(1, said("the very last"))
    (more,) = shelf.write(1, said("very more"))
    brought_up(tmp_path)
    assert found(tmp_path, "very") == [tail, more]


def test_a_file_that_was_rewritten_keeps_what_it_said_before(tmp_path: Path, shelf: Shelf) -> None:
    (old,) = shelf.write(1, said("once"))
    brought_up(tmp_path)
    shelf.rows[1] = attrs.evolve(shelf.rows[1], generation=1, offset=0, lines=0)
    (new,) = shelf.write(1, said("once more"))
    brought_up(tmp_path)
    assert found(tmp_path, "once") == [old, new]


def test_what_was_pruned_is_not_found_any_more(tmp_path: Path, shelf: Shelf) -> None:
    first, second = shelf.write(1, said("old cart"), said("new cart"))
    brought_up(tmp_path)
    shelf.log._db.execute("UPDATE sources SET pruned = ? WHERE id = 1", (second - (1 << 43),))
    brought_up(tmp_path)
    assert found(tmp_path, "cart") == [second]
    assert first < second


def test_two_at_once_take_nothing_in_twice(tmp_path: Path, shelf: Shelf) -> None:
    shelf.write(1, *[said(f"word {n}") for n in range(10)])
    with (
        closing(SearchIndex(tmp_path)) as one,
        closing(SearchIndex(tmp_path)) as other,
        closing(search_steps.attached(tmp_path)) as db,
    ):
        steps = search_steps.Collector(db, 1).steps()
        one.write(next(steps))
        other.catch_up()
        for step in steps:
            one.write(step)
    assert len(found(tmp_path, "word")) == 10
    with closing(SearchIndex(tmp_path)) as index:
        assert index.documents == 10


def test_much_is_read_by_a_process(tmp_path: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_index, "WORTH_RECORDS", 5)
    keys = shelf.write(1, *[said(f"word {n}") for n in range(50)])
    shown: list[tuple[int, int]] = []
    with closing(SearchIndex(tmp_path)) as index:
        assert index.catch_up(lambda taken, missing: shown.append((taken, missing))) == 50
        index.settle()
    assert shown == [(50, 50)]
    assert found(tmp_path, "word") == keys


KILLED = """
import os, signal, sys
from pathlib import Path
from observatory.storage.search_index import SearchIndex
index, left = SearchIndex(Path(sys.argv[1])), int(sys.argv[2])
def watch(frame, event, called):
    global left
    if event == "c_call" and called.__name__.startswith("execute"):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
sys.setprofile(watch)
while index.advance(100) is not None:
    pass
"""


@pytest.mark.parametrize("after", [1, 7, 12, 19, 26])
def test_a_kill_anywhere_leaves_each_record_in_once(tmp_path: Path, shelf: Shelf, after: int) -> None:
    keys = [key for source in (1, 2) for key in shelf.write(source, *[said(f"word {n}") for n in range(4)])]
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(after)], check=False, timeout=30)
    assert ended.returncode == -signal.SIGKILL
    brought_up(tmp_path)
    assert found(tmp_path, "word") == keys


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be one" * 100, b""])
def test_what_is_no_index_is_made_anew(tmp_path: Path, shelf: Shelf, content: bytes) -> None:
    (key,) = shelf.write(1, said("cart"))
    (tmp_path / SEARCH).write_bytes(content)
    brought_up(tmp_path)
    assert found(tmp_path, "cart") == [key]
    assert (tmp_path / SEARCH).stat().st_mode & 0o777 == 0o600 or content == b""


@pytest.mark.parametrize("change", ["UPDATE meta SET value = 'x' WHERE key = 'epoch'", "PRAGMA user_version = 99"])
def test_the_index_of_another_archive_or_version_is_made_anew(tmp_path: Path, shelf: Shelf, change: str) -> None:
    shelf.write(1, said("cart"))
    brought_up(tmp_path)
    with closing(sqlite3.connect(tmp_path / SEARCH)) as db, db:
        db.execute(change)
        db.execute("DELETE FROM docs")
    brought_up(tmp_path)
    assert len(found(tmp_path, "cart")) == 1


def test_an_index_that_is_mostly_dead_is_made_anew(
    tmp_path: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "DEAD_MANY", 1)
    shelf.write(1, *[said(f"cart {n}") for n in range(10)])
    brought_up(tmp_path)
    with closing(sqlite3.connect(tmp_path / SEARCH)) as db, db:
        db.execute("DELETE FROM docs WHERE id > 7")
    with closing(SearchIndex(tmp_path)) as index:
        assert index.lag() == 10


def test_a_dropped_index_leaves_nothing(tmp_path: Path, shelf: Shelf) -> None:
    shelf.write(1, said("cart"))
    with closing(SearchIndex(tmp_path)) as index:
        index.catch_up()
        drop(tmp_path)
        assert [file.name for file in tmp_path.iterdir() if file.name.startswith(SEARCH)] == []
    brought_up(tmp_path)
    assert len(found(tmp_path, "cart")) == 1


def test_without_an_archive_there_is_no_index(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=DATABASE):
        SearchIndex(tmp_path)


def test_a_record_whose_block_is_damaged_is_left_out_and_counted(tmp_path: Path, shelf: Shelf) -> None:
    shelf.write(1, said("cart"), said("x" * 200_000))
    (other,) = shelf.write(2, said("another cart"))
    pack_all(shelf.log)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as db, db:
        db.execute("UPDATE blocks SET data = x'00' WHERE id < ?", (other,))
    with closing(SearchIndex(tmp_path)) as index:
        step = index.advance()
        assert step is not None
        assert step.unreadable == 2
    assert found(tmp_path, "cart") == [other]


def test_a_full_disk_is_one_line_and_nothing_is_half_in(tmp_path: Path, shelf: Shelf) -> None:
    shelf.write(1, *[said(" ".join(f"w{n}x{m}" for m in range(300))) for n in range(200)])
    with closing(SearchIndex(tmp_path)) as index:
        index._db.execute("PRAGMA main.max_page_count = 40")
        with pytest.raises(StoreError, match="disk is full"):
            index.catch_up()
        assert index.documents == 0
        index._db.execute("PRAGMA main.max_page_count = 100000")
        index.catch_up()
        assert index.documents == 200
    assert os.path.getsize(tmp_path / SEARCH) > 0
