"""Conversations change by mere silence, and by what the registry of live sessions says; clients are told, once."""

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from observatory.core.conversation import Conversation
from observatory.core.forgetting import Target
from observatory.core.replies import rfc3339
from observatory.core.sessions import Session
from observatory.ingest import actor, presence
from observatory.ingest.ledger import Ledger
from observatory.ingest.presence import DUE_A_TURN, Presence
from tests.ingest.stage import AFTER, NOW, Stage, Told, line, of, prompt, reply

MINUTE = 60.0
KEYS = ("id", "activity", "status")


def clock() -> int:
    """A wall clock that goes with the virtual one."""
    return NOW + round(trio.current_time() * 1000)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(actor, "BOOKS_DELAY", 0.0)
    return Stage(tmp_path, wall_ms=clock)


def seen(told: list[Told]) -> list[tuple[Any, ...]]:
    return [tuple(data.get(key) for key in KEYS) for data in of(told, "conversation_update")]


def said(number: int, text: str = "Done.") -> bytes:
    block = {"type": "text", "text": text}
    return reply(number, f"m{number}", stamp=AFTER, message={"id": f"m{number}", "model": "m", "content": [block]})


def call(number: int, name: str = "Bash") -> bytes:
    block = {"type": "tool_use", "id": f"t{number}", "name": name, "input": {}}
    return reply(number, f"m{number}", stamp=AFTER, message={"id": f"m{number}", "model": "m", "content": [block]})


async def pause(stage: Stage, seconds: float) -> list[Told]:
    """Let time pass; returns what was told of it."""
    await trio.sleep(seconds)
    await wait_all_tasks_blocked()
    return stage.told()


async def test_text_and_then_silence_is_idle_and_later_completed(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1, stamp=AFTER), said(2))
        assert seen(await pause(stage, 9.9)) == []
        assert seen(await pause(stage, 0.2)) == [("a", "idle", None)]
        assert stage.conversation("a")["status_reason"] == "silent"
        assert seen(await pause(stage, 29 * MINUTE)) == []
        assert seen(await pause(stage, 2 * MINUTE)) == [("a", None, "completed")]
        assert seen(await pause(stage, 24 * 60 * MINUTE)) == []


async def test_the_next_line_reopens_it(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1, stamp=AFTER), said(2))
        await pause(stage, 60 * MINUTE)
        assert stage.conversation("a")["status"] == "completed"
        assert seen(await stage.append("a.jsonl", line(type="custom-title", customTitle="t"))) == [("a", None, None)]
        assert seen(await stage.append("a.jsonl", prompt(3, stamp=AFTER))) == [("a", "working", "active")]


async def test_a_call_without_progress_waits_and_then_is_stale(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1, stamp=AFTER), call(2))
        assert seen(await pause(stage, 50.0)) == []
        await stage.append("a.jsonl", line(type="progress", data={"type": "bash_progress"}, sessionId="s"))
        assert seen(await pause(stage, 50.0)) == []
        assert seen(await pause(stage, 20.0)) == [("a", "waiting", None)]
        assert seen(await pause(stage, 15 * MINUTE)) == [("a", "idle", None)]
        assert stage.conversation("a")["status_reason"] == "stale"


async def test_an_agent_at_work_is_a_sign_of_life_of_its_parent(stage: Stage, autojump_clock: MockClock) -> None:
    agent = "-w/a/subagents/agent-x.jsonl"
    async with stage.running():
        await stage.append("a.jsonl", prompt(1, stamp=AFTER), call(2, "Task"))
        for number in range(5):
            await stage.append(agent, prompt(number + 10, stamp=AFTER, agentId="x"))
            assert ("a", "waiting", None) not in seen(await pause(stage, 50.0))
        assert ("a", "waiting", None) in seen(await pause(stage, 20.0))


async def test_history_is_settled_as_it_comes_in(stage: Stage, autojump_clock: MockClock) -> None:
    stage.write("a.jsonl", prompt(1), reply(2, "m1"))
    async with stage.running():
        told = stage.told()
        assert [data["status"] for data in of(told, "conversation_started")] == ["completed"]
        assert of(told, "conversation_update") == []
        assert stage.rows("SELECT status FROM conversations") == [("completed",)]
        assert stage.archive.in_motion() == []
        assert await pause(stage, 60 * MINUTE) == []


async def test_a_restart_goes_on_where_the_last_process_was(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1, stamp=AFTER), said(2))
        await stage.append("b.jsonl", prompt(3, stamp=AFTER))
        await pause(stage, 5.0)
    await trio.sleep(2.0)
    async with stage.running():
        assert stage.told() == []
        assert seen(await pause(stage, 4.0)) == [("a", "idle", None)]
    await trio.sleep(30 * MINUTE)
    async with stage.running():
        await wait_all_tasks_blocked()
        assert seen(stage.told()) == [("b", "idle", None), ("a", None, "completed")]  # the latest first
    async with stage.running():
        assert stage.told() == []


async def test_a_start_after_a_long_time_tells_of_the_latest_only(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(presence, "TOLD_AT_START", 40)
    names = [f"c{number:03}" for number in range(100)]
    async with stage.running():
        for number, name in enumerate(names):
            stamp = f"2026-11-22T22:00:{number // 10:02}.{number % 10:03}Z"
            await stage.append(f"{name}.jsonl", prompt(number, timestamp=stamp))
    await trio.sleep(24 * 60 * MINUTE)
    stage.told()
    async with stage.running():
        await wait_all_tasks_blocked()
        found = seen(stage.told())
        assert sorted(found) == [(name, "idle", "completed") for name in names[60:]]
        assert stage.rows("SELECT count(*) FROM conversations WHERE status = 'completed'") == [(100,)]
        assert stage.ingest.gauges()["conversations_in_motion"] == 0


async def test_a_forgotten_conversation_is_not_looked_at_again(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1, stamp=AFTER), said(2))
        await stage.ingest.forget(Target("conversation", "a"))
        stage.told()
        assert await pause(stage, 60 * MINUTE) == []
        assert stage.ingest.gauges()["conversations_in_motion"] == 0


# -- the registry ------------------------------------------------------------------------------------------------------


def busy(**changed: Any) -> dict[str, Session]:
    found: dict[str, Any] = {"session_id": "a", "activity": "working", "proc_start": "1", "since_ms": None}
    session = Session(**found | changed)
    return {session.session_id: session}


async def hear(stage: Stage, sessions: dict[str, Session]) -> list[tuple[Any, ...]]:
    stage.ingest.hear(sessions)
    await wait_all_tasks_blocked()
    return seen(stage.told())


async def test_a_live_session_says_what_it_does(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1, stamp=AFTER), call(2))
        assert await hear(stage, busy()) == []
        assert stage.conversation("a")["status_reason"] == "session"
        assert seen(await pause(stage, 60 * MINUTE)) == []  # a long tool, for sure
        assert await hear(stage, busy(activity="waiting")) == [("a", "waiting", None)]
        assert await hear(stage, busy(activity="waiting")) == []
        assert await hear(stage, busy(activity="idle")) == [("a", "idle", None)]
        assert seen(await pause(stage, 31 * MINUTE)) == [("a", None, "completed")]


async def test_a_line_knows_better_until_the_next_look(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1, stamp=AFTER))
        assert await hear(stage, busy(activity="idle")) == [("a", "idle", None)]
        await trio.sleep(1.0)
        assert seen(await stage.append("a.jsonl", prompt(2, stamp=AFTER))) == [("a", "working", None)]
        await trio.sleep(1.0)
        assert await hear(stage, busy(activity="idle")) == [("a", "idle", None)]


async def test_a_session_whose_process_ended_is_idle_at_once(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1, stamp=AFTER))
        await hear(stage, busy())
        await trio.sleep(5.0)
        assert await hear(stage, {}) == [("a", "idle", None)]
        assert stage.conversation("a")["status_reason"] == "ended"
        assert seen(await pause(stage, 31 * MINUTE)) == [("a", None, "completed")]
        assert seen(await stage.append("a.jsonl", prompt(2, stamp=AFTER))) == [("a", "working", "active")]
        assert stage.ingest.gauges()["live_sessions"] == 0


async def test_a_session_that_has_written_nothing_yet_is_nothing(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.running():
        assert await hear(stage, busy()) == []
        assert await hear(stage, busy(session_id="né/*")) == []
        assert await hear(stage, {}) == []
        assert stage.told() == []


async def test_idle_costs_nothing(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1, stamp=AFTER), said(2))
        await pause(stage, 60 * MINUTE)
        before = stage.commits.commits
        assert await pause(stage, 24 * 60 * MINUTE) == []
        assert stage.commits.commits == before


# -- the heap ----------------------------------------------------------------------------------------------------------


class Rows:
    """A ledger's look-ups over rows in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, Conversation] = {}

    def conversation(self, key: str) -> Conversation | None:
        return self.rows.get(key)

    def message_ids(self) -> list[str]:
        return []


def test_work_is_bounded_by_what_is_due_and_the_heap_by_what_is_known() -> None:
    now = [NOW]
    found = Presence(Ledger(Rows()), lambda: now[0])  # type: ignore[arg-type]
    row = Conversation("c", "p", "s", "/c.jsonl", rfc3339(NOW), rfc3339(NOW), told="working")
    for number in range(10_000):
        now[0] = NOW + number
        row = found.settle(Conversation(**{**_fields(row), "said_at": rfc3339(now[0])}), live=True)
    assert len(found._heap) < 100
    for number in range(100):
        found.settle(Conversation(**{**_fields(row), "id": f"c{number}"}))
    assert found.take_due() == []
    now[0] += 900_000
    taken = [found.take_due() for _ in range(5)]
    assert [len(some) for some in taken] == [DUE_A_TURN, DUE_A_TURN, DUE_A_TURN, 101 - 3 * DUE_A_TURN, 0]
    assert len({key for some in taken for key in some}) == 101


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 100)), max_size=60))
def test_what_is_due_comes_in_order_and_once(moves: list[tuple[int, int]]) -> None:
    found = Presence(Ledger(Rows()), lambda: 1000)  # type: ignore[arg-type]
    last: dict[str, int] = {}
    for key, due in moves:
        found._schedule(str(key), due)
        last[str(key)] = due
    taken = found.take_due()
    assert sorted(taken) == sorted(last)
    assert [last[key] for key in taken] == sorted(last.values())


def _fields(row: Conversation) -> dict[str, Any]:
    return attrs.asdict(row, recurse=False)
