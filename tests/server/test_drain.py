"""The end of a server with clients: at its own pace in virtual time, then with real sockets, events and signals."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import attrs
import orjson
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from observatory.core.closing import CloseCode
from observatory.core.drain import Pace, plan
from observatory.server import drain
from tests.server.serving import Raw, Running, data_of, serving, subscribed

QUICK_PACE = Pace(longest=0.3, rate=1, grace=0.3)

# -- in virtual time ---------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Crowd:
    """Clients that leave `takes` seconds after their close, or never; and when what happened to each."""

    nursery: trio.Nursery
    present: "dict[Leaving, None]" = attrs.field(factory=dict)
    changed: trio.Event = attrs.field(factory=trio.Event)

    def enter(self, count: int, takes: float = 0.0) -> "list[Leaving]":
        clients = [Leaving(self, takes) for _ in range(count)]
        self.present.update(dict.fromkeys(clients))
        return clients

    async def wait_until_empty(self) -> None:
        while self.present:
            await self.changed.wait()

    def leave(self, client: "Leaving") -> None:
        self.present.pop(client, None)
        self.changed.set()
        self.changed = trio.Event()


@attrs.define(eq=False)
class Leaving:
    """One client."""

    crowd: Crowd
    takes: float
    told: tuple[float, int] | None = None
    closed: tuple[float, CloseCode] | None = None
    reset: float | None = None

    def announce_shutdown(self, reconnect_after_ms: int) -> None:
        assert self.told is None
        assert self.closed is None
        self.told = (trio.current_time(), reconnect_after_ms)

    def close_soon(self, code: CloseCode, reason: str) -> None:
        if self.closed is None:
            self.closed = (trio.current_time(), code)
            self.crowd.nursery.start_soon(self._leave)

    async def _leave(self) -> None:
        await trio.sleep(self.takes)
        self.crowd.leave(self)

    def abort(self) -> None:
        self.reset = trio.current_time()
        self.crowd.leave(self)


async def drained(crowd: Crowd, pace: Pace, seed: int = 7) -> float:
    """Drain the crowd; returns how long it took."""
    start = trio.current_time()
    drawn = plan(len(crowd.present), pace, random.Random(seed).randint)
    await drain.drain(crowd.present, drawn, pace.grace, crowd.wait_until_empty)
    return trio.current_time() - start


async def test_ten_thousand_are_told_at_once_and_closed_at_the_planned_rate(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    crowd = Crowd(nursery)
    clients, start = crowd.enter(10_000), trio.current_time()
    with capture_logs() as logs:
        assert 19.9 < await drained(crowd, Pace()) <= 20.1
    assert {client.told[0] - start for client in clients if client.told} == {0}
    closes = Counter(int((client.closed[0] - start) * 10) for client in clients if client.closed)
    assert sum(closes.values()) == 10_000
    assert max(closes.values()) <= 51  # 500 a second
    delays = [client.told[1] for client in clients if client.told]
    assert len(set(delays)) > 6000
    assert 500 <= min(delays) < max(delays) <= 25_000
    assert {client.closed[1] for client in clients if client.closed} == {CloseCode.RESTART}
    assert [line["event"] for line in logs] == ["drain.started", "drain.ended"]
    assert (logs[0]["clients"], logs[0]["seconds"], logs[1]["reset"]) == (10_000, 20.0, 0)


async def test_who_left_before_needs_no_waiting_for(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    crowd = Crowd(nursery)
    clients = crowd.enter(2000)

    async def leave_all() -> None:
        await trio.sleep(1)
        for client in clients:
            crowd.leave(client)

    nursery.start_soon(leave_all)
    assert await drained(crowd, Pace()) == pytest.approx(1)


async def test_who_does_not_go_is_reset_the_grace_after_the_window(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    crowd = Crowd(nursery)
    crowd.enter(10)
    stubborn, start = crowd.enter(3, takes=100), trio.current_time()
    with capture_logs() as logs:
        assert await drained(crowd, Pace()) == pytest.approx(6)  # W = 1 s, and 5
    assert [client.reset for client in stubborn] == [start + 6] * 3
    assert logs[-1]["reset"] == 3


async def test_in_a_hurry_everybody_is_closed_with_1001_and_after_a_moment_reset(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    crowd = Crowd(nursery)
    polite, stubborn, start = crowd.enter(1000), crowd.enter(2, takes=100), trio.current_time()
    await drain.close_now(crowd.present, crowd.wait_until_empty)
    assert trio.current_time() - start == drain.HURRY_SECONDS
    assert {client.closed for client in polite + stubborn} == {(start, CloseCode.GOING_AWAY)}
    assert [client.reset is None for client in polite + stubborn] == [True] * 1000 + [False] * 2


async def test_who_has_been_closed_by_the_plan_keeps_that_code_in_a_hurry(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    crowd = Crowd(nursery)
    clients = crowd.enter(1000, takes=0.1)
    with trio.move_on_after(1):
        await drained(crowd, Pace())
    await drain.close_now(crowd.present, crowd.wait_until_empty)
    codes = Counter(client.closed[1] for client in clients if client.closed)
    assert codes == {CloseCode.RESTART: pytest.approx(500, abs=2), CloseCode.GOING_AWAY: pytest.approx(500, abs=2)}
    assert not any(client.reset for client in clients)


# -- on sockets --------------------------------------------------------------------------------------------------------


@attrs.define
class Witness:
    """What one client got until its close."""

    kinds: list[str] = attrs.field(factory=list)
    seqs: list[int] = attrs.field(factory=list)
    reconnect_after_ms: int = 0
    code: int = 0

    async def watch(self, raw: Raw) -> None:
        while (frame := await raw.frame())[0] == 1:
            message = orjson.loads(frame[1])
            self.kinds.append(message["type"])
            if "seq" in message:
                self.seqs.append(message["seq"])
            if message["type"] == "server_shutdown":
                self.reconnect_after_ms = data_of(message)["reconnect_after_ms"]
        assert frame[0] == 8
        self.code = int.from_bytes(frame[1][:2], "big")
        await raw.send(frame[1], 8)
        assert await raw.end() == b""


async def publish_until(running: Running, over: trio.Event) -> None:
    while not over.is_set():
        await running.publish()
        await trio.sleep(0.002)


async def test_events_keep_flowing_to_each_client_until_its_own_close(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        running.server.jitter = random.Random(7).randint
        raws = [await subscribed(running) for _ in range(20)]
        witnesses, over = [Witness() for _ in raws], trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish_until, running, over)
            for witness, raw in zip(witnesses, raws, strict=True):
                nursery.start_soon(witness.watch, raw)
            await running.server.shut_down(QUICK_PACE)
            over.set()
        for witness in witnesses:
            assert witness.code == 1012
            assert witness.kinds.count("server_shutdown") == 1
            assert witness.seqs == list(range(1, len(witness.seqs) + 1))
            assert 500 <= witness.reconnect_after_ms <= 5300
        assert len({len(witness.seqs) for witness in witnesses}) > 5  # closed at different moments
        told_at = [witness.kinds.index("server_shutdown") for witness in witnesses]
        assert sum(at < len(witness.kinds) - 1 for at, witness in zip(told_at, witnesses, strict=True)) > 10
        assert len({witness.reconnect_after_ms for witness in witnesses}) > 15
        assert running.server.counters.closes == {1012: 20}


async def test_without_clients_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        with trio.fail_after(0.5), capture_logs() as logs:
            await running.server.shut_down(Pace())
            await running.server.close_now()
        assert logs == []


async def test_what_remains_after_the_grace_is_reset(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        raw = await subscribed(running)  # it never answers the close
        with trio.fail_after(5), capture_logs() as logs:
            await running.server.shut_down(QUICK_PACE)
        assert not running.server.connections
        assert (await raw.message())["type"] == "server_shutdown"
        assert (await raw.close_frame())[0] == 1012
        await raw.until_reset()
        assert [line["reset"] for line in logs if line["event"] == "drain.ended"] == [1]


async def test_a_second_signal_closes_with_1001_who_waits_for_its_moment(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        running.server.jitter = lambda low, high: high  # the moment is at the end of the window
        raw, silent = await subscribed(running), await subscribed(running)
        witness = Witness()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(witness.watch, raw)
            with trio.move_on_after(0.1):
                await running.server.shut_down(Pace(longest=600, rate=1))
            assert len(running.server.connections) == 2
            with trio.fail_after(2):
                await running.server.close_now()
        assert (witness.code, witness.kinds) == (1001, ["server_shutdown"])
        assert (await silent.close_frame())[0] == 1001
        await silent.until_reset()
        assert not running.server.connections


async def test_a_client_in_the_middle_of_its_upgrade_hears_of_the_end_too(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        raw = await running.socket()
        await raw.request()
        await running.until(lambda: bool(running.server.connections))
        witness = Witness()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.server.shut_down, QUICK_PACE)
            assert (await raw.response())[0] == 101
            nursery.start_soon(witness.watch, raw)
        assert witness.kinds[-1:] == ["server_shutdown"]
        assert witness.code == 1012


@pytest.mark.parametrize("ending", ["shut_down", "close_now"])
async def test_new_clients_are_refused_while_others_are_still_there(tmp_path: Path, ending: str) -> None:
    async with serving(tmp_path) as running:
        await subscribed(running)
        ends: dict[str, Callable[[], Awaitable[None]]] = {
            "shut_down": partial(running.server.shut_down, QUICK_PACE),
            "close_now": running.server.close_now,
        }
        late = await running.socket()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ends[ending])
            await running.until(lambda: running.server.draining)
            await late.request()
            status, headers, body = await late.response()
            assert (status, orjson.loads(body)["error"]["code"]) == (503, "DRAINING")
            assert 1 <= int(headers["retry-after"]) <= 10


async def test_a_client_that_is_greeted_after_the_announcement_hears_of_the_end_after_its_hello(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        running.server.jitter = lambda low, high: high  # its moment is at the end of the window
        raw = await running.socket()
        await raw.request()
        await running.until(lambda: bool(running.server.connections))
        witness = Witness()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.server.shut_down, QUICK_PACE)
            assert (await raw.response())[0] == 101
            nursery.start_soon(witness.watch, raw)
        assert witness.kinds == ["connection_established", "server_shutdown"]
        assert witness.code == 1012
