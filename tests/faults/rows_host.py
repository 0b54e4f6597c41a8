"""H: what the host gives the process: descriptors, a place for its logs, threads."""

import os
import resource
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import trio

from actors.sender import OutboxLimits
from observatory.core.replies import Timing
from tests.faults.children import limited
from tests.faults.peer import HEAD, Pace, Peer
from tests.faults.rows import scenario
from tests.faults.rows_store_files import slow_commits
from tests.faults.sockets import ProcessWorld, SocketWorld

RESERVE = 256  # descriptors that the server keeps for files
ROOM = 20
SURPLUS = 20
VISITS = 4500  # more lines than the queue of the log holds
AT_ONCE = 100
THREADS = 40  # trio's own limit
QUICK = Timing(ping_interval=0.2)


def descriptors(pid: int) -> int:
    """Open now."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid: int) -> float:
    """Spent so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@scenario("H01", level=2)
async def surplus_clients_are_refused_and_files_are_read_on(world: ProcessWorld) -> None:
    world.server.wrapper = limited(f"-n {RESERVE + ROOM}")
    await world.start()
    await world.client("c")
    here = [await world.target(f"in{n}") for n in range(ROOM - 1)]
    surplus = [Peer(f"out{n}", world.dial, returns=False) for n in range(SURPLUS)]
    for peer in surplus:
        world.nursery.start_soon(peer.run)
    await world.until(lambda: all(peer.sessions and peer.session.over.is_set() for peer in surplus))
    assert [peer.session.refused for peer in surplus] == [503] * SURPLUS
    for n in range(30):
        world.write(f"s{n}")  # files that are opened now
    await world.until(lambda: len(world.published()) >= 60 and len(here[0].session.seqs) >= 60)
    for peer in here:
        peer.leave()
    await world.until(lambda: all(peer.session.over.is_set() for peer in here))
    world.aimed.add("after")  # the server may not have let go of those yet: then it is refused, and comes again
    await world.client("after")


@scenario("H01", level=2)
async def a_process_without_descriptors_waits_and_recovers(world: ProcessWorld) -> None:
    """The reserve is gone, too: `accept` meets EMFILE."""
    await world.start()
    await world.client("c")
    world.write("s1")
    await world.settle()
    pid = world.server.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(pid) + ROOM, hard))
    wires = [await world.dial() for _ in range(ROOM * 2)]
    await world.until(lambda: descriptors(pid) >= resource.prlimit(pid, resource.RLIMIT_NOFILE)[0])
    spent, begun = cpu_seconds(pid), time.perf_counter()
    world.write("s1")  # a file that it cannot open now
    await trio.sleep(1.0)
    share = (cpu_seconds(pid) - spent) / (time.perf_counter() - begun)
    assert share < 0.5, f"it spins: {share:.0%} of a processor"
    assert not world.peers["c"].session.over.is_set()
    for wire in wires:
        wire.close()
    await world.client("after")
    await world.settle()
    assert '"library.logged"' in world.server.stderr
    assert "Traceback" not in world.server.stderr
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))


@scenario("H05", level=2)
async def a_log_that_nobody_reads_holds_up_nothing_and_says_what_it_lost(world: ProcessWorld) -> None:
    pipe = world.directory / "stderr"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        await fill(reader)
        world.server.wrapper = ("sh", "-c", 'pipe=$1; shift; exec "$@" 2>"$pipe"', "sh", str(pipe))
        world.environ = {"OBSERVATORY_HANDSHAKES_PER_S": "100000", "OBSERVATORY_HANDSHAKE_BURST": "100000"}
        await world.start()
        client = await world.client("c")
        world.write("s1", 20)
        await come_and_go(world, VISITS)
        world.write("s1", 20)
        await world.until(lambda: len(client.session.seqs) >= 40)
        await world.settle()
        lines = await drained(reader, world)
        dropped = [line for line in lines if line["event"] == "log.dropped"]
        assert dropped
        assert dropped[0]["count"] > 0
        assert dropped[-1]["total"] == sum(line["count"] for line in dropped)
        await world.settle()
        await world.probe()
        await world.part()
        await world.stop()
    finally:
        os.close(reader)
    world.server.wrapper = ()
    await world.start()  # for the checks at the end


async def come_and_go(world: ProcessWorld, visits: int) -> None:
    """Clients that leave at once; each is a line of the log."""
    for _ in range(visits // AT_ONCE):
        wires = [await world.dial() for _ in range(AT_ONCE)]
        for wire in wires:
            await wire.put(HEAD.format(target="/ws", more="").encode())
        for wire in wires:
            await wire.take(100)
            wire.reset()


async def fill(pipe: int) -> None:
    """Until it takes no byte more."""
    try:
        while True:
            os.write(pipe, b"\n" * 1024)
    except BlockingIOError:
        await trio.lowlevel.checkpoint()


async def drained(pipe: int, world: ProcessWorld) -> list[dict[str, Any]]:
    """What the pipe and the queue behind it hold, up to the line that tells of the loss."""
    data = b""
    deadline = trio.current_time() + 10
    while b'"log.dropped"' not in data or not data.endswith(b"\n"):
        assert trio.current_time() < deadline, data[-1000:]
        try:
            data += os.read(pipe, 1 << 20)
        except BlockingIOError:
            await trio.sleep(0.01)
        world.write("s1")
    return [orjson.loads(line) for line in data.splitlines() if line.startswith(b"{")]


@contextmanager
def hung(world: SocketWorld, call: Callable[[Callable[[], object]], Awaitable[object]], times: int) -> Iterator[None]:
    """So many threads wait for something that does not come while the block runs."""
    release = threading.Event()
    for _ in range(times):
        world.nursery.start_soon(call, release.wait)
    try:
        yield
    finally:
        release.set()


@scenario("H06", level=1)
async def hung_worker_threads_hold_up_neither_commits_nor_pings_nor_snapshots(world: SocketWorld) -> None:
    world.timing, world.outbox, world.receive_buffer = QUICK, OutboxLimits(frames=16), 16 * 1024
    await world.start()
    client = await world.client("c")
    behind = await world.client("behind")
    behind.set_pace(Pace(stopped=True))
    with hung(world, trio.to_thread.run_sync, THREADS), slow_commits(world, 0.03):
        pings = len(client.session.pings)
        for n in range(10):
            world.write(f"s{n}", 200, 1000)
        await world.until(lambda: world.manager.stats()["clients"]["behind"] == 1, 20)
        assert (await client.ask("get_snapshot"))["type"] == "snapshot"
        await world.until(lambda: len(client.session.pings) >= pings + 3, 20)
        behind.set_pace(Pace())
        await world.settle()
        (used,) = [trio.to_thread.current_default_thread_limiter().statistics()]
        assert used.borrowed_tokens == THREADS, "the threads were not hung"


@scenario("H06", level=1)
async def a_hung_read_of_the_log_holds_up_no_live_client_and_no_commit(world: SocketWorld) -> None:
    world.timing = QUICK
    await world.start()
    client, asking = await world.client("c"), await world.client("asking")
    with hung(world, world.monitor.events._in_thread, 1), slow_commits(world, 0.03):
        pings = len(client.session.pings)
        world.nursery.start_soon(asking.ask, "get_snapshot")
        world.write("s1", 20)
        await world.until(lambda: len(client.session.seqs) >= 20, 20)
        await world.until(lambda: len(client.session.pings) >= pings + 3, 20)
        assert not any(message["type"] == "snapshot" for message in asking.session.messages)
    await world.settle()
