"""What only the watchfiles back-end does: find out what the library is silent about."""

import os
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest
import trio

from actors.watch_audit import Watches, read_watches
from actors.watch_watchfiles import WatchfilesBackend
from tests.actors.test_watch_inotify import QUEUE_LENGTH
from tests.actors.watch_ear import append
from tests.actors.watch_scenarios import have_an_unreadable_neighbour

KNOWN = {"/r": 1, "/r/a": 2, "/r/b": 3}
CHILD = [sys.executable, "-c"]


class Kernel:
    """A list of watches that a test writes."""

    def __init__(self) -> None:
        self.watches: Watches | None = Watches(frozenset({1, 2, 3}), ("8192",))

    def read(self) -> Watches | None:
        return self.watches


def test_a_directory_is_refused_when_it_has_no_watch_even_under_its_own_name() -> None:
    kernel = Kernel()
    backend = WatchfilesBackend(read_watches=kernel.read)
    assert backend.audit(KNOWN) == set()
    kernel.watches = Watches(frozenset({1, 2}), ("8192",))
    assert backend.audit(KNOWN) == set()  # may be too new
    assert backend.audit(KNOWN) == set()  # now handed over by name
    assert backend.audit(KNOWN) == set()  # … which the library has not done yet
    backend._changed = trio.Event()
    assert backend.audit(KNOWN) == {"/r/b"}
    with pytest.raises(OSError, match=r"raise the sysctl fs\.inotify\.max_user_watches"):
        backend.watch("/r/b")
    backend.watch("/r/a")
    kernel.watches = Watches(frozenset({1, 2}), ("99999",))
    assert backend.audit(KNOWN) == {"/r/b"}  # handed over anew
    backend._changed = trio.Event()
    kernel.watches = Watches(frozenset({1, 2, 3}), ("99999",))
    assert backend.audit(KNOWN) == set()
    backend.watch("/r/b")


@pytest.mark.parametrize("watches", [None, Watches(frozenset({77, 78}))])
def test_where_the_kernel_says_nothing_of_our_inodes_nothing_is_concluded(watches: Watches | None) -> None:
    kernel = Kernel()
    kernel.watches = watches
    backend = WatchfilesBackend(read_watches=kernel.read)
    for _ in range(5):
        assert backend.audit(KNOWN) == set()
        assert not backend._changed.is_set()


def test_the_kernels_list_is_read_from_every_inotify_descriptor(tmp_path: Path) -> None:
    for name in ("fd", "fdinfo"):
        (tmp_path / "self" / name).mkdir(parents=True)
    for number, target in {"3": "anon_inode:inotify", "4": "/dev/null", "5": "anon_inode:inotify"}.items():
        (tmp_path / "self" / "fd" / number).symlink_to(target)
    (tmp_path / "self" / "fdinfo" / "3").write_text("pos:\t0\ninotify wd:2 ino:1f sdev:fe00000 mask:3ee\n")
    (tmp_path / "sys" / "user").mkdir(parents=True)
    (tmp_path / "sys" / "user" / "max_inotify_watches").write_text("12\n")
    assert read_watches(str(tmp_path)) == Watches(frozenset({0x1F}), ("", "12\n"))
    assert read_watches(str(tmp_path / "none")) is None
    (tmp_path / "self" / "fd" / "3").unlink()
    (tmp_path / "self" / "fd" / "5").unlink()
    assert read_watches(str(tmp_path)) is None


@pytest.mark.skipif(QUEUE_LENGTH > 100_000, reason="filling so long a queue takes too long")
async def test_after_an_overflow_that_the_library_swallows_nothing_is_missing(tmp_path: Path) -> None:
    noise = [tmp_path / name for name in ("a.txt", "b.txt")]
    code = f"import trio; from tests.actors.watch_scenarios import *; trio.run(outlive_a_full_queue, {str(tmp_path)!r})"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*CHILD, code], text=True, **pipes) as child:  # type: ignore[call-overload]  # noqa: ASYNC220
        assert await trio.to_thread.run_sync(child.stdout.readline) == "listening\n"
        child.send_signal(signal.SIGSTOP)
        with noise[0].open("wb", buffering=0) as one, noise[1].open("wb", buffering=0) as other:
            for _ in range(QUEUE_LENGTH):
                one.write(b"x")
                other.write(b"x")
        new = [tmp_path / f"new{number}" / "f.jsonl" for number in range(20)]
        for file in new:
            file.parent.mkdir()
            append(file)
        child.send_signal(signal.SIGCONT)
        said = await trio.to_thread.run_sync(partial(child.communicate, "|".join(map(str, new)) + "\n"))
    assert child.returncode == 0, said


def hear_as_nobody() -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        if os.geteuid() == 0:  # root may read everything
            os.setresuid(65534, 65534, 0)
        try:
            trio.run(have_an_unreadable_neighbour, directory)
        finally:
            os.setresuid(-1, os.getresuid()[2], -1)


async def test_an_unreadable_directory_leaves_none_behind_it_unwatched() -> None:
    code = f"from {__name__} import hear_as_nobody; hear_as_nobody()"
    done = await trio.run_process([*CHILD, code], capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
