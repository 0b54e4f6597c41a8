"""The Python client: `connect` for one connection, `follow` for the log through all its connections.

    async with follow("ws://127.0.0.1:8765", ["all_conversations"]) as items:
        async for item in items:
            match item: ...

All decisions are in `observatory.core.client_state`; here are sockets, the clock and channels. Foreign errors end here:
what the network or the server does arrives as Unreachable, Refused or Closed.
"""
