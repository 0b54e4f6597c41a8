"""What a test cannot do to its own process: kernel limits and mounts, in a namespace that dies with the child."""

import subprocess
from pathlib import Path

import trio

from actors.watch_audit import read_watches
from actors.watch_cover import ACCESS, BACKEND, LIMIT
from tests.actors.watch_ear import DEADLINE_S, append, listening

FOR_ALL = ("0", "0", "4294967295")  # the map of the namespace that the machine itself is in


def set_limit(kind: str, count: int) -> None:
    """How many inotify watches or instances this namespace may have."""
    assert tuple(Path("/proc/self/uid_map").read_text().split()) != FOR_ALL, "this would change the whole machine"
    Path(f"/proc/sys/user/max_inotify_{kind}").write_text(str(count))


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def unmount(point: str) -> None:
    subprocess.run(["umount", point], check=True)


def pretend_to_be(kind: str, point: str, table: str) -> None:
    """Write a mount table that says so of what is mounted there."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    (line,) = (line for line in lines if f" {point} " in line)
    Path(table).write_text(line.replace(" - tmpfs ", f" - {kind} "))


def make_files(root: Path, count: int) -> list[Path]:
    files = [root / f"d{number}" / "f.jsonl" for number in range(count)]
    for file in files:
        file.parent.mkdir()
        append(file)
    return files


async def reach_the_limit_at_start(backend: str, root: str) -> None:
    files = make_files(Path(root), 6)
    set_limit("watches", 4)
    async with listening(root, backend=backend, sweep_s=60, directories_s=60) as ear:
        trouble = await ear.wait_trouble(LIMIT)
        assert "fs.inotify.max_user_watches" in trouble.detail
        assert "polled instead" in trouble.detail
        assert 0 < ear.watcher.statistics().polled_directories < 7
        for file in files:
            append(file)
        await ear.wait_changed(*files)
        set_limit("watches", 100)
        await ear.wait_healthy(LIMIT)
        assert ear.watcher.statistics().polled_directories == 0
        for file in files:
            append(file)
        await ear.wait_changed(*files)


async def reach_the_limit_at_run_time(backend: str, root: str) -> None:
    set_limit("watches", 4)
    async with listening(root, backend=backend, sweep_s=60, directories_s=60) as ear:
        files = make_files(Path(root), 6)
        await ear.wait_until(lambda: {str(file) for file in files} <= ear.changed())
        trouble = await ear.wait_trouble(LIMIT)
        assert "fs.inotify.max_user_watches" in trouble.detail
        assert 0 < ear.watcher.statistics().polled_directories < 7
        ear.heard.clear()
        for file in files:
            append(file)
        await ear.wait_changed(*files)
        set_limit("watches", 100)
        await ear.wait_healthy(LIMIT)
        assert ear.watcher.statistics().polled_directories == 0


async def have_no_instances_at_start(backend: str, root: str) -> None:
    (file,) = make_files(Path(root), 1)
    set_limit("instances", 0)
    async with listening(root, Path(root, "missing"), backend=backend, sweep_s=60, directories_s=0.3) as ear:
        trouble = await ear.wait_trouble(BACKEND)
        assert "fs.inotify.max_user_instances" in trouble.detail
        assert ear.watcher.statistics().backend == "poll"
        append(file)
        await ear.wait_changed(file)
        set_limit("instances", 10)
        await ear.wait_healthy(BACKEND)
        assert ear.watcher.statistics().backend == backend
        assert ear.watcher.statistics().polled_directories == 0
        append(file)
        await ear.wait_changed(file)


async def mount_and_unmount_a_root(backend: str, root: str) -> None:
    append(below := Path(root, "below.jsonl"))
    async with listening(root, backend=backend, sweep_s=0.1, directories_s=60) as ear:
        for _ in range(2):
            mount("-t", "tmpfs", "x", root)
            await ear.wait_gone(below)
            append(above := Path(root, "above.jsonl"))
            await ear.wait_changed(above)
            append(above)
            await ear.wait_changed(above)
            unmount(root)
            await ear.wait_until(lambda: str(above) in ear.gone() and str(below) in ear.changed())
            ear.heard.clear()
            append(below)
            await ear.wait_changed(below)


async def mount_something_deaf_over_a_root(backend: str, root: str, table: str) -> None:
    async with listening(root, backend=backend, sweep_s=0.1, directories_s=60, mount_table=table) as ear:
        assert ear.watcher.statistics().polled_directories == 0
        mount("-t", "tmpfs", "x", root)
        pretend_to_be("nfs4", root, table)  # the watcher cannot look meanwhile
        append(file := Path(root, "f.jsonl"))
        await ear.wait_changed(file)
        assert ear.watcher.statistics().polled_directories == 1


async def write_below_an_overlay(backend: str, base: str) -> None:
    mount("-t", "tmpfs", "x", base)
    layers = {name: Path(base, name) for name in ("lower", "upper", "work", "merged")}
    for layer in layers.values():
        layer.mkdir()
    (file,) = make_files(layers["lower"], 1)
    options = ",".join(f"{name}dir={layers[name]}" for name in ("lower", "upper", "work"))
    mount("-t", "overlay", "-o", options, "x", str(layers["merged"]))
    async with listening(layers["merged"], backend=backend, sweep_s=60, directories_s=60) as ear:
        assert ear.watcher.statistics().polled_directories == 2
        append(file)
        await ear.wait_changed(layers["merged"] / "d0" / "f.jsonl")


async def outlive_a_full_queue(root: str) -> None:
    """Says when it listens, is told which paths to listen for, and ends when it has heard of all."""
    async with listening(root, backend="watchfiles", sweep_s=60, directories_s=60) as ear:
        print("listening", flush=True)
        expected = await trio.to_thread.run_sync(input)
        await ear.wait_until(lambda: set(expected.split("|")) <= ear.changed())


async def have_an_unreadable_neighbour(root: str) -> None:
    """Run as someone who may not read everything."""
    files = make_files(Path(root), 6)
    closed = files[2].parent
    closed.chmod(0)
    wanted = {path.stat().st_ino for path in [Path(root), *(file.parent for file in files)] if path != closed}
    async with listening(root, backend="watchfiles", sweep_s=60, directories_s=60) as ear:
        trouble = await ear.wait_trouble(ACCESS)
        assert "chmod" in trouble.detail
        with trio.fail_after(DEADLINE_S):
            while (watches := read_watches()) is None or not wanted <= watches.inodes:
                await trio.lowlevel.checkpoint()
        for file in files:
            if file.parent != closed:
                append(file)
                await ear.wait_changed(file)
        assert ear.watcher.statistics().polled_directories == 1
        closed.chmod(0o700)
        await ear.wait_healthy(ACCESS)
