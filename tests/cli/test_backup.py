"""`observatory backup` and `restore`: a copy made under load is whole, and a new log when it is put back."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from observatory.core.batch import Batch
from observatory.core.events import Draft
from observatory.storage.log import EventLog
from tests.cli.keeping import NEW, accounted, imported, ran, rows, write
from tests.cli.test_tag import serving
from tests.storage.indexing import Shelf, said

TABLES = ("records", "blocks", "sources", "conversations", "projects", "usage", "tool_calls", "copies", "tags")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write(tmp_path, "aaaaaaaa-1", 20, NEW)
    write(tmp_path, "bbbbbbbb-2", 5, NEW)
    imported(tmp_path)
    return tmp_path


def tables(home: Path, data: str = "data") -> dict[str, list[tuple[object, ...]]]:
    return {table: sorted(rows(home, f"SELECT * FROM {table}", data), key=repr) for table in TABLES}


def test_what_is_restored_is_what_was_there_in_a_new_epoch(home: Path) -> None:
    assert ran(home, "tag", "aaaaaaaa", "bug").exit_code == 0
    before, epoch = tables(home), rows(home, "SELECT value FROM meta WHERE key = 'epoch'")
    done = ran(home, "backup", str(home / "copy.db"))
    assert done.exit_code == 0, done.output
    assert (home / "copy.db").stat().st_mode & 0o777 == 0o600
    restored = ran(home, "restore", str(home / "copy.db"), data="other")
    assert restored.exit_code == 0, restored.output
    assert tables(home, "other") == before
    assert ran(home, "search", "why", data="other").stdout != ""
    log = EventLog(home / "other", "boot")
    assert log.position.epoch != epoch[0][0]
    assert log.position.oldest == log.position.head + 1
    log.close()
    assert accounted(home, "other").exit_code == 0
    assert ran(home, "search", "why", data="other").stdout != ""


def test_a_copy_put_there_by_hand_draws_a_new_epoch_too(home: Path) -> None:
    epoch = rows(home, "SELECT value FROM meta WHERE key = 'epoch'")[0][0]
    assert ran(home, "backup", str(home / "copy.db")).exit_code == 0
    (home / "hand").mkdir()
    (home / "hand/observatory.db").write_bytes((home / "copy.db").read_bytes())
    log = EventLog(home / "hand", "boot")
    assert log.position.epoch != epoch
    log.close()


def test_under_load_it_holds_everything_up_to_one_moment(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    log = EventLog(tmp_path / "data", "boot")
    shelf, stop, enough, written = Shelf(log), threading.Event(), threading.Event(), [0]

    def load() -> None:
        while not stop.is_set():
            shelf.write(1, said("x" * 500))
            log.append(Batch(drafts=[Draft("x", {}, ("system",))]), 1000)
            written[0] += 1
            if written[0] == 50:
                enough.set()

    writer = threading.Thread(target=load)
    writer.start()
    try:
        assert enough.wait(30)
        atleast = written[0]
        done = ran(tmp_path, "backup", str(tmp_path / "copy.db"))
        assert done.exit_code == 0, done.output
        atmost = written[0] + 1
    finally:
        stop.set()
        writer.join()
    log.close()
    with closing(sqlite3.connect(tmp_path / "copy.db")) as db:
        copied = db.execute("SELECT id, body FROM records ORDER BY id").fetchall()
        (lines,) = db.execute("SELECT lines FROM sources").fetchone()
    assert atleast <= len(copied) == lines <= atmost
    assert copied == rows(tmp_path, f"SELECT id, body FROM records ORDER BY id LIMIT {lines}")


def test_beside_a_server_and_into_a_directory(home: Path) -> None:
    (home / "backups").mkdir()
    with serving(home):
        assert ran(home, "backup", str(home / "backups")).exit_code == 0
        refused = ran(home, "restore", str(next((home / "backups").iterdir())))
        assert refused.exit_code == 1
        assert "already running" in refused.stderr
    assert len(list((home / "backups").iterdir())) == 1


def test_an_archive_that_is_there_is_moved_aside_only_when_told(home: Path) -> None:
    assert ran(home, "backup", str(home / "copy.db")).exit_code == 0
    refused = ran(home, "restore", str(home / "copy.db"))
    assert refused.exit_code == 2
    assert "move it aside with --force" in refused.stderr
    done = ran(home, "restore", str(home / "copy.db"), "--force")
    assert done.exit_code == 0, done.output
    assert len(list((home / "data").glob("observatory.db.replaced-*Z"))) == 1
    assert accounted(home).exit_code == 0


def test_a_target_that_cannot_be_is_one_line_and_leaves_nothing(home: Path) -> None:
    (home / "copy.db").write_text("mine")
    for words, code, told in (
        (["backup", str(home / "copy.db")], 2, "overwrite it with --force"),
        (["backup", str(home / "none/copy.db")], 1, "cannot be written"),
        (["backup", str(home / "data/observatory.db"), "--force"], 2, "is the archive itself"),
        (["restore", str(home / "none.db")], 2, "there is no file"),
        (["restore", str(home / "copy.db"), "--force"], 1, "is no database"),
    ):
        done = ran(home, *words)
        assert done.exit_code == code, done.output
        (line,) = done.stderr.splitlines()
        assert told in line
    assert (home / "copy.db").read_text() == "mine"
    assert not [path for path in home.iterdir() if path.name.endswith(".new")]
    empty = sqlite3.connect(home / "empty.db")
    empty.execute("CREATE TABLE x (y)")
    empty.close()
    assert "is no archive of Observatory" in ran(home, "restore", str(home / "empty.db"), "--force").stderr
    assert accounted(home).exit_code == 0


def test_a_damaged_copy_is_refused(home: Path) -> None:
    assert ran(home, "backup", str(home / "copy.db")).exit_code == 0
    content = bytearray((home / "copy.db").read_bytes())
    content[4096 * 3 : 4096 * 5] = b"\xaa" * 8192
    (home / "copy.db").write_bytes(content)
    done = ran(home, "restore", str(home / "copy.db"), "--force")
    assert done.exit_code == 1
    assert "damaged" in done.stderr
    assert accounted(home).exit_code == 0


def test_without_an_archive_there_is_nothing_to_copy(tmp_path: Path) -> None:
    done = ran(tmp_path, "backup", str(tmp_path / "copy.db"))
    assert done.exit_code == 1
    assert "there is no archive" in done.stderr
