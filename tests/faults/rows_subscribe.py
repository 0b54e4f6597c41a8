"""D: filters and requests, and what goes wrong in the handling of one client's."""

import random
import time
from contextlib import suppress
from typing import Any

import trio

from actors.sender import OutboxLimits
from observatory.core.replies import Timing
from tests.faults.peer import Gone, Pace, Peer
from tests.faults.rows import scenario
from tests.faults.simworld import SimWorld, line_of
from tests.faults.sockets import SocketWorld
from tests.faults.steps import at_steps

Tree = dict[str, Any]
TINY = OutboxLimits(frames=4)
TURNS = 12  # changes of filter by each client
WORDS: dict[str, tuple[str, ...]] = {
    "type": ("message_added", "conversation_update", "conversation_started", "project_update", "file_modified"),
    "conversation_id": ("s1", "s2", "s3", "s"),
    "record_type": ("user", "assistant", ""),
    "kind": ("prompt", "error", "p"),
    "role": ("user", "assistant"),
    "path": ("/", "s1.jsonl"),
    "status": ("active", "idle"),
}
GLOBS = ("*", "s?", "s[12]", "**/s1.jsonl", "conversation_*", "*e*", "user")


def tree(draw: random.Random, depth: int = 1) -> Tree:
    """A filter that lets through some of what is published here."""
    match draw.choice(("leaf", "leaf", "and", "or", "not") if depth < 5 else ("leaf",)):
        case "not":
            return {"op": "not", "node": tree(draw, depth + 1)}
        case ("and" | "or") as op:
            return {"op": op, "nodes": [tree(draw, depth + 1) for _ in range(draw.randrange(1, 4))]}
    if draw.random() < 0.15:
        key = draw.choice(("is_sidechain", "is_meta", "is_error"))
        return {"key": key, "cmp": draw.choice(("eq", "neq")), "val": draw.random() < 0.5}
    key, cmp = draw.choice(tuple(WORDS)), draw.choice(("eq", "neq", "in", "nin", "prefix", "glob", "exists"))
    match cmp:
        case "exists":
            return {"key": key, "cmp": cmp}
        case "in" | "nin":
            return {"key": key, "cmp": cmp, "vals": draw.sample(WORDS[key], draw.randrange(1, len(WORDS[key]) + 1))}
    return {"key": key, "cmp": cmp, "val": draw.choice(GLOBS if cmp == "glob" else WORDS[key])}


# -- D07 ---------------------------------------------------------------------------------------------------------------


@scenario("D07", seeds=4)
async def a_filter_replaced_under_load_cuts_exactly_at_its_position(world: SimWorld) -> None:
    world.configure(outbox=TINY)
    await world.start()
    await world.client("all")
    topics = ("all_conversations", "project_updates", "file_events")
    quick = await world.target("quick", *topics, where=tree(world.draw))
    slow = await world.target("slow", *topics, where=tree(world.draw), pace=Pace(chunk=900, pause=0.01))
    gone = await world.target("gone", *topics, where=tree(world.draw))
    line_of(slow).capacity = 2000

    def write() -> None:
        world.write(world.draw.choice(("s1", "s2", "s3")), world.draw.randrange(1, 4), world.draw.choice((5, 400)))

    every = world.draw.randrange(11, 31)
    with at_steps(lambda step: not step % every and steps.acted < 400, write) as steps:
        async with trio.open_nursery() as nursery:
            for peer in (quick, slow, gone):
                nursery.start_soon(_change_filters, world, peer)
    assert steps.acted > 50
    assert len({str(change.where) for change in quick.witness.changes}) > TURNS // 2
    assert quick.witness.frames


async def _change_filters(world: SimWorld, peer: Peer) -> None:
    for _ in range(TURNS):
        await world.pause(world.draw.choice((0.0, 0.001, 0.02, 0.2)))
        if peer.name == "gone" and world.draw.random() < 0.3 and peer.confirmed.is_set():
            line_of(peer).reset()
        await peer.confirmed.wait()
        where = tree(world.draw) if world.draw.random() < 0.9 else None
        with suppress(Gone, OSError):
            reply = await peer.ask("subscribe", {"topics": list(peer.topics), "replace": True, "where": where})
            assert reply["type"] == "subscription_confirmed", reply
            assert reply["data"]["where"] == where


# -- D08 ---------------------------------------------------------------------------------------------------------------


def _fail() -> None:
    raise RuntimeError("a defect")


@scenario("D08", sweep=("stats", "odd stats", "snapshot", "turn"), may_log=("client.failed",))
async def a_handler_that_raises_costs_its_client_the_connection(world: SimWorld, where: str) -> None:
    await world.start()
    for n in range(3):
        await world.client(f"other{n}")
    victim = await world.target("victim")
    world.write("s1", 3)
    await world.settle()
    points = {"stats": "stats", "snapshot": "read", "turn": "position"}
    if where == "odd stats":
        world.node.odd_stats = {"roots": [object()]}
    else:
        world.node.points.at(points[where], 1, _fail)
    kinds = {"snapshot": "get_snapshot", "turn": "subscribe"}
    with suppress(Gone):
        await victim.ask(kinds.get(where, "get_status"), {"topics": ["system"]} if where == "turn" else None)
    await victim.sessions[0].over.wait()
    assert victim.sessions[0].code == 1011
    world.node.odd_stats.clear()
    assert [one["event"] for one in world.logged if one["log_level"] == "error"] == ["client.failed"]
    world.write("s1", 3)


@scenario("D08", may_log=("client.failed",))
async def a_page_that_cannot_be_made_costs_its_reader_the_connection(world: SimWorld) -> None:
    world.configure(outbox=TINY)
    await world.start()
    line_of(await world.client("other")).capacity = 1 << 30
    victim = await world.target("victim")
    line_of(victim).capacity = 1000
    victim.set_pace(Pace(stopped=True))
    world.write("s1", 20)
    await world.calm()
    world.write("s1", 20)
    await world.until(lambda: world.node.router.statistics().behind == 1)
    world.node.points.at("read", 1, _fail)
    victim.set_pace(Pace())
    await victim.sessions[0].over.wait()
    assert victim.sessions[0].code == 1011


@scenario("D08", may_log=("client.failed",))
async def a_greeting_that_fails_turns_one_client_away(world: SimWorld) -> None:
    await world.start()
    await world.client("other")
    world.node.points.at("owner", 1, _fail)
    await world.target("victim")
    assert len(world.peers["victim"].sessions) == 2
    assert (await world.status())["counters"]["failures"] == 1
    world.write("s1", 3)


@scenario("D08")
async def a_filter_that_raises_costs_nobody_an_event(world: SimWorld) -> None:
    """Its holders go on in the backlog, and come back."""
    await world.start()
    where = {"key": "kind", "cmp": "eq", "val": "prompt"}
    await world.client("other")
    other = await world.client("other filter", where={"op": "not", "node": {"key": "type", "cmp": "eq", "val": "x"}})
    victim = await world.client("victim", where=where)
    world.write("s1", 3)
    await world.settle()
    world.node.spoiled = True
    world.write("s1", 2)
    await world.settle()
    world.node.spoiled = False
    counters = (await world.status())["counters"]
    assert counters["behind"] == counters["caught_up"] >= 2  # both filters were asked
    world.write("s1", 3)
    await world.settle()
    assert other.witness.frames
    assert victim.witness.frames


# -- D10, D11 ----------------------------------------------------------------------------------------------------------


@scenario("D10", level=1)
async def a_loop_stalled_for_300_ms_costs_no_client(world: SocketWorld) -> None:
    world.timing = Timing(ping_interval=0.15, ping_timeout=0.1)
    await world.start()
    peers = [await world.client(f"c{n}") for n in range(3)]
    for _ in range(4):
        world.write("s1", 5)
        await world.pause(0.1)
        end = time.perf_counter() + 0.3  # longer than a ping and its timeout
        while time.perf_counter() < end:
            pass
        world.write("s1", 5)
        await world.pause(0.2)
    await world.until(lambda: all(len(peer.session.pings) > 2 for peer in peers))
    assert not (await world.status())["counters"]["closes"]


@scenario("D11")
async def an_event_that_meets_128_topics_of_a_client_comes_once(world: SimWorld) -> None:
    await world.start()
    conversations = [f"conversation:c{n}" for n in range(126)]
    peer = await world.client("many", "all_conversations", "project:p", *conversations)
    assert len(peer.topics) == 128
    for n in range(5):
        await world.publish()  # it stands for every conversation and every project
        await world.publish(where=f"conversation:c{n}")
    world.write("s1", 5)
    await world.settle()
    assert len(peer.session.seqs) == len({frame.seq for frame in peer.witness.frames}) >= 15


@scenario("D11")
async def ten_thousand_equal_subscriptions_ask_one_filter(world: SimWorld) -> None:
    await world.start()
    one = {"key": "kind", "cmp": "eq", "val": "prompt"}
    ways: tuple[Tree, ...] = (  # to say the same
        one,
        {"key": "kind", "cmp": "in", "vals": ["prompt"]},
        {"op": "not", "node": {"key": "kind", "cmp": "neq", "val": "prompt"}},
        {"op": "and", "nodes": [one, one]},
    )
    peers = [await world.client(f"c{n}", where=ways[n % 4]) for n in range(250)]
    for turn in range(39):
        for n, peer in enumerate(peers):
            await peer.say({"type": "subscribe", "data": {"topics": [], "where": ways[(n + turn) % 4]}})
        await world.pause(0.05)
    await world.calm()
    held = [connection.session.where for connection in world.node.connections()]
    assert len(held) == len(peers)
    assert len({id(where.accepts) for where in held}) == 1
    assert sum(len(peer.witness.changes) for peer in peers) == 10_000
    read = world.node.facts_read
    await world.publish()
    world.write("s1", 1)
    await world.calm()
    assert world.node.facts_read - read <= 2 + 5  # once an event, whoever asks
