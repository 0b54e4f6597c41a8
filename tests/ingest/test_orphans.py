"""Tool calls that nobody waits for when their session has ended: a sidechain's too, which no turn's end closes."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from observatory.core.status import COMPLETED_AFTER_MS
from observatory.ingest import actor
from tests.ingest.stage import AFTER, NOW, Stage, prompt, result, use

QUERY = "SELECT tool_use_id, status FROM tool_calls ORDER BY 1"


def clock() -> int:
    return NOW + round(trio.current_time() * 1000)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(actor, "BOOKS_DELAY", 0.0)
    return Stage(tmp_path, wall_ms=clock)


async def test_the_open_calls_of_a_session_that_has_ended_are_orphans(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1, stamp=AFTER), use("t1", "t2", stamp=AFTER), result("t1", stamp=AFTER))
        await stage.append("a.jsonl", use("t3", at=5, stamp=AFTER, isSidechain=True))
        await stage.append("b.jsonl", prompt(2, stamp=AFTER), use("t2", at=6, stamp=AFTER))
        assert stage.rows(QUERY) == [("t1", "success"), ("t2", "pending"), ("t2", "pending"), ("t3", "pending")]
        await trio.sleep(COMPLETED_AFTER_MS / 1000)
        await stage.append("b.jsonl", prompt(7, stamp=AFTER), use("t4", at=8, stamp=AFTER))
        await trio.sleep(1200)
        await wait_all_tasks_blocked()
        ended = [("t1", "success"), ("t2", "orphaned"), ("t2", "orphaned"), ("t3", "orphaned"), ("t4", "pending")]
        assert stage.conversation("a")["status"] == "completed"
        assert stage.rows(QUERY) == ended
        await stage.append("a.jsonl", result("t2", at=9, stamp=AFTER), result("t3", at=9, stamp=AFTER, is_error=True))
        assert [row for row in stage.rows(QUERY) if row[1] != "orphaned"] == [
            ("t1", "success"),
            ("t2", "success"),
            ("t3", "error"),
            ("t4", "pending"),
        ]


async def test_history_leaves_no_call_open(stage: Stage, autojump_clock: MockClock) -> None:
    stage.write("a.jsonl", prompt(1), use("t1", at=2), use("t2", at=3, isSidechain=True))
    async with stage.running():
        assert stage.conversation("a")["status"] == "completed"
        assert stage.rows(QUERY) == [("t1", "orphaned"), ("t2", "orphaned")]
