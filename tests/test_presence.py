"""The whole monitor: a live session's file and a spilled output, as Claude Code writes them."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import orjson
import pytest
import trio

from observatory.core.sessions import start_of
from observatory.ingest import sessions
from observatory.monitor import FileMonitor
from tests.ingest.stage import prompt, summary
from tests.ingest.test_attachments import naming

START = start_of(Path(f"/proc/{os.getpid()}/stat").read_bytes())


async def test_a_live_session_and_its_spilled_output_are_taken_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LOOK_EVERY", 0.01)
    root = tmp_path / "config" / "projects"
    spilled = root / "-w" / "a" / "tool-results" / "t1.txt"
    spilled.parent.mkdir(parents=True)
    spilled.write_bytes(b"much output")
    (root / "-w" / "a.jsonl").write_bytes(naming(1, spilled) + b"\n")
    async with FileMonitor([root], tmp_path / "data") as monitor:
        with trio.fail_after(20):
            while await monitor.events.attachment("a", "t1.txt") is None:  # noqa: ASYNC110 - the database tells nobody
                await trio.sleep(0.01)
            (tmp_path / "config" / "sessions").mkdir()
            entry = {"sessionId": "a", "status": "waiting", "procStart": START}
            (tmp_path / "config" / "sessions" / f"{os.getpid()}.json").write_bytes(orjson.dumps(entry))
            while (row := (await monitor.events.snapshot(9))["conversations"][0])["activity"] != "waiting":  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert (row["id"], row["status"]) == ("a", "active")
        assert monitor.stats()["gauges"]["live_sessions"] == 1
        assert monitor.stats()["counters"]["attachments"]["stored"] == 1


async def test_an_import_ends_when_names_from_other_files_are_settled(tmp_path: Path) -> None:
    """A kill test found it: it ended while a thread still looked for the leaves of summaries."""
    folder = tmp_path / "projects/-w"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_bytes(prompt(1, sessionId="a") + b"\n")
    (folder / "b.jsonl").write_bytes(summary("u1", "A name from elsewhere") + b"\n" + prompt(2, sessionId="b") + b"\n")
    async with FileMonitor([tmp_path], tmp_path / "data", once=True) as monitor:
        await monitor.wait_imported()
    with closing(sqlite3.connect(tmp_path / "data/observatory.db")) as db:
        titles = {
            row["id"]: row["title"]
            for (body,) in db.execute("SELECT body FROM conversations")
            if (row := orjson.loads(body))
        }
    assert titles == {"a": "A name from elsewhere", "b": "do it 2"}
