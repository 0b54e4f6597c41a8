"""Replaced and cut files: a new generation, read anew; only what was not there before is published and counted."""

import os
import sqlite3
from contextlib import closing

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
    monkeypatch.setattr("observatory.ingest.reader.MAX_GENERATION", 2)
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


REWRITES = {
    "in place, its beginning": lambda lines: [prompt(7), *lines[1:]],
    "in place, its end": lambda lines: [*lines[:2], prompt(7)],
    "cut and grown past the old size": lambda lines: [lines[2], prompt(7), *(line + b" " for line in lines)],
}


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("how", REWRITES)
async def test_a_rewritten_file_of_the_same_inode_is_read_anew(stage: Stage, how: str, restart: bool) -> None:
    """Only a file that had become shorter, or got another inode, counted as replaced."""
    lines = [prompt(n) for n in range(3)]
    async with stage.running():
        await stage.append("a.jsonl", *lines)
        inode = stage.path("a.jsonl").stat().st_ino
    rewritten = b"".join(line + b"\n" for line in REWRITES[how](lines))
    if restart:
        stage.path("a.jsonl").write_bytes(rewritten)
    async with stage.running():
        told = stage.told()
        if not restart:
            stage.path("a.jsonl").write_bytes(rewritten)
            told = await stage.hint("a.jsonl")
        assert "do it 7" in texts(told)
        assert stage.path("a.jsonl").stat().st_ino == inode
        assert stage.rows("SELECT generation, offset FROM sources") == [(1, len(rewritten))]


async def test_an_equal_size_and_time_hide_no_rewrite_that_was_hinted_at(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1), prompt(2))
        before = stage.path("a.jsonl").stat()
        stage.path("a.jsonl").write_bytes(prompt(1) + b"\n" + prompt(7) + b"\n")
        os.utime(stage.path("a.jsonl"), ns=(before.st_atime_ns, before.st_mtime_ns))
        assert texts(await stage.hint("a.jsonl")) == ["do it 7"]


async def test_lines_that_are_gone_are_marked_and_kept_and_come_back(stage: Stage) -> None:
    marked = "SELECT count(*) FROM records WHERE flags & 32"
    async with stage.running():
        await stage.append("a.jsonl", prompt(1), prompt(2), prompt(3))
        assert texts(await stage.replace("a.jsonl", prompt(2), prompt(4))) == ["do it 4"]
        assert stage.rows(marked) == [(2,)]
    async with stage.running():
        assert stage.told() == []
        assert texts(await stage.append("a.jsonl", prompt(1))) == []
        assert stage.rows(marked) == [(1,)]
        assert texts(await stage.replace("a.jsonl", prompt(1), prompt(2), prompt(3))) == []
        assert stage.rows(marked) == [(1,)]  # the fourth
        assert stage.rows("SELECT count(*) FROM records") == [(9,)]


async def test_a_line_cannot_come_back_more_often_than_it_was_there_in_one_generation(stage: Stage) -> None:
    """Each generation's own count was added up, so that a truly new repetition was taken for known."""
    async with stage.running():
        await stage.append("a.jsonl", prompt(1), prompt(2))
        assert texts(await stage.replace("a.jsonl", prompt(1), prompt(3))) == ["do it 3"]
        assert texts(await stage.replace("a.jsonl", prompt(1), prompt(1))) == ["do it 1"]


async def test_a_file_that_was_only_touched_is_not_read_at_the_next_start(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        os.utime(stage.path("a.jsonl"))
        assert await stage.hint("a.jsonl") == []
    async with stage.running():
        assert stage.told() == []
        assert stage.ingest.gauges()["file_reads"] == 0


@pytest.mark.parametrize("end", [b"", b"torn", b"\n\n"])
async def test_a_start_without_changes_reads_no_file(stage: Stage, end: bytes) -> None:
    """A file whose last line was torn was opened at every start."""
    stage.write("a.jsonl", prompt(1), end=b"\n" + end)
    async with stage.running():
        stage.write("b.jsonl", prompt(2, sessionId="b"), end=b"\n" + end)
        await stage.hint("b.jsonl")
    async with stage.running():
        assert stage.told() == []
        assert stage.ingest.gauges()["file_reads"] == 0
        assert texts(await stage.append("b.jsonl", b"", prompt(3))) == ["do it 3"]


async def test_a_file_system_that_numbers_its_devices_anew_makes_nothing_new(stage: Stage) -> None:
    """After a reboot the device number of a mount may be another; each file was read and archived once more."""
    async with stage.running():
        await stage.append("a.jsonl", b"\xef\xbb\xbf" + prompt(1) + b"\r", prompt(2) + b"\r")
    with closing(sqlite3.connect(stage.directory / "observatory.db")) as db:
        db.execute("UPDATE sources SET dev = dev + 1, ino = ino + 1")
        db.commit()
    async with stage.running():
        assert stage.told() == []
        assert stage.rows("SELECT generation FROM sources") == [(0,)]
        assert texts(await stage.append("a.jsonl", prompt(3))) == ["do it 3"]
