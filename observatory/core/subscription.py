"""Subscription: whether an event comes to a client, by its topics and its filter (protocol.md §4, §8)."""

from collections.abc import Set

from observatory.core.ports import Stored
from observatory.core.topics import meet
from observatory.core.where import Where


def comes_to(held: Set[str], where: Where | None, event: Stored) -> bool:
    """Whether a stored event comes to a client. held: its topics, with EVERYONE.

    An event is read once, however many clients' filters ask about it, and not at all if none does.
    """
    return meet(held, event.topics) and (where is None or where.accepts(event.facts))
