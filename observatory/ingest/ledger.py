"""What is known about conversations, projects and tokens, and how a line changes it. Nothing counts before `accept`."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

import attrs

from observatory.core import usage as tokens
from observatory.core.batch import Batch, ConversationUsage, ToolCallRow
from observatory.core.conversation import Conversation, Facts, apply, is_reply
from observatory.core.project import Project
from observatory.core.transcript import Record
from observatory.core.usage import Usage

CACHED_ROWS = 4096  # conversations and projects kept decoded; about 1 KB each
MAX_DEPTH = 5  # sub-agents nest no deeper; also ends a loop in damaged data
V = TypeVar("V")
_EMPTY = Batch()
_UNCOUNTED = ConversationUsage(False, tokens.NONE)


class Lookup(Protocol):
    """The log's point look-ups."""

    def conversation(self, conversation_id: str) -> Conversation | None: ...
    def project(self, project_id: str) -> Project | None: ...
    def project_at(self, path: str) -> Project | None: ...
    def project_in(self, slug: str) -> Project | None: ...
    def usage(self, message_id: str) -> dict[str, ConversationUsage]: ...
    def has_tool_call(self, conversation_id: str, tool_use_id: str) -> bool: ...
    def holds_elsewhere(self, copy_key: int, source_id: int) -> bool: ...


@attrs.define
class Ledger:
    """Rows as committed, cached; a batch in the making lies over them."""

    lookup: Lookup
    _conversations: dict[str, Conversation] = attrs.field(factory=dict)
    _projects: dict[str, Project] = attrs.field(factory=dict)
    _counting: Batch | None = None  # the batch that _counted belongs to
    _counted: dict[str, dict[str, ConversationUsage]] = attrs.field(factory=dict)  # usage rows as it leaves them

    def conversation(self, batch: Batch, conversation_id: str) -> Conversation | None:
        """A conversation as the batch leaves it."""
        found = batch.conversations.get(conversation_id) or self._conversations.get(conversation_id)
        if found is None:
            found = self.lookup.conversation(conversation_id)
            if found is not None:
                _remember(self._conversations, {conversation_id: found})
        return found

    def committed_conversation(self, conversation_id: str) -> Conversation | None:
        """A conversation as it was before the batch."""
        return self.conversation(_EMPTY, conversation_id)

    def committed_project(self, project_id: str) -> Project | None:
        """A project as it was before the batch."""
        return self.project(_EMPTY, project_id)

    def project(self, batch: Batch, project_id: str) -> Project | None:
        """A project as the batch leaves it."""
        found = batch.projects.get(project_id) or self._projects.get(project_id)
        if found is None:
            found = self.lookup.project(project_id)
            if found is not None:
                _remember(self._projects, {project_id: found})
        return found

    def project_at(self, batch: Batch, path: str) -> Project | None:
        """The project with this working directory, as the batch leaves it."""
        new = next((p for p in batch.projects.values() if p.path == path), None)
        return new or self.lookup.project_at(path)

    def project_in(self, batch: Batch, slug: str) -> Project | None:
        """The project whose folder this is, as the batch leaves it."""
        new = next((p for p in batch.projects.values() if p.slug == slug), None)
        return new or self.lookup.project_in(slug)

    def ancestors(self, batch: Batch, conversation: Conversation) -> tuple[str, ...]:
        """The conversations above a sub-agent's, nearest first."""
        above: list[str] = []
        parent = conversation.parent_id
        while parent is not None and parent not in above and len(above) < MAX_DEPTH:
            above.append(parent)
            row = self.conversation(batch, parent)
            parent = row.parent_id if row is not None else None
        return tuple(above)

    def accept(self, batch: Batch) -> None:
        """The batch is committed: its rows are the truth now."""
        _remember(self._conversations, batch.conversations)
        _remember(self._projects, batch.projects)

    # -- one record ----------------------------------------------------------------------------------------------------

    def record(self, batch: Batch, conversation: Conversation, record: Record, public_id: str, at: str | None) -> Usage:
        """Fold a record into its conversation; returns the growth of the tokens counted over all files.

        at: the time of a record that has none of its own; None for history.
        """
        overall, own, replied = tokens.NONE, tokens.NONE, False
        for message_id, counts in record.usage:
            grown, grown_here = self._usage(batch, conversation.id, message_id, counts)
            overall, own = tokens.add(overall, grown), tokens.add(own, grown_here)
        if record.message is not None and is_reply(record):
            replied = self._reply(batch, conversation.id, record.message.message_id)
        new_tools = self._tool_calls(batch, conversation.id, record, public_id)
        facts = Facts(new_message_id=replied, new_tool_ids=new_tools, growth=own, at=at)
        batch.conversations[conversation.id] = apply(conversation, record, facts)
        return overall

    def _usage(self, batch: Batch, conversation: str, message_id: str | None, counts: Usage) -> tuple[Usage, Usage]:
        """What a line adds to the totals over all files, and to those of its conversation."""
        if message_id is None:  # counts once, by itself
            return counts, counts
        rows = self._usage_rows(batch, message_id)
        overall = tokens.NONE
        for row in rows.values():
            overall, _ = tokens.grow(overall, row.usage)
        own = rows.get(conversation, _UNCOUNTED)
        maximum, own_growth = tokens.grow(own.usage, counts)
        if maximum != own.usage:
            self._count(batch, conversation, message_id, attrs.evolve(own, usage=maximum))
        return tokens.grow(overall, counts)[1], own_growth

    def _reply(self, batch: Batch, conversation: str, message_id: str | None) -> bool:
        """Whether an assistant line is the first one of its API message in this conversation."""
        if message_id is None:
            return True
        own = self._usage_rows(batch, message_id).get(conversation, _UNCOUNTED)
        if not own.replied:
            self._count(batch, conversation, message_id, attrs.evolve(own, replied=True))
        return not own.replied

    def _usage_rows(self, batch: Batch, message_id: str) -> dict[str, ConversationUsage]:
        """By conversation. Read once a batch: the lines of one message follow each other."""
        rows = self._counted.get(message_id)
        if rows is None or self._counting is not batch:
            if self._counting is not batch:
                self._counting = batch
                self._counted.clear()
            rows = self._counted[message_id] = self.lookup.usage(message_id)
        return rows

    def _count(self, batch: Batch, conversation: str, message_id: str, row: ConversationUsage) -> None:
        self._counted[message_id][conversation] = row
        batch.usage[message_id, conversation] = row

    def _tool_calls(self, batch: Batch, conversation: str, record: Record, public_id: str) -> int:
        new = 0
        for call in record.message.tool_calls if record.message is not None else ():
            key = (conversation, call.id)
            if key not in batch.tool_calls and not self.lookup.has_tool_call(*key):
                batch.tool_calls[key] = ToolCallRow(conversation, call.id, call.name, public_id)
                new += 1
        return new


def _remember(cache: dict[str, V], rows: dict[str, V]) -> None:
    """Newest last; the oldest entries go when there are too many."""
    for key, row in rows.items():
        cache.pop(key, None)
        cache[key] = row
    for key in _surplus(cache):
        del cache[key]


def _surplus(cache: dict[str, V]) -> Iterable[str]:
    surplus = len(cache) - CACHED_ROWS
    return list(cache)[:surplus] if surplus > 0 else ()
