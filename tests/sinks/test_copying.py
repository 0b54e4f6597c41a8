"""The copy, by both ways: complete, the same when sent twice, and equal to the archive row for row."""

import os
from pathlib import Path

import pytest

from tests.ingest.stage import line, prompt, reply, result, use
from tests.postgres import Cluster
from tests.sinks.stage import WAYS, conversation, patiently, rows_of, staged

pytestmark = pytest.mark.parametrize("way", WAYS)


async def test_a_history_is_copied_whole(tmp_path: Path, postgres: Cluster, supabase: str, way: str) -> None:
    async with staged(tmp_path, postgres, supabase, way) as on:
        for number in range(12):
            on.write(f"-w{number % 3}/s{number:03}.jsonl", *conversation(number, 30))
        await on.archived()
        progress = await on.copy(on.settings(way, on.set_up()))
        assert on.differences() == []
        assert progress.sent == {"projects": 3, "conversations": 12, "messages": 360, "tool_calls": 120}
        assert (progress.lag_changes, progress.parked) == (0, 0)


async def test_what_was_copied_is_not_sent_again(tmp_path: Path, postgres: Cluster, supabase: str, way: str) -> None:
    async with staged(tmp_path, postgres, supabase, way) as on:
        on.write("-w/s001.jsonl", *conversation(1))
        await on.archived()
        settings = on.settings(way, on.set_up())
        await on.copy(settings)
        again = await on.copy(settings)
        assert sum(again.sent.values()) == 0
        on.write("-w/s001.jsonl", prompt(7, "and this", sessionId="s001", uuid="more", cwd="/w1"))
        await on.archived()
        more = await on.copy(settings)
        assert more.sent["messages"] == 1
        assert on.differences() == []


async def test_live_lines_follow_and_calls_get_their_results(
    tmp_path: Path, postgres: Cluster, supabase: str, way: str
) -> None:
    async with staged(tmp_path, postgres, supabase, way) as on, on.living():
        on.write("-w/s.jsonl", prompt(0), use("t1", "t2", at=1, asked={"command": "ls"}))
        await on.read()
        settings = on.settings(way, on.set_up())
        await on.copy(settings)
        assert on.rows("SELECT status, input FROM tool_calls") == [("pending", {"command": "ls"})] * 2
        on.write("-w/s.jsonl", result("t2", at=2, is_error=True), result("t1", at=3))
        await on.read()
        await on.copy(settings)
        found = on.rows("SELECT tool_use_id, status, input, output FROM tool_calls ORDER BY 1")
        assert found == [("t1", "success", {"command": "ls"}, "x"), ("t2", "error", {"command": "ls"}, "x")]
        assert on.differences() == []


async def test_a_call_that_was_given_up_is_told(tmp_path: Path, postgres: Cluster, supabase: str, way: str) -> None:
    async with staged(tmp_path, postgres, supabase, way) as on, on.living():
        on.write("-w/s.jsonl", prompt(0), use("t1", at=1))
        await on.read()
        settings = on.settings(way, on.set_up())
        await on.copy(settings)
        on.write("-w/s.jsonl", prompt(2, "never mind"))
        await on.read()
        await on.copy(settings)
        assert on.rows("SELECT status FROM tool_calls") == [("orphaned",)]
        assert on.differences() == []


async def test_what_is_forgotten_leaves_the_copy(tmp_path: Path, postgres: Cluster, supabase: str, way: str) -> None:
    async with staged(tmp_path, postgres, supabase, way) as on:
        for number in range(3):
            on.write(f"-w{number}/s{number:03}.jsonl", *conversation(number, 9))
        async with on.living():
            settings = on.settings(way, on.set_up())
            await on.copy(settings)
            await on.forget("s001")
            await on.copy(settings)
        assert on.differences() == []
        assert on.rows("SELECT id FROM conversations ORDER BY 1") == [("s000",), ("s002",)]
        assert on.rows("SELECT count(*) FROM messages WHERE conversation_id = 's001'") == [(0,)]
        assert on.rows("SELECT count(*) FROM tool_calls WHERE conversation_id = 's001'") == [(0,)]


async def test_a_rewritten_file_is_copied_as_the_archive_has_it(
    tmp_path: Path, postgres: Cluster, supabase: str, way: str
) -> None:
    async with staged(tmp_path, postgres, supabase, way) as on, on.living():
        path = on.write("-w/s.jsonl", *(prompt(n, "old") for n in range(5)))
        await on.read()
        settings = on.settings(way, on.set_up())
        await on.copy(settings)
        new = path.with_suffix(".new")
        new.write_bytes(b"\n".join([prompt(0, "old"), prompt(1, "old"), prompt(8, "new"), prompt(9, "new")]) + b"\n")
        new.replace(path)
        await on.read()
        await on.copy(settings)
        assert on.differences() == []
        assert on.rows("SELECT count(*) FILTER (WHERE superseded), count(*) FROM messages") == [(3, 7)]


async def test_the_end_without_a_newline_is_there_and_then_whole(
    tmp_path: Path, postgres: Cluster, supabase: str, way: str
) -> None:
    async with staged(tmp_path, postgres, supabase, way) as on:
        path = on.write("-w/s.jsonl", prompt(0), reply(1, "m1"), end=b"")
        os.utime(path, (1_700_000_000, 1_700_000_000))  # at rest: nobody is about to end the line
        async with on.living():
            await patiently(lambda: len(rows_of(on.data, "SELECT id FROM records")) == 2)
            settings = on.settings(way, on.set_up())
            await on.copy(settings)
            assert on.differences() == []
            on.write("-w/s.jsonl", b"", line(type="system", subtype="turn_duration", uuid="x", sessionId="s"))
            await on.read()
            await on.copy(settings)
        assert on.differences() == []


async def test_another_database_gets_everything(tmp_path: Path, postgres: Cluster, supabase: str, way: str) -> None:
    async with staged(tmp_path, postgres, supabase, way) as on:
        on.write("-w/s001.jsonl", *conversation(1, 20))
        await on.archived()
        await on.copy(on.settings(way, on.set_up()))
        other = postgres.supabase()
        async with staged(tmp_path, postgres, other, way) as there:
            progress = await there.copy(there.settings(way, there.set_up()))
            assert progress.sent["messages"] == 20
            assert there.differences() == []
        postgres.drop(other)
