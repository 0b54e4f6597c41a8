"""H: what one actor's defect costs, and what many clients that are behind at once hold."""

from collections.abc import Iterable
from typing import Any

import trio

from actors.sender import OutboxLimits
from tests.faults.line import Line
from tests.faults.peer import Pace, Peer
from tests.faults.rows import scenario
from tests.faults.sim import Defect
from tests.faults.simworld import SimWorld, line_of

STEPS = range(1, 7)
BOUND = 192 * 1024  # of a client that is behind, as docs/architecture.md promises


def defect(wanted: int) -> int:
    """At a send."""
    raise Defect("sender")


async def busy(world: SimWorld) -> None:
    """Enough for every port to be called a few times."""
    for n in range(8):
        world.write(f"s{n % 3}", 2)
        await world.calm()
        await world.publish(1)
        await world.pause(0.01)


async def fall_behind(world: SimWorld, victim: Peer) -> None:
    """Have a client read slowly, and write more than fits."""
    line_of(victim).capacity = 3000
    victim.set_pace(Pace(chunk=1000, pause=0.01))
    for _ in range(40):
        world.write("s1", 1, 500)
        await world.calm()
    assert world.node.router.statistics().behind == 1


@scenario("H04", sweep=STEPS, may_log=("client.failed",))
async def a_sender_that_fails_costs_its_client_only(world: SimWorld, nth: int) -> None:
    await world.start()
    await world.client("other")
    victim = await world.target("victim")
    await world.client("another")
    line = line_of(victim)
    line.faults[line.sends + nth] = defect
    await busy(world)
    await world.settle()
    assert victim.sessions[0].code in (1006, 1011)
    assert len(victim.sessions) == 2
    assert not world.node.defects


@scenario("H04", sweep=STEPS, may_log=("client.failed",))
async def a_sender_whose_own_task_fails_costs_its_client_only(world: SimWorld, nth: int) -> None:
    world.configure(outbox=OutboxLimits(frames=4))
    await world.start()
    await world.client("other")
    victim = await world.target("victim")
    line = line_of(victim)
    await fall_behind(world, victim)
    line.faults[line.sends + nth] = defect
    await world.settle()
    assert victim.sessions[0].code in (1006, 1011)
    assert not world.node.defects


@scenario("H04", sweep=(1, 2, 3), may_log=("client.failed",))
async def a_read_for_a_client_that_is_behind_fails_for_that_client_only(world: SimWorld, nth: int) -> None:
    world.configure(outbox=OutboxLimits(frames=4))
    await world.start()
    await world.client("other")
    victim = await world.target("victim")
    world.node.fail_at("read", nth)
    for _ in range(nth):
        await fall_behind(world, victim)
        await world.settle()
    assert victim.sessions[0].code == 1011
    assert not world.node.defects


@scenario("H04", sweep=[(actor, n) for actor in ("written", "before commit", "after commit") for n in STEPS])
async def the_main_line_ends_with_its_part_and_clients_resume(world: SimWorld, step: tuple[str, int]) -> None:
    """The Router (it tells of what was written), or whoever commits."""
    await world.start()
    peers = [await world.client(f"c{n}") for n in range(3)]
    world.node.fail_at(*step)
    world.write("s1", 2)
    await world.calm()
    for n in range(8):
        if world.node.defects:
            break
        world.write(f"s{n % 3}", 2)
        await world.pause(0.01)
    await world.until(lambda: bool(world.node.defects), 10)
    await world.calm()
    assert not world.node.connections()
    await world.until(lambda: all(peer.sessions[0].over.is_set() for peer in peers), 10)
    world.restarts += 1
    await world.start()
    await world.settle()
    for peer in peers:
        confirmed = [m["data"] for m in peer.session.messages if m["type"] == "subscription_confirmed"]
        assert confirmed[0]["recovered"] is True


@scenario("H04")
async def a_file_that_fails_is_tried_later_and_the_others_are_read(world: SimWorld) -> None:
    await world.start()
    client = await world.client("c")
    world.write("bad", 2)
    world.write("good", 2)
    await world.settle()
    bad, kept = world.path("bad"), world.directory / "kept"
    bad.rename(kept)
    bad.symlink_to(bad)  # ELOOP at every look
    world.hint(bad)
    world.write("good", 2)
    reads = world.node.ingest.gauges()["file_reads"]
    await world.pause(60)
    assert world.node.ingest.gauges()["unreadable_files"] == 1
    assert world.node.ingest.gauges()["file_reads"] - reads < 10  # 1, 2, 4 … seconds
    assert len([event for event in world.published() if b'"good-' in event.payload]) >= 4
    bad.unlink()
    kept.rename(bad)
    world.write("bad", 2)
    await world.settle()
    assert len(client.sessions) == 1
    assert world.node.ingest.gauges()["unreadable_files"] == 0


def held(lines: Iterable[Any]) -> dict[int, int]:
    """Buffers in outboxes: by identity, so that what is shared counts once."""
    found: dict[int, int] = {}
    for sender in lines:
        waiting = list(sender._put._state.data) + ([] if sender._held is None else [sender._held])
        for item in waiting:
            data = item.data.obj if isinstance(item.data, memoryview) else item.data
            found[id(data)] = len(data)
    return found
