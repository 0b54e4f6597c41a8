"""Names that people type instead of topics: a project's name, `.`, the beginning of a conversation's id.

shop              the project of that name                    project:shop, file_events:shop likewise
.                 the project of the current directory        project:., file_events:. likewise
5e1f0123          the conversation whose id begins so         conversation:5e1f0123 likewise
anything of protocol.md §4 stays what it is
"""

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

import attrs

from observatory.core.errors import UsageError
from observatory.core.neutral import neutral
from observatory.core.topics import PLAIN, is_topic

HERE = "."
PREFIX_CHARS = 6  # of a conversation's id that a person must type at least
CANDIDATES = 5  # that a refusal names
LISTING = "`observatory ls` lists what there is"
_PROJECT_ID = re.compile("[0-9a-f]{12}")
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Row = dict[str, Any]


@attrs.frozen
class Names:
    """What the server knows: rows as in a snapshot. `truncated`: there are more conversations."""

    projects: Sequence[Row]
    conversations: Sequence[Row]
    truncated: bool = False


@attrs.frozen
class Place:
    """Where the user stands: a directory and those above it, nearest first, each under all its names."""

    directories: tuple[frozenset[str], ...]
    real: Callable[[str], str]  # the real path of a project's directory, as far as this machine knows it

    @property
    def shown(self) -> str:
        """The directory itself."""
        return sorted(self.directories[0])[0]


def is_name(topic: str) -> bool:
    """Whether a topic as typed needs to be looked up; False for what can only be meant literally."""
    family, _, rest = topic.rpartition(":")
    if not family:
        return topic not in PLAIN
    if family in ("project", "file_events"):
        return _PROJECT_ID.fullmatch(rest) is None
    return family == "conversation" and _UUID.fullmatch(rest) is None


def topic_of(text: str, names: Names, place: Place) -> str:
    """The topic that is meant. Raises UsageError: nothing is, or more than one thing."""
    family, colon, rest = text.partition(":")
    if colon and family in ("project", "file_events"):
        return f"{family}:{project_of(rest, names, place)}"
    if colon and family == "conversation":
        if not is_topic(text):
            _unknown(text, names)
        return f"conversation:{_conversation(rest, names) or rest}"  # it need not exist yet
    if text == HERE or any(text in (row["name"], row["id"]) for row in names.projects):
        return f"project:{project_of(text, names, place)}"
    if (found := _conversation(text, names)) is not None:
        return f"conversation:{found}"
    _unknown(text, names)


def project_of(text: str, names: Names, place: Place) -> str:
    """The id of a project: as such, by its name, or `.`. Raises UsageError."""
    if text == HERE:
        return _here(names, place)
    if any(text == row["id"] for row in names.projects):
        return text
    found = [row for row in names.projects if row["name"] == text]
    if found:
        return _only(found, f"project {_quoted(text)}")
    _unknown(text, names)


def conversation_of(text: str, names: Names) -> str:
    """The id of a conversation, by its beginning. Raises UsageError."""
    found = _conversation(text, names)
    if found is None:
        raise UsageError(f"no conversation begins with {_quoted(text)}; see them with: observatory ls sessions")
    return found


def _here(names: Names, place: Place) -> str:
    """The nearest directory that is a project; a directory's own path is better than one that leads to it."""
    for directory in place.directories:
        found = [row for row in names.projects if row["path"] in directory]
        found = found or [row for row in names.projects if place.real(row["path"]) in directory]
        if found:
            return _only(found, "project of this directory")
    raise UsageError(
        f"no project for {neutral(place.shown)} or a directory above it yet: it is one as soon as Claude Code has "
        f"worked there; {LISTING}"
    )


def _only(found: Sequence[Row], what: str) -> str:
    if len(found) > 1:
        which = ", ".join(f"project:{neutral(row['id'])} ({neutral(row['path'])})" for row in found[:CANDIDATES])
        raise UsageError(f"there is more than one {what}; say which: {which}{_more(len(found))}")
    return str(found[0]["id"])


def _conversation(text: str, names: Names) -> str | None:
    """The id that is or begins with this; sub-agents go with the conversation above them. Raises UsageError."""
    ids = [str(row["id"]) for row in names.conversations]
    if text in ids:
        return text
    found = [id for id in ids if id.startswith(text)] if len(text) >= PREFIX_CHARS else []
    matching = frozenset(found)
    found = [id for id in found if matching.isdisjoint(_above(id))]
    if len(found) > 1:
        which = ", ".join(map(neutral, found[:CANDIDATES]))
        raise UsageError(f"more than one conversation begins with {_quoted(text)}: {which}{_more(len(found))}")
    return found[0] if found else None


def _above(id: str) -> list[str]:
    """The ids that a sub-agent's id names above itself."""
    parts = id.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def _unknown(text: str, names: Names) -> NoReturn:
    known = sorted({str(row["name"]) for row in names.projects})
    near = get_close_matches(text.rpartition(":")[2], known, CANDIDATES, 0.5) or known[:CANDIDATES]
    which = f"; projects: {', '.join(map(neutral, near))}" if near else ""
    among = f" among the newest {len(names.conversations)} conversations" if names.truncated else ""
    raise UsageError(
        f"{_quoted(text)} is no topic, and no project or conversation{among} is called so{which}; {LISTING}"
    )


def _more(count: int) -> str:
    return f" and {count - CANDIDATES} more" if count > CANDIDATES else ""


def _quoted(text: str) -> str:
    return f"'{neutral(text[:80])}'"
