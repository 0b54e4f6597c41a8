"""Files that are kept out, through the whole line: never opened, no event of them, and nothing else breaks."""

import os
from pathlib import Path

import pytest

from tests.original.stage import embedded, line


@pytest.mark.parametrize("pattern", ["/home/ada/diary", "-home-ada-diary", "*/x.jsonl"])
async def test_an_excluded_file_is_never_opened_and_others_go_on(tmp_path: Path, pattern: str) -> None:
    folder = tmp_path / "projects" / "-home-ada-diary"
    folder.mkdir(parents=True)
    (folder / "x.jsonl").write_bytes(line(1, "dear diary") + b"\n")
    before = os.stat(folder / "x.jsonl").st_atime_ns
    async with embedded(tmp_path, exclude=[pattern]) as on:
        client = await on.client("all_conversations", "file_events")
        on.write("-home-ada-diary/x.jsonl", line(2, "dear diary"))
        on.write("-w/s.jsonl", line(3))
        await client.until("message_added")
        (folder / "x.jsonl").rename(folder / "x.jsonl.old")
        (folder / "x.jsonl.old").rename(folder / "x.jsonl")
        on.write("-w/s.jsonl", line(4))
        await client.until("message_added")
        assert "diary" not in str(client.seen)
        assert on.monitor.stats()["gauges"]["sources"] == 1
        assert on.monitor.stats()["watcher"]["files"] == 1
    assert b"diary" not in (tmp_path / "data" / "observatory.db").read_bytes()
    assert os.stat(folder / "x.jsonl").st_atime_ns == before
