"""Everything at once: writers, clients of every kind, faults of every kind, drawn from the seed."""

from collections.abc import Awaitable, Callable
from typing import Any

from actors.sender import OutboxLimits
from tests.faults.line import Reset
from tests.faults.peer import Gone, Peer
from tests.faults.rows import scenario
from tests.faults.rows_subscribe import tree
from tests.faults.simworld import SimWorld, line_of
from tests.faults.world import Pace

FILES = ("s1", "s2", "s3")
TOPICS = ("all_conversations", "project_updates", "file_events", "conversation:s1", "conversation:s2", "system")
STEPS = 60


async def _write(world: SimWorld) -> None:
    for _ in range(world.draw.randrange(1, 12)):
        world.write(world.draw.choice(FILES), world.draw.randrange(1, 6), world.draw.choice((5, 200, 3000)))


async def _publish(world: SimWorld) -> None:
    await world.publish(world.draw.randrange(1, 6), 50, world.draw.choice((None, "all_conversations", "file_events")))


async def _connect(world: SimWorld) -> None:
    if len(world.peers) < 8:
        held = world.draw.sample(TOPICS, world.draw.randrange(1, 4))
        pace = world.draw.choice((Pace(), Pace(), Pace(chunk=700, pause=0.2), Pace(chunk=64, pause=0.05)))
        peer = await world.target(f"c{len(world.peers)}", *held, pace=pace)
        line_of(peer).capacity = world.draw.choice((500, 4000, 256 * 1024))


async def _change(world: SimWorld) -> None:
    peer = _someone(world)
    if peer is None:
        return
    held = world.draw.sample(TOPICS, world.draw.randrange(0, 4))
    kind = world.draw.choice(("subscribe", "unsubscribe", "subscribe"))
    data: dict[str, Any] = {
        "topics": held,
        **({"replace": True} if kind == "subscribe" and world.draw.random() < 0.5 else {}),
    }
    if kind == "subscribe" and world.draw.random() < 0.5:
        data["where"] = world.draw.choice((None, tree(world.draw)))
    try:
        await peer.ask(kind, data)
    except (Gone, OSError):
        return


async def _reset(world: SimWorld) -> None:
    if (peer := _someone(world)) is not None:
        line_of(peer).reset()


async def _break(world: SimWorld) -> None:
    def broken(wanted: int) -> int:
        raise Reset

    if (peer := _someone(world)) is not None:
        line = line_of(peer)
        line.faults[line.sends + world.draw.randrange(1, 4)] = broken


async def _cut(world: SimWorld) -> None:
    if (peer := _someone(world)) is not None:
        line = line_of(peer)
        line.faults[line.sends + 1] = lambda wanted: world.draw.randrange(wanted)


async def _wait(world: SimWorld) -> None:
    await world.pause(world.draw.choice((0.001, 0.004, 0.05, 1.0)))


async def _kill(world: SimWorld) -> None:
    await world.restart()


def _someone(world: SimWorld) -> Peer | None:
    here = [peer for peer in world.peers.values() if peer.confirmed.is_set() and not peer.session.over.is_set()]
    return world.draw.choice(here) if here else None


ACTS: tuple[tuple[int, Callable[[SimWorld], Awaitable[None]]], ...] = (
    (30, _write), (8, _publish), (8, _connect), (10, _change), (4, _reset), (3, _break), (6, _cut), (20, _wait),
    (3, _kill),
)  # fmt: skip


@scenario("D06", "D02", "S06", seeds=10)
async def anything_at_all(world: SimWorld) -> None:
    """Sixty steps of anything that can happen."""
    world.configure(outbox=OutboxLimits(frames=world.draw.choice((2, 4, 64)), bytes=world.draw.choice((2000, 100_000))))
    await world.start()
    weights, acts = zip(*ACTS, strict=True)
    for act in world.draw.choices(acts, weights, k=STEPS):
        await act(world)
        if world.draw.random() < 0.5:
            await world.calm()
