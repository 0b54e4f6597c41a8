"""What a root holds at its first scan: archived, and told of once per conversation and project."""

import os

import pytest

from observatory.ingest import reading
from tests.ingest.stage import BEFORE, Stage, of, prompt, reply, texts, types

LONG = {"padding": "x" * 2000}


async def test_history_is_archived_and_told_of_once_per_conversation_and_project(stage: Stage) -> None:
    stage.write("a.jsonl", prompt(1), reply(2, "m1"), reply(3, "m1", output=30))
    stage.write("b.jsonl", prompt(4, sessionId="b"))
    stage.write("-v/c.jsonl", prompt(5, cwd="/v", sessionId="c"))
    async with stage.running():
        told = stage.told()
        assert sorted(types(told)) == ["conversation_started"] * 3 + ["project_update"] * 2
        started = {data["id"]: data for data in of(told, "conversation_started")}
        assert started.keys() == {"a", "b", "c"}
        assert started["a"]["message_count"] == 2
        assert started["a"]["tokens"]["output_tokens"] == 30
        counts = {data["path"]: data["conversation_count"] for data in of(told, "project_update")}
        assert counts == {"/w": 2, "/v": 1}
        assert stage.rows("SELECT count(*), min(flags & 16), max(flags & 16) FROM records") == [(5, 16, 16)]


async def test_a_project_was_last_active_when_its_history_was_written(stage: Stage) -> None:
    """It was the time of the scan: all projects of the past looked alike, and the first live line changed nothing."""
    stage.write("a.jsonl", prompt(1))
    async with stage.running():
        (project,) = of(stage.told(), "project_update")
        assert project["last_activity"] == BEFORE.format(1)
        assert project["created_at"] > project["last_activity"]


async def test_the_newest_history_comes_first(stage: Stage) -> None:
    for number, name in enumerate(["b.jsonl", "a.jsonl", "c.jsonl"]):
        stage.write(name, prompt(number, sessionId=name))
        os.utime(stage.path(name), (1_700_000_000 + number, 1_700_000_000 + number))
    async with stage.running():
        assert [data["id"] for data in of(stage.told(), "conversation_started")] == ["c", "a", "b"]


async def test_what_comes_after_the_first_scan_is_live(stage: Stage) -> None:
    stage.write("a.jsonl", prompt(1))
    async with stage.running():
        stage.told()
        told = await stage.append("a.jsonl", prompt(2))
        assert texts(told) == ["do it 2"]
        told = await stage.append("b.jsonl", prompt(3, sessionId="b"))
        assert types(told) == ["file_created", "conversation_started", "message_added", "project_update"]


async def test_a_restart_in_the_middle_of_history_goes_on_and_tells_each_conversation_once(stage: Stage) -> None:
    for name in ("a", "b", "c"):
        stage.write(f"{name}.jsonl", *(prompt(n, sessionId=name, **LONG) for n in range(300)))
    told = []
    for room in (3, 2, 2, None):
        async with stage.running(killed=room is not None, room=room):
            told += stage.told()
    assert sorted(types(told)) == ["conversation_started"] * 3 + ["project_update"]
    assert {data["message_count"] for data in of(told, "conversation_started")} == {300}
    assert of(told, "project_update")[0]["conversation_count"] == 3
    assert stage.rows("SELECT count(*) FROM records") == [(900,)]


async def test_a_line_that_is_torn_at_the_first_scan_is_published_when_it_is_whole(stage: Stage) -> None:
    whole, torn = prompt(1), prompt(2)
    stage.write("a.jsonl", whole, torn[:20], end=b"")
    async with stage.running():
        assert types(stage.told()) == ["project_update", "conversation_started"]
        told = await stage.append("a.jsonl", torn[20:])
        assert texts(told) == ["do it 2"]


async def test_a_file_that_is_nothing_but_a_torn_line_at_the_first_scan(stage: Stage) -> None:
    """The turn that found no whole line left backfill_until beyond it: the line was history and never published."""
    stage.write("a.jsonl", prompt(1)[:20], end=b"")
    async with stage.running():
        assert stage.told() == []
        told = await stage.append("a.jsonl", prompt(1)[20:])
        assert types(told) == ["project_update", "conversation_started", "message_added", "file_modified"]


async def test_history_that_ends_in_a_torn_line_after_a_full_chunk_is_told_of(stage: Stage) -> None:
    """As before: the conversation was never told of, and each restart announced all projects again."""
    lines = [prompt(n, padding="x" * 10_000) for n in range(26)]
    assert sum(len(found) + 1 for found in lines) > reading.READ_BYTES
    first_chunk = reading.READ_BYTES // (len(lines[0]) + 1)
    stage.write("a.jsonl", *lines[:first_chunk], lines[first_chunk][:9_000], end=b"")
    async with stage.running():
        assert types(stage.told()) == ["project_update", "conversation_started"]
    async with stage.running():
        assert stage.told() == []
        told = await stage.append("a.jsonl", lines[first_chunk][9_000:])
        assert texts(told) == [f"do it {first_chunk}"]


async def test_a_root_is_scanned_for_the_first_time_once(stage: Stage) -> None:
    async with stage.running():
        pass
    stage.write("a.jsonl", prompt(1))
    async with stage.running():
        assert texts(stage.told()) == ["do it 1"]


async def test_a_history_file_that_goes_away_before_it_is_read(stage: Stage) -> None:
    stage.write("a.jsonl", prompt(1))
    stage.write("b.jsonl", prompt(2, sessionId="b"))
    async with stage.running(scan=False):
        scanned = stage.look()
        stage.path("a.jsonl").unlink()
        told = await stage.tell(scanned)
        assert [data["id"] for data in of(told, "conversation_started")] == ["b"]


@pytest.mark.parametrize("content", [b"", b"\n\n", b'{"foo":1}\n'])
async def test_history_without_anything_of_claude_code_makes_no_conversation(stage: Stage, content: bytes) -> None:
    stage.write("a.jsonl", content, end=b"")
    async with stage.running():
        assert stage.told() == []
        told = await stage.append("a.jsonl", prompt(1))
        assert "do it 1" in texts(told)
