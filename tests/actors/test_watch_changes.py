"""Every back-end: what counts as a change of a file, and what does not."""

import os
import socket
import stat
from pathlib import Path

import pytest

from tests.actors.watch_ear import NAMES, append, listening

pytestmark = pytest.mark.parametrize("backend", NAMES)
FUTURE_S, PAST_S = 4_000_000_000, 1_000_000_000


async def test_a_clock_that_jumps_hides_no_change(tmp_path: Path, backend: str) -> None:
    append(file := tmp_path / "f.jsonl")
    async with listening(tmp_path, backend=backend) as ear:
        for moment in (FUTURE_S, PAST_S, PAST_S):  # whole seconds, as a coarse file system has them
            append(file)
            os.utime(file, (moment, moment))
            await ear.wait_changed(file)


async def test_an_edit_that_keeps_size_and_time_is_heard(tmp_path: Path, backend: str) -> None:
    append(file := tmp_path / "f.jsonl", "one\n")
    os.utime(file, (PAST_S, PAST_S))
    async with listening(tmp_path, backend=backend) as ear:
        before = file.stat()
        while file.stat().st_ctime_ns == before.st_ctime_ns:  # until the file system's clock has moved
            with file.open("r+") as writer:
                writer.write("two\n")
            os.utime(file, (PAST_S, PAST_S))
        assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
        await ear.wait_changed(file)


async def test_a_file_that_becomes_readable_again_is_heard(tmp_path: Path, backend: str) -> None:
    append(file := tmp_path / "f.jsonl")
    file.chmod(0)
    async with listening(tmp_path, backend=backend) as ear:
        before = file.stat().st_ctime_ns
        while file.stat().st_ctime_ns == before:  # until the file system's clock has moved
            file.chmod(0o600)
        await ear.wait_changed(file)


async def test_reading_is_no_change(tmp_path: Path, backend: str) -> None:
    append(read := tmp_path / "read.jsonl")
    append(written := tmp_path / "written.jsonl")
    async with listening(tmp_path, backend=backend) as ear:
        for _ in range(5):
            assert read.read_text() == "x\n"
            assert len(os.listdir(tmp_path)) == 2
            append(written)
            await ear.wait_until(lambda: str(written) in ear.changed())
            assert str(read) not in ear.changed()
            ear.heard.clear()


async def test_a_file_deleted_and_made_again_is_heard_in_the_end(tmp_path: Path, backend: str) -> None:
    append(file := tmp_path / "f.jsonl")
    async with listening(tmp_path, backend=backend) as ear:
        for _ in range(20):
            file.unlink()
            append(file)
        await ear.wait_changed(file)
        assert ear.watcher.statistics().files == 1


async def test_both_names_of_a_hard_linked_file_are_listed_and_the_one_written_to_is_heard(
    tmp_path: Path, backend: str
) -> None:
    append(one := tmp_path / "one.jsonl")
    os.link(one, two := tmp_path / "two.jsonl")
    async with listening(tmp_path, backend=backend) as ear:
        assert {seen.path for seen in ear.scans()[str(tmp_path)]} == {str(one), str(two)}
        assert len({(seen.stat.dev, seen.stat.ino) for seen in ear.scans()[str(tmp_path)]}) == 1
        for name in (one, two):
            append(name)
            await ear.wait_changed(name)


async def test_a_fifo_and_a_socket_are_neither_reported_nor_opened(
    tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    async with listening(tmp_path, backend=backend) as ear:
        os.mkfifo("fifo.jsonl")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket.jsonl")
            append(file := tmp_path / "f.jsonl")
            await ear.wait_until(lambda: bool(ear.changed()))
            assert ear.changed() == {str(file)}
            with pytest.raises(OSError, match="No such device"):  # nobody has it open for reading
                os.open("fifo.jsonl", os.O_WRONLY | os.O_NONBLOCK)


async def test_a_device_is_not_reported(tmp_path: Path, backend: str) -> None:
    try:
        os.mknod(tmp_path / "device.jsonl", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root can make a device file")
    async with listening(tmp_path, backend=backend) as ear:
        assert ear.scans() == {str(tmp_path): ()}
        os.mknod(tmp_path / "new.jsonl", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        append(file := tmp_path / "f.jsonl")
        await ear.wait_until(lambda: bool(ear.changed()))
        assert ear.changed() == {str(file)}
