"""Topics: what an event carries and what a client may hold (protocol.md §4)."""

import re
from collections.abc import Iterable, Set

EVERYONE = "*"  # held implicitly by every client with a position
ALL_CONVERSATIONS = "all_conversations"
PROJECT_UPDATES = "project_updates"
FILE_EVENTS = "file_events"
SYSTEM = "system"
PLAIN = frozenset({ALL_CONVERSATIONS, PROJECT_UPDATES, FILE_EVENTS, SYSTEM})
LEGACY_TOPICS = frozenset({ALL_CONVERSATIONS, PROJECT_UPDATES, FILE_EVENTS})
FAMILY = ":*"  # end of an event topic that meets every held topic with its prefix; only broadcast() writes such topics

_WITH_ID = re.compile(r"(?:conversation|project|file_events):[!-~]{1,200}", re.ASCII)


def is_topic(text: object) -> bool:
    """Whether a client may hold it: a plain name, or a family and an id of 1–200 visible ASCII characters."""
    return isinstance(text, str) and (text in PLAIN or _WITH_ID.fullmatch(text) is not None)


def of_conversation(conversation_id: str, project_id: str, ancestors: Iterable[str] = ()) -> tuple[str, ...]:
    """Topics of a conversation's events; ancestors: the conversations above a sub-agent's."""
    above = (f"conversation:{parent}" for parent in ancestors)
    return (ALL_CONVERSATIONS, f"conversation:{conversation_id}", f"project:{project_id}", *above)


def of_project(project_id: str) -> tuple[str, ...]:
    """Topics of project_update."""
    return (PROJECT_UPDATES, f"project:{project_id}")


def of_file(project_id: str | None) -> tuple[str, ...]:
    """Topics of the file events; the project may not be known yet."""
    return (FILE_EVENTS,) if project_id is None else (FILE_EVENTS, f"file_events:{project_id}")


def members(held: Iterable[str], carried: Iterable[str]) -> list[str]:
    """The held topics that lie in a family which an event carries."""
    prefixes = tuple([topic[:-1] for topic in carried if topic.endswith(FAMILY)])
    return [topic for topic in held if topic.startswith(prefixes)] if prefixes else []


def meet(held: Set[str], carried: Iterable[str]) -> bool:
    """Whether an event reaches a client: the two sets intersect, or the client holds a member of a family."""
    return not held.isdisjoint(carried) or bool(members(held, carried))
