"""H: process and host."""

from tests.faults.rows import scenario
from tests.faults.sockets import ProcessWorld, SocketWorld


@scenario("H03", level=2, seeds=2)
async def a_server_killed_at_random_points_delivers_each_event_once(world: ProcessWorld) -> None:
    await world.start()
    for n in range(5):
        await world.client(f"c{n}")
    for _ in range(3):
        for n in range(world.draw.randrange(1, 40)):
            world.write(f"s{n % 3}", world.draw.randrange(1, 5))
        await world.pause(world.draw.random() * 0.05)
        await world.restart()


@scenario("R15", level=1)
async def one_byte_a_write_costs_nothing_but_time(world: SocketWorld) -> None:
    await world.start()
    await world.client("c")
    world.write("s1", 3)
    world.drip("s2", 2)
