"""A list of conversations as it is asked for, and the text that stands for where its next page begins."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Literal

import attrs
import orjson

from observatory.core.errors import UsageError

Sort = Literal["updated_at", "created_at", "message_count", "tokens"]
Order = Literal["desc", "asc"]
MOST_ROWS = 1000  # on a page


@attrs.frozen
class Listing:
    """Which conversations, and in which order. None: whatever it is. agents: sub-agents, too; parent: only that one's.

    text: words of the title or the last prompt. tags: it has all of them. since: nothing that ended before (RFC 3339).
    """

    project: str | None = None
    status: str | None = None
    activity: str | None = None
    parent: str | None = None
    agents: bool = False
    starred: bool | None = None
    tags: tuple[str, ...] = ()
    text: str | None = None
    since: str | None = None
    sort: Sort = "updated_at"
    order: Order = "desc"
    limit: int = 100
    cursor: str | None = None


@attrs.frozen
class Place:
    """The last row of a page: what it is sorted by, and its id."""

    value: str | int
    id: str

    @property
    def text(self) -> str:
        """As a cursor."""
        return urlsafe_b64encode(orjson.dumps([self.value, self.id])).decode().rstrip("=")


def place_of(cursor: str) -> Place:
    """Where a cursor points. Raises UsageError: it is none."""
    try:
        value, id = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, TypeError):
        value = id = None
    if not isinstance(value, str | int) or isinstance(value, bool) or not isinstance(id, str):
        raise UsageError("the cursor is of no list of conversations: take it from the last page")
    if isinstance(value, int) and value >> 63:
        raise UsageError("the cursor is of no list of conversations: take it from the last page")
    return Place(value, id)
