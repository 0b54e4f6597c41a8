"""What the ingest really stored against the files it read: clean, and no edit goes unnoticed."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from observatory.core.forgetting import Target
from observatory.core.redact import redact
from observatory.doctor.account import FileAccount, accounts
from observatory.ingest import reading as ingest_reading
from observatory.storage.accounting import reading
from tests.ingest.stage import Stage, prompt, reply
from tests.storage.packing import pack_eagerly

SAMPLES = Path(os.environ.get("OBSERVATORY_SAMPLES", Path(__file__).resolve().parents[3] / "shared" / "transcripts"))
BOM = b"\xef\xbb\xbf"
SMALL_CAP, SMALL_READ = 3000, 1024
LINES: tuple[Callable[[int], bytes], ...] = (
    lambda n: prompt(n) + b"\n",
    lambda n: prompt(n, "ü\u2028") + b"\r\n",
    lambda n: prompt(n) + prompt(n + 1000) + b"\n",
    lambda n: prompt(n)[:30] + prompt(n + 1000) + b" {oops \n",
    lambda n: prompt(n) + b' {"x":1} ' + prompt(n + 1000) + b"trail\r\n",
    lambda n: b"\0" * 9 + prompt(n) + b"\0\0\r\n",
    lambda n: b"\0\0\0\n",
    lambda n: b" \t\r\n\n",
    lambda n: b"{oops \xff\n",
    lambda n: b"junk\0\0\r\n",
    lambda n: b"[1]\n",
    lambda n: prompt(n, padding="y" * 1500) + b"  \n",
    lambda n: b'{"type":"user","x":"' + b"z" * SMALL_CAP + b'"}\n',
    lambda n: BOM + prompt(n) + b"\n",
)
ENDS = (b"", prompt(9999), prompt(9999)[:40], b"\0\0", b"half\r")
contents = st.tuples(
    st.booleans(), st.lists(st.sampled_from(range(len(LINES))), max_size=8), st.sampled_from(ENDS)
)  # fmt: skip


def content_of(drawn: tuple[bool, list[int], bytes]) -> bytes:
    bom, kinds, end = drawn
    return BOM * bom + b"".join(LINES[kind](number) for number, kind in enumerate(kinds)) + end


def account_of(stage: Stage) -> list[FileAccount]:
    with reading(stage.directory) as archive:
        return list(accounts(archive, map(str, sorted(stage.root.rglob("*.jsonl")))))


async def ingested(stage: Stage, content: bytes) -> Path:
    stage.write("a.jsonl", content, end=b"")
    async with stage.running():
        pass
    return stage.path("a.jsonl")


def places(stage: Stage) -> list[int]:
    """Where the stored bytes of all records stand; not what an oversize row leaves out."""
    with reading(stage.directory) as archive:
        [source] = archive.sources()
        return [
            place
            for claim in archive.claims(source)
            for place in range(claim.offset, claim.offset + min(claim.length, len(claim.body)))
        ]


@settings(max_examples=60)
@given(contents, st.data())
def test_any_file_is_accounted_for_and_any_flipped_byte_is_found(
    drawn: tuple[bool, list[int], bytes], data: st.DataObject
) -> None:
    content = content_of(drawn)
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest_reading, "MAX_LINE", SMALL_CAP)
        patch.setattr(ingest_reading, "READ_BYTES", SMALL_READ)
        if data.draw(st.booleans()):
            pack_eagerly(patch)
        stage = Stage(Path(directory))
        path = trio.run(ingested, stage, content)
        [found] = account_of(stage)
        assert found.account is not None
        assert found.clean, found.account.findings
        assert sum(found.account.bytes.values()) == found.account.size == len(content)
        if stored := places(stage):
            at = data.draw(st.sampled_from(stored))
            flipped = content[at] ^ data.draw(st.integers(1, 255))
            path.write_bytes(content[:at] + bytes([flipped]) + content[at + 1 :])
            [found] = account_of(stage)
            assert found.account is not None
            assert any(f.offset <= at < f.offset + f.length for f in found.account.findings), found.account.findings


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


async def test_an_edit_in_the_middle_that_leaves_size_head_tail_and_time_alone_is_found(stage: Stage) -> None:
    """Nothing else finds it: the watcher compares stat, the reader the beginning and the end (transcripts.md W9)."""
    path = await ingested(stage, b"".join(prompt(n, padding="x" * 500) + b"\n" for n in range(300)))
    before, content = path.stat(), path.read_bytes()
    at = content.index(b"do it 150")
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"do no")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    start = content.rindex(b"\n", 0, at) + 1
    [found] = account_of(stage)
    assert found.account is not None
    assert [(f.offset, f.length, f.what) for f in found.account.findings] == [
        (start, content.index(b"\n", at) - start, "changed")
    ]


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no sample transcripts at {SAMPLES}")
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("at_rest", [False, True])
async def test_the_samples_are_accounted_for(
    stage: Stage, at_rest: bool, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if packed:
        pack_eagerly(monkeypatch)
    shutil.copytree(SAMPLES / "projects", stage.root)
    if at_rest:
        for path in stage.root.rglob("*.jsonl"):
            os.utime(path, (1_700_000_000, 1_700_000_000))
    async with stage.running():
        pass
    found = account_of(stage)
    assert len(found) > 30
    assert [file for file in found if not file.clean] == []
    torn = sum(file.account.bytes["torn"] for file in found if file.account is not None)
    assert at_rest or torn > 0


async def test_files_that_are_gone_unread_unknown_or_linked(stage: Stage) -> None:
    for name in ("changed", "gone", "no-file", "denied", "torn"):
        stage.write(f"{name}.jsonl", prompt(1, sessionId=name))
    async with stage.running():
        pass
    stage.write("changed.jsonl", prompt(2))
    stage.path("gone.jsonl").unlink()
    for name in ("no-file", "denied"):
        stage.path(f"{name}.jsonl").unlink()
    stage.path("no-file.jsonl").mkdir()
    stage.path("denied.jsonl").symlink_to("denied.jsonl")  # a loop: nobody may open it, not even root
    stage.write("torn.jsonl", b"half", end=b"")
    stage.path("link.jsonl").symlink_to(stage.path("torn.jsonl"))
    stage.write("new.jsonl", prompt(3))
    found = {Path(file.path).stem: file for file in account_of(stage)}
    states = {name: (file.state, file.clean) for name, file in found.items() if not file.path.endswith("no-file.jsonl")}
    assert states == {
        "changed": ("compared", False), "gone": ("gone", True), "denied": ("unreadable", False),
        "torn": ("compared", True), "new": ("never read", False),
    }  # fmt: skip
    assert (found["no-file"].reason, found["changed"].account and found["changed"].account.findings[0].what) == (
        "not a regular file", "not read",
    )  # fmt: skip


async def test_a_server_between_a_line_and_its_record_gets_another_look(stage: Stage) -> None:
    path = await ingested(stage, prompt(1) + b"\n")
    stage.write("a.jsonl", reply(2, "m"))
    looks: list[bool] = []

    def settle() -> bool:
        content = path.read_bytes()
        path.write_bytes(content[: len(prompt(1)) + 1])  # as if the line had been read meanwhile
        looks.append(True)
        return True

    with reading(stage.directory) as archive:
        assert [file.clean for file in accounts(archive, [], settle)] == [True]
    assert looks == [True]


async def test_lines_in_the_journal_that_the_books_lack_are_accounted_for(stage: Stage) -> None:
    stage.write("a.jsonl", prompt(1))
    async with stage.running(killed=True):
        stage.commits.room = 1
        await stage.append("a.jsonl", prompt(2), prompt(3))
    assert stage.rows("SELECT count(*) FROM records") == [(3,)]
    assert stage.rows("SELECT offset FROM sources") == [(len(prompt(1)) + 1,)]
    assert [file.clean for file in account_of(stage)] == [True]


KEY = "AK" + "IA" + "ABCDEFGHIJKLMNOP"
KEYED: tuple[Callable[[int], bytes], ...] = (
    lambda n: prompt(n, KEY) + b"\n",
    lambda n: prompt(n, f"\n{KEY} ü") + b"\r\n",
    lambda n: prompt(n, KEY) + prompt(n + 1000) + prompt(n + 2000, KEY) + b"\n",
    lambda n: prompt(n, KEY)[:90] + prompt(n + 1000, KEY) + b" {oops " + KEY.encode() + b"\n",
    lambda n: b"\0" * 9 + prompt(n, KEY) + b"\0\0\r\n",
    lambda n: b"{oops \xff " + KEY.encode() + b"\n",
    lambda n: b'["' + KEY.encode() + b'"]\n',
    lambda n: prompt(n, padding=KEY + " y" * 1500) + b"  \n",
    lambda n: b'{"type":"user","x":"' + KEY.encode() + b" z" * SMALL_CAP + b'"}\n',
    lambda n: BOM + prompt(n, KEY) + b"\n",
)
KEYED_ENDS = (b"", prompt(9999, KEY), prompt(9999, KEY)[:40])
keyed = st.tuples(
    st.booleans(), st.lists(st.sampled_from([*LINES, *KEYED]), max_size=8), st.sampled_from(KEYED_ENDS)
)  # fmt: skip


async def redacted_twice(stage: Stage, content: bytes) -> None:
    """Half of it as history, the other half live; and once more in another process."""
    stage.redact = redact
    half = content.find(b"\n", len(content) // 2) + 1
    stage.write("a.jsonl", content[:half], end=b"")
    async with stage.running():
        await stage.append("a.jsonl", content[half:], end=b"")
    async with stage.running():
        assert stage.rows("SELECT max(generation) FROM sources") == [(0,)]
        await stage.append("a.jsonl", b"", prompt(5000, KEY))
        assert stage.rows("SELECT max(generation) FROM sources") == [(0,)]


@settings(max_examples=60, deadline=None)
@given(keyed)
def test_any_file_that_is_stored_redacted_is_accounted_for_and_its_keys_are_nowhere(
    drawn: tuple[bool, list[Callable[[int], bytes]], bytes],
) -> None:
    bom, kinds, end = drawn
    content = BOM * bom + b"".join(kind(number) for number, kind in enumerate(kinds)) + end
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest_reading, "MAX_LINE", SMALL_CAP)
        patch.setattr(ingest_reading, "READ_BYTES", SMALL_READ)
        stage = Stage(Path(directory))
        trio.run(redacted_twice, stage, content)
        [found] = account_of(stage)
        assert found.account is not None
        assert found.clean, found.account.findings
        kept = [path.read_bytes() for path in stage.directory.iterdir() if path.is_file()]
        assert not any(KEY.encode() in data for data in kept)
        marked = {key for (key,) in stage.rows("SELECT id FROM records WHERE flags & 128")}
        bodies = stage.rows("SELECT id, body_of(id, codec, body) FROM records")
        assert marked == {key for key, body in bodies if b"[redacted:" in body}


async def test_files_that_are_excluded_or_forgotten_are_kept_out_and_not_missing(stage: Stage) -> None:
    async with stage.running():
        for name in ("a", "b", "c"):
            await stage.append(f"{name}.jsonl", prompt(ord(name), sessionId=name))
        await stage.ingest.forget(Target("conversation", "a"))
        await stage.ingest.forget(Target("conversation", "b"))
    stage.path("b.jsonl").rename(stage.path("renamed.jsonl"))
    stage.write("c.jsonl", b"not read any more")
    stage.write("new.jsonl", b"never read")
    with reading(stage.directory) as archive:
        paths = map(str, sorted(stage.root.rglob("*.jsonl")))
        found = list(accounts(archive, paths, excluded=lambda path: path.endswith(("/c.jsonl", "/new.jsonl"))))
    assert {Path(file.path).name: file.state for file in found} == dict.fromkeys(
        ["a.jsonl", "renamed.jsonl", "c.jsonl", "new.jsonl"], "kept out"
    )
    assert all(file.clean for file in found)
    states = {Path(file.path).name: file.state for file in account_of(stage)}
    assert states == {
        "a.jsonl": "kept out",
        "renamed.jsonl": "kept out",
        "c.jsonl": "compared",
        "new.jsonl": "never read",
    }


async def test_an_archive_of_a_version_that_could_not_forget_is_accounted_for(stage: Stage) -> None:
    await ingested(stage, prompt(1) + b"\n")
    with closing(sqlite3.connect(stage.directory / "observatory.db", isolation_level=None)) as db:
        db.execute("DROP TABLE forgotten")
        db.execute("PRAGMA user_version=1")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert [file.clean for file in account_of(stage)] == [True]
