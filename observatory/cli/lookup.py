"""What the server knows by name: its snapshot, and the topics that a person's words stand for."""

import os
from collections.abc import Sequence
from typing import Any

from observatory.cli.status import ask
from observatory.client.connection import OpenStream, Server
from observatory.config import directories_here
from observatory.core.naming import Names, Place, is_name, topic_of


async def snapshot(url: str | Server, open_stream: OpenStream | None = None) -> dict[str, Any]:
    """The data of the server's `snapshot` reply. Raises Unreachable, Refused, Closed."""
    return await ask(url, open_stream, "get_snapshot")


def names_of(data: dict[str, Any]) -> Names:
    """The names in a snapshot."""
    return Names(data["projects"], data["conversations"], data["truncated"])


def here() -> Place:
    """Where the user stands. Raises UsageError."""
    return Place(directories_here(), os.path.realpath)


async def topics_of(url: str | Server, typed: Sequence[str], open_stream: OpenStream | None = None) -> tuple[str, ...]:
    """The topics that are meant. The server is asked only if one of them is a name.

    Raises: UsageError: nothing is called so, or more than one thing. Unreachable, Refused, Closed.
    """
    if not any(map(is_name, typed)):
        return tuple(typed)
    names = names_of(await snapshot(url, open_stream))
    place = here()
    return tuple(topic_of(text, names, place) if is_name(text) else text for text in typed)
