"""To forget: what is removed for good, and what clients are told of it.

An event keeps its place in the log, so that the log stays dense and positions stay valid, but loses its text and its
topics: a tombstone, which no client can hold a topic of. Source: docs/privacy.md.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import attrs

from observatory.core import topics
from observatory.core.conversation import Conversation, changes
from observatory.core.events import Draft, Event
from observatory.core.particulars import without
from observatory.core.project import Project, update

FORGOTTEN = "forgotten"  # why a record is empty: it repeated a line of a forgotten conversation
FORGOTTEN_SOURCE = 0  # the source that holds the copy keys of forgotten lines; real ids begin at 1


@attrs.frozen
class Target:
    """One conversation with its sub-agents, or one project with all its conversations."""

    kind: Literal["conversation", "project"]
    id: str


@attrs.frozen
class ForgottenFile:
    """A source that goes. head: digest of its first record, by which the file is known under another name."""

    id: int
    path: str
    head: int | None

    @property
    def name(self) -> str | None:
        """The path that is not read again; None if another file took it already (its row then ends in #id)."""
        return None if self.path.endswith(f"#{self.id}") else self.path


@attrs.frozen
class Removal:
    """Everything that goes.

    copies: keys of records elsewhere that repeat its lines; they are emptied. cleaned: rows whose title or last prompt
    came from those, before and after. kept_in: conversations that it has copied lines from, which stay there.
    seqs: of its events. events: what clients are told, once it is done.
    """

    conversations: tuple[Conversation, ...] = ()
    project: Project | None = None  # the whole of it, or the one that stays with fewer conversations
    whole_project: bool = False
    files: tuple[ForgottenFile, ...] = ()
    records: int = 0
    record_bytes: int = 0
    copies: tuple[int, ...] = ()
    cleaned: tuple[tuple[Conversation, Conversation], ...] = ()
    copied_in: tuple[str, ...] = ()
    kept_in: tuple[str, ...] = ()
    seqs: tuple[int, ...] = ()
    event_bytes: int = 0
    events: tuple[Event, ...] = ()

    @property
    def empty(self) -> bool:
        """There is nothing of it, or nothing any more."""
        return not self.conversations and not (self.whole_project and self.project) and not self.files


def family(target: Target, known: Mapping[str, Conversation]) -> list[Conversation]:
    """The conversations that are meant, with all sub-agents below them."""
    if target.kind == "project":
        meant = {key for key, row in known.items() if row.project_id == target.id}
    else:
        meant = {target.id} & known.keys()
    while below := {key for key, row in known.items() if row.parent_id in meant} - meant:
        meant |= below
    return [row for key, row in known.items() if key in meant]


def lineage(conversation: Conversation, known: Mapping[str, Conversation]) -> list[str]:
    """The ids above a sub-agent, nearest first."""
    above: list[str] = []
    parent = conversation.parent_id
    while parent is not None and parent not in above:
        above.append(parent)
        parent = known[parent].parent_id if parent in known else None
    return above


def topics_of(target: Target, conversations: Iterable[Conversation]) -> frozenset[str]:
    """An event with one of these topics is about what is forgotten."""
    own = {f"conversation:{row.id}" for row in conversations}
    return frozenset(
        own | ({f"project:{target.id}", f"file_events:{target.id}"} if target.kind == "project" else set())
    )


def cleaned(row: Conversation, texts: frozenset[str]) -> Conversation:
    """A conversation's row without what it took over from forgotten lines."""
    row = attrs.evolve(row, particulars=without(row.particulars, texts))
    if row.first_prompt in texts:
        row = attrs.evolve(row, first_prompt=None)
    if row.title in texts:
        row = attrs.evolve(row, title=row.first_prompt, title_source="prompt" if row.first_prompt else None)
    return attrs.evolve(row, last_prompt=None) if row.last_prompt in texts else row


def fewer(project: Project, conversations: Iterable[Conversation]) -> Project:
    """The project that stays, without them."""
    gone = sum(row.project_id == project.id for row in conversations)
    return attrs.evolve(project, conversation_count=max(0, project.conversation_count - gone))


def drafts_of(removal: Removal, known: Mapping[str, Conversation]) -> list[Draft]:
    """What clients are told."""
    told = []
    for row in removal.conversations:
        carried = topics.of_conversation(row.id, row.project_id, lineage(row, known))
        told.append(Draft("conversation_forgotten", {"id": row.id, "project_id": row.project_id}, carried))
    for before, after in removal.cleaned:
        if (data := changes(before, after)) is not None:
            carried = topics.of_conversation(after.id, after.project_id, lineage(after, known))
            told.append(Draft("conversation_update", data, carried))
    project = removal.project
    if project is not None and removal.whole_project:
        told.append(Draft("project_forgotten", {"id": project.id}, topics.of_project(project.id)))
    elif project is not None and (data := update(project, fewer(project, removal.conversations))) is not None:
        told.append(Draft("project_update", data, topics.of_project(project.id)))
    return told


@attrs.define
class KeptOut:
    """Files that are not read (again). heads: digests of first records, for a forgotten file under another name."""

    excluded: Callable[[str], bool] = lambda path: False
    paths: set[str] = attrs.field(factory=set)
    heads: set[int] = attrs.field(factory=set)

    def add(self, files: Iterable[ForgottenFile]) -> None:
        """Files that were forgotten."""
        for file in files:
            self.paths |= set() if file.name is None else {file.name}
            self.heads |= set() if file.head is None else {file.head}

    @property
    def anything(self) -> bool:
        """Whether something was forgotten."""
        return bool(self.paths or self.heads)

    def holds(self, path: str) -> bool:
        """Whether a path is excluded, a forgotten file's, or in the folder of its sub-agents."""
        if self.excluded(path) or path in self.paths:
            return True
        if not self.paths:
            return False
        while folder := path.rpartition("/")[0]:
            if f"{folder}.jsonl" in self.paths:
                return True
            path = folder
        return False
