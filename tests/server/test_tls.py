"""TLS under a client: the same conversation, and the same rules about cut frames, stalls and silence."""

import random
import socket
import ssl
import time
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
import trio

from actors.sender import OutboxLimits
from observatory.client.connection import Server, connect
from observatory.client.trust import Trust
from observatory.core.client_items import Refused
from observatory.core.errors import Unreachable, UsageError, WorldError
from observatory.core.login import mint
from observatory.core.replies import Timing
from observatory.server import tls
from observatory.server.tls import RECORD_BYTES, TlsStream, secure, server_context
from tests.certificates import Certificates, certificates
from tests.server.serving import Raw, Running, serving

TOKEN = "k" * 43


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("tls"))


async def secured(running: Running, made: Certificates, receive_bytes: int | None = None) -> Raw:
    """A raw connection over TLS."""
    plain = (await running.socket(receive_bytes)).stream
    stream = trio.SSLStream(plain, made.client, server_hostname="localhost", https_compatible=True)
    await stream.do_handshake()
    return Raw(cast("Any", stream))


async def upgraded(running: Running, made: Certificates, target: str = "/ws", receive_bytes: int | None = None) -> Raw:
    raw = await secured(running, made, receive_bytes)
    await raw.request(target)
    assert (await raw.response())[0] == 101
    return raw


def server_at(running: Running, trust: Trust, host: str = "localhost") -> Server:
    return Server(f"wss://{host}:{running.port}", TOKEN, trust)


# -- the conversation --------------------------------------------------------------------------------------------------


async def test_a_client_subscribes_and_gets_events_over_tls(tmp_path: Path, made: Certificates) -> None:
    async with (
        serving(tmp_path, tls=made.server, token=lambda: TOKEN) as running,
        connect(server_at(running, Trust(made.authority)), topics=["all_conversations"]) as one,
    ):
        events = await running.publish(5, size=100_000)
        got = [await one.event() for _ in events]
        assert [frame.text for frame in got] == [event.payload.decode() for event in events]


async def test_a_refusal_and_a_link_arrive_over_tls_and_the_cookie_is_for_tls_only(
    tmp_path: Path, made: Certificates
) -> None:
    async with serving(tmp_path, tls=made.server, token=lambda: TOKEN) as running:
        refused = await secured(running, made)
        await refused.request(Host="evil.example")
        status, _, body = await refused.response()
        assert (status, orjson.loads(body)["error"]["code"]) == (421, "HOST_NOT_ALLOWED")
        assert await refused.end() == b""
        browser = await secured(running, made)
        await browser.request(f"/login/{mint(TOKEN, time.time(), b'n' * 16)}", Upgrade=None)
        status, headers, _ = await browser.response()
        assert status == 200
        assert headers["set-cookie"].endswith("; Secure")


async def test_a_client_that_reads_late_gets_everything_whole_and_in_order(tmp_path: Path, made: Certificates) -> None:
    async with serving(tmp_path, tls=made.server, outbox=OutboxLimits(8, 64 * 1024), send_buffer=4096) as running:
        raw = await upgraded(running, made, "/ws?subscribe=project:p1", receive_bytes=4096)
        await raw.message()
        events = await running.publish(40, size=50_000)
        await running.publish(1)
        got: list[dict[str, Any]] = []
        while len(got) < 41:
            message = await raw.message()
            got += [message] if "seq" in message else []
        assert [message["seq"] for message in got] == list(range(1, 42))
        assert orjson.dumps(got[0]["data"]) == orjson.dumps(orjson.loads(events[0].payload)["data"])


async def test_a_client_that_takes_nothing_is_reset(tmp_path: Path, made: Certificates) -> None:
    outbox = OutboxLimits(8, 64 * 1024, stall_seconds=0.2)
    async with serving(tmp_path, tls=made.server, outbox=outbox, send_buffer=4096) as running:
        raw = await upgraded(running, made, "/ws?subscribe=project:p1", receive_bytes=4096)
        await running.publish(40, size=50_000)
        await running.until(lambda: running.server._open == 0)
        assert running.server.counters.resets == 1
        with pytest.raises(trio.BrokenResourceError):
            await read_all(raw)


async def test_a_close_is_said_and_answered_over_tls(tmp_path: Path, made: Certificates) -> None:
    async with serving(tmp_path, tls=made.server) as running:
        raw = await upgraded(running, made)
        await raw.send(b"\x03\xe8", 8)
        assert await raw.close_frame() == (1000, "")
        assert await raw.end() == b""
        await running.until(lambda: running.server._open == 0)
        assert running.server.counters.closes == {1000: 1}


async def test_who_does_not_speak_tls_is_dropped_and_the_others_are_served(tmp_path: Path, made: Certificates) -> None:
    async with serving(tmp_path, tls=made.server, timing=Timing(handshake=0.5)) as running:
        plain, silent, left = [await running.socket() for _ in range(3)]
        await plain.request()
        await left.aclose()
        other = await upgraded(running, made)
        assert (await other.message())["type"] == "connection_established"
        assert not (await plain.end()).startswith(b"HTTP")
        assert await silent.end() == b""
        await running.until(lambda: running.server._open == 1)
        assert running.server.counters.failures == 0


async def test_a_head_that_is_no_request_and_an_abrupt_end_cost_nothing(tmp_path: Path, made: Certificates) -> None:
    async with serving(tmp_path, tls=made.server) as running:
        raw = await upgraded(running, made)
        await raw.message()
        await running.raws[-1].aclose()  # TCP ends without the goodbye of TLS
        broken = await upgraded(running, made)
        await broken.message()
        await running.raws[-1].stream.send_all(b"\x17\x03\x03\x00\x05XXXXX")  # a record that nobody encrypted
        await running.until(lambda: running.server._open == 0)
        assert running.server.counters.failures == 0


async def test_a_peer_that_makes_us_talk_and_does_not_read_is_dropped(
    tmp_path: Path, made: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, tls=made.server) as running:
        raw = await upgraded(running, made)
        await raw.message()
        monkeypatch.setattr(tls, "MAX_STUCK", -1)  # as if it had asked for new keys thousands of times
        await raw.send('{"type":"pong"}')
        await running.until(lambda: running.server._open == 0)
        assert running.server.counters.resets == 1


# -- the transport -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
async def test_what_is_taken_arrives_and_what_is_not_taken_may_be_sent_later(made: Certificates, seed: int) -> None:
    """As the Sender does it: after a cut only the rest of what was cut; at a boundary anything may follow."""
    rng = random.Random(seed)
    ours, theirs = await pair(made, rng.choice([4096, 65536]))
    frames = [rng.randbytes(rng.choice([2, 3, 100, RECORD_BYTES, RECORD_BYTES + 1, 70_000])) for _ in range(60)]
    received = bytearray()

    async def read() -> None:
        while len(received) < sum(map(len, frames)):
            received.extend(await theirs.receive_some(rng.choice([1000, 70_000])))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        cuts = 0
        for frame in frames:
            view = memoryview(frame)
            while view:
                try:
                    sent = ours.try_send(view)
                    assert 0 < sent <= len(view)
                    view = view[sent:]
                    cuts += bool(view)
                except BlockingIOError:
                    with trio.fail_after(20):
                        await ours.wait_writable()
    assert received == b"".join(frames)
    assert cuts > 0
    await trio.aclose_forcefully(theirs)
    ours.close()


async def test_what_is_stuck_is_bounded_by_one_record(made: Certificates) -> None:
    ours, theirs = await pair(made, 4096)
    with pytest.raises(BlockingIOError):
        fill(ours)
    assert len(ours._stuck) + ours._out.pending < RECORD_BYTES + 1024
    ours.abort()
    ours.abort()
    with pytest.raises(OSError, match="closed"):
        await ours.wait_writable()
    with pytest.raises(OSError, match="descriptor"):
        ours.try_send(b"xx")
    await trio.aclose_forcefully(theirs)


def fill(stream: TlsStream) -> None:
    while True:
        stream.try_send(b"x" * 1_000_000)


async def read_all(raw: Raw) -> None:
    while True:
        await raw.frame()


async def pair(made: Certificates, send_buffer: int) -> tuple[TlsStream, trio.SSLStream[trio.SocketStream]]:
    """A secured connection: the server's end and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    client = trio.SSLStream(
        trio.SocketStream(trio.socket.from_stdlib_socket(one)), made.client, server_hostname="localhost",
        https_compatible=True,
    )  # fmt: skip
    server: list[TlsStream] = []

    async def accept() -> None:
        plain = trio.SocketStream(trio.socket.from_stdlib_socket(other))
        server.append(await secure(plain, made.server, trio.current_time() + 10))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        nursery.start_soon(client.do_handshake)
    return server[0], client


# -- whose certificate -------------------------------------------------------------------------------------------------


async def test_a_certificate_that_nobody_vouches_for_is_refused_with_what_to_do(
    tmp_path: Path, made: Certificates
) -> None:
    async with serving(tmp_path, tls=made.server, token=lambda: TOKEN) as running:
        with pytest.raises(Unreachable, match=r"is not trusted \(.+\): name who signed it with --ca-file"):
            await visit(server_at(running, Trust()))
        with pytest.raises(Unreachable, match=r"is not trusted .*127"):
            await visit(server_at(running, Trust(made.authority), "127.0.0.1"))
        with pytest.raises(Unreachable, match="shows another certificate than"):
            await visit(server_at(running, Trust(exactly=made.authority)))
        await visit(server_at(running, Trust(exactly=made.certificate), "127.0.0.1"))
        assert running.server.counters.accepted == 1


async def test_a_server_without_tls_is_told_from_one_with(tmp_path: Path, made: Certificates) -> None:
    async with serving(tmp_path) as running:
        with pytest.raises(Unreachable, match="does not speak TLS"):
            await visit(server_at(running, Trust()))


async def test_a_token_that_is_wrong_is_a_refusal(tmp_path: Path, made: Certificates) -> None:
    async with serving(tmp_path, tls=made.server, token=lambda: "m" * 43) as running:
        with pytest.raises(Refused, match="the credential is not valid") as caught:
            await visit(server_at(running, Trust(made.authority)))
        assert caught.value.status == 401


async def test_a_file_without_a_certificate_is_one_line(tmp_path: Path, made: Certificates) -> None:
    async with serving(tmp_path, tls=made.server) as running:
        for trust in (Trust(made.key), Trust(tmp_path / "absent"), Trust(exactly=made.key)):
            with pytest.raises(WorldError, match="holds no certificate in PEM"):
                await visit(server_at(running, trust))


async def visit(server: Server) -> None:
    async with connect(server):
        pass


def test_a_certificate_or_key_that_cannot_be_used_is_one_line(tmp_path: Path, made: Certificates) -> None:
    other = certificates(tmp_path / "other")
    with pytest.raises(UsageError, match=r"cannot be used for TLS .* --tls-cert and --tls-key$"):
        server_context(made.certificate, other.key)
    with pytest.raises(UsageError, match="cannot be used for TLS"):
        server_context(made.certificate, None)
    with pytest.raises(WorldError, match=r"absent cannot be read \(No such file or directory\)"):
        server_context(tmp_path / "absent", made.key)
    with pytest.raises(WorldError, match=r"absent cannot be read \(No such file or directory\)"):
        server_context(made.certificate, tmp_path / "absent")
    both = tmp_path / "both.pem"
    both.write_bytes(made.key.read_bytes() + made.certificate.read_bytes())
    assert server_context(both, None).minimum_version == ssl.TLSVersion.TLSv1_2
