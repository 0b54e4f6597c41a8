"""Work follows what is new: bytes read for a line, a spurious hint, a foreign file; and an empty file is none."""

import os

import pytest

from tests.ingest.stage import Stage, line, prompt, texts, types


@pytest.fixture
def bytes_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of what was read from files since the last look."""
    sizes: list[int] = []
    real = os.pread

    def pread(fd: int, size: int, offset: int) -> bytes:
        data = real(fd, size, offset)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", pread)
    return sizes


async def test_a_new_line_of_a_large_file_costs_its_own_bytes(stage: Stage, bytes_read: list[int]) -> None:
    stage.write("a.jsonl", *(prompt(n, padding="x" * 5000) for n in range(400)))
    async with stage.running():
        bytes_read.clear()
        assert texts(await stage.append("a.jsonl", prompt(999))) == ["do it 999"]
        assert sum(bytes_read) < len(prompt(999)) + 2 * 512
        bytes_read.clear()
        assert await stage.hint("a.jsonl") == []
        assert sum(bytes_read) <= 512


async def test_a_foreign_file_that_grows_is_not_gone_through_again(
    stage: Stage, bytes_read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that waited was read back from the archive at each new line, until the file was recognised: never."""
    async with stage.running():
        monkeypatch.setattr(type(stage.archive), "waiting", None)
        for number in range(20):
            assert types(await stage.append("codex.jsonl", line(role="user", content="x" * 500, number=number))) in (
                ["file_created"],
                ["file_modified"],
            )
        assert stage.ingest.gauges()["unrecognised_files"] == 1
        assert stage.rows("SELECT count(*), count(conversation_id) FROM records") == [(20, 0)]
        assert sum(bytes_read) < 20 * (600 + 2 * 512)


async def test_an_empty_file_is_a_file_and_no_conversation(stage: Stage) -> None:
    async with stage.running():
        assert types(await stage.append("a.jsonl", end=b"")) == ["file_created"]
        assert stage.rows("SELECT count(*) FROM conversations") == [(0,)]
        assert texts(await stage.append("a.jsonl", prompt(1))) == ["do it 1"]
