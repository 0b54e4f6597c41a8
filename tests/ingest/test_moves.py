"""Files under other names: moved ones keep their identity, two names of one file are one source."""

import os
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.watcher import FileChanged, FileGone
from observatory.ingest import reader
from tests.ingest.stage import Stage, of, prompt, texts, types

SOURCES = "SELECT path, generation, offset, missing FROM sources ORDER BY id"


async def test_a_moved_file_goes_on_as_the_same_conversation(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        old, new = stage.path("a.jsonl"), stage.path("-v/b.jsonl")
        new.parent.mkdir()
        old.rename(new)
        told = await stage.hint("a.jsonl", "-v/b.jsonl")
        assert types(told) == ["file_deleted", "file_created", "conversation_update"]
        deleted, created, updated = (data for _, data in told)
        assert (deleted["event_type"], deleted["src_path"], deleted["dest_path"]) == ("moved", str(old), str(new))
        assert (created["event_type"], created["file_path"], created["dest_path"]) == ("created", str(new), None)
        assert (updated["id"], updated["file_path"], updated["message_count"]) == ("a", str(new), 1)
        assert updated["project_id"] == deleted["project_id"] == created["project_id"]
        told = await stage.append("-v/b.jsonl", prompt(2))
        assert of(told, "message_added")[0]["conversation_id"] == "a"
        assert stage.rows(SOURCES) == [(str(new), 0, new.stat().st_size, 0)]


async def test_a_file_that_grew_while_it_moved_is_read_on(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        stage.path("a.jsonl").rename(stage.path("b.jsonl"))
        stage.write("b.jsonl", prompt(2))
        told = await stage.hint("b.jsonl", "a.jsonl")
        assert texts(told) == ["do it 2"]
        assert of(told, "file_deleted")[0]["event_type"] == "moved"


async def test_a_name_that_vanishes_shortly_before_the_new_one_appears_is_a_move(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """A directory that is renamed tells of its files' old names first, and is listed anew only then."""
    monkeypatch.setattr(reader, "GONE_DELAY", 10.0)
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        old = stage.path("a.jsonl")
        old.rename(stage.path("b.jsonl"))
        stage.ingest.send_nowait((FileGone(str(old), 0),))
        await wait_all_tasks_blocked()
        assert stage.told() == []
        told = await stage.hint("b.jsonl")
        assert of(told, "file_deleted")[0]["event_type"] == "moved"
        old.write_bytes(prompt(5) + b"\n")
        assert texts(await stage.hint("a.jsonl")) == ["do it 5"]


@pytest.mark.parametrize("hints", [("a.jsonl", "b.jsonl"), ("b.jsonl", "a.jsonl")])
async def test_a_rotated_file_moves_and_the_new_one_under_its_name_is_another(
    stage: Stage, hints: tuple[str, str], autojump_clock: MockClock
) -> None:
    """`kill` found it: told of the old name first, the reader took the rest for copies, and broken lines came twice."""
    async with stage.running():
        await stage.append("a.jsonl", prompt(1), b'{"broken')
        stage.path("a.jsonl").rename(stage.path("b.jsonl"))
        stage.write("a.jsonl", prompt(2))
        stage.write("b.jsonl", prompt(3))
        told = [*await stage.hint(hints[0]), *await stage.hint(hints[1]), *await stage.hint()]
        assert sorted(texts(told)) == ["do it 2", "do it 3"]
        assert len(of(told, "message_added")) == 2
        moved = of(told, "file_deleted")[0]
        assert (moved["event_type"], moved["dest_path"]) == ("moved", str(stage.path("b.jsonl")))
        grown, begun = (
            data["conversation_id"] for data in sorted(of(told, "message_added"), key=_content, reverse=True)
        )
        assert grown == "a"
        assert begun not in ("a", "b")


async def test_a_file_rotated_while_the_server_was_down_is_known_again(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1), b'{"broken')
    stage.path("a.jsonl").rename(stage.path("b.jsonl"))
    stage.write("a.jsonl", prompt(2))
    stage.told()
    async with stage.running():
        await stage.hint()
        assert stage.rows("SELECT path, generation FROM sources ORDER BY path") == [
            (str(stage.path("a.jsonl")), 0),
            (str(stage.path("b.jsonl")), 0),
        ]


async def test_a_file_rotated_to_a_name_that_is_kept_out_is_let_go(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        stage.ingest._sources.kept_out.paths.add(str(stage.path("b.jsonl")))
        stage.path("a.jsonl").rename(stage.path("b.jsonl"))
        stage.write("a.jsonl", prompt(2))
        assert texts(await stage.hint("a.jsonl")) == ["do it 2"]


def _content(data: dict[str, Any]) -> str:
    return str(data["message"]["content"])


async def test_a_file_moved_while_the_server_was_down_is_known_again(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
    stage.path("a.jsonl").rename(stage.path("b.jsonl"))
    stage.write("b.jsonl", prompt(2))
    stage.told()
    async with stage.running():
        told = stage.told()
        assert texts(told) == ["do it 2"]
        assert of(told, "file_deleted")[0]["dest_path"] == str(stage.path("b.jsonl"))
        assert stage.rows("SELECT count(*) FROM sources") == [(1,)]


async def test_a_deleted_file_that_comes_back_under_another_name_goes_on(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        stage.path("a.jsonl").rename(stage.directory / "away")
        assert types(await stage.hint("a.jsonl")) == ["file_deleted"]
        os.rename(stage.directory / "away", stage.path("b.jsonl"))
        told = await stage.append("b.jsonl", prompt(2))
        assert types(told)[0] == "file_created"
        assert texts(told) == ["do it 2"]
        assert of(told, "message_added")[0]["conversation_id"] == "a"


async def test_an_inode_that_is_used_again_for_other_content_is_another_file(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        stage.path("a.jsonl").rename(stage.path("b.jsonl"))
        stage.path("b.jsonl").write_bytes(prompt(7) + b"\n" + prompt(8) + b"\n")
        told = await stage.hint("a.jsonl", "b.jsonl")
        assert texts(told) == ["do it 7", "do it 8"]
        assert {data["conversation_id"] for data in of(told, "message_added")} == {"b"}
        assert of(told, "file_deleted")[0]["event_type"] == "deleted"


async def test_a_known_file_renamed_over_another_takes_its_name(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        await stage.append("b.jsonl", prompt(2, sessionId="b"))
        stage.path("a.jsonl").rename(stage.path("b.jsonl"))
        told = await stage.hint("a.jsonl", "b.jsonl")
        assert [data["event_type"] for kind, data in told if kind.startswith("file")] == ["moved", "created"]
        assert stage.rows(SOURCES) == [
            (str(stage.path("b.jsonl")), 0, len(prompt(1)) + 1, 0),
            (f"{stage.path('b.jsonl')}#2", 0, len(prompt(2, sessionId="b")) + 1, 1),
        ]
        told = await stage.append("b.jsonl", prompt(3))
        assert of(told, "message_added")[0]["conversation_id"] == "a"
    async with stage.running():
        assert stage.told() == []


async def test_two_files_that_swap_names_keep_their_conversations(stage: Stage) -> None:
    async with stage.running():
        for name, number in (("a", 1), ("b", 2)):
            await stage.append(f"{name}.jsonl", prompt(number, sessionId=name))
        for old, new in (("a", "c"), ("b", "a"), ("c", "b")):
            stage.path(f"{old}.jsonl").rename(stage.path(f"{new}.jsonl"))
        await stage.hint("a.jsonl", "b.jsonl")
        told = await stage.append("a.jsonl", prompt(3, sessionId="b"))
        told += await stage.append("b.jsonl", prompt(4, sessionId="a"))
        assert [(data["conversation_id"], data["record"]["uuid"]) for data in of(told, "message_added")] == [
            ("b", "u3"),
            ("a", "u4"),
        ]
        assert stage.rows("SELECT count(*) FROM sources WHERE missing = 0") == [(2,)]


@pytest.mark.parametrize("symlink", [True, False])
@pytest.mark.parametrize("history", [True, False])
async def test_two_names_of_one_file_are_one_source(stage: Stage, symlink: bool, history: bool) -> None:
    def link() -> None:
        place = stage.path("b.jsonl")
        place.symlink_to(stage.path("a.jsonl")) if symlink else os.link(stage.path("a.jsonl"), place)

    if history:
        stage.write("a.jsonl", prompt(1))
        link()
    async with stage.running():
        if not history:
            await stage.append("a.jsonl", prompt(1))
            link()
        stage.told()
        stage.write("a.jsonl", prompt(2))
        assert texts(await stage.hint("b.jsonl", "a.jsonl")) == ["do it 2"]
        assert stage.rows("SELECT count(*) FROM sources") == [(1,)]
        if not symlink:  # the other name takes over when the first one goes
            told = await stage.remove("a.jsonl")
            assert [data["event_type"] for kind, data in told if kind.startswith("file")] == ["moved", "created"]
            assert texts(await stage.append("b.jsonl", prompt(3))) == ["do it 3"]


async def test_a_write_that_is_told_under_the_other_name_only_is_read(stage: Stage) -> None:
    """The system tells of a write under the name that was opened; its lines waited for a hint under the first one."""
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        os.link(stage.path("a.jsonl"), stage.path("b.jsonl"))
        assert texts(await stage.append("b.jsonl", prompt(2))) == ["do it 2"]
        reads = stage.ingest.gauges()["file_reads"]
        assert texts(await stage.append("b.jsonl", prompt(3))) == ["do it 3"]
        assert stage.ingest.gauges()["file_reads"] == reads + 1
        stage.path("b.jsonl").unlink()
        told = await stage.append("b.jsonl", prompt(4, sessionId="b"))  # another file now
        assert [data["conversation_id"] for data in of(told, "message_added")] == ["b"]


async def test_a_copy_of_a_file_is_another_file_whose_lines_are_copies(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1), prompt(2))
        stage.path("b.jsonl").write_bytes(stage.path("a.jsonl").read_bytes())
        told = await stage.append("b.jsonl", prompt(3))
        assert texts(told) == ["do it 3"]
        assert stage.rows("SELECT count(*) FROM sources") == [(2,)]


async def test_behind_a_real_rename_nothing_is_missing(tmp_path: Path) -> None:
    """The watcher's order of hints: the old name of each file, then the new directory's listing."""
    stage = Stage(tmp_path)
    async with stage.running():
        for name in "abc":
            await stage.append(f"-w/{name}.jsonl", prompt(ord(name), sessionId=name))
        old = [stage.path(f"{name}.jsonl") for name in "abc"]
        stage.path("a.jsonl").parent.rename(stage.root / "-v")
        new = [stage.root / "-v" / path.name for path in old]
        stage.ingest.send_nowait(tuple(FileGone(str(path), 0) for path in old))
        stage.ingest.send_nowait(tuple(FileChanged(str(path), 0) for path in new))
        await wait_all_tasks_blocked()
        told = stage.told()
        moved = [data["dest_path"] for data in of(told, "file_deleted")]
        assert moved == [str(path) for path in new]
        assert stage.rows("SELECT count(*), sum(missing) FROM sources") == [(3, 0)]
