"""One connection: handshake, requests, and the world's troubles as our errors."""

import pytest
import trio
import trio_websocket
from trio.testing import MockClock, memory_stream_pair

from observatory.client.connection import connect
from observatory.core.client_items import Closed, Refused
from observatory.core.errors import Unreachable, UsageError
from observatory.core.events import Position
from tests.playing import URL, Peer, Refusal, playing, stay


async def test_a_connection_begins_with_the_hello_and_ends_with_1000(autojump_clock: MockClock) -> None:
    codes = []

    async def script(peer: Peer) -> None:
        await peer.hello()
        codes.append(await peer.closed_by_client())

    async with playing(script) as open_stream:
        async with connect(URL, open_stream=open_stream) as connection:
            assert connection.hello.data["client_id"] == "c7"
        await trio.testing.wait_all_tasks_blocked()
    assert codes == [1000]


async def test_with_topics_it_is_subscribed(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        data = await peer.subscribed(7)
        assert data == {"topics": ["system"], "where": None, "resume": {"epoch": "e1", "seq": 7}}
        await peer.send("ping")
        await peer.events(8)
        await peer.closed_by_client()

    async with (
        playing(script) as open_stream,
        connect(URL, topics=["system"], since=Position("e1", 7), open_stream=open_stream) as connection,
    ):
        assert (await connection.event()).seq == 8


async def test_frames_before_a_reply_are_kept(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        request = await peer.expect("get_status")
        await peer.events(1, 2)
        await peer.send("status", {"ok": True}, re=request["id"])
        await peer.events(3)
        await peer.closed_by_client()

    async with playing(script) as open_stream, connect(URL, open_stream=open_stream) as connection:
        assert (await connection.request("get_status")).data == {"ok": True}
        assert [(await connection.receive()).seq for _ in range(3)] == [1, 2, 3]


async def test_an_error_reply_is_returned_by_request_and_raised_by_connect(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        request = await peer.expect("subscribe")
        await peer.send("error", {"code": "INVALID_TOPIC", "message": "no such topic"}, re=request["id"])
        await peer.closed_by_client()

    async with playing(script, script) as open_stream:
        async with connect(URL, open_stream=open_stream) as connection:
            assert (await connection.request("subscribe", {"topics": ["?"]})).data["code"] == "INVALID_TOPIC"
        with pytest.raises(Refused, match="no such topic"):
            async with connect(URL, topics=["?"], open_stream=open_stream):
                pass


async def test_the_token_and_headers_travel_in_the_handshake(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        assert (peer.headers[b"authorization"], peer.headers[b"origin"]) == (b"Bearer s3cret", b"http://x")
        await stay(peer)

    async with (
        playing(script) as open_stream,
        connect(URL, token="s3cret", headers=[("Origin", "http://x")], topics=["system"], open_stream=open_stream),
    ):
        pass


async def test_a_legacy_client_offers_no_subprotocol(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        assert peer.ws.subprotocol is None
        await peer.hello(protocol=None)
        await peer.closed_by_client()

    async with playing(script) as open_stream, connect(URL, legacy=True, open_stream=open_stream) as connection:
        assert connection.hello.data["protocol"] is None


async def test_a_server_that_does_not_speak_the_protocol_is_refused(autojump_clock: MockClock) -> None:
    async def open_stream() -> trio.abc.Stream:
        client, server = memory_stream_pair()
        nursery.start_soon(accept_anything, server)
        return client

    async def accept_anything(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as inner:
            request = await trio_websocket.wrap_server_stream(inner, stream)
            await request.accept()
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        with pytest.raises(Refused, match=r"does not speak observatory\.v1"):
            async with connect(URL, open_stream=open_stream):
                pass
        nursery.cancel_scope.cancel()


async def test_an_error_as_first_frame_is_a_refusal(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.send("error", {"code": "UNAUTHORIZED", "message": "token expired"})

    async with playing(script) as open_stream:
        with pytest.raises(Refused, match="token expired"):
            async with connect(URL, open_stream=open_stream):
                pass


@pytest.mark.parametrize(
    ("body", "message"), [(b"<html>", "HTTP 403"), (b"", "HTTP 403"), (b'{"error":{"message":"Not you"}}', "Not you")]
)
async def test_an_http_refusal_carries_the_servers_words(autojump_clock: MockClock, body: bytes, message: str) -> None:
    async with playing(Refusal(403, body)) as open_stream:
        with pytest.raises(Refused, match=message):
            async with connect(URL, open_stream=open_stream):
                pass


async def test_a_close_is_raised_with_its_code(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        await peer.close(1012, "restart")

    async with playing(script) as open_stream, connect(URL, open_stream=open_stream) as connection:
        with pytest.raises(Closed, match="1012") as caught:
            await connection.receive()
        with pytest.raises(Closed):
            await connection.send("ping")
    assert (caught.value.code, caught.value.reason) == (1012, "restart")


async def test_a_peer_that_ignores_the_close_is_left_after_five_seconds(autojump_clock: MockClock) -> None:
    async def open_stream() -> trio.abc.Stream:
        client, server = memory_stream_pair()
        nursery.start_soon(greet_and_sleep, server)
        return client

    async def greet_and_sleep(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as inner:
            request = await trio_websocket.wrap_server_stream(inner, stream)
            await Peer(await request.accept(subprotocol="observatory.v1"), {}).hello()
            inner.cancel_scope.cancel()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        async with connect(URL, open_stream=open_stream):
            begun = trio.current_time()
        assert trio.current_time() - begun == pytest.approx(5)
        nursery.cancel_scope.cancel()


async def test_a_control_ping_that_crosses_the_close_disturbs_nobody(autojump_clock: MockClock) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello()
        async with trio.open_nursery() as inner:
            inner.start_soon(ping_for_ever, peer)
            await peer.closed_by_client()
            inner.cancel_scope.cancel()

    async def ping_for_ever(peer: Peer) -> None:
        while True:
            with trio.move_on_after(0.1):
                await peer.ws.ping()
            await trio.lowlevel.checkpoint()

    async with playing(script) as open_stream, connect(URL, open_stream=open_stream):
        pass


async def test_over_tcp_and_nobody_listens() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    with pytest.raises(Unreachable, match=rf"No server answers at 127\.0\.0\.1:{port}: is `observatory serve` running"):
        async with connect(f"ws://127.0.0.1:{port}"):
            pass


async def test_over_tcp_a_large_message_arrives_whole() -> None:
    text = "x" * (20 * 1024 * 1024)

    async def handle(request: trio_websocket.WebSocketRequest) -> None:
        peer = Peer(await request.accept(subprotocol="observatory.v1"), {})
        await peer.hello()
        await peer.send("message_added", {"text": text}, seq=1, epoch="e1")
        await peer.closed_by_client()

    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_websocket.serve_websocket, handle, "127.0.0.1", 0, None)
        async with connect(f"http://127.0.0.1:{server.port}") as connection:
            assert (await connection.event()).data["text"] == text
        nursery.cancel_scope.cancel()


async def test_a_url_of_something_else_is_the_users_mistake() -> None:
    with pytest.raises(UsageError, match="is no URL of a server"):
        async with connect("ftp://x"):
            pass
