"""S: the store's bytes, as a bad disk gives them back."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.faults.children import MAIN, refused, run_python
from tests.faults.rows import scenario
from tests.faults.rows_store import told_at_once
from tests.faults.sockets import ProcessWorld, database

PAGE = 4096


def set_aside(path: Path) -> None:
    """What the line tells to do with a damaged database, and no more: SQLite drops the other files by itself."""
    path.rename(path.with_suffix(".damaged"))


def overwrite(path: Path, offset: int, size: int) -> None:
    """Bytes as a bad disk gives them back."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xa5" * size)


@scenario("S03", level=2, sweep=("header", "pages", "truncated"))
async def a_start_on_a_damaged_store_is_refused_in_one_line_that_names_the_cure(world: ProcessWorld, what: str) -> None:
    await world.start()
    await world.client("c")
    world.write("s1", 30, 1000)
    await world.settle()
    await world.stop()
    world.new_log()
    world.restarts += 1
    path = database(world)
    if what == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    else:
        overwrite(path, *((0, 100) if what == "header" else (PAGE, path.stat().st_size - PAGE)))
    before = path.read_bytes()
    for _ in range(2):  # no loop of repairs that damage more
        refusal = await refused(world.root, world.data_dir)
        assert refusal.code == 1
        told = "is no database" if what == "header" else "is damaged"
        cure = "move it aside and start again" if what == "header" else "stop the server and save what can be read"
        assert f"{path} {told}: {cure}" in refusal.line
        assert path.read_bytes() == before
    if what == "header":
        set_aside(path)
    else:
        done = run_python(MAIN, "doctor", "--rebuild", "--data-dir", str(world.data_dir))
        assert done.returncode == 0, done.stderr
    await world.start()
    world.write("s1", 3)


@scenario("S03", level=2)
async def damage_found_while_running_is_told_and_ends_the_process_for_good(world: ProcessWorld) -> None:
    await world.start()
    ops = await world.client("ops", "all_conversations", "system")
    world.write("s1", 30, 1000)
    await world.settle()
    world.new_log()
    path, count = database(world), len(world.published())
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE meta SET value = value")  # the server has to look at the file again
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        overwrite(path, PAGE, path.stat().st_size - PAGE)
    seqs = len(ops.session.seqs)
    world.write("s1", 3)
    assert await world.server.ended() == 1
    await ops.sessions[0].over.wait()
    assert len(ops.sessions[0].seqs) == seqs <= count
    assert told_at_once(ops)[0]["service_status"] == "unavailable"
    assert "is damaged: stop the server and save" in told_at_once(ops)[0]["components"][0]["details"]
    last = world.server.stderr.splitlines()[-1]
    assert f"{path} is damaged: stop the server and save" in last
    assert (await refused(world.root, world.data_dir)).code == 1
    world.restarts += 1
    world.begin_anew()
    set_aside(path)
    await world.start()
    world.write("s1", 3)


@scenario("S03", level=2)
async def a_lost_write_ahead_file_makes_a_new_epoch(world: ProcessWorld) -> None:
    """What is left is a sound but older database: nothing to refuse, but no seq may get a second content."""
    await world.start()
    client = await world.client("c")
    world.write("s1", 5)
    await world.settle()
    await world.until(lambda: b"s1-4" in database(world).read_bytes())  # checkpointed
    world.write("s1", 5)
    await world.settle()
    await world.kill()
    assert client.last is not None
    epoch = client.last.epoch
    world.new_log()
    (wal,) = world.data_dir.glob("*-wal")
    wal.unlink()
    world.restarts += 1
    await world.start()
    world.write("s1", 5)
    await world.settle()
    assert client.last.epoch != epoch
