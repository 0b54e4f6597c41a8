"""ArchiveReader: reads what is there, leaves no trace."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from observatory.core.accounting import Claim
from observatory.core.batch import Batch, FileState, RecordRow, SourceRow
from observatory.core.errors import StoreError
from observatory.storage import accounting
from observatory.storage.accounting import reading
from observatory.storage.bodies import Bodies
from observatory.storage.log import EventLog
from observatory.storage.migrations import SCHEMA_VERSION
from observatory.storage.opening import DirectoryLock

STATE = FileState(1, 2, 3, 4, 5)


def a_source(number: int, **changes: object) -> SourceRow:
    return SourceRow(number, f"/r/{number}.jsonl", "/r", STATE, offset=40, **changes)  # type: ignore[arg-type]


def a_record(number: int, generation: int, offset: int) -> RecordRow:
    place = (number, generation, offset, 3, 4, 0, None)
    return RecordRow(*place, "", "error", None, None, None, 0, "not JSON", b"%03d" % offset)


def filled(directory: Path) -> EventLog:
    log = EventLog(directory, "boot")
    batch = Batch(sources={1: a_source(1, generation=1, lines=1), 2: a_source(2, conversation_id="c", lines=1)})
    batch.records = [a_record(1, 0, 0), a_record(2, 0, 0), *(a_record(1, 1, 4 * n) for n in range(5))]
    log.append(batch, 1000)
    return log


def contents(directory: Path) -> dict[str, tuple[int, int]]:
    return {entry.name: (entry.stat().st_size, entry.stat().st_mtime_ns) for entry in os.scandir(directory)}


@pytest.mark.parametrize("rows", [2, 512])
def test_the_claims_are_those_of_the_current_generation_page_by_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    filled(tmp_path).close()
    monkeypatch.setattr(accounting, "PAGE_ROWS", rows)
    monkeypatch.setattr(accounting, "PAGE_BYTES", 8)
    monkeypatch.setattr(accounting, "SOURCES_A_PAGE", 1)
    with reading(tmp_path) as archive:
        first, second = archive.sources()
        assert (first.path, first.generation, first.offset) == ("/r/1.jsonl", 1, 40)
        assert list(archive.claims(first)) == [Claim(4 * n, 3, 4, "not JSON", b"%03d" % (4 * n)) for n in range(5)]
        assert archive.source(2) == second
        assert archive.source(3) is None


def test_the_state_of_the_log(tmp_path: Path) -> None:
    log = filled(tmp_path)
    with reading(tmp_path) as archive:
        state = archive.state()
        assert archive.damage() is None
    log.close()
    assert (state.schema, state.epoch, state.head, state.oldest, state.clean, state.boot_id) == (
        SCHEMA_VERSION, log.position.epoch, 0, 1, False, "boot",
    )  # fmt: skip
    assert (state.sources, state.unrecognised, state.example) == (2, 1, "/r/1.jsonl")
    with reading(tmp_path) as archive:
        assert archive.state().clean


def test_a_log_at_rest_is_read_without_a_trace(tmp_path: Path) -> None:
    """A plain read-only connection leaves -wal and -shm behind, owned by whoever asked."""
    filled(tmp_path).close()
    before = contents(tmp_path)
    with reading(tmp_path) as archive:
        assert len(list(archive.sources())) == 2
        assert contents(tmp_path) == before
    assert contents(tmp_path) == before
    assert before.keys() == {"observatory.db"}


def test_what_a_killed_process_left_in_the_write_ahead_file_is_read_and_stays_there(tmp_path: Path) -> None:
    log = filled(tmp_path)
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("observatory.db", "observatory.db-wal"):
        (copy / name).write_bytes((tmp_path / name).read_bytes())
    log.close()
    before = contents(copy)
    with reading(copy) as archive:
        assert len(list(archive.sources())) == 2
    after = contents(copy)
    assert {name: after[name] for name in before} == before


def test_beside_a_writer_its_new_rows_are_seen_and_it_is_not_hindered(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    log = filled(tmp_path)
    with reading(tmp_path) as archive:
        claims = archive.claims(next(archive.sources()))
        next(claims)
        log.append(Batch(sources={3: a_source(3)}), 2000)
        with closing(sqlite3.connect(log.path)) as db:
            assert db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0] == 0, "a reader holds the log"
        assert len(list(archive.sources())) == 3
    log.close()
    lock.release()


def test_what_cannot_be_read_is_one_line_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no archive in"), reading(tmp_path / "none"):
        pass
    assert not (tmp_path / "none").exists()
    (tmp_path / "observatory.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(StoreError, match="is no database"), reading(tmp_path):
        pass


def test_a_newer_archive_is_refused(tmp_path: Path) -> None:
    log = filled(tmp_path)
    log.close()
    with closing(sqlite3.connect(log.path)) as db:
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    with pytest.raises(StoreError, match="newer Observatory"), reading(tmp_path):
        pass
    with pytest.raises(StoreError, match="codec 9"):
        Bodies(sqlite3.connect(":memory:")).of(1, 9, b"")


def test_damage_is_told(tmp_path: Path) -> None:
    log = filled(tmp_path)
    log.close()
    with closing(sqlite3.connect(log.path)) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'records'").fetchone()
        (page,) = db.execute("PRAGMA page_size").fetchone()
    with log.path.open("r+b") as file:
        file.seek((root - 1) * page)
        file.write(b"\xff" * 64)
    with reading(tmp_path) as archive:
        assert archive.damage()
