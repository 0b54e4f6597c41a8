"""N: clients that read badly or not at all."""

import trio

from actors.sender import OutboxLimits
from observatory.storage.log import Retention
from tests.faults.line import Line, Reset
from tests.faults.rows import scenario
from tests.faults.simworld import SimWorld, line_of
from tests.faults.sockets import SocketWorld
from tests.faults.visitor import head, knock, request
from tests.faults.world import Pace, Peer, World

SMALL = OutboxLimits(frames=4)
STALL = OutboxLimits().stall_seconds
TRICKLE = Pace(chunk=1, pause=29.0)
HOURS_2 = 7200.0


def logged(world: World, event: str, code: int) -> bool:
    """Whether the node logged that it gave up a client for this reason."""
    return any(entry["event"] == event and entry.get("code") == code for entry in world.logged)


def resumed(peer: Peer) -> list[object]:
    """What its confirmations said of the resume, over all connections."""
    confirmed = [m for s in peer.sessions for m in s.messages if m["type"] == "subscription_confirmed"]
    return [m["data"].get("reason", m["data"]["recovered"]) for m in confirmed if "recovered" in m["data"]]


def close_to(found: float, expected: float) -> bool:
    """Equal, but for the arithmetic of floating point."""
    return abs(found - expected) < 1e-6


@scenario("N01")
async def a_client_that_stops_reading_is_reset_and_comes_back_complete(world: SimWorld) -> None:
    await world.start()
    await world.client("fast")
    slow = await world.target("slow")
    line = line_of(slow)
    line.capacity = 100
    slow.set_pace(Pace(stopped=True))
    world.write("s1", 2000)
    began = trio.current_time()
    await world.until(lambda: world.node.router.statistics().behind == 1)
    await world.until(lambda: line.reset_by_server, STALL + 1)
    assert line.closed_at is not None
    assert close_to(line.closed_at - began, STALL)
    slow.set_pace(Pace())
    await slow.sessions[0].over.wait()
    await world.until(lambda: logged(world, "client.lost", 4009))
    await world.settle()
    assert resumed(slow) == [True]


@scenario("N01", level=1)
async def a_real_client_that_stops_reading_is_reset_and_comes_back_complete(world: SocketWorld) -> None:
    world.outbox = OutboxLimits(frames=4, stall_seconds=1.0)
    await world.start()
    await world.client("fast")
    world.receive_buffer = 4096
    slow = await world.target("slow")
    world.receive_buffer = None
    slow.set_pace(Pace(stopped=True))
    while not (await world.status())["clients"]["behind"]:  # what both kernels hold is theirs to say
        world.write("s1", 20, 20_000)
        await world.pause(0.01)
    await world.until(lambda: logged(world, "client.lost", 4009))
    slow.set_pace(Pace())
    await slow.sessions[0].over.wait()
    await world.settle()
    assert resumed(slow) == [True]


@scenario("N02", seeds=3)
async def a_client_that_reads_slowly_is_never_closed_and_gets_everything(world: SimWorld) -> None:
    world.configure(outbox=SMALL)
    await world.start()
    await world.client("fast")
    slow = await world.client("slow", pace=Pace(chunk=4000, pause=1.0))
    line_of(slow).capacity = 4000
    world.write("s1", 2000)
    await world.until(lambda: world.node.router.statistics().behind == 1)
    await world.settle()
    status = await world.status()
    assert (status["clients"]["live"], status["gauges"]["client_lag_events"]) == (2, 0)


@scenario("N03", sweep=("v1", "legacy"))
async def a_client_that_trickles_for_hours_is_not_reset(world: SimWorld, kind: str) -> None:
    """One byte in 29 s is progress. Pings once piled up behind it until no place was left, which was a reset."""
    world.configure(outbox=SMALL)
    await world.start()
    await world.client("fast")
    slow = await world.client("slow", legacy=kind == "legacy")
    line_of(slow).capacity = 1
    slow.set_pace(TRICKLE)
    world.write("s1", 10)
    await world.pause(HOURS_2)
    assert not line_of(slow).closed
    assert (await world.status())["gauges"]["replies_waiting"] == 1
    line_of(slow).capacity = 1000
    slow.set_pace(Pace())


@scenario("N03")
async def a_client_that_trickles_too_slowly_falls_off_the_log_and_starts_from_a_snapshot(world: SimWorld) -> None:
    world.configure(outbox=OutboxLimits(frames=2, behind_bytes=4096), retention=Retention(events=50))
    await world.start()
    await world.client("fast")
    slow = await world.target("slow")
    line_of(slow).capacity = 1
    slow.set_pace(TRICKLE)
    world.write("s1", 10)
    await world.pause(300)
    for _ in range(4):
        world.write("s1", 15)
        await world.calm()
        world.published()
        await world.pause(1.0)
    line_of(slow).capacity = 1000
    slow.set_pace(Pace(chunk=1000, pause=29.0))
    await world.until(lambda: logged(world, "client.closing", 4008), HOURS_2)
    slow.set_pace(Pace())
    await slow.sessions[0].over.wait()
    await world.settle()
    assert resumed(slow) == ["too_old", True]


@scenario("N04", sweep=("event", "events", "reply", "page", "answer"))
async def a_write_that_blocks_for_ever_is_reset_after_30_seconds_exactly(world: SimWorld, what: str) -> None:
    world.configure(outbox=SMALL)
    await world.start()
    await world.client("other")
    if what == "answer":
        world.node.new_line = lambda: Line(capacity=0)
        await knock(world, head())
        world.node.new_line, line = Line, world.node.all_lines[-1]
    else:
        victim = await world.target("victim")
        victim.set_pace(Pace(stopped=True))
        line = line_of(victim)
        line.ceiling = len(line.taken)
    began, taken = trio.current_time(), len(line.taken)
    match what:
        case "event":
            world.write("s1")
        case "events":
            world.write("s1", 3)
        case "page":
            world.write("s1", 50)
        case "reply":
            line.put(request("ping"))
    await world.until(lambda: line.closed, STALL + 1)
    assert line.closed_at is not None
    assert close_to(line.closed_at - began, STALL)
    assert line.reset_by_server
    assert len(line.taken) == taken
    if what != "answer":
        victim.set_pace(Pace())


THREE_FRAMES = 2000  # more bytes than the first three have
CUTS = 250  # of one run


@scenario("N05", sweep=range(0, THREE_FRAMES, CUTS))
async def a_write_cut_after_k_bytes_is_followed_by_nothing(world: SimWorld, first: int) -> None:
    """One client for each k; the first one comes back, and the oracle judges it."""
    await world.start()
    control, victim = await world.client("control"), await world.target("victim")
    for _ in range(CUTS - 1):
        await knock(world, head(), request("subscribe", topics=["all_conversations"]))
    await world.calm()
    own, *lines = world.node.lines
    starts = [len(line.taken) for line in lines]
    assert (own, lines[0]) == (line_of(control), line_of(victim))
    for k, line in enumerate(lines, first):
        line.ceiling = len(line.taken) + k
    start = len(own.taken)
    world.write("s1", 5)
    await world.calm()
    due = bytes(own.taken[start:])
    assert len(due) > first + CUTS
    await world.until(lambda: all(line.reset_by_server for line in lines), STALL + 1)
    for k, (line, start) in enumerate(zip(lines, starts, strict=True), first):
        assert line.taken[start:] == due[:k], f"cut after {k} bytes: {bytes(line.taken[start:][-40:])!r}"


def reset(wanted: int) -> int:
    """The peer is found gone."""
    raise Reset


@scenario("N06", seeds=3)
async def a_reset_while_sending_costs_that_client_only(world: SimWorld) -> None:
    await world.start()
    for n in range(99):
        await world.client(f"other{n}")
    victim = await world.target("victim")
    line = line_of(victim)
    line.faults[line.sends + world.draw.randrange(1, 6)] = reset
    world.write("s1", 10)
    for _ in range(10):
        world.write("s2")
        await world.calm()
    await victim.sessions[0].over.wait()


@scenario("N06")
async def broadcast_names_the_client_that_it_finds_broken(world: SimWorld) -> None:
    await world.start()
    await world.client("other")
    victim = await world.target("victim")
    line_of(victim).faults[line_of(victim).sends + 1] = reset
    (name,) = [m["data"]["client_id"] for m in victim.session.messages if m["type"] == "connection_established"]
    assert list(await world.node.manager.broadcast({"type": "note"}, "all_conversations")) == [name]
    assert list(await world.node.manager.broadcast({"type": "note"}, "all_conversations")) == []


@scenario("N06", level=1)
async def real_resets_while_sending_cost_those_clients_only(world: SocketWorld) -> None:
    await world.start()
    for n in range(20):
        await world.client(f"other{n}")
    victims = [await world.target(f"victim{n}") for n in range(10)]
    for victim in victims:
        world.write("s1", 20, 2000)
        victim.session.wire.reset()
        await world.pause(0.001)
    await world.until(lambda: all(len(victim.sessions) > 1 for victim in victims))
