"""What a search asks for and what it gives: filters, hits, and the text that stands for where the next page begins."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Literal

import attrs
import orjson

from observatory.core.errors import UsageError
from observatory.core.search_snippet import Snippet
from observatory.core.search_text import ROLES

Sort = Literal["relevance", "newest"]
SORTS: tuple[Sort, ...] = ("relevance", "newest")
MOST_HITS = 200  # on a page


@attrs.frozen
class Search:
    """What is asked for. query: as typed; with `exact` a text that stands so in a record, with its signs.

    project, conversation: ids; a conversation's sub-agents go with it. roles: bits of core/search_text.py, 0 is all.
    since, until: ms since the epoch, the second one not included. errors: of tools and the API only. cursor: of the
    page before; the rest has to be as it was then.
    """

    query: str
    exact: bool = False
    case: bool = False
    project: str | None = None
    conversation: str | None = None
    roles: int = 0
    tool: str | None = None
    model: str | None = None
    since: int | None = None
    until: int | None = None
    errors: bool = False
    sort: Sort = "relevance"
    limit: int = 20
    cursor: str | None = None


@attrs.frozen
class Hit:
    """A record that was found. at: RFC 3339; None when it has no time. line: its order in the file."""

    record: str
    conversation_id: str
    project_id: str
    title: str | None
    project: str
    at: str | None
    line: int
    roles: tuple[str, ...]
    tool: str | None
    is_error: bool
    snippet: Snippet

    def json(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {
            "record": self.record,
            "conversation_id": self.conversation_id,
            "project_id": self.project_id,
            "project": self.project,
            "title": self.title,
            "timestamp": self.at,
            "line": self.line,
            "roles": list(self.roles),
            "tool": self.tool,
            "is_error": self.is_error,
            "snippet": self.snippet.text,
            "marks": [list(mark) for mark in self.snippet.marks],
        }


@attrs.frozen
class Page:
    """hits: in order. total: how many there are; at least, unless is_exact. lag: records that are not in the index.

    cursor: where the next page begins; None at the end. sort: as it was done: what is too common is shown newest first.
    stopped: a scan ended before its end; the cursor goes on with it.
    """

    hits: tuple[Hit, ...]
    total: int
    is_exact: bool
    lag: int
    cursor: str | None
    sort: Sort
    stopped: bool = False


@attrs.frozen
class Place:
    """Where a page begins. ceiling: no document behind this one; now: ms, from which age is counted; both as on the
    first page. skip: documents that were looked at before. search: tells the search that it is of."""

    ceiling: int
    now: int
    skip: int
    search: int

    @property
    def text(self) -> str:
        """As a cursor."""
        return urlsafe_b64encode(orjson.dumps([*attrs.astuple(self)])).decode().rstrip("=")


def place_of(cursor: str, search: int) -> Place:
    """Where a cursor points. Raises UsageError: it is none, or another search's."""
    try:
        values = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        place = Place(*values)
        good = all(type(value) is int and 0 <= value < 1 << 63 for value in values)
    except (ValueError, TypeError):
        good = False
    if not good or place.search != search:
        raise UsageError("the cursor is not of this search: take it from its last page, and change nothing else")
    return place


def role_of(name: str) -> int:
    """A role's bit by its name. Raises UsageError."""
    if name not in ROLES:
        raise UsageError(f"'{name[:40]}' is no role; use one of {', '.join(ROLES)}")
    return ROLES[name]


def names_of(roles: int) -> tuple[str, ...]:
    """The names of roles."""
    return tuple(name for name, bit in ROLES.items() if roles & bit)
