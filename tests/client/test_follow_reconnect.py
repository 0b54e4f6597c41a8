"""Following through ends of all kinds: shutdowns, codes, refusals, silence, cancellation."""

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock
from trio_websocket import ConnectionClosed

from observatory.client.follow import QUEUED_ITEMS, Items, follow
from observatory.core.client_items import (
    Closed,
    Connected,
    Disconnected,
    Event,
    Incomplete,
    Refused,
)
from observatory.core.errors import Unreachable
from observatory.core.events import Position
from tests.client.following import TOPICS, following, seqs, take
from tests.playing import URL, Peer, Refusal, playing, stay


async def test_after_a_shutdown_it_comes_back_when_told_to(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.send("server_shutdown", {"reason": "restart", "reconnect_after_ms": 2713})
        await peer.events(101)
        await peer.close(1012)

    async with following(script, stay) as items:
        begun = trio.current_time()
        _, event, disconnected, _ = await take(items, 4)
        assert trio.current_time() - begun == pytest.approx(2.713)
    assert seqs([event]) == [101]
    assert disconnected == Disconnected("The connection was closed (1012)", 2.713)


@pytest.mark.parametrize(
    ("code", "delay"), [(1001, 1.0), (1011, 1.0), (1013, 5.0), (4008, 1.0), (4012, 1.0), (4013, 10.0)]
)
async def test_close_codes_that_pass_are_waited_out(autojump_clock: MockClock, code: int, delay: float) -> None:
    async def script(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.close(code)

    async with following(script, stay) as items:
        _, disconnected, connected = await take(items, 3)
    assert disconnected == Disconnected(f"The connection was closed ({code})", delay)
    assert isinstance(connected, Connected)


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1009, 4500, 4503, 4509, 4777])
async def test_final_close_codes_end_it_with_the_reason(autojump_clock: MockClock, code: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.close(code, "because \x1b[2J")

    async with following(script) as items:
        await items.receive()
        with pytest.raises(Closed, match=rf"closed \({code}\): because ␛\[2J"):
            await items.receive()


async def test_refusals_that_pass_are_waited_out_at_least_as_long_as_told(autojump_clock: MockClock) -> None:
    body = b'{"error":{"code":"draining","message":"The server is restarting"}}'
    async with following(Refusal(503, body, ((b"Retry-After", b"7"),)), Refusal(429), stay) as items:
        assert await take(items, 3) == [
            Disconnected("The server refused: The server is restarting", 7.25),
            Disconnected("The server refused: HTTP 429", 0.5),
            Connected("c7", Position("e1", 100), None),
        ]


async def test_a_refusal_for_good_ends_it_with_the_servers_message(autojump_clock: MockClock) -> None:
    body = b'{"error":{"code":"host_not_allowed","message":"Add the name to allowed_hosts"}}'
    with pytest.raises(Refused, match="Add the name") as caught:
        async with following(Refusal(421, body)) as items:
            await items.receive()
    assert (caught.value.status, caught.value.code) == (421, "host_not_allowed")


async def test_a_refused_subscription_ends_it_with_the_servers_message(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        request = await peer.expect("subscribe")
        await peer.send("error", {"code": "INVALID_TOPIC", "message": "no such topic: x"}, re=request["id"])
        await peer.closed_by_client()

    with pytest.raises(Refused, match="no such topic: x"):
        async with following(script) as items:
            await items.receive()


async def test_a_passing_error_is_waited_out(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        request = await peer.expect("subscribe")
        error = {"code": "NOT_AVAILABLE", "message": "disk full", "retryable": True, "retry_after_ms": 9000}
        await peer.send("error", error, re=request["id"])
        await peer.closed_by_client()

    async with following(script, stay) as items:
        disconnected, _ = await take(items, 2)
    assert disconnected == Disconnected("The connection was closed (1000): The server refused: disk full", 9.0)


async def test_a_server_that_was_never_there_is_an_error(autojump_clock: MockClock) -> None:
    with pytest.raises(Unreachable, match=r"No server answers at observatory\.test:8000"):
        async with following() as items:
            await items.receive()


async def test_a_patient_follower_waits_for_its_server_with_growing_delays(autojump_clock: MockClock) -> None:
    async with following(*[None] * 8, stay, patient=True) as items:
        *waits, connected = await take(items, 9)
    delays = [item.delay for item in waits if isinstance(item, Disconnected)]
    assert delays == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert isinstance(connected, Connected)


async def test_a_server_that_goes_away_is_waited_for(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.subscribed(100)

    async with following(script, None, None, stay) as items:
        found = await take(items, 5)
    assert [item.delay for item in found if isinstance(item, Disconnected)] == [1.0, 2.0, 4.0]


async def test_a_connection_that_lasted_resets_the_delays(autojump_clock: MockClock) -> None:
    async def short(peer: Peer) -> None:
        await peer.subscribed(100)

    async def long(peer: Peer) -> None:
        await peer.subscribed(100)
        await trio.sleep(10)

    async with following(short, short, long, stay) as items:
        found = await take(items, 7)
    assert [item.delay for item in found if isinstance(item, Disconnected)] == [1.0, 2.0, 1.0]


async def test_a_silent_server_is_left_after_one_and_a_half_ping_intervals(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.subscribed(100)
        await trio.sleep_forever()

    async with following(script, stay) as items:
        begun = trio.current_time()
        await items.receive()
        disconnected = await items.receive()
        assert trio.current_time() - begun == pytest.approx(30.0)
    assert disconnected == Disconnected("The connection was closed (1006): no frame for 30 s", 1.0)


async def test_pings_are_signs_of_life(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.subscribed(100)
        for _ in range(5):
            await trio.sleep(20)
            await peer.ping(sent=0, pos=100)
        await peer.events(101)
        await peer.closed_by_client()

    async with following(script) as items:
        assert seqs(await take(items, 2)) == [101]


async def test_without_reconnecting_it_ends_with_the_first_connection(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.close(1012)

    with pytest.raises(Closed, match="1012"):
        async with following(script, reconnect=False) as items:
            await take(items, 2)


async def test_a_server_that_hangs_up_during_the_handshake_is_unreachable_at_once(autojump_clock: MockClock) -> None:
    async def closed_before_the_request() -> trio.abc.Stream:
        client, server = trio.testing.memory_stream_pair()
        await server.aclose()
        return client

    async def closed_after_the_request() -> trio.abc.Stream:
        client, server = trio.testing.memory_stream_pair()
        server.send_stream.close()
        return client

    begun = trio.current_time()
    for open_stream in (closed_before_the_request, closed_after_the_request):
        async with follow(URL, TOPICS, open_stream=open_stream) as items:
            with pytest.raises(Unreachable, match="hung up during the handshake"):
                await items.receive()
    assert trio.current_time() == begun


async def test_a_server_that_never_answers_is_unreachable(autojump_clock: MockClock) -> None:
    peers = []

    async def open_stream() -> trio.abc.Stream:
        client, server = trio.testing.memory_stream_pair()
        peers.append(server)
        return client

    with pytest.raises(Unreachable, match="did not complete"):
        async with follow(URL, TOPICS, open_stream=open_stream) as items:
            await items.receive()


async def test_a_busy_user_loses_nothing_and_does_not_look_dead(autojump_clock: MockClock) -> None:
    count = QUEUED_ITEMS * 3

    async def script(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.events(*range(101, 101 + count))
        while (await peer.expect("pong"))["data"] != {"timestamp": 5, "received": count}:
            await peer.ping(sent=count, pos=100 + count)
        await peer.closed_by_client()

    async with following(script) as items:
        await trio.sleep(300)
        assert seqs(await take(items, count + 1)) == list(range(101, 101 + count))
        await trio.testing.wait_all_tasks_blocked()


async def test_other_frames_are_ignored_and_an_emergency_status_is_not(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.send("invented_later", {"x": 1})
        await peer.send("pong", {})
        await peer.send("error", {"code": "RATE_LIMIT_EXCEEDED", "message": "slow down"})
        await peer.ws.send_message("no JSON")
        await peer.ws.send_message(b"binary")
        await peer.send("system_status", {"service_status": "degraded"})
        await peer.ping(sent=0, pos=100)
        await peer.expect("pong")
        await peer.events(101)
        await peer.closed_by_client()

    async with following(script) as items:
        _, status, event = await take(items, 3)
    assert seqs([event]) == [101]
    assert isinstance(status, Event)
    assert (status.type, status.seq, status.position) == ("system_status", None, None)


async def test_leaving_the_block_ends_everything_even_with_a_full_queue(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.events(*range(101, 101 + QUEUED_ITEMS * 2))
        await peer.closed_by_client()

    async with following(script) as items:
        await items.receive()
        await trio.testing.wait_all_tasks_blocked()


async def test_an_error_of_the_user_leaves_the_block_as_it_is(autojump_clock: MockClock) -> None:
    async def use(items: Items) -> None:
        await items.receive()
        raise KeyError("mine")

    async with playing(stay) as open_stream:
        with pytest.raises(KeyError, match="mine"):
            async with follow(URL, TOPICS, open_stream=open_stream) as items:
                await use(items)


async def test_cancellation_passes_through(autojump_clock: MockClock) -> None:
    with trio.move_on_after(3) as scope:
        async with following(stay) as items:
            async for _ in items:
                pass
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(3)


async def test_a_server_that_keeps_pinging_into_our_close_is_left_and_found_again(autojump_clock: MockClock) -> None:
    # trio-websocket's reader crashes then (LocalProtocolError), which once ended the following without an error.
    async def script(peer: Peer) -> None:
        await peer.subscribed(100)
        await peer.ping(sent=9, pos=109)
        with trio.move_on_after(0.1), suppress(ConnectionClosed):
            await peer.ws.ping()
        await peer.closed_by_client()

    async with following(script, stay) as items:
        _, incomplete, disconnected, connected = await take(items, 4)
    assert isinstance(incomplete, Incomplete)
    assert isinstance(disconnected, Disconnected)
    assert connected == Connected("c7", Position("e1", 100), True)
