"""The registry of live sessions on disk, with real files and real processes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from observatory.core.sessions import Session, start_of
from observatory.ingest import sessions
from observatory.ingest.sessions import MAX_FILES, Registry, folders_of, follow

ME = os.getpid()


def started(pid: int) -> str:
    found = start_of(Path(f"/proc/{pid}/stat").read_bytes())
    assert found is not None
    return found


def entry(folder: Path, pid: int = ME, **changed: Any) -> Path:
    """Write an entry as Claude Code does."""
    found = {"pid": pid, "sessionId": "s1", "status": "busy", "procStart": started(ME), "cwd": "/w"} | changed
    path = folder / f"{pid}.json"
    path.write_bytes(orjson.dumps(found))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sessions").mkdir()
    return tmp_path / "sessions"


@pytest.fixture
def registry(folder: Path) -> Registry:
    return Registry(folders_of([str(folder.parent / "projects")]))


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield child
        child.kill()


def old(path: Path) -> None:
    """As if it had been written a while ago."""
    os.utime(path, ns=(0, path.stat().st_mtime_ns - 10_000_000_000))


def test_the_registry_lies_beside_the_projects() -> None:
    assert folders_of(["/home/u/.claude/projects", "/elsewhere"]) == ("/home/u/.claude/sessions",)


def test_an_entry_of_a_living_process_is_believed(folder: Path, registry: Registry) -> None:
    entry(folder)
    assert registry.look() == {"s1": Session("s1", "working", started(ME))}


def test_a_rewritten_entry_is_read_again(folder: Path, registry: Registry) -> None:
    old(entry(folder))
    assert registry.look()["s1"].activity == "working"
    entry(folder, status="idle")
    assert registry.look()["s1"].activity == "idle"
    entry(folder, status="wait")  # of the same size, at once
    assert registry.look() == {}
    entry(folder, status="busy")
    assert registry.look()["s1"].activity == "working"


def test_an_ended_process_is_not_believed(folder: Path, registry: Registry, process: subprocess.Popen[bytes]) -> None:
    old(entry(folder, process.pid, procStart=started(process.pid)))
    assert set(registry.look()) == {"s1"}
    process.kill()
    process.wait()
    assert registry.look() == {}


def test_another_process_with_the_number_is_not_believed(folder: Path, registry: Registry) -> None:
    entry(folder, procStart=str(int(started(ME)) - 1))
    assert registry.look() == {}


@pytest.mark.parametrize("form", ["Thu Nov 26 01:02:03 2026", "", None, 1.5])
def test_a_start_in_an_unknown_form_is_not_believed(folder: Path, registry: Registry, form: object) -> None:
    entry(folder, procStart=form)
    assert registry.look() == {}


def test_a_system_without_proc_believes_none(folder: Path) -> None:
    entry(folder)
    assert Registry((str(folder),), folder / "no-proc").look() == {}


def test_of_two_entries_for_a_session_the_later_counts(
    folder: Path, registry: Registry, process: subprocess.Popen[bytes]
) -> None:
    entry(folder, statusUpdatedAt=2)
    entry(folder, process.pid, procStart=started(process.pid), status="idle", statusUpdatedAt=3)
    assert registry.look()["s1"].activity == "idle"
    entry(folder, statusUpdatedAt=4)
    assert registry.look()["s1"].activity == "working"


def test_other_files_are_not_opened(folder: Path, registry: Registry) -> None:
    entry(folder).rename(folder / f"pid-{ME}.json")
    (folder / "x.json").write_text("{}")
    assert registry.look() == {}


def test_garbage_a_fifo_and_a_folder_say_nothing_and_hold_nothing_up(folder: Path, registry: Registry) -> None:
    (folder / f"{ME}.json").write_bytes(b"\0\xff{")
    os.mkfifo(folder / "1.json")
    (folder / "2.json").mkdir()
    (folder / "3.json").symlink_to(folder / "nowhere")
    assert registry.look() == {}


def test_a_missing_or_unreadable_folder_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    found = Registry((str(tmp_path / "absent"), str(tmp_path / "file"), str(tmp_path / "file" / "below")))
    assert found.look() == {}


def test_a_file_that_vanishes_between_listing_and_reading_says_nothing(folder: Path, registry: Registry) -> None:
    path = entry(folder)
    old(folder)
    assert set(registry.look()) == {"s1"}
    times = folder.stat()
    path.unlink()
    os.utime(folder, ns=(times.st_atime_ns, times.st_mtime_ns))  # the listing is believed to be good
    assert registry.look() == {}
    assert registry._read == {}


def test_what_is_read_and_remembered_is_bounded(folder: Path, registry: Registry) -> None:
    for number in range(MAX_FILES + 50):
        old(entry(folder, 10_000_000 + number))
    old(folder)
    assert registry.look() == {}
    assert len(registry._read) == MAX_FILES
    for path in folder.iterdir():
        path.unlink()
    assert registry.look() == {}
    assert registry._read == {}


async def test_it_is_looked_at_again_and_again(
    folder: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LOOK_EVERY", 0.01)
    heard: list[set[str]] = []
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:

            def hear(found: dict[str, Session]) -> None:
                heard.append(set(found))
                entry(folder)
                if len(heard) == 3:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(follow, registry, hear)
    assert heard == [set(), {"s1"}, {"s1"}]
