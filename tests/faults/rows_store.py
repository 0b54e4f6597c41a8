"""S: the store."""

import shutil

from tests.faults.rows import scenario
from tests.faults.simworld import SimWorld


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
    await world.start()
    world.write("s1", 5)
