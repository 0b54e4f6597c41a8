"""Every back-end: roots that are links, that move, and that are one directory under two names."""

import shutil
from pathlib import Path

import pytest
import trio

from actors.watch_poll import PollBackend
from actors.watch_port import Backend
from actors.watch_watchfiles import WatchfilesBackend
from actors.watcher import Change, FileWatcher, open_backend
from tests.actors.watch_ear import DEADLINE_S, NAMES, append, is_wanted, listening

pytestmark = pytest.mark.parametrize("backend", NAMES)


async def test_a_root_that_is_a_link_to_nowhere_is_heard_when_its_target_appears(tmp_path: Path, backend: str) -> None:
    (root := tmp_path / "root").symlink_to(target := tmp_path / "there" / "target")
    async with listening(root, backend=backend) as ear:
        assert ear.watcher.statistics().missing_roots == 1
        target.mkdir(parents=True)
        append(target / "f.jsonl")
        await ear.wait_changed(root / "f.jsonl")


async def test_a_linked_root_whose_target_is_deleted_and_made_again_is_heard(tmp_path: Path, backend: str) -> None:
    (target := tmp_path / "target").mkdir()
    append(target / "f.jsonl")
    (root := tmp_path / "root").symlink_to(target)
    async with listening(root, backend=backend) as ear:
        for _ in range(2):
            shutil.rmtree(target)
            await ear.wait_gone(root / "f.jsonl")
            target.mkdir()
            append(target / "f.jsonl")
            await ear.wait_changed(root / "f.jsonl")


async def test_a_root_whose_link_is_swapped_shows_the_new_target_only(tmp_path: Path, backend: str) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        append(tmp_path / name / f"{name}.jsonl")
    (root := tmp_path / "root").symlink_to(tmp_path / "old")
    (link := tmp_path / "link").symlink_to(tmp_path / "new")
    async with listening(root, backend=backend, sweep_s=0.1) as ear:
        link.rename(root)
        new, old = root / "new.jsonl", root / "old.jsonl"
        await ear.wait_until(lambda: str(new) in ear.changed() and str(old) in ear.gone())
        ear.heard.clear()
        append(tmp_path / "old" / "old.jsonl")
        append(tmp_path / "new" / "new.jsonl")
        await ear.wait_until(lambda: bool(ear.changed()))
        assert ear.changed() | ear.gone() == {str(new)}


async def test_a_root_under_two_names_is_neither_missing_nor_read_twice(tmp_path: Path, backend: str) -> None:
    (one := tmp_path / "one").mkdir()
    (two := tmp_path / "two").symlink_to(one)
    append(file := one / "f.jsonl")
    async with listening(one, two, backend=backend) as ear:
        counted = ear.watcher.statistics()
        assert (counted.roots, counted.missing_roots, counted.directories, counted.files) == (2, 0, 1, 1)
        append(two / "f.jsonl")
        await ear.wait_changed(file)
        two.unlink()
        append(file)
        await ear.wait_until(lambda: bool(ear.changed()))
        assert ear.changed() | ear.gone() == {str(file)}


async def test_a_link_added_later_is_followed(tmp_path: Path, backend: str) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (root := tmp_path / "root").mkdir()
    append(elsewhere / "f.jsonl")
    async with listening(root, backend=backend) as ear:
        (root / "link").symlink_to(elsewhere)
        await ear.wait_changed(file := root / "link" / "f.jsonl")
        append(elsewhere / "f.jsonl")
        await ear.wait_changed(file)


async def test_started_means_that_all_is_watched_and_the_first_looks_are_sent(tmp_path: Path, backend: str) -> None:
    """Clients are accepted after that: what takes long about it holds nobody up."""

    def never_rescanning(name: str, poll: PollBackend) -> Backend:
        return WatchfilesBackend(rescan_s=1000) if name == "watchfiles" else open_backend(name, poll)

    files = [tmp_path / name / str(n) / "f.jsonl" for name in "ab" for n in range(50)]
    for file in files:
        file.parent.mkdir(parents=True)
        append(file)
    send, receive = trio.open_memory_channel[tuple[Change, ...]](1000)
    roots = [str(tmp_path / name) for name in "abc"]
    watcher = FileWatcher(roots, is_wanted, send, backend, open_backend=never_rescanning, sweep_s=60)
    with send, receive, trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(watcher.run)
            scans = [change for _ in roots for change in receive.receive_nowait()]
            assert [len(getattr(scan, "files", ())) for scan in scans] == [50, 50, 0]
            for file in files:
                append(file)
            waiting = {str(file) for file in files}
            while waiting:
                waiting -= {getattr(change, "path", "") for change in await receive.receive()}
            nursery.cancel_scope.cancel()
