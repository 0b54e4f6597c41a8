"""The books in memory: conversations, projects and token counts as they are now, and which rows the store lacks.

A batch is never given up (a commit is tried until it succeeds or the process ends), so what is put here counts at once.
"""

from collections.abc import Iterator
from typing import Protocol, TypeVar

import attrs

from observatory.core import usage as tokens
from observatory.core.batch import Batch, ConversationUsage, SourceRow
from observatory.core.bloom import Bloom
from observatory.core.conversation import Conversation
from observatory.core.detail import merge
from observatory.core.project import Project
from observatory.core.tools import ToolCallRow
from observatory.core.transcript import Record
from observatory.core.usage import Usage
from observatory.ingest.calls import Calls

CACHED_ROWS = 1024  # rows of each kind kept decoded, about 2 KB each: what is written to at one time is far less
COUNTED_BYTES = 2 * 1024 * 1024  # beyond four million API messages one new one in seven is asked for in vain
COUNTED_BYTES_OF_ONE_FILE = 16 * 1024  # made anew for each piece of one: the large one takes 0.2 ms to make
MAX_DEPTH = 5  # sub-agents nest no deeper; also ends a loop in damaged data
UNCOUNTED = ConversationUsage(False, tokens.NONE)
V = TypeVar("V")


class Lookup(Protocol):
    """The store's point look-ups."""

    def conversation(self, conversation_id: str) -> Conversation | None: ...
    def project(self, project_id: str) -> Project | None: ...
    def project_at(self, path: str) -> Project | None: ...
    def project_in(self, slug: str) -> Project | None: ...
    def message_ids(self) -> Iterator[str]: ...
    def usage(self, message_id: str) -> dict[str, ConversationUsage]: ...
    def tool_call(self, conversation_id: str, tool_use_id: str) -> ToolCallRow | None: ...


@attrs.define
class Changed:
    """What the store lacks: rows by key, with what they were before (None: new)."""

    conversations: dict[str, Conversation | None] = attrs.field(factory=dict)
    projects: dict[str, Project | None] = attrs.field(factory=dict)
    usage: set[tuple[str, str]] = attrs.field(factory=set)
    sources: dict[int, SourceRow] = attrs.field(factory=dict)


@attrs.define
class Ledger:
    """Reads through to the store; writes by `take`, whose rows the caller commits."""

    lookup: Lookup
    counted_bytes: int = COUNTED_BYTES
    changed: Changed = attrs.field(factory=Changed)
    calls: Calls = attrs.field(init=False)
    _conversations: dict[str, Conversation | None] = attrs.field(factory=dict)
    _projects: dict[str, Project] = attrs.field(factory=dict)
    _usage: dict[str, dict[str, ConversationUsage]] = attrs.field(factory=dict)
    _counted: Bloom = attrs.field(init=False)  # all API messages in the store: most lines bring a new one

    @calls.default
    def _calls(self) -> Calls:
        return Calls(self.lookup)

    @_counted.default
    def _from_the_store(self) -> Bloom:
        counted = Bloom(self.counted_bytes)
        counted.update(self.lookup.message_ids())
        return counted

    # -- rows ----------------------------------------------------------------------------------------------------------

    def conversation(self, conversation_id: str) -> Conversation | None:
        """A conversation as it is now."""
        if conversation_id not in self._conversations:
            self._conversations[conversation_id] = self.lookup.conversation(conversation_id)
        return self._conversations[conversation_id]

    def put_conversation(self, conversation: Conversation) -> None:
        """A conversation's new row."""
        self.changed.conversations.setdefault(conversation.id, self.conversation(conversation.id))
        self._conversations[conversation.id] = conversation

    def project(self, project_id: str) -> Project | None:
        """A project as it is now."""
        found = self._projects.get(project_id) or self.lookup.project(project_id)
        if found is not None:
            self._projects[project_id] = found
        return found

    def project_at(self, path: str) -> Project | None:
        """The project with this working directory."""
        new = next((p for p in map(self.project, self.changed.projects) if p is not None and p.path == path), None)
        return new or self._now(self.lookup.project_at(path))

    def project_in(self, slug: str) -> Project | None:
        """The project whose folder this is."""
        new = next((p for p in map(self.project, self.changed.projects) if p is not None and p.slug == slug), None)
        return new or self._now(self.lookup.project_in(slug))

    def _now(self, stored: Project | None) -> Project | None:
        return None if stored is None else self.project(stored.id)

    def put_project(self, project: Project) -> None:
        """A project's new row."""
        self.changed.projects.setdefault(project.id, self.project(project.id))
        self._projects[project.id] = project

    def put_source(self, source: SourceRow) -> None:
        """A source's new row: how far the books are in it."""
        self.changed.sources[source.id] = source

    def ancestors(self, conversation: Conversation) -> tuple[str, ...]:
        """The conversations above a sub-agent's, nearest first."""
        above: list[str] = []
        parent = conversation.parent_id
        while parent is not None and parent not in above and len(above) < MAX_DEPTH:
            above.append(parent)
            row = self.conversation(parent)
            parent = row.parent_id if row is not None else None
        return tuple(above)

    # -- counts --------------------------------------------------------------------------------------------------------

    def grow(self, conversation_id: str, record: Record) -> tuple[Usage, Usage]:
        """What a record's usage adds to the totals over all files, and to those of its conversation."""
        overall, own = tokens.NONE, tokens.NONE
        for found, counts, detail in record.usage:
            message_id = found or f"line:{conversation_id}@{record.offset}"
            rows = self._usage_rows(message_id)
            if not rows and len(record.usage) == 1:  # the usual case: the first line of its message
                self._count(message_id, conversation_id, ConversationUsage(False, counts, detail))
                return counts, counts
            known = tokens.NONE
            for row in rows.values():
                known, _ = tokens.grow(known, row.usage)
            mine = rows.get(conversation_id, UNCOUNTED)
            maximum, growth = tokens.grow(mine.usage, counts)
            own, overall = tokens.add(own, growth), tokens.add(overall, tokens.grow(known, counts)[1])
            merged = merge(mine.detail, detail)
            if growth or merged is not mine.detail:
                self._count(message_id, conversation_id, ConversationUsage(mine.replied, maximum, merged))
        return overall, own

    def reply(self, conversation_id: str, message_id: str | None) -> bool:
        """Count an assistant line; True when it is the first of its API message in this conversation."""
        if message_id is None:
            return True
        mine = self._usage_rows(message_id).get(conversation_id, UNCOUNTED)
        if not mine.replied:
            self._count(message_id, conversation_id, ConversationUsage(True, mine.usage, mine.detail))
        return not mine.replied

    def _usage_rows(self, message_id: str) -> dict[str, ConversationUsage]:
        rows = self._usage.get(message_id)
        if rows is None:
            known = message_id in self._counted
            rows = self._usage[message_id] = self.lookup.usage(message_id) if known else {}
        return rows

    def _count(self, message_id: str, conversation_id: str, row: ConversationUsage) -> None:
        self._usage_rows(message_id)[conversation_id] = row
        self._counted.add(message_id)
        self.changed.usage.add((message_id, conversation_id))

    def absorb(self, batch: Batch) -> None:
        """Counts that were made elsewhere, of conversations that nothing was counted of here; the batch stores them."""
        for (message_id, conversation_id), row in batch.usage.items():
            if (rows := self._usage.get(message_id)) is not None:
                rows[conversation_id] = row
            self._counted.add(message_id)

    def forget_rows(self) -> None:
        """Look everything up again: rows were removed from the store. Call it when the store lacks nothing."""
        self._conversations.clear()
        self._projects.clear()
        self._usage.clear()
        self.calls.forget()

    # -- to the store --------------------------------------------------------------------------------------------------

    def take(self, batch: Batch) -> Changed:
        """Put what the store lacks into a batch, and begin anew; returns it with what it was before."""
        changed, self.changed = self.changed, Changed()
        batch.sources |= changed.sources
        batch.conversations |= {key: row for key in changed.conversations if (row := self._conversations[key])}
        batch.projects |= {key: self._projects[key] for key in changed.projects}
        batch.usage |= {(mid, cid): self._usage[mid][cid] for mid, cid in changed.usage}
        batch.tool_calls |= self.calls.take()
        _shrink(self._conversations)
        _shrink(self._projects)
        _shrink(self._usage)
        return changed


def _shrink(cache: dict[str, V]) -> None:
    """Forget the oldest half once there are too many; what is needed again is looked up again."""
    if len(cache) > CACHED_ROWS:
        for key in list(cache)[: CACHED_ROWS // 2]:
            del cache[key]
