"""What only the inotify back-end does: overflow of the kernel's queue, and its limits."""

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from actors.watch_cover import BACKEND, LIMIT
from actors.watch_inotify import InotifyBackend, Kernel, open_kernel
from actors.watch_poll import PollBackend
from actors.watch_port import CURES, Backend, Hints
from actors.watcher import WatchHealthy, WatchTrouble
from tests.actors.watch_ear import append, listening

QUEUE_LENGTH = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
Opener = Callable[[str, PollBackend], Backend]


@attrs.define
class StingyKernel:
    """A real inotify instance that has no watches left for some directories."""

    real: Kernel = attrs.Factory(open_kernel)
    refused: Callable[[str], bool] = lambda path: "poor" in path

    def fileno(self) -> int:
        return self.real.fileno()

    def add_watch(self, path: str, mask: int, /) -> int:
        if self.refused(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.real.add_watch(path, mask)

    def rm_watch(self, wd: int, /) -> None:
        self.real.rm_watch(wd)

    def close(self) -> None:
        self.real.close()


@attrs.define
class MeddlingKernel(StingyKernel):
    """A real inotify instance; somebody fills each new directory just before and just after its watch is made."""

    def add_watch(self, path: str, mask: int, /) -> int:
        before, after = Path(path, "before.jsonl"), Path(path, "p")
        if Path(path).name == "new" and not before.exists():
            append(before)
            wd = self.real.add_watch(path, mask)
            after.mkdir()
            append(after / "after.jsonl")
            return wd
        return self.real.add_watch(path, mask)


def on(kernel: Callable[[], Kernel]) -> Opener:
    return lambda name, poll: InotifyBackend(kernel)


def count_watches(backend: InotifyBackend) -> int:
    return Path(f"/proc/self/fdinfo/{backend._fd}").read_text().count("inotify wd:")


@pytest.mark.skipif(QUEUE_LENGTH > 100_000, reason="filling so long a queue takes too long")
async def test_after_an_overflow_of_the_real_queue_nothing_is_missing(tmp_path: Path) -> None:
    append(kept := tmp_path / "kept.jsonl")
    append(doomed := tmp_path / "doomed.jsonl")
    noise = [os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT) for name in ("a.txt", "b.txt")]
    async with listening(tmp_path, backend="inotify", sweep_s=60, directories_s=60) as ear:
        for number in range(QUEUE_LENGTH + 100):  # the watcher cannot run meanwhile
            os.write(noise[number % 2], b"x")  # in turn: the kernel merges equal neighbours
        append(kept)
        doomed.unlink()
        new = [tmp_path / f"new{n}" / "f.jsonl" for n in range(20)]
        for file in new:
            file.parent.mkdir()
            append(file)
        expected = {str(file) for file in [kept, *new]}
        await ear.wait_until(lambda: expected <= ear.changed() and str(doomed) in ear.gone())
        assert ear.changed() == expected  # only what differs
        counted = ear.watcher.statistics()
        assert (counted.overflows, counted.rescans) == (1, 1)
        append(new[0])
        ear.heard.clear()
        await ear.wait_changed(new[0])
    for descriptor in noise:
        os.close(descriptor)


async def test_a_directory_that_gets_no_watch_is_polled_and_told_once(tmp_path: Path) -> None:
    files = [tmp_path / name / "x" / "f.jsonl" for name in ("rich", "poor")]
    for file in files:
        file.parent.mkdir(parents=True)
        append(file)
    kernel = StingyKernel()
    async with listening(tmp_path, backend="inotify", open_backend=on(lambda: kernel), sweep_s=60) as ear:
        await ear.wait_until(lambda: any(isinstance(c, WatchTrouble) for c in ear.heard))
        (trouble,) = (c for c in ear.heard if isinstance(c, WatchTrouble))
        assert trouble.component == LIMIT
        assert "fs.inotify.max_user_watches" in trouble.detail
        assert (ear.watcher.statistics().watch_failures, ear.watcher.statistics().polled_directories) == (2, 2)
        for file in files:
            append(file)
            await ear.wait_changed(file)
        append(new := tmp_path / "poor" / "y.jsonl")
        await ear.wait_changed(new)
        kernel.refused = lambda path: False
        await ear.wait_until(lambda: WatchHealthy(LIMIT) in ear.heard)
        assert not any(isinstance(c, WatchTrouble) for c in ear.heard)
        assert ear.watcher.statistics().polled_directories == 0
        append(new)
        await ear.wait_changed(new)


async def test_what_fills_a_new_directory_around_the_moment_of_its_watch_is_heard(tmp_path: Path) -> None:
    quiet = partial(listening, sweep_s=60, directories_s=60)
    async with quiet(tmp_path, backend="inotify", open_backend=on(MeddlingKernel)) as ear:
        (tmp_path / "new").mkdir()
        await ear.wait_changed(tmp_path / "new" / "before.jsonl", tmp_path / "new" / "p" / "after.jsonl")


async def test_a_chmod_is_heard_at_once_and_an_append_sends_no_second_hint(tmp_path: Path) -> None:
    append(file := tmp_path / "f.jsonl")
    async with listening(tmp_path, backend="inotify", sweep_s=60, directories_s=60) as ear:
        file.chmod(0o400)
        await ear.wait_changed(file)
        file.chmod(0o600)
        await ear.wait_changed(file)
        counted = ear.watcher.statistics().changes
        append(file)
        await ear.wait_changed(file)
        assert ear.watcher.statistics().changes == counted + 1


async def test_without_an_inotify_instance_everything_is_polled(tmp_path: Path) -> None:
    def kernel() -> Kernel:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    append(file := tmp_path / "f.jsonl")
    async with listening(tmp_path, backend="inotify", open_backend=on(kernel)) as ear:
        await ear.wait_until(lambda: any(isinstance(c, WatchTrouble) for c in ear.heard))
        assert (
            WatchTrouble(BACKEND, f"{CURES[errno.EMFILE]}; everything is polled, until a new try succeeds") in ear.heard
        )
        assert ear.watcher.statistics().backend == "poll"
        append(file)
        await ear.wait_changed(file)


async def test_a_back_end_lost_on_the_way_is_replaced_by_polling_and_then_by_a_new_one(tmp_path: Path) -> None:
    doom = trio.Event()

    class Lost(InotifyBackend):
        async def run(self) -> None:
            await doom.wait()
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        async def next_hints(self) -> Hints:
            await doom.wait()
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    append(file := tmp_path / "f.jsonl")
    missing = tmp_path / "missing"
    tries = iter([Lost, InotifyBackend])
    quiet = partial(listening, sweep_s=60, directories_s=0.3)
    async with quiet(tmp_path, missing, backend="inotify", open_backend=lambda name, poll: next(tries)()) as ear:
        doom.set()
        await ear.wait_until(lambda: any(isinstance(c, WatchTrouble) for c in ear.heard))
        assert ear.watcher.statistics().polled_directories == 1
        append(file)
        await ear.wait_until(lambda: str(file) in ear.changed())
        await ear.wait_healthy(BACKEND)
        assert ear.watcher.statistics().polled_directories == 0
        missing.mkdir()
        append(missing / "f.jsonl")
        append(file)
        await ear.wait_changed(file, missing / "f.jsonl")


async def test_many_missing_roots_come_and_go_without_leaving_watches(tmp_path: Path) -> None:
    backend = InotifyBackend()
    roots = [tmp_path / f"r{n}" / "x" for n in range(20)]
    quiet = partial(listening, sweep_s=60, directories_s=60)  # no sweep: the perches must do it alone
    async with quiet(*roots, backend="inotify", open_backend=lambda name, poll: backend) as ear:
        for _ in range(3):
            for root in roots:
                root.mkdir(parents=True)
                append(root / "f.jsonl")
            await ear.wait_changed(*(root / "f.jsonl" for root in roots))
            for root in roots:
                (root / "f.jsonl").unlink()
                root.rmdir()
                root.parent.rmdir()
            await ear.wait_gone(*(root / "f.jsonl" for root in roots))
        with trio.fail_after(5):
            while ear.watcher.statistics().missing_roots < len(roots):
                await trio.lowlevel.checkpoint()
        assert count_watches(backend) == 1  # the perch they share
