"""Forgetting while the ingest runs: memory forgets too, and what was forgotten is not read again."""

import os
import sqlite3

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from observatory.core.errors import StoreError
from observatory.core.forgetting import Removal, Target
from tests.ingest.stage import AFTER, BEFORE, Stage, line, of, prompt, reply, texts, types
from tests.storage.packing import everything

SECRET = "the-secret-that-has-to-go"
PATIENCE_MS = 5000  # for a thread that looks for spilled outputs, or for the leaves of summaries


async def forget(stage: Stage, key: str) -> Removal:
    """Forget a conversation in the running ingest, and rid the files of it."""
    removal = await stage.ingest.forget(Target("conversation", key))
    assert stage.archive.scrub(PATIENCE_MS)
    return removal


def left(stage: Stage) -> bool:
    """Whether any file of the data directory has the secret; the transcripts are in directories below it."""
    return SECRET.encode() in everything(stage.directory)


async def test_a_conversation_is_gone_and_its_file_is_not_read_again(stage: Stage) -> None:
    async with stage.running():
        await stage.append("s.jsonl", prompt(1, SECRET, stamp=AFTER), reply(2, "m", stamp=AFTER))
        await stage.append("t.jsonl", prompt(3, "harmless", stamp=AFTER, sessionId="t"))
        assert left(stage)
        await forget(stage, "s")
        assert types(stage.told()) == ["conversation_forgotten", "project_update"]
        assert not left(stage)
        assert await stage.append("s.jsonl", prompt(4, SECRET, stamp=AFTER)) == []
        assert texts(await stage.append("t.jsonl", prompt(5, "more", stamp=AFTER, sessionId="t"))) == ["more 5"]
        assert await stage.remove("s.jsonl") == []
    stage.write("s.jsonl", prompt(6, SECRET))
    async with stage.running():
        assert stage.told() == []
        assert await stage.append("s.jsonl", prompt(7, SECRET, stamp=AFTER)) == []
        assert not left(stage)


async def test_the_same_process_counts_on_as_if_it_had_never_known_it(stage: Stage) -> None:
    async with stage.running():
        await stage.append("s.jsonl", prompt(1, stamp=AFTER), reply(2, "m", output=10, stamp=AFTER))
        await forget(stage, "s")
        stage.told()
        told = await stage.append("t.jsonl", prompt(3, stamp=AFTER), reply(4, "m", output=12, stamp=AFTER))
        assert of(told, "message_added")[1]["usage_delta"]["output_tokens"] == 12
        assert stage.projects()["/w"]["conversation_count"] == 1


async def test_sub_agents_go_along_also_those_that_turn_up_later(stage: Stage) -> None:
    def agent(number: int) -> bytes:
        return prompt(number, SECRET, stamp=AFTER, isSidechain=True, agentId=f"a{number}")

    async with stage.running():
        await stage.append("s.jsonl", prompt(1, stamp=AFTER))
        await stage.append("-w/s/subagents/agent-a2.jsonl", agent(2))
        removal = await forget(stage, "s")
        assert [row.id for row in removal.conversations] == ["s", "s.a2"]
        stage.told()
        assert await stage.append("-w/s/subagents/agent-a3.jsonl", agent(3)) == []
        assert not left(stage)


async def forks(stage: Stage, stamp: str = AFTER) -> None:
    await stage.append("f.jsonl", prompt(1, SECRET, stamp=stamp, sessionId="f"), prompt(9, stamp=AFTER, sessionId="f"))


@pytest.mark.parametrize("when", ["before", "after", "after a restart"])
async def test_a_fork_that_repeats_its_lines_keeps_only_their_places(stage: Stage, when: str) -> None:
    stamp = BEFORE if when == "after a restart" else AFTER
    async with stage.running():
        await stage.append("s.jsonl", prompt(1, SECRET, stamp=stamp))
        if when == "before":
            await forks(stage)
        await forget(stage, "s")
        if when == "after":
            await forks(stage)
        if when != "after a restart":
            assert_only_places(stage)
    async with stage.running():
        if when == "after a restart":
            await forks(stage, BEFORE)
        assert_only_places(stage)


def assert_only_places(stage: Stage) -> None:
    assert stage.rows("SELECT error, length(body) > 0 FROM records ORDER BY id") == [("forgotten", 0), (None, 1)]
    assert not left(stage)
    assert SECRET not in str(stage.conversation("f"))


@pytest.mark.parametrize("how", ["while it runs", "before the next start", "as another root's history"])
async def test_a_forgotten_file_is_known_under_another_name(stage: Stage, how: str) -> None:
    summary = line(type="summary", summary=SECRET, leafUuid="x", sessionId="s")  # no uuid: only the file tells
    async with stage.running():
        await stage.append("s.jsonl", summary, prompt(1, SECRET, stamp=AFTER))
        await forget(stage, "s")
        stage.told()
        if how == "while it runs":
            stage.path("s.jsonl").rename(stage.path("renamed.jsonl"))
            assert await stage.hint("s.jsonl", "renamed.jsonl") == []
            assert await stage.append("renamed.jsonl", prompt(2, SECRET, stamp=AFTER)) == []
    if how == "before the next start":
        stage.path("s.jsonl").rename(stage.path("renamed.jsonl"))
    if how == "as another root's history":
        stage.path("s.jsonl").rename(stage.directory / "aside")
        stage.root.rename(stage.directory / "old")
        stage.root.mkdir()
        with_history(stage)
    async with stage.running():
        assert not left(stage)
        assert stage.rows("SELECT count(*) FROM records") == [(0,)]


def with_history(stage: Stage) -> None:
    """The root has not been scanned yet, and holds the file under another name."""
    with sqlite3.connect(stage.directory / "observatory.db") as db:
        db.execute("DELETE FROM roots")
    db.close()
    target = stage.path("renamed.jsonl")
    target.parent.mkdir(parents=True)
    (stage.directory / "aside").rename(target)


async def test_lines_that_wait_for_the_books_are_in_them_before_anything_is_forgotten(stage: Stage) -> None:
    async with stage.running():
        await stage.append("s.jsonl", prompt(1, SECRET, stamp=AFTER))
        await stage.append("t.jsonl", prompt(2, stamp=AFTER, sessionId="t"))
        stage.write("s.jsonl", prompt(3, SECRET, stamp=AFTER))
        stage.write("t.jsonl", prompt(4, stamp=AFTER, sessionId="t"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(forget, stage, "s")
            nursery.start_soon(stage.hint, "s.jsonl", "t.jsonl")
        await wait_all_tasks_blocked()
        assert not left(stage)
        assert stage.conversation("t")["message_count"] == 2
        assert stage.rows("SELECT count(*) FROM records") == [(2,)]


async def test_what_the_store_refuses_is_told_to_whoever_asked_and_nothing_is_forgotten(stage: Stage) -> None:
    async with stage.running():
        await stage.append("s.jsonl", prompt(1, SECRET, stamp=AFTER))
        with sqlite3.connect(stage.directory / "observatory.db") as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked"):
                await stage.ingest.forget(Target("conversation", "s"))
            other.execute("ROLLBACK")
        other.close()
        assert texts(await stage.append("s.jsonl", prompt(2, stamp=AFTER))) == ["do it 2"]


async def test_the_books_of_a_fork_go_on_where_its_line_was_emptied(stage: Stage) -> None:
    async with stage.running():
        await stage.append("s.jsonl", prompt(1, SECRET, stamp=AFTER))
        await forks(stage)
        await forget(stage, "s")
        stage.told()
        assert texts(await stage.append("f.jsonl", prompt(10, stamp=AFTER, sessionId="f"))) == ["do it 10"]
    async with stage.running():
        assert texts(await stage.append("f.jsonl", prompt(11, stamp=AFTER, sessionId="f"))) == ["do it 11"]
        assert stage.rows("SELECT max(generation) FROM sources") == [(0,)]


async def test_files_that_are_excluded_are_not_read_and_what_is_archived_of_them_stays(stage: Stage) -> None:
    async with stage.running():
        await stage.append("s.jsonl", prompt(1, stamp=AFTER))
        await stage.append("t.jsonl", prompt(2, stamp=AFTER, sessionId="t"))
        stage.told()
    stage.excluded = lambda path: path.endswith("/s.jsonl")
    stage.write("s.jsonl", prompt(3, stamp=AFTER))
    os.chmod(stage.path("s.jsonl"), 0)
    async with stage.running():
        assert stage.told() == []
        assert stage.ingest.gauges()["sources"] == 1
        assert stage.conversation("s")["message_count"] == 1
        assert texts(await stage.append("t.jsonl", prompt(4, stamp=AFTER, sessionId="t"))) == ["do it 4"]
    stage.excluded = lambda path: False
    os.chmod(stage.path("s.jsonl"), 0o600)
    async with stage.running():
        assert texts(stage.told()) == ["do it 3"]
