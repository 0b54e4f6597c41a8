"""Judgement of the data directory from made facts."""

import attrs
import pytest

from observatory.core.check_store import WAL_BOUND, DatabaseFacts, Owned, StoreFacts, judge_store
from tests.core.test_check_files import told

GIB = 1024**3
LOG = DatabaseFacts(2048, 0, schema=1, epoch="e", head=9, oldest=2, sources=3)
STORE = StoreFacts("/d", True, 1000, 8 * GIB, (Owned("/d", 1000, 0o700),), LOG)


def database(**changes: object) -> StoreFacts:
    return attrs.evolve(STORE, database=attrs.evolve(LOG, **changes))  # type: ignore[arg-type]


def test_a_sound_store_says_its_sizes_and_its_position() -> None:
    assert told(judge_store(STORE, served=False)) == [
        ("ok", "/d: 2.0 KiB and 0 bytes write-ahead"),
        ("ok", "schema 1, epoch e, events 2 to 9, 3 files known"),
        ("ok", "8.0 GiB free on the disk of the data directory"),
    ]


@pytest.mark.parametrize(
    ("facts", "served", "level", "text"),
    [
        (StoreFacts("/d", False, 1000, GIB), False, "ok", "/d is not there yet; the first start makes it"),
        (attrs.evolve(STORE, database=None), False, "ok", "/d holds no log yet"),
        (attrs.evolve(STORE, room=GIB - 1), False, "warn", "only 1,024.0 MiB free on the disk of the data directory"),
        (attrs.evolve(STORE, room=5), False, "fail", "only 5 bytes free on the disk of the data directory"),
        (attrs.evolve(STORE, uid=7), False, "fail", "/d belongs to user 1000, this is user 7"),
        (attrs.evolve(STORE, uid=0), False, "warn", "/d belongs to user 1000, this is user 0"),
        (database(error="/d is damaged", cure="mend it"), False, "fail", "/d is damaged"),
        (database(wal_bytes=WAL_BOUND + 1), False, "warn",
         "the write-ahead file is larger than 64.0 MiB: another program keeps the log from shrinking"),
        (database(clean=False), False, "ok",
         "not closed in order, by a kill or a crash; the next start makes up for it"),
        (database(clean=False, boot_changed=True), False, "ok",
         "not closed in order, by a kill or a crash; the next start draws a new epoch"),
        (database(checked=True), False, "ok", "SQLite's quick_check finds nothing wrong"),
        (database(checked=True, damage="row 3"), False, "fail", "the database is damaged: row 3"),
        (database(unrecognised=2, example="/r/x"), False, "ok",
         "2 files not recognised as Claude Code's, for example /r/x; archived, not published"),
    ],
)  # fmt: skip
def test_each_condition_has_its_finding(facts: StoreFacts, served: bool, level: str, text: str) -> None:
    found = told(judge_store(facts, served=served))
    assert (level, text) in found
    assert {other for other, _ in found if other != "ok"} <= {level}


def test_a_log_in_use_is_not_closed_and_that_is_fine() -> None:
    assert judge_store(database(clean=False), served=True) == judge_store(STORE, served=True)


def test_what_others_may_read_comes_with_the_command_that_closes_it() -> None:
    owned = (Owned("/d d", 1000, 0o755), Owned("/d d/observatory.db", 1000, 0o640))
    found = [f for f in judge_store(attrs.evolve(STORE, owned=owned), served=False) if f.level == "warn"]
    assert [f.commands for f in found] == [("chmod 700 '/d d'",), ("chmod 600 '/d d/observatory.db'",)]
