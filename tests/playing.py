"""A server that plays scripts: one per connection, over memory streams, so that virtual time works."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import orjson
import trio
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from observatory.client.connection import OpenStream, unwrapped

URL = "ws://observatory.test:8000"
HELLO: dict[str, Any] = {
    "client_id": "c7",
    "protocol": "observatory.v1",
    "position": {"epoch": "e1", "head": 100, "oldest": 1},
    "ping": {"interval_ms": 20_000, "timeout_ms": 10_000},
    "retry": {"min_ms": 1000, "max_ms": 8000},
}


@attrs.frozen
class Refusal:
    """Answer the handshake with an HTTP status."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()


@attrs.define(eq=False)
class Peer:
    """The server's end of one connection."""

    ws: WebSocketConnection
    headers: dict[bytes, bytes]

    async def send(self, kind: str, data: Any = None, **envelope: Any) -> None:
        frame = {"type": kind, "data": {} if data is None else data, "timestamp": 1795381200000, **envelope}
        await self.ws.send_message(orjson.dumps(frame).decode())

    async def hello(self, **changes: Any) -> None:
        await self.send("connection_established", HELLO | changes)

    async def events(self, *seqs: int, epoch: str = "e1") -> None:
        for seq in seqs:
            await self.send("message_added", {"n": seq}, seq=seq, epoch=epoch)

    async def expect(self, kind: str) -> dict[str, Any]:
        message: dict[str, Any] = orjson.loads(await self.ws.get_message())
        assert message["type"] == kind, message
        return message

    async def confirm(self, request: dict[str, Any], **data: Any) -> None:
        await self.send("subscription_confirmed", {"epoch": "e1", "state": "live", **data}, re=request["id"])

    async def subscribed(self, pos: int, **changes: Any) -> dict[str, Any]:
        """Hello, then confirm the client's first request at a position; returns the request's data."""
        await self.hello(**changes)
        request = await self.expect("subscribe")
        recovered = {"recovered": True} if "resume" in request["data"] else {}
        await self.confirm(request, pos=pos, **recovered)
        data: dict[str, Any] = request["data"]
        return data

    async def ping(self, sent: int, pos: int | None, epoch: str = "e1") -> None:
        await self.send("ping", {"timestamp": 5, "epoch": epoch, "pos": pos, "sent": sent})

    async def close(self, code: int, reason: str = "") -> None:
        await self.ws.aclose(code, reason)

    async def closed_by_client(self) -> int:
        """The code with which the client leaves; whatever it says before is passed over."""
        while self.ws.closed is None:
            with suppress(ConnectionClosed):
                await self.ws.get_message()
        return self.ws.closed.code


Script = Callable[[Peer], Awaitable[None]] | Refusal | None


@asynccontextmanager
async def playing(*scripts: Script) -> AsyncIterator[OpenStream]:
    """Yields what to give as `open_stream`. None plays a host where nobody listens, and so does the end of scripts."""
    waiting = list(scripts)
    with unwrapped():
        async with trio.open_nursery() as nursery:

            async def open_stream() -> trio.abc.Stream:
                script = waiting.pop(0) if waiting else None
                if script is None:
                    raise ConnectionRefusedError
                client, server = memory_stream_pair()
                nursery.start_soon(_play, server, script)
                return client

            yield open_stream
            nursery.cancel_scope.cancel()


async def _play(stream: Any, script: Callable[[Peer], Awaitable[None]] | Refusal) -> None:
    async with trio.open_nursery() as nursery:
        request = await wrap_server_stream(nursery, stream)
        if isinstance(script, Refusal):
            await request.reject(script.status, extra_headers=list(script.headers), body=script.body)
        else:
            offered = "observatory.v1" in request.proposed_subprotocols
            ws = await request.accept(subprotocol="observatory.v1" if offered else None)
            await script(Peer(ws, dict(request.headers)))
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(stream)


async def stay(peer: Peer) -> None:
    """Subscribe at 100 and stay until the client leaves."""
    await peer.subscribed(100)
    await peer.closed_by_client()
