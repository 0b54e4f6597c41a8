"""A WebSocket client beside the HTTP one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from tests.original.stage import Client
from tests.server.serving import DEADLINE, Raw


@asynccontextmanager
async def listening(port: int, *topics: str, **headers: str | None) -> AsyncIterator[Client]:
    """Subscribed to topics, from now on."""
    raw = Raw(await trio.open_tcp_stream("127.0.0.1", port))
    try:
        with trio.fail_after(DEADLINE):
            await raw.request("/ws", **headers)
            assert (await raw.response())[0] == 101
            hello = await raw.message()
            confirmed = await raw.ask("subscribe", {"topics": list(topics)})
        yield Client(raw, hello["data"]["client_id"], confirmed["data"]["pos"])
    finally:
        await raw.aclose()
