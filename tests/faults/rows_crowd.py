"""N: a client that falls silent, and a whole crowd at once."""

import os
import signal
from bisect import bisect_left

import trio

from actors.sender import OutboxLimits
from observatory.core.drain import Pace as DrainPace
from observatory.core.handshake import Policy
from observatory.core.replies import Timing
from tests.faults.frozen import Frozen
from tests.faults.line import Line
from tests.faults.rows import scenario
from tests.faults.rows_clients import STALL, close_to, logged, resumed
from tests.faults.simworld import SimWorld, line_of
from tests.faults.sockets import SocketWorld
from tests.faults.visitor import Visitor, head, knock, request
from tests.faults.world import Pace

QUICK = Timing(ping_interval=1.0, ping_timeout=1.0, close_timeout=0.5)
CROWD = 1000
RETRY_AFTER = range(1, 11)  # seconds


@scenario("N09", level=1, sweep=("a moment", "too long", "too long, with unsent data"))
async def a_frozen_client_process_goes_on_or_comes_back_and_misses_nothing(world: SocketWorld, how_long: str) -> None:
    """The client is a child process that is stopped by SIGSTOP; the server's patience is shortened to seconds."""
    world.timing, world.outbox = QUICK, OutboxLimits(frames=4, stall_seconds=1.0)
    await world.start()
    await world.client("fast")
    frozen = Frozen("frozen", world.dial, url=world.url)
    world.peers["frozen"] = frozen
    world.aimed.add("frozen")
    world.nursery.start_soon(frozen.run)
    await frozen.confirmed.wait()
    os.kill(frozen.pid, signal.SIGSTOP)
    world.write("s1", 5)
    match how_long:
        case "a moment":
            await world.pause(0.4)
        case "too long":
            await world.until(lambda: logged(world, "client.closing", 4012), 10)
        case _:
            while not (await world.status())["clients"]["behind"]:  # what both kernels hold is theirs to say
                world.write("s1", 20, 20_000)
                await world.pause(0.01)
            await world.until(lambda: logged(world, "client.lost", 4009), 10)
    world.write("s1", 5)
    os.kill(frozen.pid, signal.SIGCONT)
    await world.settle()
    if how_long == "a moment":
        assert len(frozen.sessions) == 1
    else:
        assert (len(frozen.sessions), frozen.resumed) == (2, [True])


@scenario("N08", sweep=("idle", "unsent data"))
async def a_half_open_peer_is_found_by_its_silence(world: SimWorld, what: str) -> None:
    await world.start()
    await world.client("other")
    victim = await world.target("victim")
    line = line_of(victim)
    victim.set_pace(Pace(stopped=True))
    began = trio.current_time()
    if what == "idle":
        line.swallows = True
        await world.until(lambda: logged(world, "client.closing", 4012), 41)
        assert abs(trio.current_time() - began - 35) < 0.02
        await world.until(lambda: line.closed, 10)
    else:
        line.ceiling = len(line.taken)
        world.write("s1")
        await world.until(lambda: line.closed, 41)
        assert line.closed_at is not None
        assert close_to(line.closed_at - began, STALL)
        assert logged(world, "client.lost", 4009)
    line.reset()
    victim.set_pace(Pace())


@scenario("N15")
async def a_thousand_clients_drop_and_return_at_once(world: SimWorld) -> None:
    world.look_every = 1000
    world.configure(max_clients=CROWD + 2)  # and the probe
    await world.start()
    await world.client("other")
    crowd = [await world.target(f"c{n}", "conversation:s1") for n in range(CROWD)]
    world.write("s1", 2)
    await world.calm()
    for peer in crowd:
        line_of(peer).reset()
    world.write("s1", 3)
    await world.until(lambda: all(len(peer.sessions) > 1 and peer.confirmed.is_set() for peer in crowd), 60)
    world.write("s1", 2)
    await world.settle()
    assert all(set(resumed(peer)) == {True} for peer in crowd)


@scenario("N15")
async def a_drain_closes_a_thousand_by_plan_and_sends_each_away_for_another_time(world: SimWorld) -> None:
    world.look_every = 1000
    pace = DrainPace()
    world.configure(pace=pace)
    await world.start()
    peers = [await world.target(f"c{n}") for n in range(20)]
    crowd = [await knock(world, head(), request("subscribe", topics=["all_conversations"])) for _ in range(CROWD)]
    await world.calm()
    began, window = trio.current_time(), pace.window(CROWD + len(peers))
    await _drain(world)
    assert window <= trio.current_time() - began <= window + pace.grace
    assert {visitor.code for visitor in crowd} == {1012}
    dues = sorted(visitor.told_at - began for visitor in crowd if visitor.told_at is not None)
    planned = pace.rate / 10 + 2  # in 100 ms; a window may begin and end within the slice of a client
    assert max(bisect_left(dues, due + 0.1) - place for place, due in enumerate(dues)) <= planned
    delays = [m["data"]["reconnect_after_ms"] for visitor in crowd for m in visitor.of("server_shutdown")]
    assert len(delays) == CROWD
    assert len(set(delays)) > CROWD * 0.8
    assert (min(delays) >= 500, max(delays) <= 5000 + window * 1000) == (True, True)
    await world.restart()


async def _drain(world: SimWorld) -> None:
    """To the end; meanwhile events flow, and whoever knocks is told when to come again."""
    ended = trio.Event()

    async def end() -> None:
        await world.node.manager.shut_down()
        ended.set()

    world.nursery.start_soon(end)
    await world.calm()
    refused = [await knock(world, head()) for _ in range(30)]
    while not ended.is_set():
        world.write("s1")
        with trio.move_on_after(0.1):
            await ended.wait()
    await _all_told(world, refused, 503)


async def _all_told(world: SimWorld, refused: list[Visitor], status: int) -> None:
    """They were refused with a time to wait that was drawn for each."""
    await world.until(lambda: all(visitor.status is not None for visitor in refused), 10)
    waits = [int(visitor.headers["retry-after"]) for visitor in refused]
    assert {visitor.status for visitor in refused} == {status}
    assert set(waits) <= set(RETRY_AFTER)
    assert len(set(waits)) > 3, f"all are to wait {set(waits)}"
    for visitor in refused:
        visitor.wire.reset()


@scenario("N15")
async def the_surplus_is_told_503_and_too_many_from_one_address_429_and_when_to_come_again(world: SimWorld) -> None:
    world.configure(max_clients=150, policy=Policy(handshakes_per_s=20.0, handshake_burst=100.0))
    await world.start()
    await world.client("other")
    world.node.new_line = lambda: Line(address=("192.0.2.7", 1))
    strangers = [await knock(world, head(), request("subscribe", topics=["system"])) for _ in range(200)]
    await world.calm()
    world.node.new_line = Line
    await _all_told(world, [visitor for visitor in strangers if visitor.status != 101], 429)
    welcome = [visitor for visitor in strangers if visitor.status == 101]
    assert len(welcome) == 100
    await world.client("spared")  # from another address
    more = [await knock(world, head(), request("subscribe", topics=["system"])) for _ in range(100)]
    await world.calm()
    taken = [visitor for visitor in more if visitor.status == 101]
    assert len(taken) == 150 - len(welcome) - 2
    await _all_told(world, [visitor for visitor in more if visitor.status != 101], 503)
    for visitor in (*welcome, *taken):
        visitor.wire.reset()
