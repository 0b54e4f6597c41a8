"""N: what clients send: too much, and what is no WebSocket or no request."""

import random
import zlib

import trio

from tests.faults.rows import scenario
from tests.faults.rows_clients import STALL, logged
from tests.faults.simworld import SimWorld
from tests.faults.sockets import SocketWorld
from tests.faults.visitor import head, knock, request
from tests.faults.wire import BINARY, CLOSE, PING, TEXT, masked
from tests.faults.world import World

RATE = 20  # requests a second that are allowed
FULL_REPLIES = 64


@scenario("N10", sweep=("reset", "reads again", "the server drains"))
async def replies_that_are_not_read_stop_the_reading_of_requests(world: SimWorld, end: str) -> None:
    """Pings at the allowed rate, of a client that reads no reply."""
    await world.start()
    await world.client("other")
    flood = await knock(world, head(), request("subscribe", topics=["system"]))
    await world.calm()
    line = world.node.all_lines[-1]
    line.capacity, most = 0, 0
    count = RATE * (5 if end == "reads again" else 20)  # what was not read comes as one burst, which has its bound
    for number in range(count):
        await flood.say(request("ping", timestamp=number))
        await world.pause(1 / RATE)
        most = max(most, (await world.status())["gauges"]["replies_waiting"])
    assert FULL_REPLIES <= most <= FULL_REPLIES + 2, f"{most} replies waited"  # and one ping of the server's own
    assert line.unreceived, "the server read on"
    if end == "reset":
        await world.until(lambda: line.closed, 11)
        assert logged(world, "client.lost", 4009)
        return
    if end == "the server drains":
        with trio.fail_after(7):  # a second for the plan, and 5 for a close that is not read
            await world.node.manager.shut_down()
        assert logged(world, "client.closing", 1012)
        assert line.reset_by_server
        await world.restart()
        return
    line.capacity = 256 * 1024
    line._tell()
    await world.until(lambda: len(flood.of("pong")) == count, 1)
    assert [m["data"]["timestamp"] for m in flood.of("pong")] == list(range(count))
    flood.wire.reset()


@scenario("N10", sweep=("reads", "reads nothing"))
async def a_flood_of_requests_is_closed_with_4013(world: SimWorld, end: str) -> None:
    await world.start()
    await world.client("other")
    flood = await knock(world, head(), request("subscribe", topics=["system"]))
    await world.calm()
    line = world.node.all_lines[-1]
    if end == "reads nothing":
        line.capacity = 0
    await flood.say(request("ping") * 10_000)
    await world.until(lambda: line.closed, 10)
    assert logged(world, "client.closing", 4013)
    if end == "reads":
        assert flood.code == 4013
        assert len(flood.of("pong")) < 45
        assert [m["data"]["code"] for m in flood.of("error")] == ["RATE_LIMIT_EXCEEDED"]


@scenario("N10")
async def a_flood_of_control_pings_that_are_not_read_ends_with_a_reset(world: SimWorld) -> None:
    """They are no requests; each has to be answered."""
    await world.start()
    await world.client("other")
    flood = await knock(world, head(), request("subscribe", topics=["system"]))
    await world.calm()
    line = world.node.all_lines[-1]
    line.capacity = 0
    await flood.say(masked(PING, b"x") * 10_000)
    await world.until(lambda: line.closed, STALL + 1)
    assert line.reset_by_server


# -- N13: what is no WebSocket, or no request --------------------------------------------------------------------------

BIG = 64 * 1024  # bytes of a message that are taken
SUBSCRIBE = request("subscribe", topics=["system"])


def frame(first: int, payload: bytes = b"", *, is_masked: bool = True) -> bytes:
    """A frame with this first byte, right or wrong."""
    good = masked(TEXT, payload)
    if is_masked:
        return bytes((first,)) + good[1:]
    return bytes((first, len(payload))) + payload


def text(message: bytes) -> bytes:
    """A text message."""
    return masked(TEXT, message)


FIN, RSV1 = 0x80, 0x40
BOMB = zlib.compress(b" " * 10_000_000)
BAD_FRAMES = {
    "oversize": (1009, text(b" " * (BIG + 1))),
    "a terabyte, found before it has come": (
        1009,
        b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"mask" + b" " * (BIG + 1),
    ),
    "oversize in bytes, not in characters": (1009, text("é".encode() * (BIG // 2 + 1))),
    "oversize in fragments": (1009, frame(TEXT, b" " * 40_000) + frame(FIN, b" " * 40_000)),
    "bad UTF-8": (1007, text(b'{"type":"ping\xff"}')),
    "surrogate in UTF-8": (1007, text(b"\xed\xa0\x80")),
    "overlong UTF-8": (1007, text(b"\xc0\xaf")),
    "bad UTF-8 over two fragments": (1007, frame(TEXT, b"\xc3") + frame(FIN, b"\x28")),
    "RSV1, as if deflated": (1002, frame(FIN | RSV1 | TEXT, b"x")),
    "zip bomb": (1002, frame(FIN | RSV1 | TEXT, BOMB)),
    "RSV2": (1002, frame(FIN | 0x20 | TEXT, b"x")),
    "RSV3": (1002, frame(FIN | 0x10 | TEXT, b"x")),
    "unknown opcode": (1002, frame(FIN | 3, b"x")),
    "unknown control opcode": (1002, frame(FIN | 11, b"x")),
    "not masked": (1002, frame(FIN | TEXT, b"{}", is_masked=False)),
    "fragmented control frame": (1002, frame(PING, b"x")),
    "control frame over 125 bytes": (1002, frame(FIN | PING, b"x" * 126)),
    "continuation of nothing": (1002, frame(FIN, b"x")),
    "a message within a message": (1002, frame(TEXT, b"{") + frame(FIN | TEXT, b"{}")),
    "close frame of one byte": (1002, frame(FIN | CLOSE, b"x")),
    "close code that is none": (1002, frame(FIN | CLOSE, b"\x03\xe7")),
    "binary": (1003, masked(BINARY, b"{}")),
    "empty binary": (1003, masked(BINARY, b"")),
}
BAD_REQUESTS = {
    "no JSON": ("INVALID_MESSAGE", b"{"),
    "empty": ("INVALID_MESSAGE", b""),
    "NaN": ("INVALID_MESSAGE", b'{"type":"ping","data":{"timestamp":NaN}}'),
    "Infinity": ("INVALID_MESSAGE", b'{"type":"ping","data":{"timestamp":-Infinity}}'),
    "nesting": ("INVALID_MESSAGE", b'{"type":"ping","data":{"a":' + b"[" * 40 + b"]" * 40 + b"}}"),
    "nesting without end": ("INVALID_MESSAGE", b"[" * 60_000),
    "glued": ("INVALID_MESSAGE", b'{"type":"ping"}{"type":"ping"}'),
    "no object": ("INVALID_MESSAGE", b"[]"),
    "no type": ("INVALID_MESSAGE", b"{}"),
    "BOM": ("INVALID_MESSAGE", b'\xef\xbb\xbf{"type":"ping"}'),
    "lone surrogate": ("INVALID_MESSAGE", b'{"type":"ping","data":{"timestamp":"\\ud800"}}'),
    "unknown type": ("UNKNOWN_MESSAGE_TYPE", b'{"type":"drop_tables"}'),
    "bad topic": ("INVALID_TOPIC", b'{"type":"subscribe","data":{"topics":["all"]}}'),
    "bad filter": ("INVALID_FILTERS", b'{"type":"subscribe","data":{"topics":[],"where":{"op":"xor"}}}'),
    "bad position": ("INVALID_POSITION", b'{"type":"resume","data":{"epoch":"x","seq":-1}}'),
}


@scenario("N13")
async def a_bad_frame_is_closed_with_its_code(world: SimWorld) -> None:
    await _send_bad_frames(world)


@scenario("N13", level=1)
async def a_bad_frame_is_closed_with_its_code_over_a_real_socket(world: SocketWorld) -> None:
    """The Autobahn suite is run by tests/server/test_conformance.py."""
    await _send_bad_frames(world)


async def _send_bad_frames(world: World) -> None:
    await world.start()
    await world.client("other")
    for name, (code, data) in BAD_FRAMES.items():
        bad = await knock(world, head(), SUBSCRIBE, data)
        await world.until(bad.over.is_set, 10)
        assert (bad.code, len(bad.of("subscription_confirmed"))) == (code, 1), name
    assert not (await world.status())["counters"]["failures"]


@scenario("N13")
async def a_bad_request_is_answered_and_changes_nothing(world: SimWorld) -> None:
    await world.start()
    await world.client("other")
    for name, (code, data) in BAD_REQUESTS.items():
        bad = await knock(world, head(), SUBSCRIBE, text(data), request("get_subscriptions"))
        await world.calm()
        assert [m["data"]["code"] for m in bad.of("error")] == [code], name
        assert [m["data"]["topics"] for m in bad.of("subscription_status")] == [["system"]], name
        bad.wire.reset()
    many = await knock(world, head(), SUBSCRIBE, *[text(b"{")] * 10)
    await world.until(many.over.is_set, 10)
    assert (many.code, len(many.of("error"))) == (4509, 10)


@scenario("N13")
async def no_extension_is_negotiated_whatever_is_offered(world: SimWorld) -> None:
    await world.start()
    for offered in (
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits, x-webkit-deflate-frame",
        "x; y=1",
    ):
        found = await knock(world, head("/ws", {"Sec-WebSocket-Extensions": offered}), SUBSCRIBE)
        await world.calm()
        assert (found.status, "sec-websocket-extensions" in found.headers) == (101, False)
        found.wire.reset()


@scenario("N13", seeds=3)
async def bytes_that_are_valid_but_for_something_are_the_end_of_their_client_at_most(world: SimWorld) -> None:
    """Valid streams with bytes flipped, cut out, doubled or put in anywhere, in two pieces. Any code may end them:
    a changed close frame is one too. But it is no defect of ours, and silence is ended."""
    await world.start()
    await world.client("other")
    valid = SUBSCRIBE + request("ping", timestamp=1) + frame(TEXT, b'{"type":') + frame(FIN, b'"get_subscriptions"}')
    valid += masked(PING, b"x") + request("unsubscribe") + masked(CLOSE, b"\x03\xe8")
    visitors = []
    for _ in range(100):
        data = _mutated(valid, world.draw)
        cut = world.draw.randrange(len(data))
        visitors.append(await knock(world, head(), data[:cut], data[cut:]))
    await world.until(lambda: all(one.over.is_set() for one in visitors), 60)
    assert not (await world.status())["counters"]["failures"]


def _mutated(data: bytes, draw: random.Random) -> bytes:
    found = bytearray(data)
    for _ in range(draw.randrange(1, 4)):
        at, size = draw.randrange(len(found)), draw.randrange(1, 9)
        match draw.randrange(4):
            case 0:
                found[at] ^= 1 << draw.randrange(8)
            case 1:
                del found[at : at + size]
            case 2:
                found[at:at] = found[at : at + size]
            case _:
                found[at:at] = draw.randbytes(size)
    return bytes(found)
