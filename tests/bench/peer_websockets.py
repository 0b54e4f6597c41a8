"""Peer: the websockets library with its own broadcast(), as its documentation shows. Usage: peer_websockets PORT."""

import asyncio
import sys
import time

from websockets.asyncio.server import ServerConnection, broadcast, serve

from tests.bench.orders import next_due, parse, raise_fd_limit, stamped

BACKLOG = 4096


async def main(port: int) -> None:
    """Serve until standard input ends."""
    clients: set[ServerConnection] = set()

    async def serve_client(client: ServerConnection) -> None:
        clients.add(client)
        try:
            await client.wait_closed()
        finally:
            clients.discard(client)

    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with serve(serve_client, "127.0.0.1", port, compression=None, backlog=BACKLOG):
        while line := await orders.readline():
            order, due = parse(line), time.monotonic()
            for _ in range(order.messages):
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                broadcast(clients, stamped(order.size))
                due = next_due(due, time.monotonic(), order.interval)


if __name__ == "__main__":
    raise_fd_limit()
    asyncio.run(main(int(sys.argv[1])))
