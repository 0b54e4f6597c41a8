"""Restarts: in order, in the middle of a turn, killed between journal and books. No line is lost, none comes twice."""

import pytest

from observatory.core.errors import StoreError
from tests.ingest.stage import Stage, of, prompt, reply, texts, types, uuids


async def test_lines_appended_while_the_server_was_down_are_published_at_the_restart(stage: Stage) -> None:
    stage.write("a.jsonl", prompt(1))
    async with stage.running():
        stage.told()
    stage.write("a.jsonl", prompt(2), prompt(3))
    async with stage.running():
        told = stage.told()
        assert texts(told) == ["do it 2", "do it 3"]
        assert of(told, "conversation_update")[0]["message_count"] == 3
        assert len(of(told, "file_modified")) == 1


async def test_a_file_that_appeared_while_the_server_was_down_is_live(stage: Stage) -> None:
    async with stage.running():
        pass
    stage.write("a.jsonl", prompt(1))
    async with stage.running():
        told = stage.told()
        assert types(told) == ["project_update", "file_created", "conversation_started", "message_added"]


async def test_a_restart_in_the_middle_of_a_large_file_reads_the_rest(stage: Stage) -> None:
    """The stored stat was of the whole file already, so that it counted as unchanged and the rest was never read."""
    async with stage.running(killed=True):
        await stage.append("a.jsonl", prompt(0))
        stage.commits.room = 2
        told = await stage.append("a.jsonl", *(prompt(n, padding="x" * 5000) for n in range(1, 300)))
        assert 0 < len(told) < 300
    async with stage.running():
        assert texts(told + stage.told()) == [f"do it {n}" for n in range(1, 300)]


async def test_a_restart_without_news_tells_nothing(stage: Stage) -> None:
    stage.write("a.jsonl", prompt(1))
    async with stage.running():
        await stage.append("a.jsonl", prompt(2))
    async with stage.running():
        assert stage.told() == []


@pytest.mark.parametrize("room", range(1, 12))
async def test_a_process_killed_after_any_commit_loses_and_doubles_nothing(stage: Stage, room: int) -> None:
    """Between the journal's commit and the books' the books are behind: they catch up at the next start."""
    lines = {name: [prompt(n, sessionId=name), reply(n, f"m{name}{n}"), reply(n + 50, f"m{name}{n}", output=20)]
             for n, name in enumerate("abc")}  # fmt: skip
    told = []
    async with stage.running(killed=True, room=room):
        for turn in range(3):
            for name, found in lines.items():
                told += await stage.append(f"{name}.jsonl", found[turn])
    async with stage.running():
        told += stage.told()
        for name in lines:
            told += await stage.append(f"{name}.jsonl", reply(90 + ord(name), f"n{name}"))
    wanted = {f"u{n}" for n in range(3)} | {f"a{n}" for n in (0, 1, 2, 50, 51, 52)} | {f"a{90 + ord(c)}" for c in "abc"}
    assert sorted(map(str, uuids(told))) == sorted(wanted)
    assert sorted(data["id"] for data in of(told, "conversation_started")) == ["a", "b", "c"]
    for name in lines:
        row = stage.conversation(name)
        assert (row["message_count"], row["prompt_count"], row["reply_count"]) == (3, 1, 2)
        assert row["tokens"]["output_tokens"] == 30
    assert sum(data.get("usage_delta", {}).get("output_tokens", 0) for data in of(told, "message_added")) == 90
    assert stage.projects()["/w"]["conversation_count"] == 3


async def test_a_process_that_is_cancelled_between_journal_and_books_publishes_no_line_again(stage: Stage) -> None:
    """SIGTERM in a burst left the books behind, and the clean end made the next start believe that they were not."""
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        stage.commits.room = 1
        told = await stage.append("a.jsonl", prompt(2))
        assert types(told) == ["message_added"]
    async with stage.running():
        told = stage.told()
        assert texts(told) == []
        assert of(told, "conversation_update")[0]["message_count"] == 2
        assert texts(await stage.append("a.jsonl", prompt(3))) == ["do it 3"]


async def test_lines_that_could_not_be_committed_before_the_end_are_published_by_the_next_process(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        stage.commits.errors = [StoreError("disk full", retryable=True)] * 100
        assert await stage.append("a.jsonl", prompt(2)) == []
        stage.commits.errors.clear()  # the disk has room again just when the process is told to end
    async with stage.running():
        assert texts(stage.told()) == ["do it 2"]
        assert stage.conversation("a")["message_count"] == 2


async def test_copies_are_still_known_for_lines_that_the_books_lacked_at_a_kill(stage: Stage) -> None:
    """The copy keys are part of the books; those of the caught-up lines were never written."""
    async with stage.running(killed=True):
        await stage.append("a.jsonl", prompt(1))
        stage.commits.room = 1
        assert types(await stage.append("a.jsonl", prompt(2))) == ["message_added"]
    async with stage.running():
        told = await stage.append("fork.jsonl", prompt(1), prompt(2), prompt(3))
        assert texts(told) == ["do it 3"]
