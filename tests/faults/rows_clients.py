"""N: clients and network."""

from actors.sender import OutboxLimits
from tests.faults.line import Reset
from tests.faults.rows import scenario
from tests.faults.simworld import SimWorld, line_of
from tests.faults.world import Pace

SMALL = OutboxLimits(frames=4)


@scenario("N01")
async def a_client_that_stops_reading_is_reset_and_comes_back_complete(world: SimWorld) -> None:
    await world.start()
    await world.client("fast")
    slow = await world.target("slow")
    line_of(slow).capacity = 100
    slow.set_pace(Pace(stopped=True))
    world.write("s1", 2000)
    await world.until(lambda: world.node.router.statistics().behind == 1)
    await world.until(lambda: slow.session.over.is_set() or line_of(slow).reset_by_server, 31)
    slow.set_pace(Pace())
    await slow.sessions[0].over.wait()
    await world.until(lambda: any(e.get("code") == 4009 for e in world.logged))


@scenario("N02", seeds=3)
async def a_client_that_reads_slowly_is_never_closed_and_gets_everything(world: SimWorld) -> None:
    world.configure(outbox=SMALL)
    await world.start()
    await world.client("fast")
    slow = await world.client("slow", pace=Pace(chunk=4000, pause=1.0))
    line_of(slow).capacity = 4000
    world.write("s1", 2000)


@scenario("N05", sweep=range(0, 400, 7))
async def a_write_cut_after_k_bytes_is_followed_by_nothing(world: SimWorld, k: int) -> None:
    await world.start()
    await world.client("fast")
    victim = await world.target("victim")
    line = line_of(victim)
    line.ceiling = len(line.taken) + k
    world.write("s1", 3)
    await world.until(lambda: line.reset_by_server, 31)


@scenario("N06", seeds=3)
async def a_reset_while_sending_costs_that_client_only(world: SimWorld) -> None:
    def reset(wanted: int) -> int:
        raise Reset

    await world.start()
    for n in range(9):
        await world.client(f"other{n}")
    victim = await world.target("victim")
    line_of(victim).faults[line_of(victim).sends + world.draw.randrange(1, 6)] = reset
    world.write("s1", 10)
    for _ in range(10):
        world.write("s2")
        await world.calm()


@scenario("N08")
async def a_half_open_peer_is_found_by_its_silence(world: SimWorld) -> None:
    await world.start()
    await world.client("other")
    victim = await world.target("victim")
    line_of(victim).swallows = True
    victim.set_pace(Pace(stopped=True))
    await world.until(lambda: any(e.get("code") == 4012 for e in world.logged), 41)
    line_of(victim).reset()
    victim.set_pace(Pace())
