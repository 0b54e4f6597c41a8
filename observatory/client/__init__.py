"""The Python client: `api.connect` for programs; below it `follow`, the log through all its connections.

    async with connect("ws://127.0.0.1:8765") as client:
        async for event in client.subscribe("all_conversations"):
            match event: ...

All decisions are in `observatory.core.client_state`; here are sockets, the clock and channels. Foreign errors end here:
what the network or the server does arrives as Unreachable, Refused or Closed.
"""
