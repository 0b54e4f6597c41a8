"""Indexer: the index follows the archive by itself, and what goes wrong with it is nobody else's trouble."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import trio

from observatory.core.forgetting import Target
from observatory.storage import indexer, search_process
from observatory.storage.indexer import Indexer
from observatory.storage.log import EventLog
from observatory.storage.search_index import SearchIndex
from observatory.storage.search_steps import SEARCH
from tests.reports import Reports
from tests.storage.indexing import Shelf, said

NOW = 1_795_381_200_000
SECONDS = 20


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexer, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(indexer, "PATIENCE", (0.01, 0.02))


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[tuple[Shelf, Indexer]]:
    log = EventLog(directory, "boot")
    try:
        with trio.fail_after(SECONDS):
            async with trio.open_nursery() as nursery:
                made = Indexer(directory, lambda: log.commits, Reports())
                nursery.start_soon(made.run)
                yield Shelf(log), made
                nursery.cancel_scope.cancel()
    finally:
        log.close()


def heard(made: Indexer) -> list[dict[str, Any]]:
    """What it has said of its health."""
    assert isinstance(made._report, Reports)
    return made._report.components()


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - another process does it
        await trio.sleep(0.01)


def held(directory: Path) -> bytes:
    """All bytes of the index's files."""
    return b"".join(file.read_bytes() for file in directory.glob(f"{SEARCH}*"))


def words(directory: Path) -> int:
    """Records with the word."""
    if not (directory / SEARCH).exists():
        return 0
    with closing(sqlite3.connect(directory / SEARCH)) as db:
        query = "SELECT count(*) FROM words JOIN docs ON docs.id = words.rowid WHERE words MATCH 'word'"
        try:
            found: int = db.execute(query).fetchone()[0]
        except sqlite3.DatabaseError:  # it is being made
            return 0
    return found


async def test_what_is_committed_is_soon_in_the_index(tmp_path: Path) -> None:
    async with running(tmp_path) as (shelf, made):
        shelf.write(1, said("word"))
        await until(lambda: words(tmp_path) == 1)
        shelf.write(1, *[said("another word") for _ in range(5)])
        await until(lambda: words(tmp_path) == 6)
        await until(lambda: made.gauges()["search_documents"] == 6)
        assert made.gauges()["search_lag_records"] == 0
        assert made.gauges()["search_bytes"] > 0
        assert heard(made) == []


async def test_a_history_is_taken_in_by_a_process_and_the_rest_by_the_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer, "WORTH_RECORDS", 10)
    async with running(tmp_path) as (shelf, made):
        shelf.write(1, *[said(f"word {number}") for number in range(50)])
        await until(lambda: words(tmp_path) == 50)
        shelf.write(1, said("a word"))
        await until(lambda: words(tmp_path) == 51)
        await until(lambda: made.gauges()["search_documents"] == 51)


async def test_a_process_that_fails_is_told_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexer, "WORTH_RECORDS", 10)
    command = search_process.command
    failing = ["sh", "-c", "exit 3"]
    monkeypatch.setattr(search_process, "command", lambda directory: failing or command(directory))
    async with running(tmp_path) as (shelf, made):
        shelf.write(1, *[said("word") for _ in range(20)])
        await until(lambda: bool(heard(made)))
        (part,) = heard(made)
        assert (part["component_name"], part["status"]) == ("search", "degraded")
        assert "ended early" in part["details"]
        failing.clear()
        await until(lambda: heard(made)[0]["status"] == "ok")
        assert words(tmp_path) == 20


async def test_what_was_forgotten_is_in_no_file_and_the_rest_is_found_again(tmp_path: Path) -> None:
    async with running(tmp_path) as (shelf, made):
        shelf.write(1, said("secretive word"))
        shelf.write(2, said("word"))
        await until(lambda: words(tmp_path) == 2)
        assert b"secretive" in held(tmp_path)
        shelf.log._db.execute("DELETE FROM records WHERE conversation_id = 'c1'")
        shelf.log._db.execute("DELETE FROM sources WHERE id = 1")
        await made.forget()
        await until(lambda: words(tmp_path) == 1)
        assert b"secretive" not in held(tmp_path)


def test_the_log_leaves_no_index_behind_when_it_forgets(tmp_path: Path) -> None:
    log = EventLog(tmp_path, "boot")
    (tmp_path / SEARCH).write_bytes(b"x")
    log.forget(Target("conversation", "c1"), NOW)
    assert not (tmp_path / SEARCH).exists()
    log.close()


async def test_a_place_that_cannot_be_had_is_told_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / SEARCH).mkdir()
    async with running(tmp_path) as (shelf, made):
        shelf.write(1, said("word"))
        await until(lambda: bool(heard(made)))
        assert SEARCH in heard(made)[0]["details"]
        (tmp_path / SEARCH).rmdir()
        await until(lambda: heard(made)[0]["status"] == "ok")
        assert words(tmp_path) == 1


async def test_a_damaged_index_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / SEARCH).write_bytes(b"damaged" * 1000)
    async with running(tmp_path) as (shelf, _):
        shelf.write(1, said("word"))
        await until(lambda: words(tmp_path) == 1)


async def test_a_defect_is_told_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [ZeroDivisionError()]

    def made_index(directory: Path) -> SearchIndex:
        if broken:
            raise broken.pop()
        return SearchIndex(directory)

    monkeypatch.setattr(indexer, "SearchIndex", made_index)
    async with running(tmp_path) as (shelf, made):
        shelf.write(1, said("word"))
        await until(lambda: words(tmp_path) == 1)
        await until(lambda: heard(made)[0]["status"] == "ok")
