"""The HTTP API on the port of a ConnectionManager: what embeds Observatory calls this once, before it serves."""

import time
from collections.abc import Callable

import trio

from observatory.api import openapi
from observatory.api.asgi import Application
from observatory.api.routes import ROUTES
from observatory.api.sources import Monitor, Sources
from observatory.core.handshake import Policy
from observatory.server.connections import ConnectionManager
from observatory.server.oneport import HttpLimits


def answer_http(
    monitor: Monitor,
    manager: ConnectionManager,
    *,
    policy: Policy | None = None,
    leaving: Callable[[bytes], bytes] | None = None,
    dropped: Callable[[], int] = lambda: 0,
    limits: HttpLimits | None = None,
) -> None:
    """Answer HTTP beside WebSockets.

    Args: monitor: whose block has been entered. policy: the manager's. leaving: what becomes of a text that leaves the
          process, the monitor's own. dropped: tells how many lines of the log were lost.
    """
    judged, ending = policy or Policy(), trio.Event()
    sources = Sources(
        monitor,
        manager,
        ending,
        leaving,
        lambda: time.time_ns() // 1_000_000,
        judged.base,
        openapi.document(ROUTES, judged.base),
        connections=lambda: manager.http_connections,
        dropped=dropped,
    )
    manager.answer_http(Application(sources, judged), ending, limits)
