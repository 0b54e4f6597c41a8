"""Tool calls of a conversation: new once, answered once, orphaned when a turn ends, whatever happens in between."""

import pytest

from observatory.core.batch import Batch
from observatory.core.lines import Line
from observatory.core.tools import ToolCallRow
from observatory.core.transcript import Record, parse
from observatory.ingest import calls as module
from observatory.ingest.calls import Calls, Key
from tests.ingest.stage import Stage, prompt, result, use


class Store(dict[Key, ToolCallRow]):
    """What was committed."""

    def tool_call(self, conversation_id: str, tool_use_id: str) -> ToolCallRow | None:
        return self.get((conversation_id, tool_use_id))


def record(data: bytes) -> Record:
    (found,) = parse(Line(0, len(data), data))
    assert isinstance(found, Record)
    return found


def test_a_call_is_new_once() -> None:
    store = Store()
    calls = Calls(store)
    assert calls.note("a", record(use("t1", "t1")), "1-0-0") == (1, 0, 0)
    store |= calls.take()
    assert calls.take() == {}
    assert calls.note("a", record(use("t1")), "1-0-9") == (0, 0, 0)
    assert calls.note("b", record(use("t1")), "2-0-0") == (1, 0, 0)
    assert Calls(store).note("a", record(use("t1")), "1-0-9") == (0, 0, 0)
    assert calls.note("a", record(prompt(1)), "1-0-20") == (0, 0, 0)


def test_an_error_counts_once_and_a_result_without_its_call_never() -> None:
    calls = Calls(Store())
    calls.note("a", record(use("t1", "t2")), "1-0-0")
    assert calls.note("a", record(result("t1", "unknown", is_error=True)), "1-0-5") == (0, 1, 1)
    assert calls.note("a", record(result("t1", is_error=True)), "1-0-9") == (0, 0, 0)
    assert calls.note("a", record(result("t2")), "1-0-12") == (0, 0, 0)
    assert {key[1]: row.status for key, row in calls.take().items()} == {"t1": "error", "t2": "success"}


def test_of_many_calls_the_old_ones_are_asked_of_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 4)
    store = Store()
    calls = Calls(store)
    for number in range(10):
        calls.note("a", record(use(f"t{number}")), f"1-0-{number}")
        store |= calls.take()
    assert calls.note("a", record(result("t0", is_error=True)), "1-0-99") == (0, 1, 0)
    calls.orphan("a", ["t1", "t9", "unknown", "t0"])
    assert {key[1]: row.status for key, row in calls.take().items()} == {
        "t0": "error",
        "t1": "orphaned",
        "t9": "orphaned",
    }
    calls.forget()
    assert calls.note("b", record(use("t1")), "2-0-0") == (1, 0, 0)


async def test_calls_are_paired_in_the_archive_and_survive_a_restart(stage: Stage) -> None:
    query = "SELECT tool_use_id, status, duration_ms, result_record IS NOT NULL FROM tool_calls ORDER BY 1"
    async with stage.running():
        await stage.append("a.jsonl", prompt(0), use("t1", "t2", "t3", at=100), result("t1", at=250))
        assert stage.rows(query) == [("t1", "success", 150, 1), ("t2", "pending", None, 0), ("t3", "pending", None, 0)]
        await stage.append("a.jsonl", result("t2", is_error=True, at=300), prompt(400, "stop that"))
        assert stage.rows(query) == [("t1", "success", 150, 1), ("t2", "error", 200, 1), ("t3", "orphaned", None, 0)]
        assert stage.conversation("a")["tool_error_count"] == 1
    async with stage.running():
        await stage.append("a.jsonl", result("t3", at=900))
        assert stage.rows(query)[2] == ("t3", "success", 800, 1)
        await stage.append("a.jsonl", result("t8", "t9", at=901))
        assert stage.conversation("a")["tool_usage_count"] == 3
        assert stage.conversation("a")["particulars"]["stray_results"] == 2


def test_a_batch_holds_the_newest_row_of_a_call() -> None:
    calls = Calls(Store())
    calls.note("a", record(use("t1")), "1-0-0")
    calls.note("a", record(result("t1")), "1-0-5")
    batch = Batch(tool_calls=calls.take())
    assert [row.status for row in batch.tool_calls.values()] == ["success"]
