"""The Committer forgets in a thread, and does not give up before nothing is left."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import orjson
import pytest
import trio

from observatory.core.batch import Batch
from observatory.core.errors import StoreError
from observatory.core.events import Draft
from observatory.core.forgetting import Target
from observatory.storage import committer as module
from observatory.storage.committer import Committer
from observatory.storage.log import EventLog, Retention
from tests.storage.packing import everything
from tests.storage.test_forget import NOW, SECRET, filled
from tests.storage.test_log import drafts

C = Target("conversation", "c")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    made = filled(tmp_path)
    yield made
    made.close()


async def test_it_forgets_and_leaves_nothing(log: EventLog, tmp_path: Path) -> None:
    committer = Committer(log, Retention(), lambda: NOW)
    removal = await committer.forget(C)
    assert [row.id for row in removal.conversations] == ["c", "c.a"]
    assert await committer.scrub()
    assert SECRET not in everything(tmp_path)
    assert [event.seq for event in await committer.append(drafts(1))] == [log.position.head]


async def test_while_somebody_reads_it_tries_again_and_then_says_so(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SCRUB_PATIENCE_MS", 1)
    committer = Committer(log, Retention(), lambda: NOW)
    with closing(sqlite3.connect(log.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM records").fetchone()
        await committer.forget(C)
        assert not await committer.scrub()
        reader.execute("COMMIT")
    await upkeep_until_clean(committer, log, monkeypatch)
    assert SECRET not in everything(tmp_path)


async def test_the_upkeep_finishes_what_a_killed_process_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = filled(tmp_path)
    killed.forget(C, NOW)
    killed._db.close()
    log = EventLog(tmp_path, "boot")
    await upkeep_until_clean(Committer(log, Retention(), lambda: NOW), log, monkeypatch)
    assert SECRET not in everything(tmp_path)
    log.close()


async def upkeep_until_clean(committer: Committer, log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 0.01)
    done, scrub = trio.Event(), log.scrub

    def scrub_and_tell(patience_ms: int = 0) -> bool:
        clean = scrub(patience_ms)
        if clean:
            trio.from_thread.run_sync(done.set)
        return clean

    monkeypatch.setattr(log, "scrub", scrub_and_tell)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(committer.keep_up)
        with trio.fail_after(10):
            await done.wait()
        nursery.cancel_scope.cancel()


async def test_a_disk_that_is_full_does_not_end_the_upkeep_and_is_not_tried_at_every_round(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    def full(patience_ms: int = 0) -> bool:
        nonlocal tries
        tries += 1
        raise StoreError("the disk is full", "free some", True)

    monkeypatch.setattr(log, "scrub", full)
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 0.001)
    monkeypatch.setattr(module, "TRIM_EVERY", 0.1)
    committer = Committer(log, Retention(), lambda: NOW)
    await committer.forget(C)
    rounds = trio.Event()
    monkeypatch.setattr(log, "trim", lambda retention, now_ms: rounds.set() or 0 if tries else 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(committer.keep_up)
        with trio.fail_after(10):
            await rounds.wait()
        nursery.cancel_scope.cancel()
    assert tries == 1


async def test_what_leaves_is_changed_and_what_is_stored_is_not(log: EventLog) -> None:
    committer = Committer(log, Retention(), lambda: NOW, lambda payload: payload.replace(b"fork", b"****"))
    (event,) = await committer.append(Batch(drafts=[Draft("x", {"a": "fork"}, ("system",))]))
    assert orjson.loads(event.payload)["data"] == {"a": "****"}
    ((payload,),) = log._db.execute("SELECT payload FROM events WHERE seq = ?", (event.seq,)).fetchall()
    assert orjson.loads(payload)["data"] == {"a": "fork"}
    committer._in_thread = 1
    (event,) = await committer.append(Batch(drafts=[Draft("x", {"a": "fork"}, ("system",))]))
    assert b"fork" not in event.payload
    told = (await committer.forget(C)).events
    assert not any(b"fork" in event.payload for event in told)
