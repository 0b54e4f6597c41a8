"""Commits one at a time, in a thread while they are slow; upkeep off the hot path."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from observatory.core.batch import Batch
from observatory.core.events import Event
from observatory.storage import committer as module
from observatory.storage.committer import CALM_COMMITS, Committer
from observatory.storage.log import EventLog, Retention
from tests.storage.test_log import NOW, drafts


class SlowLog(EventLog):
    """Commits take as long as told; remembers who called."""

    delay = 0.0

    def append(self, batch: Batch, now_ms: int) -> tuple[Event, ...]:
        self.threads = [*getattr(self, "threads", []), threading.current_thread()]
        time.sleep(self.delay)
        return super().append(batch, now_ms)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SlowLog]:
    made = SlowLog(tmp_path, "boot-1")
    yield made
    made.close()


async def test_fast_commits_stay_on_the_loop(log: SlowLog) -> None:
    committer = Committer(log, Retention(), lambda: NOW)
    events = await committer.append(drafts(2))
    assert [event.seq for event in events] == [1, 2]
    assert log.threads == [threading.main_thread()]


async def test_after_a_slow_commit_the_loop_is_free_until_commits_are_fast_again(
    log: SlowLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It failed on a busy machine, where a commit of one row took longer than SLOW_COMMIT: what is slow is set here."""
    committer = Committer(log, Retention(), lambda: NOW)
    log.delay = module.SLOW_COMMIT * 2
    await committer.append(drafts(1))
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await trio.sleep(0.001)
            beats += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(beat)
        await committer.append(drafts(1))
        nursery.cancel_scope.cancel()
    assert beats > 0
    assert log.threads[1] is not threading.main_thread()
    log.delay = 0.0
    monkeypatch.setattr(module, "SLOW_COMMIT", 3600.0)
    for _ in range(CALM_COMMITS + 1):
        await committer.append(drafts(1))
    assert log.threads[-1] is threading.main_thread()
    assert log.position.head == CALM_COMMITS + 3


async def test_upkeep_trims_and_checkpoints(log: SlowLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_EVERY", 0.01)
    monkeypatch.setattr(module, "TRIM_EVERY", 0.01)
    committer = Committer(log, Retention(events=3), lambda: NOW)
    await committer.append(drafts(10))
    done = trio.Event()
    trim = log.trim

    def trim_and_tell(retention: Retention, now_ms: int) -> int:
        count = trim(retention, now_ms)
        if not count:
            done.set()
        return count

    monkeypatch.setattr(log, "trim", trim_and_tell)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(committer.keep_up)
        with trio.fail_after(5):
            await done.wait()
        nursery.cancel_scope.cancel()
    assert log.position.oldest == 8


async def test_a_wal_beyond_its_bound_is_started_anew(log: SlowLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAL_BOUND", 0)
    committer = Committer(log, Retention(), lambda: NOW)
    wal = log.path.with_name(log.path.name + "-wal")
    for _ in range(50):
        await committer.append(drafts(5))
    size = wal.stat().st_size
    for _ in range(20):
        await committer._checkpoint()
        await committer.append(drafts(1))
    assert wal.stat().st_size == size  # reused from the start instead of growing


async def test_what_passes_does_not_end_the_upkeep(
    log: SlowLog, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    from observatory.core.errors import StoreError

    calls = 0

    def failing(retention: Retention, now_ms: int) -> int:
        nonlocal calls
        calls += 1
        raise StoreError("the file is locked", "close it", calls < 3)

    monkeypatch.setattr(log, "trim", failing)
    committer = Committer(log, Retention(), lambda: NOW)
    with pytest.raises(StoreError):
        await committer.keep_up()
    assert calls == 3
