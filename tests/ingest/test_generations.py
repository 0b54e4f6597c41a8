"""Replaced and cut files: a new generation, read anew; only what was not there before is published and counted."""

import os

import pytest

from tests.ingest.stage import Stage, of, prompt, reply, texts, types

LONG = {"padding": "x" * 2000}


async def test_a_truncated_file_is_read_anew_and_only_new_content_is_published(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1), prompt(2), prompt(3), prompt(4))
        stage.path("a.jsonl").write_bytes(prompt(1) + b"\n" + prompt(5) + b"\n")
        told = await stage.hint("a.jsonl")
        assert texts(told) == ["do it 5"]
        assert of(told, "conversation_update")[0]["message_count"] == 5
        assert stage.rows("SELECT generation, offset FROM sources") == [(1, stage.path("a.jsonl").stat().st_size)]
        assert stage.rows("SELECT count(*) FROM records") == [(6,)]
        assert texts(await stage.append("a.jsonl", prompt(6))) == ["do it 6"]


async def test_a_file_replaced_by_rename_is_a_new_generation_however_large(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        told = await stage.replace("a.jsonl", prompt(0), prompt(1), prompt(2))
        assert texts(told) == ["do it 0", "do it 2"]
        assert stage.conversation("a")["message_count"] == 3


async def test_a_line_that_stood_there_twice_may_come_back_twice(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1), prompt(1), prompt(2))
        assert texts(await stage.replace("a.jsonl", prompt(1), prompt(1), prompt(1))) == ["do it 1"]


@pytest.mark.parametrize("room", [2, 3])
async def test_known_lines_of_a_replaced_file_stay_known_over_a_restart(stage: Stage, room: int) -> None:
    """Which lines were there before was only in memory: after a restart the rest of the file was published again."""
    lines = [prompt(n, **LONG) for n in range(400)]
    async with stage.running():
        await stage.append("a.jsonl", *lines, prompt(999))
    stage.write("a.tmp", *lines, prompt(1000))
    os.replace(stage.path("a.tmp"), stage.path("a.jsonl"))
    stage.told()
    async with stage.running(killed=True, room=room):  # the scan's commit, and one or two parts of the file
        told = stage.told()
    assert 0 < stage.rows("SELECT count(*) FROM records WHERE flags & 2")[0][0] < 400
    async with stage.running():
        assert texts(told + stage.told()) == ["do it 1000"]
    assert stage.rows("SELECT count(*) FROM records WHERE flags & 2") == [(400,)]
    assert stage.conversation("a")["message_count"] == 402


async def test_a_kill_after_a_replacement_was_journalled_leaves_nothing_out_of_the_books(stage: Stage) -> None:
    """The source's row did not know of the new generation yet: its lines were taken for known and never counted."""
    async with stage.running(killed=True):
        await stage.append("a.jsonl", prompt(1), prompt(2))
        stage.path("a.jsonl").write_bytes(reply(3, "m3") + b"\n")
        stage.commits.room = 1
        told = await stage.hint("a.jsonl")
        assert len(of(told, "message_added")) == 1
    async with stage.running():
        assert of(stage.told(), "message_added") == []
        assert stage.conversation("a")["message_count"] == 3
        assert stage.conversation("a")["tokens"]["output_tokens"] == 10


async def test_a_file_deleted_and_made_anew_is_read_from_its_start(stage: Stage) -> None:
    """Inode numbers are given out again: a larger file of the same name and number was read from the old offset."""
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        inode = stage.path("a.jsonl").stat().st_ino
        await stage.remove("a.jsonl")
        stage.write("a.jsonl", prompt(7), prompt(8))
        again = "again" if stage.path("a.jsonl").stat().st_ino == inode else "not again"
        told = await stage.hint("a.jsonl")
        assert types(told)[0] == "file_created"
        assert texts(told) == ["do it 7", "do it 8"], f"the inode was {again} the same"


async def test_a_file_that_was_away_and_comes_back_unchanged_is_not_read_again(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        os.rename(stage.path("a.jsonl"), stage.path("elsewhere"))
        assert types(await stage.hint("a.jsonl")) == ["file_deleted"]
        os.rename(stage.path("elsewhere"), stage.path("a.jsonl"))
        assert types(await stage.hint("a.jsonl")) == ["file_created"]
        assert stage.rows("SELECT generation, missing FROM sources") == [(0, 0)]
        assert texts(await stage.append("a.jsonl", prompt(2))) == ["do it 2"]


async def test_generations_may_run_out(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("observatory.ingest.journal.MAX_GENERATION", 2)
    async with stage.running():
        for number in range(8):
            told = await stage.replace("a.jsonl", prompt(99), prompt(number))
            assert texts(told) == ["do it 99"] * (number == 0) + [f"do it {number}"]
        assert stage.rows("SELECT count(*) FROM sources WHERE missing = 0") == [(1,)]
        assert stage.conversation("a")["message_count"] == 9


async def test_a_torn_line_that_is_cut_back_is_looked_through_anew(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        size = stage.path("a.jsonl").stat().st_size
        assert texts(await stage.append("a.jsonl", b'{"x":"' + b"x" * 600_000, end=b"")) == []
        os.truncate(stage.path("a.jsonl"), size)
        assert texts(await stage.hint("a.jsonl")) == []
        assert texts(await stage.append("a.jsonl", prompt(2))) == ["do it 2"]
