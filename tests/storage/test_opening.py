"""Opening the data directory: one writer, clear refusals, private files."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from observatory.core.batch import record_key
from observatory.core.errors import StoreError
from observatory.storage import opening
from observatory.storage.log import EventLog
from observatory.storage.migrations import SCHEMA_VERSION
from observatory.storage.opening import (
    DATABASE,
    AlreadyServed,
    DirectoryLock,
    Running,
    explained,
    running,
)

BROKEN = "ALTER TABLE meta ADD COLUMN x;\nALTER TABLE nothing ADD COLUMN y"


def test_one_process_writes_a_directory_and_says_where(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path / "new")
    assert running(tmp_path / "new") == Running(os.getpid(), None)
    lock.announce("ws://127.0.0.1:1/ws")
    with pytest.raises(AlreadyServed, match=r"already running at ws://127\.0\.0\.1:1/ws") as caught:
        DirectoryLock(tmp_path / "new")
    assert caught.value.running == Running(os.getpid(), "ws://127.0.0.1:1/ws")
    lock.release()
    assert running(tmp_path / "new") is None
    DirectoryLock(tmp_path / "new").release()


def test_no_server_runs_on_a_directory_that_is_not_there(tmp_path: Path) -> None:
    assert running(tmp_path / "nowhere") is None


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    DirectoryLock(directory).release()
    EventLog(directory, "b").close()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_a_directory_that_cannot_be_made_is_told_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written.*--data-dir"):
        DirectoryLock(tmp_path / "file" / "data")


def test_a_newer_log_is_refused_untouched(tmp_path: Path) -> None:
    EventLog(tmp_path, "b").close()
    db = sqlite3.connect(tmp_path / DATABASE)
    db.execute("PRAGMA user_version=99")
    db.close()
    before = (tmp_path / DATABASE).read_bytes()
    with pytest.raises(StoreError, match=r"newer Observatory \(schema 99.*upgrade"):
        EventLog(tmp_path, "b")
    assert (tmp_path / DATABASE).read_bytes() == before


def test_a_damaged_log_is_refused_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match=r"is no database: move it aside") as caught:
        EventLog(tmp_path, "b")
    assert not caught.value.retryable


def test_a_corrupt_page_is_refused_with_the_cure(tmp_path: Path) -> None:
    EventLog(tmp_path, "b").close()
    data = bytearray((tmp_path / DATABASE).read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    (tmp_path / DATABASE).write_bytes(data)
    with pytest.raises(StoreError, match=r"is damaged: stop the server and save what can be read"):
        EventLog(tmp_path, "b")


def test_a_locked_log_is_refused_in_the_time_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    EventLog(tmp_path, "b").close()
    monkeypatch.setattr(opening, "START_PATIENCE", 0.05)
    other = sqlite3.connect(tmp_path / DATABASE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match=r"is locked by another program: close the program"):
        EventLog(tmp_path, "b")
    other.close()


def test_a_path_that_is_a_directory_is_refused_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / DATABASE).mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        EventLog(tmp_path, "b")


def test_a_migration_that_fails_leaves_the_old_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    EventLog(tmp_path, "b").close()
    monkeypatch.setattr(opening, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    monkeypatch.setattr(opening, "MIGRATIONS", {SCHEMA_VERSION: BROKEN})
    with pytest.raises(StoreError):
        EventLog(tmp_path, "b")
    db = sqlite3.connect(tmp_path / DATABASE)
    assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert len(db.execute("PRAGMA table_info(meta)").fetchall()) == 2
    db.close()


def test_a_migration_leads_from_one_version_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    EventLog(tmp_path, "b").close()
    monkeypatch.setattr(opening, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    monkeypatch.setattr(opening, "MIGRATIONS", {SCHEMA_VERSION: "CREATE TABLE extra (x)"})
    log = EventLog(tmp_path, "b")
    assert log._db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION + 1,)
    assert log._db.execute("SELECT * FROM extra").fetchall() == []
    log.close()


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_a_database_of_an_older_version_becomes_what_a_new_one_is(tmp_path: Path, version: int) -> None:
    with closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as db:
        db.executescript(Path(__file__).with_name(f"schema_{max(2, version)}.sql").read_text())
        db.execute("INSERT INTO meta VALUES ('machine_id', 'm')")
        db.execute("INSERT INTO copies VALUES (5, ?)", (3 if version < 3 else record_key(3, 0, 0),))
        if version == 1:
            db.execute("DROP TABLE forgotten")
        db.execute(f"PRAGMA user_version={version}")
    log = EventLog(tmp_path, "b")
    assert log.first_holder(5) == record_key(3, 0, 0)
    log.close()
    (tmp_path / "new").mkdir()
    EventLog(tmp_path / "new", "b").close()
    columns = []
    for directory in (tmp_path, tmp_path / "new"):
        with closing(sqlite3.connect(directory / DATABASE)) as db:
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
            columns.append({name: db.execute(f"PRAGMA table_info({name})").fetchall() for name in tables})
            assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert columns[0] == columns[1]


def test_a_process_without_descriptors_tries_again_instead_of_ending(tmp_path: Path) -> None:
    told = r"cannot be opened \(Too many open files\)"
    with pytest.raises(StoreError, match=told) as caught, explained(tmp_path / DATABASE):
        raise OSError(24, "Too many open files")
    assert caught.value.retryable
