"""Summaries: lines that name a conversation by one of its records, the leaf; mostly it is another file's.

Which conversation a leaf belongs to, and which of its summaries counts, hangs on what there is, not on the order in
which it came. Source: transcripts.md §9.
"""

from collections.abc import Callable, Collection, Iterable

from observatory.core.frozen import frozen
from observatory.core.transcript import Record


@frozen
class Summary:
    """A name for whom `leaf_uuid` belongs to. conversation_id, offset: where it stands."""

    leaf_uuid: str
    conversation_id: str
    offset: int
    title: str


def summary_of(record: Record, conversation_id: str) -> Summary | None:
    """The summary in a record of this conversation, if it is one."""
    title = record.title
    if title is None or title.leaf_uuid is None:
        return None
    return Summary(title.leaf_uuid, conversation_id, record.offset, title.text)


def last(summaries: Iterable[Summary]) -> Summary | None:
    """The one that counts. They have no time: the order of the ids decides between files."""
    return max(summaries, key=lambda one: (one.conversation_id, one.offset), default=None)


def owner_of(leaf_uuid: str, holders: Collection[str], last_uuid: Callable[[str], str | None]) -> str | None:
    """The conversation that a leaf belongs to: of several that hold it (forks) the one that ends with it, else none.

    last_uuid: the uuid of a conversation's last record that has one.
    """
    if len(holders) > 1:
        holders = [holder for holder in holders if last_uuid(holder) == leaf_uuid]
    return next(iter(holders)) if len(holders) == 1 else None
