"""H: what one actor's defect costs, and what many clients that are behind at once hold."""

import attrs

from actors.sender import OutboxLimits
from tests.faults.peer import Pace, Peer
from tests.faults.ports import Defect
from tests.faults.rows import scenario
from tests.faults.simworld import SimWorld, line_of

STEPS = range(1, 7)
CLIENTS = 1000
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
    assert any(entry["event"] == "client.failed" for entry in world.logged)
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


@attrs.frozen
class Memory:
    """What outboxes hold. apart: if nothing were shared; shared: each buffer once, and the pages kept for all."""

    apart: int
    shared: int
    largest: int


def memory(world: SimWorld) -> Memory:
    """By accounting, of all clients there are."""
    buffers: dict[int, int] = {}
    senders = [connection.sender for connection in world.node.connections()]
    for sender in senders:
        for item in (*sender._get._state.data, *filter(None, (sender._held,))):
            whole = item.data.obj if isinstance(item.data, memoryview) else item.data
            assert isinstance(whole, bytes)
            buffers[id(whole)] = len(whole)
    queued = [sender.statistics().queued_bytes for sender in senders]
    pages = world.node.manager._server.pages
    kept = pages._portions.bytes + pages._joined.bytes
    return Memory(sum(queued), sum(buffers.values()) + kept, max(queued))


@scenario("H07")
async def a_thousand_clients_that_are_behind_share_what_they_wait_for(world: SimWorld) -> None:
    """The row's 10,000, a tenth of them: what each holds for itself does not depend on how many they are."""
    world.configure(outbox=OutboxLimits(frames=16))
    await world.start()
    peers = []
    for n in range(CLIENTS):
        peers.append(await world.client(f"c{n}"))
        line_of(peers[n]).capacity = 16_000
        peers[n].set_pace(Pace(stopped=True))
    for _ in range(40):
        world.write("s1", 1, 3000)
        await world.calm()
    await world.until(lambda: world.node.router.statistics().behind == CLIENTS)
    for peer in peers:
        peer.set_pace(Pace(chunk=16_000, pause=world.draw.random() * 0.1))
    seen = list[Memory]()
    while world.node.router.statistics().behind:
        seen.append(memory(world))
        await world.pause(0.05)
    assert len(seen) > 5
    assert max(found.largest for found in seen) <= BOUND
    assert max(found.shared for found in seen) <= CLIENTS * BOUND
    most = max(seen, key=lambda found: found.apart)
    assert most.apart > CLIENTS * 10_000, "they did not wait for much"
    assert most.shared < most.apart / 10, f"not shared: {most}"
