"""`observatory doctor --rebuild`: whatever is damaged, an archive comes of it, with all that could be read."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from observatory.storage.log import EventLog
from tests.cli.keeping import NEW, accounted, imported, ran, rows, write
from tests.cli.test_tag import serving
from tests.storage.packing import pack_all

PAGE = 4096


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for number in range(6):
        write(tmp_path, f"aaaaaaa{number}-1", 40, NEW)
    imported(tmp_path)
    assert ran(tmp_path, "tag", "aaaaaaa0", "bug").exit_code == 0
    return tmp_path


def damaged(home: Path, *pages: int) -> None:
    path = home / "data/observatory.db"
    content = bytearray(path.read_bytes())
    for page in pages:
        content[page * PAGE : (page + 1) * PAGE] = b"\xaa" * PAGE
    path.write_bytes(content)


def damage_a_block(home: Path) -> None:
    log = EventLog(home / "data", "boot")
    pack_all(log)
    log.close()
    with closing(sqlite3.connect(home / "data/observatory.db")) as db, db:
        db.execute("UPDATE blocks SET data = x'00' WHERE id = (SELECT min(id) FROM blocks)")


def rebuilt(home: Path) -> str:
    done = ran(home, "doctor", "--rebuild", "--root", str(home / "root"))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_an_archive_that_is_well_comes_out_as_it_was(home: Path) -> None:
    before = rows(home, "SELECT * FROM records ORDER BY id")
    epoch = rows(home, "SELECT value FROM meta WHERE key = 'epoch'")
    out = rebuilt(home)
    assert "saved 480 records and 6 conversations" in out
    assert "will be read anew" not in out
    assert rows(home, "SELECT * FROM records ORDER BY id") == before
    assert rows(home, "SELECT * FROM tags") == [("aaaaaaa0-1", "bug")]
    assert len(list((home / "data").glob("observatory.db.damaged-*Z"))) == 1
    EventLog(home / "data", "boot").close()
    assert rows(home, "SELECT value FROM meta WHERE key = 'epoch'") != epoch


@pytest.mark.parametrize("seed", range(12))
def test_whatever_page_is_damaged_nothing_that_can_be_read_is_lost(home: Path, seed: int) -> None:
    drawn = random.Random(seed)
    pages = (home / "data/observatory.db").stat().st_size // PAGE
    damaged(home, *drawn.sample(range(3, pages), 3))
    rebuilt(home)
    imported(home)
    account = accounted(home)
    assert account.exit_code == 0, account.output
    assert rows(home, "SELECT count(*) FROM conversations") == [(6,)]
    assert rows(home, "SELECT count(DISTINCT id) FROM records WHERE NOT flags & 1") == [(480,)]


def test_bodies_that_fail_their_checksum_are_read_anew(home: Path) -> None:
    damage_a_block(home)
    out = rebuilt(home)
    assert "damaged bodies: " in out
    assert "1 transcript will be read anew" in out
    imported(home)
    assert accounted(home).exit_code == 0


def test_what_is_lost_is_named_when_its_transcript_is_gone(home: Path) -> None:
    damage_a_block(home)
    for path in (home / "root/projects").rglob("*.jsonl"):
        path.unlink()
    out = rebuilt(home)
    assert out.count("lost in part, and its transcript is gone: ") == 1
    assert rows(home, "SELECT count(DISTINCT conversation_id) FROM records") == [(5,)]


def test_records_whose_source_is_lost_are_kept(home: Path) -> None:
    with closing(sqlite3.connect(home / "data/observatory.db")) as db, db:
        db.execute("DELETE FROM sources WHERE id = 2")
    rebuilt(home)
    assert rows(home, "SELECT count(*) FROM sources") == [(6,)]
    assert rows(home, "SELECT count(*) FROM records") == [(480,)]


def test_not_while_a_server_runs_and_not_without_an_archive(home: Path, tmp_path: Path) -> None:
    with serving(home):
        done = ran(home, "doctor", "--rebuild", "--root", str(home / "root"))
        assert done.exit_code == 1
        assert "already running" in done.stderr
    done = ran(tmp_path, "doctor", "--rebuild", data="none")
    assert done.exit_code == 1
    assert "there is no archive" in done.stderr
