"""One contract for every back-end of the FileWatcher, on real files and the real clock."""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pytest
import trio

from actors.watch_cover import ACCESS
from actors.watcher import Change, FileChanged, FileStat, FileWatcher, RootScanned, WatchHealthy
from tests.actors.watch_ear import DEADLINE_S, NAMES, append, impatient_backend, is_wanted, listening

pytestmark = pytest.mark.parametrize("backend", NAMES)


async def test_an_append_is_heard_with_the_time_it_was_noticed(tmp_path: Path, backend: str) -> None:
    append(file := tmp_path / "a.jsonl")
    async with listening(tmp_path, backend=backend) as ear:
        for _ in range(3):
            before = time.monotonic_ns()
            append(file)
            await ear.wait_until(lambda: bool(ear.changed()))
            changes = [c for c in ear.heard if isinstance(c, FileChanged)]
            assert changes[0].path == str(file)
            assert before - DEADLINE_S * 1e9 <= changes[0].detected_ns <= time.monotonic_ns()
            ear.heard.clear()


async def test_a_new_file_is_heard_and_an_unwanted_one_is_not(tmp_path: Path, backend: str) -> None:
    async with listening(tmp_path, backend=backend) as ear:
        append(tmp_path / "a.txt")
        append(file := tmp_path / "a.jsonl")
        await ear.wait_until(lambda: bool(ear.changed()))
        assert ear.changed() | ear.gone() == {str(file)}


async def test_files_made_in_the_same_instant_as_their_directories_are_heard(tmp_path: Path, backend: str) -> None:
    async with listening(tmp_path, backend=backend) as ear:
        files = [tmp_path / f"a{n}" / "b" / "c" / "f.jsonl" for n in range(60)]
        for number, file in enumerate(files):
            file.parent.mkdir(parents=True)
            append(file)
            if number % 7 == 0:
                await trio.lowlevel.checkpoint()  # let the watcher get between, at a different place each time
        await ear.wait_changed(*files)
        append(files[-1])
        await ear.wait_changed(files[-1])


async def test_a_missing_root_is_scanned_empty_and_heard_when_it_appears(tmp_path: Path, backend: str) -> None:
    root = tmp_path / "home" / "x" / "root"
    async with listening(root, backend=backend) as ear:
        assert ear.scans() == {str(root): ()}
        assert not root.parent.parent.exists()
        assert ear.watcher.statistics().missing_roots == 1
        file = root / "p" / "f.jsonl"
        file.parent.mkdir(parents=True)
        append(file)
        await ear.wait_changed(file)
        assert ear.watcher.statistics().missing_roots == 0
        append(file)
        await ear.wait_changed(file)


async def test_a_missing_root_that_comes_step_by_step_is_heard(tmp_path: Path, backend: str) -> None:
    root = tmp_path / "home" / "x" / "root"
    async with listening(root, backend=backend) as ear:
        for step in (tmp_path / "home", tmp_path / "home" / "x", root):
            step.mkdir()
            await trio.sleep(0.01)  # not waited for: gives the watcher a chance to be in between
        append(file := root / "f.jsonl")
        await ear.wait_changed(file)


async def test_a_root_deleted_and_made_again_is_heard(tmp_path: Path, backend: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    append(file := root / "f.jsonl")
    async with listening(root, backend=backend) as ear:
        for wait in (True, False):
            shutil.rmtree(root)
            if wait:
                await ear.wait_gone(file)
            root.mkdir()
            append(file)
            await ear.wait_changed(file)
            append(other := root / "g.jsonl")
            await ear.wait_changed(other)


async def test_a_root_renamed_away_and_replaced_is_heard(tmp_path: Path, backend: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    append(root / "f.jsonl")
    async with listening(root, backend=backend) as ear:
        root.rename(tmp_path / "old")
        await ear.wait_gone(root / "f.jsonl")
        root.mkdir()
        append(file := root / "g.jsonl")
        await ear.wait_changed(file)


async def test_a_root_whose_parent_is_renamed_and_replaced_is_heard(tmp_path: Path, backend: str) -> None:
    root = tmp_path / "home" / "root"
    root.mkdir(parents=True)
    append(root / "f.jsonl")
    async with listening(root, backend=backend) as ear:
        root.parent.rename(tmp_path / "old")
        root.mkdir(parents=True)
        append(file := root / "g.jsonl")
        await ear.wait_changed(file)
        append(file)
        await ear.wait_changed(file)


async def test_a_deleted_file_is_gone(tmp_path: Path, backend: str) -> None:
    append(file := tmp_path / "f.jsonl")
    async with listening(tmp_path, backend=backend) as ear:
        file.unlink()
        await ear.wait_gone(file)
        assert ear.watcher.statistics().files == 0


async def test_a_deleted_or_renamed_directory_takes_its_files_along(tmp_path: Path, backend: str) -> None:
    files = [tmp_path / name / "x" / "f.jsonl" for name in "ab"]
    for file in files:
        file.parent.mkdir(parents=True)
        append(file)
    async with listening(tmp_path, backend=backend) as ear:
        shutil.rmtree(tmp_path / "a")
        await ear.wait_gone(files[0])
        (tmp_path / "b").rename(tmp_path / "c")
        moved = tmp_path / "c" / "x" / "f.jsonl"
        await ear.wait_until(lambda: str(moved) in ear.changed() and str(files[1]) in ear.gone())
        ear.heard.clear()
        append(moved)
        await ear.wait_changed(moved)
        assert ear.watcher.statistics().files == 1


async def test_a_file_renamed_into_place_is_heard_under_its_new_name(tmp_path: Path, backend: str) -> None:
    append(file := tmp_path / "f.jsonl")
    async with listening(tmp_path, backend=backend) as ear:
        append(draft := tmp_path / "f.tmp", "a new content\n")
        os.replace(draft, file)
        await ear.wait_changed(file)
        file.rename(moved := tmp_path / "g.jsonl")
        await ear.wait_until(lambda: str(moved) in ear.changed() and str(file) in ear.gone())


async def test_a_truncated_file_is_heard(tmp_path: Path, backend: str) -> None:
    append(file := tmp_path / "f.jsonl")
    async with listening(tmp_path, backend=backend) as ear:
        os.truncate(file, 0)
        await ear.wait_changed(file)


async def test_what_is_no_regular_file_is_never_reported(tmp_path: Path, backend: str) -> None:
    os.mkfifo(tmp_path / "old.jsonl")
    async with listening(tmp_path, backend=backend) as ear:
        os.mkfifo(tmp_path / "new.jsonl")
        (tmp_path / "nowhere.jsonl").symlink_to(tmp_path / "nothing")
        (tmp_path / "dir.jsonl").mkdir()
        append(file := tmp_path / "f.jsonl")
        await ear.wait_until(lambda: bool(ear.changed()))
        assert ear.changed() | ear.gone() == {str(file)}
        assert ear.watcher.statistics().files == 1


async def test_a_file_and_a_directory_can_take_each_others_place(tmp_path: Path, backend: str) -> None:
    append(place := tmp_path / "x.jsonl")
    async with listening(tmp_path, backend=backend) as ear:
        place.unlink()
        place.mkdir()
        append(inner := place / "f.jsonl")
        await ear.wait_changed(inner)
        shutil.rmtree(place)
        append(place)
        await ear.wait_changed(place)
        assert ear.watcher.statistics().files == 1


async def test_the_first_look_lists_what_is_there_exactly_once(tmp_path: Path, backend: str) -> None:
    files = [tmp_path / "f.jsonl", tmp_path / "p" / "q" / "g.jsonl"]
    files[1].parent.mkdir(parents=True)
    append(tmp_path / "other.txt")
    for file in files:
        append(file)
    async with listening(tmp_path, backend=backend) as ear:
        stats = {str(f): os.stat(f) for f in files}
        expected = {p: FileStat(s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for p, s in stats.items()}
        assert {seen.path: seen.stat for seen in ear.scans()[str(tmp_path)]} == expected
        ear.heard.clear()
        append(files[0])
        await ear.wait_until(lambda: bool(ear.changed()))
        assert not ear.scans()


async def test_roots_that_overlap_list_each_file_once(tmp_path: Path, backend: str) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    append(outer := tmp_path / "a" / "f.jsonl")
    append(inner := tmp_path / "a" / "b" / "f.jsonl")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    roots: list[Path | str] = [tmp_path / "a", f"{tmp_path}/a/", tmp_path / "a" / "b", tmp_path / "link"]
    async with listening(*roots, backend=backend) as ear:
        assert list(ear.scans()) == [os.fspath(root) for root in roots]
        assert sorted(f.path for files in ear.scans().values() for f in files) == sorted([str(outer), str(inner)])
        append(inner)
        await ear.wait_changed(inner)
        shutil.rmtree(tmp_path / "a")
        await ear.wait_gone(inner, outer)
        inner.parent.mkdir(parents=True)
        append(inner)
        await ear.wait_until(lambda: bool(ear.changed()))


async def test_hints_merge_while_the_receiver_is_slow(tmp_path: Path, backend: str) -> None:
    append(first := tmp_path / "first.jsonl")
    append(busy := tmp_path / "busy.jsonl")
    async with listening(tmp_path, backend=backend, size=1) as ear:  # one batch waits here, one in the watcher
        for _ in range(20):
            for _ in range(50):
                append(busy)
            append(first)
            await trio.sleep(0.005)
        append(last := tmp_path / "last.jsonl")
        await ear.wait_until(lambda: str(last) in ear.changed())
        assert sum(isinstance(c, FileChanged) for c in ear.heard) < 100  # of 1,021 writes
        assert all(
            len(batch) == len({c.path for c in batch if isinstance(c, FileChanged)}) for batch in ear.batches[1:]
        )


async def test_a_cancelled_watcher_ends_at_once(tmp_path: Path, backend: str) -> None:
    append(file := tmp_path / "f.jsonl")
    async with listening(tmp_path, backend=backend) as ear:
        append(file)
        await ear.wait_changed(file)
        started = time.monotonic()
    assert time.monotonic() - started < 1.0


async def test_a_watcher_cancelled_while_its_receiver_sleeps_ends_at_once(tmp_path: Path, backend: str) -> None:
    send, receive = trio.open_memory_channel[tuple[Change, ...]](0)
    watcher = FileWatcher([str(tmp_path)], is_wanted, send, backend, open_backend=impatient_backend)
    with send, receive, trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watcher.run)
            assert await receive.receive() == (RootScanned(str(tmp_path), ()),)
            append(tmp_path / "f.jsonl")
            await trio.sleep(0.05)  # not waited for: it may or may not be blocked in its send by now
            started = time.monotonic()
            nursery.cancel_scope.cancel()
    assert time.monotonic() - started < 1.0


async def test_symlinked_directories_are_followed_and_loops_end(tmp_path: Path, backend: str) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    (root / "p").mkdir(parents=True)
    elsewhere.mkdir()
    append(elsewhere / "f.jsonl")
    (root / "p" / "loop").symlink_to(root)
    (root / "p" / "self").symlink_to(root / "p" / "self")
    (root / "link").symlink_to(elsewhere)
    async with listening(root, backend=backend) as ear:
        file = root / "link" / "f.jsonl"
        assert [seen.path for seen in ear.scans()[str(root)]] == [str(file)]
        append(elsewhere / "f.jsonl")
        await ear.wait_changed(file)
        assert ear.watcher.statistics().directories == 3


async def test_a_symlinked_file_is_heard_when_its_target_grows(tmp_path: Path, backend: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    append(target := tmp_path / "target.jsonl")
    (link := root / "f.jsonl").symlink_to(target)
    async with listening(root, backend=backend) as ear:
        append(target)
        await ear.wait_changed(link)


async def test_another_name_takes_over_when_the_first_is_gone(tmp_path: Path, backend: str) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    append(elsewhere / "f.jsonl")
    for name in "ab":
        (root / name).symlink_to(elsewhere)
    async with listening(root, backend=backend) as ear:
        (seen,) = ear.scans()[str(root)]
        first = Path(seen.path)
        other = root / ("b" if first.parent.name == "a" else "a") / "f.jsonl"
        first.parent.unlink()
        await ear.wait_changed(other)


async def hear_beside_an_unreadable_directory(tmp_path: Path, backend: str) -> None:
    append(file := tmp_path / "f.jsonl")
    (closed := tmp_path / "closed").mkdir(exist_ok=True)
    append(hidden := closed / "g.jsonl")
    closed.chmod(0)
    try:
        async with listening(tmp_path, backend=backend) as ear:
            append(file)
            await ear.wait_changed(file)
            assert os.geteuid() == 0 or ear.watcher.statistics().watch_failures == 1
            closed.chmod(0o700)
            if os.geteuid() != 0:
                await ear.wait_until(lambda: WatchHealthy(ACCESS) in ear.heard)
            append(hidden)
            await ear.wait_until(lambda: str(hidden) in ear.changed())
    finally:
        closed.chmod(0o700)


def hear_as_nobody(backend: str) -> None:
    """Root may read everything: once as root, so that all is imported, then as someone who may not."""
    with tempfile.TemporaryDirectory() as directory:
        trio.run(hear_beside_an_unreadable_directory, Path(directory), backend)
        os.system(f"chown -R 65534:65534 {directory}")
        os.setresuid(65534, 65534, 0)
        try:
            trio.run(hear_beside_an_unreadable_directory, Path(directory), backend)
        finally:
            os.setresuid(0, 0, 0)


async def test_an_unreadable_directory_kills_nothing(tmp_path: Path, backend: str) -> None:
    if os.geteuid() != 0:
        return await hear_beside_an_unreadable_directory(tmp_path, backend)
    code = f"from {__name__} import hear_as_nobody; hear_as_nobody({backend!r})"
    done = await trio.run_process([sys.executable, "-c", code], capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


async def test_statistics_count_what_happens(tmp_path: Path, backend: str) -> None:
    (tmp_path / "p").mkdir()
    append(file := tmp_path / "p" / "f.jsonl")
    async with listening(tmp_path, tmp_path / "missing", backend=backend) as ear:
        append(file)
        await ear.wait_changed(file)
        counted = ear.watcher.statistics()
        assert (counted.backend, counted.roots, counted.missing_roots) == (backend, 2, 1)
        assert (counted.directories, counted.files, counted.watch_failures, counted.overflows) == (2, 1, 0, 0)
        assert counted.changes >= 1
        assert counted.polled_directories == (2 if backend == "poll" else 0)
