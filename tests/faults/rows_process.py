"""H: the process, and signals to it."""

import signal
import sqlite3
from contextlib import closing

import trio

from tests.faults.children import started
from tests.faults.peer import Peer
from tests.faults.rows import scenario
from tests.faults.sockets import ProcessWorld, SocketWorld
from tests.running import Server

WINDOW = 1.0  # seconds in which clients are sent away in these scenarios
DRAIN = {
    "OBSERVATORY_DRAIN_SECONDS": str(WINDOW), "OBSERVATORY_DRAIN_RATE": "1", "OBSERVATORY_SHUTDOWN_SECONDS": "0.5",
}  # fmt: skip
GRACE = 5.0
HALF = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgr"


def resumed(peer: Peer) -> list[bool]:
    """Of each connection after the first: whether nothing was lost between the two."""
    told = []
    for session in peer.sessions[1:]:
        answers = [message["data"] for message in session.messages if message["type"] == "subscription_confirmed"]
        told += [answer["recovered"] for answer in answers[:1]]
    return told


@scenario("H03", level=2, seeds=2)
async def a_server_killed_at_random_points_delivers_each_event_once(world: ProcessWorld) -> None:
    await world.start()
    for n in range(12):
        await world.client(f"c{n}")
    for _ in range(3):
        for n in range(world.draw.randrange(1, 40)):
            world.write(f"s{n % 3}", world.draw.randrange(1, 5))
        await world.pause(world.draw.random() * 0.05)
        await world.restart()
    await world.settle()
    epochs = {peer.last.epoch for peer in world.peers.values() if peer.last is not None}
    assert len(epochs) == 1, "SIGKILL undoes no commit"
    answers = [answer for peer in world.peers.values() for answer in resumed(peer)]
    assert answers
    assert all(answers)


@scenario("H03", level=2)
async def a_log_that_was_deleted_makes_a_new_epoch(world: ProcessWorld) -> None:
    await world.start()
    peers = [await world.client(f"c{n}") for n in range(5)]
    world.write("s1", 5)
    await world.settle()
    await world.kill()
    world.new_log()
    for file in world.data_dir.iterdir():
        file.unlink()
    world.restarts += 1
    await world.start()
    await world.until(lambda: all(peer.confirmed.is_set() for peer in peers))
    for peer in peers:
        (answer,) = [m["data"] for m in peer.session.messages if m["type"] == "subscription_confirmed"][:1]
        assert (answer["recovered"], answer["reason"]) == (False, "epoch_changed")
        assert any(message["type"] == "snapshot" for message in peer.session.messages)
    world.write("s1", 5)


def commits(server: Server) -> int:
    """The head of its log, as another process sees it."""
    with closing(sqlite3.connect(f"{server.database.as_uri()}?mode=ro", uri=True)) as db:
        (head,) = db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
    return int(head)


@scenario("H02", level=2, sweep=(1, 2, 7))
async def sigterm_between_commits_and_their_delivery_loses_nothing(world: ProcessWorld, nth: int) -> None:
    world.environ = DRAIN
    await world.start()
    peers = [await world.client(f"c{n}") for n in range(20)]
    world.write("s1", 200)
    await world.until(lambda: commits(world.server) >= nth)
    world.server.send_signal(signal.SIGTERM)
    world.write("s1", 200)
    with trio.fail_after(WINDOW + GRACE):
        assert await world.server.ended() == 0
    assert '"drain.ended"' in world.server.stderr
    for peer in peers:
        await peer.sessions[0].over.wait()
    assert {peer.sessions[0].code for peer in peers} == {1012}
    world.restarts += 1
    await world.start()


@scenario("H02", level=2, sweep=(0.0, 0.1, 0.2, 0.3, 0.4, 0.6))
async def sigterm_while_it_starts_ends_it_and_the_next_start_is_well(world: ProcessWorld, seconds: float) -> None:
    """Whatever it was at; so here alone a moment is chosen by the clock."""
    world.write("s1", 2000)
    async with started(world.root, world.data_dir) as process:
        await trio.sleep(seconds)
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(GRACE):
            assert await process.wait() in (0, -signal.SIGTERM)
    world.begin_anew()  # what was there at the first scan is history, and no news
    await world.start()
    await world.client("c")
    world.write("s1", 3)


@scenario("H02", level=2)
async def sigterm_in_a_handshake_does_not_wait_for_it(world: ProcessWorld) -> None:
    world.environ = DRAIN
    await world.start()
    await world.client("c")
    world.write("s1", 3)
    half = [await world.dial() for _ in range(5)]
    for wire in half:
        await wire.put(HALF)
    await world.settle()
    world.server.send_signal(signal.SIGTERM)
    with trio.fail_after(WINDOW + GRACE):
        assert await world.server.ended() == 0
    for wire in half:
        wire.close()
    world.restarts += 1
    await world.start()


@scenario("H02", level=2)
async def a_second_sigterm_closes_all_with_1001_at_once(world: ProcessWorld) -> None:
    world.environ = {**DRAIN, "OBSERVATORY_DRAIN_SECONDS": "600", "OBSERVATORY_SHUTDOWN_SECONDS": "600"}
    await world.start()
    peers = [await world.client(f"c{n}") for n in range(20)]
    world.write("s1", 20)
    world.server.send_signal(signal.SIGTERM)
    await world.until(lambda: all(m[-1]["type"] == "server_shutdown" for m in (p.session.messages for p in peers)))
    world.write("s1", 20)
    world.server.send_signal(signal.SIGTERM)
    begun = trio.current_time()
    assert await world.server.ended() == 0
    assert trio.current_time() - begun < 2.0  # a second, and what a busy machine adds
    for peer in peers:
        await peer.sessions[0].over.wait()
    codes = [peer.sessions[0].code for peer in peers]
    assert codes.count(1001) >= 18, codes  # the slots of one or two may have come before
    world.restarts += 1
    world.environ = DRAIN
    await world.start()


@scenario("R15", level=1)
async def one_byte_a_write_costs_nothing_but_time(world: SocketWorld) -> None:
    await world.start()
    await world.client("c")
    world.write("s1", 3)
    world.drip("s2", 2)
