"""The end of `observatory serve` as a process with clients: what signals do, and how quickly."""

import json
import signal
from pathlib import Path

import pytest
import trio

from tests.original.stage import line
from tests.running import Server, serving
from tests.server.serving import Raw

DRAIN = {"OBSERVATORY_DRAIN_SECONDS": "1.5", "OBSERVATORY_DRAIN_RATE": "1", "OBSERVATORY_SHUTDOWN_SECONDS": "0.5"}


async def client(server: Server) -> Raw:
    """A raw client with a position."""
    port = int(server.url.rpartition(":")[2].partition("/")[0])
    raw = Raw(await trio.open_tcp_stream("127.0.0.1", port))
    await raw.request("/ws?subscribe=all_conversations")
    assert (await raw.response())[0] == 101
    assert (await raw.message())["type"] == "connection_established"
    return raw


def write(root: Path, number: int) -> None:
    """Append a line to a transcript."""
    with (root / "-w" / "s.jsonl").open("ab") as file:
        file.write(line(number) + b"\n")


async def until(raw: Raw, kind: str) -> None:
    while (await raw.message())["type"] != kind:
        pass


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "projects" / "-w").mkdir(parents=True)
    return tmp_path / "projects"


async def test_sigterm_closes_each_client_with_1012_and_resets_who_does_not_answer(root: Path, tmp_path: Path) -> None:
    async with serving(root, tmp_path / "data", environ=DRAIN) as server:
        raws = [await client(server) for _ in range(12)]
        server.send_signal(signal.SIGTERM)
        for raw in raws:
            await until(raw, "server_shutdown")
        assert [await raw.close_frame() for raw in raws] == [(1012, "server is going down")] * 12
        assert await server.ended() == 0
        (end,) = [json.loads(entry) for entry in server.stderr.splitlines() if '"drain.ended"' in entry]
        assert end["reset"] == 12
        assert end["seconds"] >= 2.0  # the window and the grace
        for raw in raws:
            await raw.aclose()


async def test_a_line_written_after_sigterm_reaches_who_is_still_there(root: Path, tmp_path: Path) -> None:
    environ = {**DRAIN, "OBSERVATORY_DRAIN_SECONDS": "600"}
    async with serving(root, tmp_path / "data", environ=environ) as server:
        write(root, 0)
        raws = [await client(server) for _ in range(300)]  # one a second: nearly all are there for a while
        server.send_signal(signal.SIGTERM)
        for raw in raws:
            await until(raw, "server_shutdown")
        write(root, 1)
        served = 0
        for raw in raws:
            opcode = (await raw.frame())[0]
            served += opcode == 1
        assert served > 250
        server.send_signal(signal.SIGINT)
        with trio.fail_after(3):
            assert await server.ended() == 0
        for raw in raws:
            await raw.aclose()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_closes_everybody_with_1001_and_ends_within_a_second(
    root: Path, tmp_path: Path, second: signal.Signals
) -> None:
    environ = {**DRAIN, "OBSERVATORY_DRAIN_SECONDS": "600", "OBSERVATORY_SHUTDOWN_SECONDS": "600"}
    async with serving(root, tmp_path / "data", environ=environ) as server:
        raws = [await client(server) for _ in range(20)]
        server.send_signal(signal.SIGTERM)
        for raw in raws:
            await until(raw, "server_shutdown")
        server.send_signal(second)
        begun = trio.current_time()
        codes = [(await raw.close_frame())[0] for raw in raws]
        assert await server.ended() == 0
        assert trio.current_time() - begun < 2.0  # a second, and what a busy machine adds
        assert codes.count(1001) >= 18  # the slots of one or two may have come before
        assert '"server.hurried"' in server.stderr
        for raw in raws:
            await raw.aclose()


async def test_without_clients_the_end_comes_at_once(root: Path, tmp_path: Path) -> None:
    async with serving(root, tmp_path / "data") as server:
        server.send_signal(signal.SIGTERM)
        with trio.fail_after(3):
            assert await server.ended() == 0
        assert '"drain.started"' not in server.stderr
