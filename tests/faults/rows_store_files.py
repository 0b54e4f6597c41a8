"""S: the store's files, as other programs, bad disks and other versions leave them."""

import os
import resource
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import trio

from observatory.core.replies import Timing
from observatory.storage.log import EventLog
from observatory.storage.migrations import SCHEMA_VERSION
from observatory.storage.opening import DATABASE
from tests.faults.children import AS_NOBODY, MAIN, refused, run_python
from tests.faults.peer import Peer
from tests.faults.rows import scenario
from tests.faults.rows_store import told_at_once
from tests.faults.sockets import ProcessWorld, SocketWorld, database
from tests.storage.older import make_older

QUICK = Timing(ping_interval=0.2)
STALL = 1.0  # seconds; what a busy machine may add to a turn of the loop
KILLED_AT = """
import os, signal, sys
from pathlib import Path
from observatory.storage.log import EventLog
left = int(sys.argv[2])
def watch(frame, event, called):
    global left
    if event == "c_call" and called.__name__ == "execute":
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
sys.setprofile(watch)
EventLog(Path(sys.argv[1]), "boot").close()
"""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program is about to write the database, and does not get on with it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def longest_turn(world: SocketWorld, until: trio.Event) -> float:
    """How long the loop was held up at most, until something happens."""
    longest = 0.0
    while not until.is_set():
        begun = time.perf_counter()
        await trio.sleep(0.01)
        longest = max(longest, time.perf_counter() - begun)
    return longest


def first_status(peer: Peer) -> str:
    """The health that a client was told of without a seq, first."""
    return str(told_at_once(peer)[0]["service_status"])


@scenario("S02", level=1, may_log=("log.not_written",))
async def a_lock_held_by_another_program_is_waited_out_without_blocking_anybody(world: SocketWorld) -> None:
    world.timing = QUICK
    await world.start()
    other = world.directory / "other"
    other.mkdir()
    EventLog(other, "boot").close()
    client, ops = await world.client("c"), await world.client("ops", "all_conversations", "system")
    world.write("s1")
    await world.until(lambda: bool(client.session.seqs))
    count, pings, done, turns = len(world.published()), len(client.session.pings), trio.Event(), list[float]()

    async def measure() -> None:
        turns.append(await longest_turn(world, done))

    async def start_on_a_locked_one() -> None:
        refusal = await refused(world.root, other)
        assert refusal.code == 1
        assert f"{other / DATABASE} is locked by another program: close the program" in refusal.line
        assert 5 <= refusal.seconds < 10

    async with trio.open_nursery() as nursery:
        with locked(database(world)), locked(other / DATABASE):
            nursery.start_soon(measure)
            nursery.start_soon(start_on_a_locked_one)
            world.write("s1", 3)
            begun = trio.current_time()
            await world.until(lambda: bool(told_at_once(ops)), 10)
            assert trio.current_time() - begun >= 4.9
            assert first_status(ops) == "unavailable"
            assert len(world.published()) == count
            assert len(client.session.pings) >= pings + 10
            while len(nursery.child_tasks) > 1:
                await world.pause(0.05)
        await world.settle()
        done.set()
    assert turns[0] < STALL, f"the loop was held up for {turns[0]:.2f} s"


@scenario("S04", level=1, may_log=("log.not_written",))
async def a_store_that_becomes_read_only_is_waited_out(world: SocketWorld) -> None:
    await world.start()
    client, ops = await world.client("c"), await world.client("ops", "all_conversations", "system")
    world.write("s1")
    await world.until(lambda: bool(client.session.seqs) and bool(ops.session.seqs))
    await world.settle()
    db, published = world.monitor.commits._log._db, world.published()
    db.execute("PRAGMA query_only=ON")
    world.write("s1", 3)
    await world.until(lambda: bool(told_at_once(ops)))
    assert first_status(ops) == "unavailable"
    assert "is read-only: make it writable" in told_at_once(ops)[0]["components"][0]["details"]
    assert world.published() == published
    assert not client.session.over.is_set()
    db.execute("PRAGMA query_only=OFF")
    await world.settle()
    assert world.published()[: len(published)] == published


@scenario("S04", level=2, sweep=("directory", "file"))
async def a_start_on_what_it_may_not_write_is_refused_with_the_path(world: ProcessWorld, what: str) -> None:
    await world.start()
    await world.kill()
    path = world.data_dir if what == "directory" else database(world)
    for above in (world.directory, world.root, world.data_dir):
        above.chmod(0o755)
    if what == "file":
        world.data_dir.chmod(0o777)
        for file in world.data_dir.iterdir():
            file.chmod(0o666)
    path.chmod(0o555)
    refusal = await refused(world.root, world.data_dir, MAIN if os.geteuid() else AS_NOBODY)
    assert refusal.code == 1
    assert str(path) in refusal.line
    assert "make it writable for this user" in refusal.line
    world.data_dir.chmod(0o700)
    for file in world.data_dir.iterdir():
        file.chmod(0o600)
    await world.start()


@scenario("S08", level=2)
async def a_second_server_on_the_directory_is_refused_and_the_first_goes_on(world: ProcessWorld) -> None:
    await world.start()
    await world.client("c")
    world.write("s1", 3)
    refusal = await refused(world.root, world.data_dir)
    assert refusal.code == 1
    assert f"already running at {world.url} (pid {world.server.pid}) on {world.data_dir}" in refusal.line
    assert refusal.seconds < 5
    world.write("s1", 3)


@scenario("S09", level=2)
async def a_store_of_a_newer_version_is_refused_untouched(world: ProcessWorld) -> None:
    await world.start()
    await world.client("c")
    world.write("s1", 3)
    await world.settle()
    await world.stop()
    world.restarts += 1
    with closing(sqlite3.connect(database(world))) as db:
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    before = {file.name: file.read_bytes() for file in world.data_dir.glob(f"{DATABASE}*")}
    refusal = await refused(world.root, world.data_dir)
    assert refusal.code == 1
    assert f"{database(world)} was written by a newer Observatory" in refusal.line
    assert {file.name: file.read_bytes() for file in world.data_dir.glob(f"{DATABASE}*")} == before
    with closing(sqlite3.connect(database(world))) as db:
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    await world.start()


@scenario("S09", level=2)
async def a_migration_killed_at_any_statement_leaves_the_old_schema_or_the_new_one(world: ProcessWorld) -> None:
    await world.start()
    await world.client("c")
    world.write("s1", 3)
    await world.settle()
    await world.stop()
    world.restarts += 1
    make_older(database(world), 1)
    seen = list[int]()
    while (code := run_python(KILLED_AT, str(world.data_dir), str(len(seen) + 1)).returncode) == -signal.SIGKILL:
        with closing(sqlite3.connect(f"{database(world).as_uri()}?mode=ro", uri=True)) as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'forgotten'").fetchone()
        assert tables == (version == SCHEMA_VERSION), f"killed at statement {len(seen) + 1}: neither old nor new"
        seen.append(version)
    assert code == 0, "it was killed at every statement, and then comes through"
    assert seen == sorted(seen)
    assert set(seen) == {1, SCHEMA_VERSION}
    await world.start()


@contextmanager
def slow_commits(world: SocketWorld, seconds: float) -> Iterator[None]:
    """Each commit takes so long, wherever it is made."""
    slow = True

    def traced(statement: str) -> None:
        if slow and statement == "COMMIT":
            time.sleep(seconds)

    world.monitor.commits._log._db.set_trace_callback(traced)
    try:
        yield
    finally:
        slow = False  # the callback stays: taking it away while a thread is in it would wait for each other


@scenario("S07", level=1)
async def slow_commits_hold_up_the_loop_once_and_no_ping(world: SocketWorld) -> None:
    """The first one is made on the loop, which nobody could know; the others in a thread."""
    world.timing = QUICK
    await world.start()
    client = await world.client("c")
    done, turns = trio.Event(), list[float]()

    async def measure() -> None:
        turns.append(await longest_turn(world, done))

    with slow_commits(world, 0.8):
        world.write("s1")
        await world.until(lambda: bool(client.session.seqs))
        world.nursery.start_soon(measure)
        pings = len(client.session.pings)
        world.write("s1", 20)
        await world.until(lambda: len(client.session.seqs) >= 21)
        await world.until(lambda: len(client.session.pings) >= pings + 4)
        for _ in range(5):
            assert (await client.ask("get_status"))["type"] == "status"
        done.set()
    await world.until(lambda: bool(turns))
    assert turns[0] < 0.5, f"the loop was held up for {turns[0]:.2f} s"


@scenario("S01", level=2)
async def a_file_that_cannot_grow_is_waited_out_by_the_process(world: ProcessWorld) -> None:
    """RLIMIT_FSIZE of the running child stands in for the full disk, which root alone could make."""
    await world.start()
    ops = await world.client("ops", "all_conversations", "system")
    world.write("s1", 3)
    await world.settle()
    pid, published = world.server.pid, world.published()
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    size = max(file.stat().st_size for file in world.data_dir.iterdir())
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 5 * 4096, hard))
    for _ in range(20):
        world.write("s1", 100, 1000)
    await world.until(lambda: bool(told_at_once(ops)))
    assert first_status(ops) == "unavailable"
    assert world.published()[: len(published)] == published
    assert not ops.session.over.is_set()
    assert (await ops.ask("get_status"))["type"] == "status"
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
    await world.settle()
