"""D: subscriptions and resume."""

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import attrs
import trio

from actors.sender import OutboxLimits
from observatory.storage.log import Retention
from tests.faults.peer import Pace, Peer
from tests.faults.rows import scenario
from tests.faults.simworld import SimWorld, line_of
from tests.faults.steps import at_steps

TINY = OutboxLimits(frames=4)
AWAY_SECONDS = 2.5  # the log is trimmed once a second, and not at the moment when that is over
LATE_STEPS = 40  # of the steps of a replay, published at: enough to be met everywhere


def told(peer: Peer, session: int = -1) -> list[dict[str, Any]]:
    """The confirmations of one connection."""
    return [one["data"] for one in peer.sessions[session].messages if one["type"] == "subscription_confirmed"]


def recovered(peer: Peer) -> bool:
    """Whether each connection but the first went on where the one before it had ended."""
    return all(told(peer, n)[0]["recovered"] for n in range(1, len(peer.sessions)))


async def back(world: SimWorld, peer: Peer, sessions: int) -> None:
    """Until a client has so many connections, and a confirmation on the last."""
    await world.until(lambda: len(peer.sessions) == sessions and peer.confirmed.is_set())
    await world.calm()


async def away(world: SimWorld, peer: Peer) -> None:
    """A client goes away, until `again`."""
    peer.returns = False
    line_of(peer).reset()
    await peer.session.over.wait()
    await world.calm()


async def again(world: SimWorld, peer: Peer) -> None:
    """It is back."""
    sessions, peer.returns = len(peer.sessions), True
    world.nursery.start_soon(peer.run)
    await world.until(lambda: len(peer.sessions) > sessions and peer.confirmed.is_set())


async def at_every_step(world: SimWorld, act: Callable[[], Awaitable[None]]) -> None:
    """Do it again and again, and write a line at its first, second, third … step, until it takes fewer steps."""
    for number in count(1):
        with at_steps(lambda step, number=number: step == number, lambda: world.write("s1")) as steps:  # type: ignore[misc]
            await act()
            await world.calm()
        if not steps.acted:
            return


@scenario("D01", seeds=2)
async def a_line_at_any_step_of_a_subscription_comes_after_its_confirmation(world: SimWorld) -> None:
    names = count()

    async def subscribe() -> None:
        peer = await world.client(f"c{next(names)}")
        assert told(peer)[0]["pos"] is not None

    await world.start()
    world.write("s1", 3)
    await at_every_step(world, subscribe)


@scenario("D01", "D02", sweep=(0, 1, 40))
async def a_line_at_any_step_of_a_resume_comes_once_and_in_order(world: SimWorld, missed: int) -> None:
    world.configure(outbox=TINY)
    await world.start()
    await world.client("other")
    peer = await world.target("c")
    world.write("s1", 3)

    async def resume() -> None:
        sessions = len(peer.sessions)
        line_of(peer).reset()
        if missed:
            world.write("s1", missed)
        await back(world, peer, sessions + 1)

    await at_every_step(world, resume)
    assert recovered(peer)


@scenario("D02")
async def a_replay_of_ten_thousand_through_four_places_is_one_transition(world: SimWorld) -> None:
    world.configure(outbox=TINY)
    await world.start()
    line_of(await world.client("other")).capacity = 1 << 30
    peer = await world.target("c")
    await away(world, peer)
    world.write("s1", 10_000)
    await world.settle()
    head, every = world.node.log.position.head, world.draw.randrange(7, 20)
    assert head >= 10_000
    with at_steps(lambda step: not step % every and steps.acted < 500, lambda: world.write("s2")) as steps:
        await again(world, peer)
        pages = world.node.manager._server.pages
        await world.until(lambda: pages.totals.caught_up > 0)  # between its pages it rests, and others write
        counters = (await world.status())["counters"]
    assert steps.acted > LATE_STEPS
    assert (counters["behind"], counters["caught_up"]) == (1, 1)
    assert len(peer.session.seqs) > 10_000
    assert recovered(peer)


@scenario("D03")
async def what_was_trimmed_while_a_client_was_away_is_told_and_none_of_it_sent(world: SimWorld) -> None:
    world.configure(retention=Retention(events=50))
    await world.start()
    await world.client("other")
    peer = await world.target("c")
    world.write("s1", 3)
    await world.settle()
    await away(world, peer)
    world.write("s1", 51)
    await world.settle()
    await world.pause(AWAY_SECONDS)
    await again(world, peer)
    refused, resumed = told(peer)
    assert (refused["recovered"], refused["reason"], refused["pos"]) == (False, "too_old", None)
    assert resumed["recovered"]
    world.write("s1", 3)


@scenario("D03")
async def what_is_trimmed_under_a_running_replay_ends_it(world: SimWorld) -> None:
    world.configure(outbox=TINY, retention=Retention(events=50))
    await world.start()
    line_of(await world.client("other")).capacity = 1 << 30
    peer = await world.target("c")
    line_of(peer).capacity = 2000
    peer.set_pace(Pace(stopped=True))
    for _ in range(4):  # between page and page, more than is kept comes in
        world.write("s1", 51)
        await world.calm()
    await world.until(lambda: world.node.router.statistics().behind == 1)
    world.published()
    await world.pause(AWAY_SECONDS)
    world.write("s1", 51)
    await world.calm()
    world.published()  # seen before it is trimmed
    peer.set_pace(Pace())
    await world.until(lambda: len(peer.sessions) == 2 and peer.confirmed.is_set())
    assert peer.sessions[0].code == 4008
    assert told(peer)[0]["reason"] == "too_old"


@scenario("D04", sweep=("epoch_changed", "ahead", "too_old", "too_many"))
async def a_refused_resume_says_why_and_nothing_comes_until_the_next(world: SimWorld, reason: str) -> None:
    world.configure(retention=Retention(events=50) if reason == "too_old" else Retention())
    await world.start()
    await world.client("other")
    peer = await world.target("c")
    world.write("s1", 5)
    await world.settle()
    await away(world, peer)
    world.write("s1", 60)
    await world.settle()
    await world.pause(AWAY_SECONDS)
    assert peer.last is not None
    here = attrs.asdict(peer.last)
    wishes: dict[str, dict[str, Any]] = {
        "epoch_changed": {"epoch": "qqqqqq"},
        "ahead": {"seq": 10**6},
        "too_old": {},
        "too_many": {"max": 10},
    }
    peer.wish = {**here, **wishes[reason]}
    with at_steps(lambda step: not step % 3 and steps.acted < 30, lambda: world.write("s1")) as steps:
        await again(world, peer)
    assert steps.acted > 5
    refused, resumed = told(peer)
    assert (refused["recovered"], refused["reason"], refused["pos"]) == (False, reason, None)
    assert resumed["recovered"]
    assert not peer.session.seqs or min(peer.session.seqs) > resumed["pos"]


@scenario("D05", sweep=(0, 1, 7))
async def reconnecting_again_and_again_loses_and_doubles_nothing(world: SimWorld, between: int) -> None:
    await world.start()
    await world.client("other")
    peer = await world.target("c")  # nothing was ever published: it resumes before any event
    for turn in range(5):
        line_of(peer).reset()
        if between:
            world.write("s1", between)
        await back(world, peer, turn + 2)
    assert recovered(peer)
    assert bool(peer.witness.frames) is bool(between)
    world.write("s1")


@scenario("D09", sweep=(86_400_000, -86_400_000))
async def a_wall_clock_that_jumps_a_day_changes_nothing(world: SimWorld, skew_ms: int) -> None:
    await world.start()
    other = await world.client("other")
    peer = await world.target("c")
    for turn, now in enumerate((0, skew_ms, skew_ms - 3_600_000, 0)):
        world.node.wall_skew_ms = now
        world.write("s1", 5)
        for _ in range(20):
            assert (await other.ask("ping"))["type"] == "pong"
        line_of(peer).reset()
        await back(world, peer, turn + 2)
        await world.pause(40)  # pings and their timeouts, and the log is trimmed
    assert recovered(peer)
    assert len(other.session.pings) >= 4
    assert not any(one["type"] == "error" for one in other.session.messages)


@scenario("D10", sweep=(0.3, 40.0))
async def a_clock_that_leaps_over_a_stalled_loop_costs_no_client(world: SimWorld, stall: float) -> None:
    await world.start()
    await world.client("fast")
    await world.client("slow", pace=Pace(chunk=500, pause=0.1))
    await world.client("silent", "system")
    for _ in range(3):
        world.write("s1", 20)
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        clock.jump(stall)  # all at once, whatever was due meanwhile
        world.write("s1", 20)
        await world.calm()
        await world.pause(20)
    assert not (await world.status())["counters"]["closes"]
