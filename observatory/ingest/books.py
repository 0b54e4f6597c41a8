"""The books: what follows from records. Opens conversations, folds items in, and says what changed."""

from collections.abc import Callable
from typing import Any, Literal
from uuid import UUID

import attrs
import structlog

from observatory.core import identity, topics
from observatory.core.batch import Batch, Flag, SourceRow
from observatory.core.conversation import Conversation, changes
from observatory.core.decode import valid
from observatory.core.events import Draft
from observatory.core.project import Project, update
from observatory.core.replies import rfc3339
from observatory.ingest import kin
from observatory.ingest.copies import Copies
from observatory.ingest.folding import blank, count, first_cwd, fold
from observatory.ingest.items import Item
from observatory.ingest.leaves import Leaves
from observatory.ingest.ledger import Ledger
from observatory.ingest.presence import Presence
from observatory.ingest.projects import project_for, upgrade

log = structlog.get_logger()
FileEvent = Literal["created", "modified", "deleted"]


@attrs.define
class Entry:
    """What one turn found in one file.

    source: the row after it; announced: its conversation was told of before; replaced: the file's content is another;
    moved_from: its path until now; set_aside: rows of sources whose place it took; flagged, withdrawn, renamed: see
    Batch.
    """

    source: SourceRow
    items: list[Item]
    announced: bool
    event: FileEvent | None
    replaced: bool = False
    moved_from: str | None = None
    set_aside: list[SourceRow] = attrs.field(factory=list)
    flagged: list[tuple[int, int, int]] = attrs.field(factory=list)
    withdrawn: list[int] = attrs.field(factory=list)
    renamed: list[int] = attrs.field(factory=list)


@attrs.define
class Books:
    """Entries wait here until `close` folds them in, in order."""

    ledger: Ledger
    machine_id: str
    copies: Copies
    leaves: Leaves
    random_bits: Callable[[int], int]  # for event ids
    presence: Presence
    pending: list[Entry] = attrs.field(factory=list)
    unannounced: set[str] = attrs.field(factory=set)  # projects whose history is in, but not told of yet

    def open(self, source: SourceRow, items: list[Item], now: str) -> Conversation:
        """A new conversation for a file, in its project."""
        return self.enter(source, blank(source, items, self._taken), first_cwd(items), now)

    def enter(self, source: SourceRow, conversation: Conversation, cwd: str | None, now: str) -> Conversation:
        """Put a new conversation into its project. cwd: the first of the lines that tell what its file is."""
        location = identity.locate(source.path, source.root)
        project = project_for(self.ledger, self.machine_id, location, source.root, conversation.parent_id, cwd, now)
        self.ledger.put_project(
            attrs.evolve(project, conversation_count=project.conversation_count + 1, updated_at=now)
        )
        opened = attrs.evolve(conversation, project_id=project.id)
        self.ledger.put_conversation(opened)
        return opened

    def settle_project(self, conversation: Conversation, cwd: str, now: str) -> Conversation:
        """A conversation's first working directory turned up: its project was taken from its folder until now."""
        return upgrade(self.ledger, self.machine_id, conversation, cwd, now)

    @property
    def waiting(self) -> bool:
        """Something is to be told or settled once no history waits any more."""
        return bool(self.unannounced or self.leaves.unsettled)

    def _taken(self, conversation_id: str) -> bool:
        return self.ledger.conversation(conversation_id) is not None

    def topics_of(self, conversation: Conversation) -> tuple[str, ...]:
        """Topics of a conversation's events."""
        above = self.ledger.ancestors(conversation) if conversation.parent_id else ()
        return topics.of_conversation(conversation.id, conversation.project_id, above)

    def count(self, conversation_id: str, items: list[Item]) -> None:
        """Work out what the items' usage adds."""
        count(self.ledger, conversation_id, items)

    @property
    def overdue(self) -> bool:
        """Whether conversations have changed by mere silence."""
        return self.presence.seconds_left <= 0

    def close(self, batch: Batch, now: str, history_done: bool) -> None:
        """Fold in what is pending, settle what is due, and put rows and events into the batch: first what is new, last
        what changed.

        history_done: no more history is waiting, so the projects that only have history are told of now.
        """
        new_projects: list[Draft] = []
        first: list[Draft] = []
        last: list[Draft] = []
        live_projects: set[str] = set()
        touched: dict[str, bool] = {}  # conversation → announced before
        for entry in self.pending:
            self._fold(entry, now, touched, live_projects)
            if entry.moved_from is not None:
                first.append(self._file_event(entry.source, "deleted", now, entry.moved_from))
            if entry.event is not None:
                draft = self._file_event(entry.source, entry.event, now)
                (first if entry.event == "created" else last).append(draft)
        for key, told in self.presence.settle_due().items():
            if told:
                touched.setdefault(key, True)
        for conversation_id in self.leaves.settle(self.ledger, batch, history_done):
            touched.setdefault(conversation_id, True)
        before = self.ledger.take(batch)
        batch.ended += [key for key, old in before.conversations.items() if _has_ended(old, batch.conversations[key])]
        batch.copies = self.copies.take(now)
        for conversation_id, announced in touched.items():
            self._conversation_event(conversation_id, announced, before.conversations, first, last)
        told_anew = self.unannounced if history_done else set()
        silent = self.unannounced - live_projects
        for project_id in sorted((before.projects.keys() - silent) | told_anew):
            old = None if project_id in told_anew else before.projects[project_id]
            self._project_event(project_id, old, new_projects if old is None else last)
        self.unannounced = self.unannounced - told_anew
        batch.drafts[:] = [*new_projects, *first, *batch.drafts, *last]
        self.pending.clear()

    # -- one entry -----------------------------------------------------------------------------------------------------

    def _fold(self, entry: Entry, now: str, touched: dict[str, bool], live_projects: set[str]) -> None:
        source = entry.source
        for row in (*entry.set_aside, source):
            self.ledger.put_source(row)
        conversation = self.ledger.conversation(source.conversation_id) if source.conversation_id else None
        if conversation is None:
            return
        folded = conversation
        if entry.renamed:
            folded = attrs.evolve(folded, file_path=source.path)
        folded = fold(self.ledger, folded, source, entry.items, now)
        told = entry.announced or source.offset >= source.backfill_until
        live = any(item.live for item in entry.items)
        folded = self.presence.settle(folded, live=live, told=told)
        self.ledger.put_conversation(folded)
        self.leaves.note(conversation, folded, entry.items)
        for adopted in kin.settle(self.ledger, conversation, folded):
            touched.setdefault(adopted, True)
        folded = self.ledger.conversation(folded.id) or folded
        project = self.ledger.project(folded.project_id)
        timely = folded.stamped or any(item.live for item in entry.items)
        if project is not None and timely and folded.updated_at > project.last_activity:
            self.ledger.put_project(attrs.evolve(project, last_activity=folded.updated_at, updated_at=now))
        if told:
            touched.setdefault(folded.id, entry.announced)
        if live:
            live_projects.add(folded.project_id)
        if any(item.flags & Flag.BACKFILL for item in entry.items):
            self.unannounced.add(folded.project_id)

    # -- events --------------------------------------------------------------------------------------------------------

    def _conversation_event(
        self,
        conversation_id: str,
        announced: bool,
        before: dict[str, Conversation | None],
        first: list[Draft],
        last: list[Draft],
    ) -> None:
        conversation = self.ledger.conversation(conversation_id)
        assert conversation is not None
        data = changes(before.get(conversation_id) if announced else None, conversation)
        if data is not None:
            kind, where = ("conversation_update", last) if announced else ("conversation_started", first)
            where.append(Draft(kind, data, self.topics_of(conversation)))

    def _project_event(self, project_id: str, before: Project | None, last: list[Draft]) -> None:
        project = self.ledger.project(project_id)
        data = update(before, project) if project is not None else None
        if data is not None:
            last.append(Draft("project_update", data, topics.of_project(project_id)))

    def _file_event(self, source: SourceRow, kind: FileEvent, now: str, moved_from: str | None = None) -> Draft:
        path = valid(moved_from or source.path)
        data: dict[str, Any] = {
            "event_id": str(UUID(int=self.random_bits(128), version=4)),
            "event_type": "moved" if moved_from else kind,
            "src_path": path,
            "file_path": path,
            "is_directory": False,
            "dest_path": valid(source.path) if moved_from else None,
            "detected_at": now,
        }
        conversation = self.ledger.conversation(source.conversation_id) if source.conversation_id else None
        project_id = conversation.project_id if conversation is not None else None
        if conversation is not None:
            data |= {"project_id": project_id, "conversation_id": conversation.id}
        if kind != "deleted":
            data |= {"file_size": source.state.size, "modification_time": rfc3339(source.state.mtime_ns // 1_000_000)}
        return Draft(f"file_{kind}", data, topics.of_file(project_id))


def _has_ended(before: Conversation | None, after: Conversation) -> bool:
    return after.status == "completed" and (before is None or before.status != "completed")
