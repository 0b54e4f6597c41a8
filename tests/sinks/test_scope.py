"""What goes into the copy and what does not, what leaves it again, and what the database would not take."""

from pathlib import Path

import attrs
import psycopg
import pytest
import trio

from observatory.core.pruning import Prune
from observatory.sinks.copying import Settings
from observatory.sinks.estimate import estimate
from observatory.sinks.state import State
from tests.ingest.stage import line, prompt, use
from tests.postgres import Cluster
from tests.sinks.stage import WAYS, Stage, conversation, staged

KEY = "ghp_" + "a" * 36


async def told(on: Stage, settings: Settings, reason: str) -> str | None:
    """The hint that comes with a reason, and nothing is sent meanwhile."""
    on.told.clear()
    with trio.move_on_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(on.copy, settings)
            while not any(reason in (progress.reason or "") for progress in on.told):  # noqa: ASYNC110
                await trio.sleep(0.02)
            nursery.cancel_scope.cancel()
    found = [progress for progress in on.told if reason in (progress.reason or "")]
    assert found, [progress.reason for progress in on.told]
    return found[0].hint


@pytest.mark.parametrize("way", WAYS)
async def test_only_some_projects_and_then_others(tmp_path: Path, postgres: Cluster, supabase: str, way: str) -> None:
    async with staged(tmp_path, postgres, supabase, way) as on:
        for number in range(3):
            on.write(f"-w{number}/s{number:03}.jsonl", *conversation(number, 6))
        await on.archived()
        settings = on.settings(way, on.set_up(), projects=("w1",))
        await on.copy(settings)
        assert on.rows("SELECT DISTINCT conversation_id FROM messages") == [("s001",)]
        assert on.rows("SELECT name FROM projects") == [("w1",)]
        assert on.rows("SELECT count(*) FROM conversations") == [(1,)]
        assert estimate(on.data, settings.scope).rows == 6
        await on.copy(attrs.evolve(settings, projects=("/w2", "w0")))
        assert on.rows("SELECT DISTINCT conversation_id FROM messages ORDER BY 1") == [("s000",), ("s002",)]
        assert on.rows("SELECT DISTINCT conversation_id FROM tool_calls ORDER BY 1") == [("s000",), ("s002",)]
        await on.copy(attrs.evolve(settings, projects=()))
        assert on.differences() == []


@pytest.mark.parametrize("way", WAYS)
async def test_keys_are_replaced_unless_they_are_wanted(
    tmp_path: Path, postgres: Cluster, supabase: str, way: str
) -> None:
    async with staged(tmp_path, postgres, supabase, way) as on:
        on.write("-w/s.jsonl", prompt(0, f"use {KEY}"), use("t", at=1, asked={"command": f"curl {KEY}"}))
        await on.archived()
        settings = on.settings(way, on.set_up())
        await on.copy(settings)
        stored = str(on.rows("SELECT * FROM messages")) + str(on.rows("SELECT * FROM tool_calls, conversations"))
        assert KEY not in stored
        assert "[redacted:github]" in stored
        assert on.differences() == []
        await on.copy(attrs.evolve(settings, redact=False))
        assert KEY in str(on.rows("SELECT content FROM messages"))
        assert on.differences(leaving=None) == []


async def test_every_record_whole(tmp_path: Path, postgres: Cluster, supabase: str) -> None:
    async with staged(tmp_path, postgres, supabase) as on:
        lines = (
            line(type="permission-mode", mode="plan", sessionId="s"),
            line(type="bridge-session", sessionId="s", a=1),
        )
        on.write("-w/s.jsonl", prompt(0), *lines)
        await on.archived()
        await on.copy(on.settings("direct", on.set_up(), all_kinds=True))
        assert on.rows("SELECT raw ->> 'mode' FROM messages ORDER BY position") == [(None,), ("plan",), (None,)]
        assert on.differences(all_kinds=True) == []


async def test_what_postgresql_cannot_hold_is_made_to_fit(tmp_path: Path, postgres: Cluster, supabase: str) -> None:
    async with staged(tmp_path, postgres, supabase) as on:
        lone = prompt(1, "x").replace(b'"x 1"', b'"a\\u0000b \\ud800"')
        on.write("-w/s.jsonl", prompt(0, "z" * 1_200_000), lone)
        await on.archived()
        progress = await on.copy(on.settings("direct", on.set_up()))
        found = on.rows("SELECT length(content), altered, truncated FROM messages ORDER BY position")
        assert found == [(1_000_000, False, True), (5, True, False)]
        assert progress.parked == 0
        assert on.differences() == []


@pytest.mark.parametrize("way", WAYS)
async def test_pruned_records_leave_the_copy(tmp_path: Path, postgres: Cluster, supabase: str, way: str) -> None:
    async with staged(tmp_path, postgres, supabase, way) as on:
        on.write("-w0/s000.jsonl", *conversation(0, 9))
        async with on.living() as monitor:
            settings = on.settings(way, on.set_up())
            await on.copy(settings)
            assert (await monitor.commits.prune(Prune("2099-01-01"))).records == 9
            await on.copy(settings)
            assert on.rows("SELECT count(*) FROM messages") == [(0,)]
            assert on.rows("SELECT DISTINCT input, output FROM tool_calls") == [(None, None)]
            assert on.differences() == []


@pytest.mark.parametrize("way", WAYS)
async def test_what_the_database_would_not_take_waits_and_goes_when_it_may(
    tmp_path: Path, postgres: Cluster, supabase: str, way: str
) -> None:
    async with staged(tmp_path, postgres, supabase, way) as on:
        on.write("-w/s001.jsonl", *conversation(1, 40))
        await on.archived()
        settings = on.settings(way, on.set_up())
        with psycopg.connect(on.url, autocommit=True) as db:
            db.execute("ALTER TABLE messages ADD CONSTRAINT picky CHECK (line <> 17)")
            progress = await on.copy(settings)
            assert (progress.parked, progress.sent["messages"]) == (1, 39)
            state = State(on.data)
            (parked,) = state.parked()
            assert (parked.kind, "picky" in parked.reason) == ("record", True)
            await on.copy(settings)
            assert len(state.parked()) == 1
            db.execute("ALTER TABLE messages DROP CONSTRAINT picky")
        assert state.ask_again() == 1
        await on.copy(settings)
        assert state.parked() == []
        state.close()
        assert on.differences() == []


async def test_what_is_wrong_is_told_with_its_cure(tmp_path: Path, postgres: Cluster, supabase: str) -> None:
    async with staged(tmp_path, postgres, supabase, "api") as on:
        on.write("-w/s001.jsonl", *conversation(1))
        await on.archived()
        assert "init" in str(await told(on, on.settings("direct", on.url), "tables are not there"))
        good = on.set_up()

        def sql(query: str) -> None:
            with psycopg.connect(on.url, autocommit=True) as db:
                db.execute(query.encode())

        sql("DELETE FROM observatory_migrations WHERE version = 3")
        assert "migrate" in str(await told(on, on.settings("direct", good), "are of version 2"))
        sql("INSERT INTO observatory_migrations VALUES (3, 'x'), (9, 'x')")
        assert "upgrade" in str(await told(on, on.settings("direct", good), "are of version 9"))
        sql("DELETE FROM observatory_migrations WHERE version = 9")
        api = on.settings("api", good)
        assert "SUPABASE_KEY" in str(await told(on, attrs.evolve(api, key="nonsense"), "key is not accepted"))
        assert "SUPABASE_KEY" in str(await told(on, attrs.evolve(api, key=on.key(exp=1)), "has run out"))
        assert on.stand_in is not None
        elsewhere = attrs.evolve(api, url=f"{on.stand_in.url}/nothing/here")
        assert "SUPABASE_URL" in str(await told(on, elsewhere, "it answers 404")) or "init" in str(on.told[-1].hint)
        sql("UPDATE observatory_machines SET owner_id = '00000000-0000-4000-8000-000000000009'")
        assert "SUPABASE_KEY" in str(await told(on, api, "policies of the database deny it"))
        sql("TRUNCATE observatory_machines CASCADE")
        assert "init" in str(await told(on, on.settings("direct", on.url), "does not know this machine"))
