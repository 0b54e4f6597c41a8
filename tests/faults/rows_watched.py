"""R: what happens to files and directories, behind the real watcher: renamed, deleted, raced, flooded."""

import os
import shutil
import socket
from pathlib import Path

import orjson

from tests.actors.test_watch_inotify import (
    QUEUE_LENGTH,
    test_what_fills_a_new_directory_around_the_moment_of_its_watch_is_heard,
)
from tests.faults.archived import stored
from tests.faults.rows import scenario
from tests.faults.rows_reader import FAILS, lines, unreadable_file
from tests.faults.sockets import SocketWorld
from tests.faults.transcripts import prompt
from tests.faults.world import World


def file_events(world: World) -> list[tuple[str, str, str, str | None]]:
    """(type, event_type, name, new name) of the file events, in order."""
    found = []
    for event in world.published():
        one = orjson.loads(event.payload)
        if one["type"].startswith("file_"):
            data = one["data"]
            dest = data["dest_path"] and Path(data["dest_path"]).name
            found.append((one["type"], data["event_type"], Path(data["src_path"]).name, dest))
    return found


def add(world: World, path: Path, file: str, *numbers: int) -> None:
    """Append prompts to a file under whatever name; they are owed."""
    world.owe(file, *(f"{file}-{number}" for number in numbers))
    with path.open("ab", buffering=0) as out:
        out.write(lines(file, numbers))


async def begun(world: World) -> Path:
    """A node, a client of everything, and a transcript of three lines that was read."""
    await world.start()
    await world.client("c", "all_conversations", "project_updates", "file_events", "system")
    world.write("s1", 3)
    await world.settle()
    return world.path("s1")


# -- R08, R09: names and files -----------------------------------------------------------------------------------------


@scenario("R08", level=1)
async def a_moved_file_goes_on_under_its_new_name(world: SocketWorld) -> None:
    old = await begun(world)
    new = world.root / "-v" / "moved.jsonl"
    new.parent.mkdir()
    old.rename(new)
    add(world, new, "s1", 10, 11)
    await world.settle()
    moved = ("file_deleted", "moved", "s1.jsonl", "moved.jsonl")
    await world.until(lambda: moved in file_events(world))
    events = file_events(world)
    assert ("file_created", "created", "moved.jsonl", None) in events[events.index(moved) :]
    assert stored(world) == 5


@scenario("R08", level=1)
async def a_file_renamed_over_another_gives_only_what_is_new(world: SocketWorld) -> None:
    path = await begun(world)
    for n in range(3):
        beside = path.with_suffix(".tmp")
        beside.write_bytes(path.read_bytes() + prompt("s1", 10 + n))
        world.owe("s1", f"s1-{10 + n}")
        beside.replace(path)
        await world.settle()
    add(world, path, "s1", 20)


@scenario("R08", level=1)
async def a_copied_file_gives_no_line_twice(world: SocketWorld) -> None:
    path = await begun(world)
    copy = path.with_name("copy.jsonl")
    shutil.copy(path, copy)
    add(world, copy, "copy", 10)
    add(world, path, "s1", 11)
    await world.settle()
    assert stored(world) == 3 + 3 + 2  # the copy's lines are archived, too


@scenario("R08", level=1)
async def another_file_in_the_same_inode_is_another_file(world: SocketWorld) -> None:
    path = await begun(world)
    for n in range(5):
        inode, new = path.stat().st_ino, world.path(f"t{n}")
        path.unlink()
        add(world, new, f"t{n}", *range(4))
        if new.stat().st_ino != inode:
            print("note: this file system did not give the inode out again")
        await world.settle()
        path = new
    assert stored(world) == 3 + 5 * 4


@scenario("R09", level=1)
async def a_file_deleted_and_made_again_while_open_is_read_from_its_start(world: SocketWorld) -> None:
    path = await begun(world)
    with path.open("ab", buffering=0) as writer:
        path.unlink()
        await world.until(lambda: ("file_deleted", "deleted", "s1.jsonl", None) in file_events(world))
        assert stored(world) == 3  # the rows stay
        writer.write(prompt("s1", 66))  # nobody can read that any more
        add(world, path, "s1", 10, 11)
        await world.settle()
        path.unlink()  # and at once, so that its going is not seen
        add(world, path, "s1", 20, 21, 22)
        await world.settle()
        writer.write(prompt("s1", 67))
        add(world, path, "s1", 23)
    await world.settle()
    assert stored(world) == 3 + 2 + 4


# -- R10, R11, R13: what the kernel does not tell ----------------------------------------------------------------------


@scenario("R10", level=1)
async def a_file_made_in_one_go_with_its_directories_is_found(world: SocketWorld) -> None:
    await begun(world)
    for n in range(20):
        deep = world.root / f"-p{n}" / f"d{n}" / "subagents" / "workflows" / f"w{n}" / f"agent-{n}.jsonl"
        deep.parent.mkdir(parents=True)
        add(world, deep, f"d{n}", 0)
        deep.parent.joinpath("more").mkdir()
        count = len(world.peers["c"].witness.frames)
        await world.until(lambda count=count: len(world.peers["c"].witness.frames) > count, 5)  # type: ignore[misc]
    (aside := world.directory / "aside").mkdir()
    await test_what_fills_a_new_directory_around_the_moment_of_its_watch_is_heard(aside)


@scenario("R11", level=1)
async def an_overflow_of_the_real_queue_is_counted_and_nothing_is_missed(world: SocketWorld) -> None:
    if QUEUE_LENGTH > 100_000:
        print("skipped: filling a queue of", QUEUE_LENGTH, "takes too long")
    await begun(world)
    noise = [os.open(world.root / name, os.O_WRONLY | os.O_CREAT) for name in ("a.txt", "b.txt")]
    for number in range(QUEUE_LENGTH + 100 if QUEUE_LENGTH <= 100_000 else 0):  # the watcher cannot run meanwhile
        os.write(noise[number % 2], b"x")  # in turn: the kernel merges equal neighbours
    for descriptor in noise:
        os.close(descriptor)
    world.write("s1", 2)
    for n in range(20):
        world.write(f"new{n}", 2)
        deep = world.root / f"-p{n}" / f"deep{n}.jsonl"
        deep.parent.mkdir()
        add(world, deep, f"deep{n}", 0)
    await world.settle()
    counted = (await world.status())["watcher"]
    assert QUEUE_LENGTH > 100_000 or (counted["overflows"], counted["rescans"]) == (1, 1), counted


@scenario("R13", level=1)
async def what_is_no_file_is_not_opened_and_loops_end(world: SocketWorld) -> None:
    await begun(world)
    place = world.path("s1").parent
    os.mkfifo(place / "fifo.jsonl")
    (place / "device.jsonl").symlink_to("/dev/zero")
    (place / "loop").symlink_to(place)
    (place / "up").symlink_to(world.root)
    (place / "self.jsonl").symlink_to("self.jsonl")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(place / "socket.jsonl"))
        world.write("s1", 2)
        world.write("s2", 2)
        await world.settle()
        await world.restart()
        world.write("s1", 2)
        await world.settle()
    assert stored(world) == 3 + 2 + 2 + 2
    assert (await world.status())["gauges"]["sources"] == 2
    for name in ("fifo.jsonl", "device.jsonl", "loop", "up", "self.jsonl", "socket.jsonl"):
        (place / name).unlink()


@scenario("R14", level=1)
async def a_file_whose_reading_fails_holds_up_no_other(world: SocketWorld) -> None:
    path = await begun(world)
    if not unreadable_file():
        print("skipped: this system has no file whose reading fails")
        return
    (bad := path.with_name("bad.jsonl")).symlink_to(FAILS)
    peer, manager = world.peers["c"], world.manager
    await world.until(lambda: manager.status()["gauges"]["unreadable_files"] == 1, 10)
    for _ in range(20):
        world.write("s1", 1)
        assert (await peer.ask("ping"))["type"] == "pong"
    await world.settle()
    assert [part["status"] for part in manager.status()["components"]] == ["degraded"]
    bad.unlink()
    await world.until(lambda: [part["status"] for part in manager.status()["components"]] == ["ok"], 10)
