"""Time on the server's side, to the second: pings, deadlines, unanswered closes. Sockets are real; the clock only moves
when a test says so."""

import select
from pathlib import Path
from typing import Literal

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from observatory.core.closing import CloseCode
from observatory.core.replies import PROTOCOL
from tests.server.serving import Raw, Running, data_of, masked, serving, subscribed

A_BIT = 1 / 1024  # exact in binary, so that sums of times are too


async def greeted(running: Running, legacy: bool = False, target: str = "/ws") -> Raw:
    """A client after its hello; it asks for nothing."""
    raw = await running.upgraded(target, Sec_WebSocket_Protocol=None if legacy else PROTOCOL)
    assert (await raw.message())["type"] == "connection_established"
    return raw


async def passes(clock: MockClock, seconds: float) -> None:
    """Let time pass, from one deadline to the next, with everything that follows from each."""
    until = trio.current_time() + seconds
    await wait_all_tasks_blocked()
    while (now := trio.current_time()) < until:
        clock.jump(min(until - now, max(0.0, trio.lowlevel.current_statistics().seconds_to_next_deadline)))
        await wait_all_tasks_blocked()


async def stalls(clock: MockClock, seconds: float) -> None:
    """Nothing runs for a while; then everything that is overdue does."""
    await wait_all_tasks_blocked()
    clock.jump(seconds)
    await wait_all_tasks_blocked()


def silent(raw: Raw) -> bool:
    """Nothing has come that was not read yet, no end either."""
    return not raw.received and not select.select([raw.stream.socket.fileno()], [], [], 0)[0]


# -- pings (row 22) ----------------------------------------------------------------------------------------------------


async def test_a_client_gets_a_ping_after_25_seconds_and_not_before(tmp_path: Path, mock_clock: MockClock) -> None:
    async with serving(tmp_path) as running:
        raw = await subscribed(running)
        for _ in range(3):
            await passes(mock_clock, 25 - A_BIT)
            assert silent(raw)
            await passes(mock_clock, A_BIT)
            ping = await raw.message()
            assert (ping["type"], data_of(ping)["pos"], data_of(ping)["sent"]) == ("ping", 0, 0)
            await raw.send('{"type":"pong"}')


async def test_a_legacy_client_gets_a_control_ping_then_which_its_library_answers(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with serving(tmp_path) as running:
        raw = await greeted(running, legacy=True)
        for _ in range(5):
            await passes(mock_clock, 25 - A_BIT)
            assert silent(raw)
            await passes(mock_clock, A_BIT)
            assert await raw.frame() == (9, b"")
            await raw.send(b"", 10)
        assert len(running.server.connections) == 1


async def test_a_control_ping_of_a_client_is_answered_in_kind(tmp_path: Path, mock_clock: MockClock) -> None:
    async with serving(tmp_path) as running:
        for legacy in (True, False):
            raw = await greeted(running, legacy)
            await raw.send(b"abc", 9)
            assert await raw.frame() == (10, b"abc")


# -- no sign of life (row 24) ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("legacy", [False, True])
async def test_a_silent_client_is_closed_after_exactly_35_seconds_and_reset_5_later(
    tmp_path: Path, mock_clock: MockClock, legacy: bool
) -> None:
    async with serving(tmp_path) as running:
        raw = await (greeted(running, legacy=True) if legacy else subscribed(running))
        await passes(mock_clock, 25)
        await raw.frame()  # the ping
        await passes(mock_clock, 10 - A_BIT)
        assert silent(raw)
        await passes(mock_clock, A_BIT)
        assert await raw.close_frame() == (4012, "no sign of life")
        await passes(mock_clock, 5 - A_BIT)
        assert silent(raw)
        assert len(running.server.connections) == 1
        await passes(mock_clock, A_BIT)
        await raw.until_reset()
        assert not running.server.connections
        assert running.server.counters.closes == {4012: 1}


@pytest.mark.parametrize("frame", [("{}", 1), (b"", 9), (b"", 10)])
async def test_any_frame_is_a_sign_of_life(
    tmp_path: Path, mock_clock: MockClock, frame: tuple[bytes | str, int]
) -> None:
    async with serving(tmp_path) as running:
        raw = await greeted(running, target="/ws?subscribe=system")
        for _ in range(4):
            await passes(mock_clock, 25)
            await passes(mock_clock, 9)
            await raw.send(*frame)
        await passes(mock_clock, 34)
        assert len(running.server.connections) == 1
        await passes(mock_clock, 1)
        assert (await raw.close_frame())[0] == 4012


@pytest.mark.parametrize("stall", [0.3, 34.0, 40.0, 400.0])
async def test_after_a_stall_of_the_server_a_client_has_the_time_of_a_ping_to_answer(
    tmp_path: Path, mock_clock: MockClock, stall: float
) -> None:
    async with serving(tmp_path) as running:
        raw = await subscribed(running)
        await passes(mock_clock, 30)
        await stalls(mock_clock, stall)
        assert len(running.server.connections) == 1
        await passes(mock_clock, 4)
        await raw.send('{"type":"pong"}')
        await passes(mock_clock, 25)
        assert len(running.server.connections) == 1


async def test_after_a_stall_a_client_that_does_not_answer_is_closed_all_the_same(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with serving(tmp_path) as running:
        raw = await subscribed(running)
        await stalls(mock_clock, 400)
        await passes(mock_clock, 10 - A_BIT)
        assert len(running.server.connections) == 1
        await passes(mock_clock, A_BIT)
        assert (await raw.close_frame())[0] == 4012


# -- no request (row 25) -----------------------------------------------------------------------------------------------


async def test_who_asks_for_nothing_is_closed_after_exactly_15_seconds_unless_legacy(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with serving(tmp_path) as running:
        raw, legacy = await greeted(running), await greeted(running, legacy=True)
        await passes(mock_clock, 15 - A_BIT)
        assert silent(raw)
        await passes(mock_clock, A_BIT)
        assert await raw.close_frame() == (4000, "no request in time")
        assert silent(legacy)
        assert len(running.server.connections) == 2
        await raw.send(b"\x0f\xa0", 8)
        await raw.end()
        await passes(mock_clock, 5)
        assert len(running.server.connections) == 1


async def test_a_head_that_is_not_complete_after_10_seconds_gets_no_answer(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with serving(tmp_path) as running:
        raw = await running.socket()
        for byte in b"GET /ws H":
            await raw.stream.send_all(bytes((byte,)))
            await passes(mock_clock, 1)
        assert silent(raw)
        await passes(mock_clock, 1)
        assert await raw.end() == b""
        assert (running.server._open, running.server.counters.accepted) == (0, 0)


# -- the end (rows 28 to 30) -------------------------------------------------------------------------------------------

Way = Literal["close", "eof", "reset", "flood", "binary", "errors", "silence", "drain"]
WAYS: tuple[Way, ...] = ("close", "eof", "reset", "flood", "binary", "errors", "silence", "drain")


async def leave(running: Running, raw: Raw, way: Way, clock: MockClock) -> None:
    """End a connection, by the peer's will or by its fault."""
    match way:
        case "close":
            await raw.send(b"\x0f\xa0", 8)
        case "eof":
            await raw.stream.send_eof()
        case "reset":
            raw.reset()
        case "flood":
            await raw.stream.send_all(masked('{"type":"ping"}') * 200)
        case "binary":
            await raw.send(b"", 2)
        case "errors":
            for _ in range(10):
                await raw.send("?")
        case "silence":
            await passes(clock, 25)
            await passes(clock, 10)
        case "drain":
            [connection] = running.server.connections
            connection.close_soon(CloseCode.GOING_AWAY, "server is going away")
    await wait_all_tasks_blocked()


CODES = {"close": 4000, "flood": 4013, "binary": 1003, "errors": 4509, "silence": 4012, "drain": 1001}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_every_end_is_counted_once_and_no_server_chooses_1000(
    tmp_path: Path, mock_clock: MockClock, way: Way, legacy: bool
) -> None:
    async with serving(tmp_path) as running:
        raw = await greeted(running, legacy, "/ws?subscribe=system")
        await leave(running, raw, way, mock_clock)
        if way in CODES:
            code, _ = await raw.close_frame()
            assert code == CODES[way]
            if way != "close":
                await raw.send(code.to_bytes(2, "big"), 8)
        for _ in range(3):
            await passes(mock_clock, 5)
        counters = running.server.counters
        assert sum(counters.closes.values()) + counters.resets == counters.accepted == 1
        assert counters.failures == 0
        assert (len(running.server.connections), running.server._open) == (0, 0)
        statistics = running.router.statistics()
        assert (statistics.live, statistics.behind, statistics.idle, statistics.topics_held) == (0, 0, 0, 0)
        assert 1000 not in counters.closes


async def test_1000_is_only_ever_the_echo_of_a_clients_own(tmp_path: Path, mock_clock: MockClock) -> None:
    async with serving(tmp_path) as running:
        for payload in (b"\x03\xe8", b""):
            raw = await greeted(running, legacy=True)
            await raw.send(payload, 8)
            assert (await raw.close_frame())[0] == 1000


async def test_a_client_that_leaves_with_1011_is_no_defect_of_ours(tmp_path: Path) -> None:
    """Any code a client left with was counted as if the server had chosen it: 1011 as a failed handler."""
    async with serving(tmp_path) as running:
        raw = await greeted(running)
        await raw.send((1011).to_bytes(2, "big"), 8)
        assert (await raw.close_frame())[0] == 1011
        await running.until(lambda: not running.server.connections)
        assert (running.server.counters.closes, running.server.counters.failures) == ({1011: 1}, 0)
