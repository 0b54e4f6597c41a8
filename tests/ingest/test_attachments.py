"""Spilled outputs are archived, from nowhere but the session's own folder, and no line waits for them."""

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from observatory.core.errors import StoreError
from observatory.core.forgetting import Target
from observatory.core.redact import redact
from observatory.core.spilled import MAX_BYTES
from observatory.ingest import attachments, spilled_files
from observatory.ingest.spilled_files import Listing
from observatory.storage.reader import LogReader
from tests.ingest.stage import Stage, prompt, texts

TEXT = b"line of output\n" * 5000
FOLDER = "a/tool-results"


def spill(stage: Stage, name: str = "t1.txt", data: bytes = TEXT) -> Path:
    path = stage.path(f"-w/{FOLDER}/{name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def naming(number: int, path: Path | str) -> bytes:
    """A record that names a spilled output."""
    told = f"<persisted-output>\nOutput too large (70 KB). Full output saved to: {path}\n\nPreview (first 2 KB):\nline"
    block = {"type": "tool_result", "tool_use_id": f"t{number}", "content": told}
    return prompt(number, message={"role": "user", "content": [block]})


async def settle(stage: Stage) -> None:
    """Until nothing is waiting or being stored."""
    with trio.fail_after(10):
        await stage.ingest.attachments.wait_idle()


@asynccontextmanager
async def reading(stage: Stage) -> AsyncIterator[LogReader]:
    reader = LogReader(stage.archive)
    try:
        yield reader
    finally:
        reader.close()


async def stored(stage: Stage, name: str = "t1.txt", conversation: str = "a") -> bytes | None:
    await settle(stage)
    async with reading(stage) as reader:
        return await reader.attachment(conversation, name)


async def test_a_named_one_is_archived_live(stage: Stage) -> None:
    async with stage.running():
        path = spill(stage)
        await stage.append("a.jsonl", naming(1, path))
        assert await stored(stage) == TEXT
        async with reading(stage) as reader:
            found = path.stat()
            assert await reader.attachments("a") == {"t1.txt": (found.st_size, found.st_mtime_ns, True)}
        ((size,),) = stage.rows("SELECT sum(length(data)) FROM attachment_parts")
        assert size < len(TEXT) / 20


async def test_a_session_s_folder_is_looked_through_once_its_history_is_in(stage: Stage) -> None:
    spill(stage)
    spill(stage, "t2.json", b"{}")
    spill(stage, "t3.png", b"no text")
    stage.write("a.jsonl", prompt(1))
    async with stage.running():
        assert await stored(stage) == TEXT
        assert await stored(stage, "t2.json") == b"{}"
        assert await stored(stage, "t3.png") is None
        assert stage.rows("SELECT swept FROM sources") == [(1,)]


async def test_a_sub_agent_s_lines_name_those_of_its_session(stage: Stage) -> None:
    async with stage.running():
        path = spill(stage)
        await stage.append("-w/a/subagents/agent-x.jsonl", naming(1, path))
        assert await stored(stage) == TEXT


async def test_it_is_kept_when_the_source_vanishes_and_replaced_when_it_changes(stage: Stage) -> None:
    async with stage.running():
        path = spill(stage)
        await stage.append("a.jsonl", naming(1, path))
        await settle(stage)
        path.write_bytes(b"another")
        await stage.append("a.jsonl", naming(2, path))
        assert await stored(stage) == b"another"
        assert stage.rows("SELECT count(*) FROM attachments") == [(1,)]
        assert stage.rows("SELECT count(*) FROM attachment_parts") == [(1,)]
        path.unlink()
        await stage.append("a.jsonl", naming(3, path))
        assert await stored(stage) == b"another"


async def test_what_is_unchanged_is_not_stored_again(stage: Stage) -> None:
    async with stage.running():
        path = spill(stage)
        await stage.append("a.jsonl", naming(1, path))
        await settle(stage)
        before = stage.rows("SELECT id FROM attachments")
        await stage.append("a.jsonl", naming(2, path))
        await settle(stage)
        assert stage.rows("SELECT id FROM attachments") == before


async def test_the_next_start_finds_what_a_kill_left_undone(stage: Stage) -> None:
    stage.write("a.jsonl", prompt(1))
    async with stage.running():
        await settle(stage)
    spill(stage)
    with sqlite3.connect(stage.directory / "observatory.db") as db:
        db.execute("UPDATE sources SET swept = 0")  # as after a kill between the two, or in an archive of version 2
        db.execute("INSERT INTO attachments VALUES (5, 'a', 't1.txt', 1, 1, NULL, 0)")  # half stored
        db.execute("INSERT INTO attachment_parts VALUES (5, 0, x'00')")
    db.close()
    async with stage.running():
        assert await stored(stage) == TEXT
        assert stage.rows("SELECT count(*) FROM attachments") == [(1,)]
        assert stage.rows("SELECT swept FROM sources") == [(1,)]


async def test_a_big_one_is_stored_in_parts(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "PART_BYTES", 1000)
    noise = os.urandom(10_000)
    async with stage.running():
        path = spill(stage, data=noise)
        await stage.append("a.jsonl", naming(1, path))
        assert await stored(stage) == noise
        ((parts,),) = stage.rows("SELECT count(*) FROM attachment_parts")
        assert parts > 10
        path.write_bytes(b"")
        await stage.append("a.jsonl", naming(2, path))
        assert await stored(stage) == b""
        assert stage.rows("SELECT count(*) FROM attachment_parts") == [(1,)]


async def test_one_above_the_limit_has_a_reason_instead_of_a_body(stage: Stage) -> None:
    async with stage.running():
        path = spill(stage, data=b"")
        os.truncate(path, 100 * 1024 * 1024)
        await stage.append("a.jsonl", naming(1, path))
        assert await stored(stage) is None
        query = "SELECT name, size, reason, ready FROM attachments"
        assert stage.rows(query) == [("t1.txt", 100 * 1024 * 1024, "larger than 16 MiB", 1)]
        assert stage.ingest.attachments.counts == {"stored": 0, "without_body": 1, "refused": 0}
        os.truncate(path, MAX_BYTES)
        await stage.append("a.jsonl", naming(2, path))
        assert await stored(stage) == bytes(MAX_BYTES)
        assert len(stage.rows(query)) == 1
        os.truncate(path, MAX_BYTES + 1)
        await stage.append("a.jsonl", naming(3, path))
        assert await stored(stage) == bytes(MAX_BYTES)  # better than none


def hostile(stage: Stage, secret: Path) -> list[Path | str]:
    """Paths that a record may name, none of which is to be read."""
    own = stage.path(f"-w/{FOLDER}")
    own.mkdir(parents=True)
    (own / "link.txt").symlink_to(secret)
    (own / "deep").mkdir()
    (own / "deep" / "t.txt").write_bytes(b"deep")
    other = stage.path("-w/other/tool-results/t.txt")
    other.parent.mkdir(parents=True)
    other.write_bytes(b"another session's")
    return [
        secret, own / "link.txt", own / "deep" / "t.txt", other, f"{own}/../../other/tool-results/t.txt",
        own / ".." / ".." / ".." / ".." / "secret.txt", "tool-results/t1.txt", "t1.txt", "~/secret.txt", own, "",
        f"{own}/x\0.txt", "/dev/zero", "/proc/self/environ", f"{own}/" + "n" * 5000 + ".txt", f"{own}/t1.png",
    ]  # fmt: skip


async def test_what_is_not_in_the_session_s_own_folder_is_refused_and_counted(stage: Stage) -> None:
    secret = stage.directory / "secret.txt"
    secret.write_bytes(b"secret")
    async with stage.running():
        paths = hostile(stage, secret)
        told = await stage.append("a.jsonl", *(naming(number, path) for number, path in enumerate(paths)))
        assert len(texts(told)) == len(paths)
        await settle(stage)
        assert stage.rows("SELECT * FROM attachments") == []
        named = {str(path).strip() for path in paths} - {""}
        assert stage.ingest.attachments.counts["refused"] == len(named)


async def test_symlinks_fifos_and_folders_are_not_read_when_a_folder_is_looked_through(stage: Stage) -> None:
    secret = stage.directory / "secret.txt"
    secret.write_bytes(b"secret")
    own = spill(stage).parent
    (own / "link.txt").symlink_to(secret)
    (own / "folder.txt").mkdir()
    os.mkfifo(own / "fifo.txt")
    stage.write("a.jsonl", prompt(1))
    async with stage.running():
        await settle(stage)
        assert stage.rows("SELECT name FROM attachments") == [("t1.txt",)]
        assert stage.ingest.attachments.counts == {"stored": 1, "without_body": 0, "refused": 3}


@pytest.mark.parametrize("linked", ["a", FOLDER])
async def test_a_folder_that_is_a_symlink_is_not_followed(stage: Stage, linked: str) -> None:
    elsewhere = stage.directory / "elsewhere"
    target = elsewhere / "tool-results" if linked == "a" else elsewhere
    target.mkdir(parents=True)
    (target / "t1.txt").write_bytes(b"secret")
    stage.write("a.jsonl", prompt(1), naming(2, stage.path(f"-w/{FOLDER}/t1.txt")))
    stage.path(f"-w/{linked}").parent.mkdir(exist_ok=True)
    stage.path(f"-w/{linked}").symlink_to(elsewhere)
    async with stage.running():
        await settle(stage)
        assert stage.rows("SELECT * FROM attachments") == []


async def test_a_project_folder_may_be_a_symlink_as_its_transcripts_may(stage: Stage) -> None:
    stage.root.mkdir()
    (stage.directory / "real").mkdir()
    (stage.root / "-w").symlink_to(stage.directory / "real")
    async with stage.running():
        path = spill(stage)
        await stage.append("a.jsonl", naming(1, path))
        assert await stored(stage) == TEXT


def test_a_fifo_in_a_file_s_place_holds_nothing_up(tmp_path: Path) -> None:
    (tmp_path / "tool-results").mkdir()
    os.mkfifo(tmp_path / "tool-results" / "t.txt")
    found = spilled_files.read(str(tmp_path), "t.txt", None, None)
    assert found is not None
    assert (found.reason, found.body) == ("not a regular file", None)


def test_a_file_that_vanished_or_became_a_symlink_is_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "tool-results"
    folder.mkdir()
    assert spilled_files.read(str(tmp_path), "t.txt", None, None) is None
    (folder / "t.txt").symlink_to("/etc/hostname")
    assert spilled_files.read(str(tmp_path), "t.txt", None, None) is None


def test_a_folder_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    long = str(tmp_path / ("x" * 300))
    assert spilled_files.list_folder(long).reason == "File name too long"
    found = spilled_files.read(long, "t.txt", None, None)
    assert found is not None
    assert found.reason == "File name too long"
    assert spilled_files.read(long, "t.txt", (1, 1, True), None) is None  # what is stored stays


async def test_a_folder_that_cannot_be_looked_into_is_tried_again_at_the_next_start(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    spill(stage)
    stage.write("a.jsonl", prompt(1))
    with monkeypatch.context() as denied:  # permissions do not bind root
        denied.setattr(spilled_files, "list_folder", lambda folder: Listing(reason="Permission denied"))
        async with stage.running():
            await settle(stage)
            assert stage.rows("SELECT swept FROM sources") == [(0,)]
    async with stage.running():
        assert await stored(stage) == TEXT


async def test_keys_are_replaced_before_it_is_stored(stage: Stage) -> None:
    stage.redact = redact
    token = b"ghp_" + b"a1" * 18
    async with stage.running():
        await stage.append("a.jsonl", naming(1, spill(stage, data=b"x\n" + token + b"\n")))
        assert await stored(stage) == b"x\n[redacted:github]\n"


async def test_forgetting_a_conversation_removes_them(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", naming(1, spill(stage)))
        await settle(stage)
        await stage.ingest.forget(Target("conversation", "a"))
        assert stage.rows("SELECT * FROM attachments") == []
        assert stage.rows("SELECT * FROM attachment_parts") == []


async def test_one_that_is_being_read_when_its_conversation_is_forgotten_does_not_come_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "PART_BYTES", 1000)
    noise = os.urandom(3_000)
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        found = spilled_files.Spilled("t1.txt", len(noise), 1, body=noise)
        await stage.ingest.forget(Target("conversation", "a"))
        await stage.ingest.attachments._store(found, "a", str(stage.path("a.jsonl")))
        assert stage.rows("SELECT * FROM attachments") == []
        assert stage.rows("SELECT * FROM attachment_parts") == []


async def test_forgetting_a_project_removes_those_of_a_session_without_a_main_file(stage: Stage) -> None:
    async with stage.running():
        await stage.append("-w/a/subagents/agent-x.jsonl", naming(1, spill(stage)))
        await settle(stage)
        assert len(stage.rows("SELECT * FROM attachments")) == 1
        (project,) = stage.projects().values()
        await stage.ingest.forget(Target("project", project["id"]))
        assert stage.rows("SELECT * FROM attachments") == []


async def test_an_excluded_session_s_are_not_read(stage: Stage) -> None:
    stage.excluded = lambda path: path.endswith("/a.jsonl")
    spill(stage)
    stage.write("-w/a/subagents/agent-x.jsonl", prompt(1))
    async with stage.running():
        await settle(stage)
        assert stage.rows("SELECT * FROM attachments") == []


async def test_a_full_disk_is_waited_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "RETRY_SECONDS", (0.001, 0.002))
    async with stage.running():
        await stage.append("a.jsonl", naming(1, spill(stage)))
        stage.commits.errors += [StoreError("full", "free some space", retryable=True)] * 3
        assert await stored(stage) == TEXT
