"""Ends without a newline: a file at rest may never get it, so a whole object is stored; it is one row all the same."""

import os

import pytest

from tests.ingest.stage import NOW, Stage, of, prompt, reply, texts, types

FLAGS = "SELECT flags & 64 FROM records ORDER BY id"


def counts(stage: Stage) -> tuple[int, int]:
    """Messages and output tokens."""
    row = stage.conversation("a")
    return row["message_count"], row["tokens"]["output_tokens"]


async def test_history_without_a_last_newline_is_stored_whole(stage: Stage) -> None:
    """4 of the 35 samples, and 441 of 794 exported files, end without one: their last line was missing."""
    stage.write("a.jsonl", prompt(1), reply(2, "m"), end=b"")
    async with stage.running():
        assert types(stage.told()) == ["project_update", "conversation_started"]
        assert counts(stage) == (2, 10)
        assert stage.rows(FLAGS) == [(0,), (64,)]
        assert stage.rows("SELECT offset FROM sources") == [(len(prompt(1)) + 1,)]


@pytest.mark.parametrize("restart", [False, True])
async def test_its_newline_makes_it_no_second_row(stage: Stage, restart: bool) -> None:
    stage.write("a.jsonl", prompt(1), reply(2, "m"), end=b"")
    async with stage.running():
        stage.told()
        if not restart:
            assert texts(await stage.append("a.jsonl", b"", prompt(3))) == ["do it 3"]
    if restart:
        stage.write("a.jsonl", b"", prompt(3))
    async with stage.running():
        assert texts(stage.told()) == (["do it 3"] if restart else [])
        assert counts(stage) == (3, 10)
        assert stage.rows(FLAGS) == [(0,), (0,), (0,)]
        assert stage.rows("SELECT line FROM records ORDER BY id") == [(0,), (1,), (2,)]


async def test_a_file_of_one_line_without_a_newline_is_recognised_by_it(stage: Stage) -> None:
    stage.write("a.jsonl", prompt(1), end=b"")
    async with stage.running():
        assert types(stage.told()) == ["project_update", "conversation_started"]
        assert texts(await stage.append("a.jsonl", b"", prompt(2))) == ["do it 2"]
        assert counts(stage)[0] == 2


async def test_a_line_that_goes_on_differently_takes_its_place(stage: Stage) -> None:
    stage.write("a.jsonl", prompt(1), prompt(2), end=b"")
    async with stage.running():
        stage.told()
        size = stage.path("a.jsonl").stat().st_size
        os.truncate(stage.path("a.jsonl"), size - len(prompt(2)))
        assert texts(await stage.append("a.jsonl", prompt(7), prompt(8))) == ["do it 7", "do it 8"]
        assert stage.rows("SELECT count(*), sum(flags & 64) FROM records") == [(3, 0)]


async def test_what_is_glued_to_it_is_new(stage: Stage) -> None:
    stage.write("a.jsonl", prompt(1), prompt(2), end=b"")
    async with stage.running():
        stage.told()
        assert texts(await stage.append("a.jsonl", prompt(3))) == ["do it 3"]
        assert stage.rows(FLAGS) == [(0,), (0,), (0,)]


@pytest.mark.parametrize("tail", [prompt(2)[:-1], b"[1]", b'"x"', b" ", b"\0\0", prompt(2) + prompt(3)])
async def test_half_a_line_is_left_until_it_is_whole(stage: Stage, tail: bytes) -> None:
    stage.write("a.jsonl", prompt(1), tail, end=b"")
    async with stage.running():
        assert len(stage.rows(FLAGS)) == 1


async def test_a_file_that_may_still_be_written_waits_for_its_newline(stage: Stage) -> None:
    stage.write("a.jsonl", prompt(1), prompt(2), end=b"")
    os.utime(stage.path("a.jsonl"), ns=(0, (NOW - 59_000) * 1_000_000))
    async with stage.running():
        stage.told()
        assert len(stage.rows(FLAGS)) == 1
        assert texts(await stage.append("a.jsonl", b"")) == ["do it 2"]


async def test_a_stored_end_is_no_record_that_the_books_lack(stage: Stage) -> None:
    """It lies beyond the offset, as what a killed process had journalled does; it would have been folded in twice."""
    stage.write("a.jsonl", prompt(1), prompt(2), end=b"")
    async with stage.running(killed=True):
        stage.told()
    for _ in range(2):
        async with stage.running():
            assert stage.told() == []
            assert stage.ingest.gauges()["file_reads"] == 0
            assert counts(stage)[0] == 2


async def test_the_end_of_a_fork_is_a_copy(stage: Stage) -> None:
    stage.write("a.jsonl", prompt(1), prompt(2))
    async with stage.running(scan=False):
        pass
    stage = Stage(stage.directory)
    stage.write("b.jsonl", prompt(1), prompt(2), end=b"")
    async with stage.running():
        assert stage.rows("SELECT count(*) FROM records WHERE flags & 1") == [(2,)]
        assert of(stage.told(), "message_added") == []
