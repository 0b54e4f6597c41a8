"""The socket under one client: writes that never block, a reset, and the gate of the goodbye."""

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import attrs
import pytest
import trio
import trio.testing

from actors.sender import OutboxLimits, Sender
from observatory.server.transport import ControlStream, SocketTransport, close_frame
from tests.actors.fakes import ListBacklog
from tests.server.serving import Raw


async def pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Two ends of a TCP connection."""
    with trio.socket.socket() as listener:
        await listener.bind(("127.0.0.1", 0))
        listener.listen()
        theirs = await trio.open_tcp_stream("127.0.0.1", listener.getsockname()[1])
        ours, _ = await listener.accept()
        return trio.SocketStream(ours), theirs


def fill(transport: SocketTransport) -> int:
    """Write until the kernel takes no more; returns how many bytes it took."""
    sent = 0
    with suppress(BlockingIOError):
        while True:
            sent += transport.try_send(bytes(65536))
    return sent


async def test_a_full_socket_takes_nothing_and_is_waited_for() -> None:
    ours, theirs = await pair()
    transport = SocketTransport(ours)
    async with theirs:
        sent = fill(transport)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.wait_writable)
            received = 0
            while received < sent:
                received += len(await theirs.receive_some())
        transport.close()


async def test_after_close_nothing_is_written_to_whoever_has_the_number_now() -> None:
    ours, theirs = await pair()
    async with theirs:
        transport = SocketTransport(ours)
        transport.close()
        transport.close()
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is what matters
            transport.try_send(b"x")
        assert caught.value.errno == errno.EBADF


async def test_closing_wakes_the_one_who_waits_to_write() -> None:
    ours, theirs = await pair()
    async with theirs:
        transport = SocketTransport(ours)
        fill(transport)

        async def wait() -> None:
            with pytest.raises(OSError, match="closed"):
                await transport.wait_writable()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            transport.close()


async def test_abort_resets_and_may_be_repeated() -> None:
    ours, theirs = await pair()
    async with theirs:
        transport = SocketTransport(ours)
        transport.try_send(b"x" * 1000)
        transport.abort()
        transport.abort()
        await Raw(theirs).until_reset()


@attrs.frozen
class Wire:
    """A ControlStream whose Sender runs, and the peer."""

    stream: ControlStream
    sender: Sender
    peer: trio.SocketStream


@asynccontextmanager
async def wired(head: bytes = b"head", rest: bytes = b"") -> AsyncIterator[Wire]:
    ours, theirs = await pair()
    transport = SocketTransport(ours)
    async with theirs, trio.open_nursery() as nursery:
        sender = Sender(transport, OutboxLimits(), ListBacklog())
        stream = ControlStream(ours, sender, head, rest, 1.0)
        nursery.start_soon(stream.drain)
        yield Wire(stream, sender, theirs)
        nursery.cancel_scope.cancel()
        transport.close()


async def exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += await stream.receive_some(count - len(data))
    return data


async def test_the_head_comes_first_and_the_rest_only_after_the_answer() -> None:
    async with wired(b"head", b"rest") as wire:
        assert await wire.stream.receive_some() == b"head"
        with trio.move_on_after(0.01) as early:
            await wire.stream.receive_some()
        assert early.cancelled_caught
        await wire.stream.wait_send_all_might_not_block()
        await wire.stream.send_all(b"answer")
        assert await wire.stream.receive_some() == b"rest"
        await wire.peer.send_all(b"frame")
        assert await wire.stream.receive_some() == b"frame"


async def test_the_first_goodbye_counts_and_nothing_follows_it() -> None:
    async with wired() as wire:
        await wire.stream.say_goodbye(4000, "no request")
        await wire.stream.say_goodbye(1000, "")
        await wire.stream.send_all(close_frame(1001, ""))
        await wire.stream.send_all(b"\x8a\x00")
        assert wire.sender.offer_nowait(b"\x81\x01x")
        await wire.stream.aclose()
        assert await exactly(wire.peer, 14) == b"\x88\x0c\x0f\xa0no request"
        with trio.move_on_after(0.01) as silence:
            await wire.peer.receive_some()
        assert silence.cancelled_caught


async def test_a_close_frame_of_the_websocket_layer_passes_the_gate_1000_if_it_has_no_code() -> None:
    async with wired() as wire:
        await wire.stream.send_all(b"\x88\x00")
        assert wire.stream.said_goodbye
        assert await exactly(wire.peer, 4) == b"\x88\x02\x03\xe8"


def test_a_long_reason_is_cut_to_what_a_control_frame_holds() -> None:
    assert len(close_frame(1000, "x" * 1000)) == 127
