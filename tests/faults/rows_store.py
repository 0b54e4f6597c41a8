"""S: the store."""

import shutil
from typing import Any

import trio

from tests.faults.peer import Peer
from tests.faults.rows import scenario
from tests.faults.simworld import SimWorld

MINUTE = 60.0


def told_at_once(peer: Peer) -> list[dict[str, Any]]:
    """The statuses without a seq that a client got: what is wrong with the log cannot be an event of it."""
    return [message["data"] for message in peer.session.messages if message["type"] == "system_status"]


@scenario("S01", seeds=2, may_log=("log.not_written", "broadcast.failed"))
async def a_full_disk_stops_publishing_and_nothing_else(world: SimWorld) -> None:
    await world.start()
    reader, ops = await world.client("reader"), await world.client("ops", "all_conversations", "system")
    world.write("s1", 3)
    await world.settle()
    db = world.node.log._db
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count={pages + 5}")
    for _ in range(world.draw.randrange(20, 40)):
        world.write(world.draw.choice(("s1", "s2")), 20, 100)
        await world.calm()
    await world.until(lambda: bool(told_at_once(ops)), MINUTE)
    published, offsets = world.published(), {row.path: row.offset for row in world.node.log.sources()}
    await world.pause(MINUTE)
    result = await world.node.manager.broadcast({"type": "note", "data": "x" * 100_000})
    assert result.error == "not_persisted"
    assert list(result) == ["c1", "c2"]  # all it was meant for
    assert world.published() == published
    assert {row.path: row.offset for row in world.node.log.sources()} == offsets
    assert [status["service_status"] for status in told_at_once(ops)] == ["unavailable"]
    assert "the disk is full" in told_at_once(ops)[0]["components"][0]["details"]
    assert not told_at_once(reader)  # it does not hold `system`
    for peer in (reader, ops):
        assert len(peer.session.pings) >= 2
        assert peer.session.seqs == [event.seq for event in published if event.seq >= peer.session.seqs[0]]
    db.execute("PRAGMA max_page_count=1073741823")
    await world.settle()  # without a restart
    assert world.published()[: len(published)] == published
    assert any(entry["event"] == "log.written_again" for entry in world.logged)


@scenario("S07", sweep=(0.5, 2.0))
async def slow_commits_slow_the_reader_and_no_client(world: SimWorld, seconds: float) -> None:
    await world.start()
    reader, other = await world.client("reader"), await world.client("other", "file_events")
    commits, points = world.node.commits, world.node.points
    commits.delay, before, begun = seconds, points.calls.get("before commit", 0), trio.current_time()
    while trio.current_time() < begun + MINUTE:
        world.write(world.draw.choice(("s1", "s2", "s3")), 5)
        asked = trio.current_time()
        for peer in (reader, other):
            assert (await peer.ask("get_status"))["type"] == "status"
        assert trio.current_time() == asked, "an answer waited for a commit"
        await world.pause(0.1)
    made = points.calls["before commit"] - before
    assert made <= MINUTE / seconds + 1
    assert len(world.published()) > made, "what came while a commit was under way is committed together"
    for peer in (reader, other):
        assert len(peer.session.pings) >= 2
    commits.delay = 0.0


@scenario("S06", sweep=("before commit", "after commit"), seeds=6)
async def a_kill_around_a_commit_loses_and_doubles_nothing(world: SimWorld, point: str) -> None:
    await world.start()
    await world.client("c")
    for _round in range(6):
        world.node.die_at(point, world.draw.randrange(1, 8))
        for _ in range(world.draw.randrange(1, 6)):
            world.write(world.draw.choice(("s1", "s2")), world.draw.randrange(1, 4))
            if world.draw.random() < 0.6:
                await world.calm()
        await world.pause(world.draw.choice((0.0, 0.01)))
        await world.restart()


@scenario("S05", seeds=5)
async def a_power_loss_makes_a_new_epoch(world: SimWorld) -> None:
    await world.start()
    await world.client("c", "all_conversations")
    world.write("s1", world.draw.randrange(1, 20))
    await world.settle()
    world.node.log._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    saved = world.directory / "saved"
    shutil.copytree(world.data_dir, saved)
    for _ in range(world.draw.randrange(1, 10)):
        world.write("s1", world.draw.randrange(1, 5))
        await world.calm()
    await world.settle()
    await world.kill()
    world.new_log()
    shutil.rmtree(world.data_dir)
    saved.rename(world.data_dir)
    world.configure(boot_id="boot-2")
    world.restarts += 1
    world.write("s1", world.draw.randrange(1, 30))  # so that the new head may be beyond what clients had of the old log
    await world.start()
    world.write("s1", 5)
