"""The listening side: one client's fate is nobody else's, and nothing of it stays."""

import gc
import os
import socket
from pathlib import Path

import pytest
import trio

from actors.sender import OutboxLimits
from observatory.client.connection import connect
from observatory.core.errors import WorldError
from observatory.core.replies import Timing
from observatory.server.listener import listen
from tests.server.serving import Running, serving


def gauges(running: Running) -> tuple[object, ...]:
    return running.router.statistics(), len(running.server.connections), running.server._open


def open_files() -> int:
    gc.collect()  # what earlier tests left to it
    return len(os.listdir("/proc/self/fd"))


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def leave_politely(running: Running) -> None:
    async with connect(running.url, topics=["project:p1"]):
        pass


async def leave_without_a_word(running: Running) -> None:
    raw = await running.upgraded("/ws?subscribe=system")
    await raw.message()
    await raw.aclose()


async def reset_at_once(running: Running) -> None:
    raw = await running.upgraded("/ws?subscribe=system")
    raw.reset()


async def reset_before_the_answer(running: Running) -> None:
    raw = await running.socket()
    await raw.request()
    raw.reset()


async def leave_during_the_head(running: Running) -> None:
    raw = await running.socket()
    await raw.stream.send_all(b"GET /ws")
    await raw.aclose()


WAYS = [leave_politely, leave_without_a_word, reset_at_once, reset_before_the_answer, leave_during_the_head]


async def test_a_thousand_clients_come_and_go_and_nothing_stays(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        for way in WAYS:
            await way(running)
        await running.until(lambda: running.server._open == 0)
        before, files, living = gauges(running), open_files(), tasks()
        for n in range(1000):
            await WAYS[n % len(WAYS)](running)
            running.raws.clear()
        await running.until(lambda: running.server._open == 0)
        await running.until(lambda: gauges(running) == before and tasks() <= living)
        await running.until(lambda: open_files() <= files)  # fewer: what an earlier test left was closed meanwhile
        assert running.server.counters.failures == 0


async def test_a_reset_while_sending_leaves_the_others_alone(tmp_path: Path) -> None:
    async with serving(tmp_path, outbox=OutboxLimits(8, 64 * 1024), send_buffer=4096) as running:
        async with connect(running.url, topics=["project:p1"]) as other:
            victims = [await running.upgraded("/ws?subscribe=project:p1", receive_bytes=4096) for _ in range(10)]
            for n, victim in enumerate(victims):
                await running.publish(3, size=3000)
                if n % 2:
                    victim.reset()
                else:
                    await victim.aclose()
                await running.publish(3, size=3000)
            assert [(await other.event()).seq for _ in range(60)] == list(range(1, 61))
            await running.until(lambda: len(running.server.connections) == 1)
        assert running.server.counters.failures == 0
        assert running.server.counters.resets == 10


async def test_a_peer_that_never_answers_the_close_is_reset(tmp_path: Path) -> None:
    async with serving(tmp_path, timing=Timing(close_timeout=0.1)) as running:
        raw = await running.upgraded()
        await raw.message()
        await raw.send(b"", 2)
        assert (await raw.close_frame())[0] == 1003
        await raw.until_reset()
        await running.until(lambda: running.server._open == 0)
        assert running.server.counters.closes == {1003: 1}


async def test_a_peer_that_does_not_even_take_the_close_is_reset(tmp_path: Path) -> None:
    async with serving(tmp_path, timing=Timing(close_timeout=0.1), send_buffer=4096) as running:
        raw = await running.upgraded("/ws?subscribe=project:p1", receive_bytes=4096)
        await running.publish(200, size=5000)
        await raw.send(b"", 2)
        await running.until(lambda: running.server._open == 0)
        await raw.until_reset()


async def test_a_defect_before_the_upgrade_costs_one_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("a defect")

    async with serving(tmp_path) as running:
        with monkeypatch.context() as patched:
            patched.setattr("observatory.server.gate.check", broken)
            raw = await running.socket()
            await raw.request()
            assert await raw.end() == b""
        assert running.server.counters.failures == 1
        await running.upgraded()


async def test_a_port_in_use_is_one_line_with_its_cure() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(WorldError) as caught:
            await listen("127.0.0.1", port)
    assert str(caught.value) == f"port {port} on 127.0.0.1 is in use: choose another with --port, or --port 0"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(13, "Permission denied"), "port 80 may not be opened by this user: choose one above 1023"),
        (OSError(99, "no such address"), "cannot listen on h:80 ([Errno 99] no such address): use --host 127.0.0.1"),
    ],
)
async def test_other_obstacles_are_one_line_too(monkeypatch: pytest.MonkeyPatch, error: OSError, line: str) -> None:
    async def refused(*_: object, **__: object) -> list[trio.SocketListener]:
        raise error

    monkeypatch.setattr(trio, "open_tcp_listeners", refused)
    with pytest.raises(WorldError) as caught:
        await listen("h", 80)
    assert str(caught.value) == line


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux only")
async def test_the_kernel_gives_up_a_peer_that_acknowledges_nothing() -> None:
    [listener] = await listen("127.0.0.1", 0)
    peer = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
    async with listener, peer, await listener.accept() as accepted:
        assert accepted.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
