"""One turn: the new lines of some files → the rows and event drafts of one batch."""

from hashlib import blake2b
from uuid import uuid4

import attrs

from observatory.core import identity, message_added, topics
from observatory.core.batch import Batch, Flag, RecordRow, SourceRow
from observatory.core.conversation import Conversation, changes
from observatory.core.events import Draft
from observatory.core.lines import Line
from observatory.core.project import update
from observatory.core.replies import rfc3339
from observatory.core.transcript import Malformed, Record, malformed, parse
from observatory.core.usage import Usage
from observatory.ingest.ledger import Ledger
from observatory.ingest.projects import project_for, upgrade
from observatory.ingest.reading import Chunk, Oversize

Value = Record | Malformed
NOT_LIVE = Flag.BACKFILL | Flag.COPY | Flag.KNOWN


@attrs.frozen
class Item:
    """A value, its bytes, its number in the file, and what is known about it."""

    value: Value
    body: bytes
    line: int
    flags: Flag


@attrs.define
class Known:
    """Digests of a replaced source's earlier generations, each as often as it may be met again."""

    counts: dict[int, int] = attrs.field(factory=dict)

    def take(self, digest: int) -> bool:
        """Whether a line was there before; each is taken once."""
        left = self.counts.get(digest, 0)
        if left:
            self.counts[digest] = left - 1
        return left > 0


@attrs.define
class Fold:
    """A batch in the making. After its commit call `Ledger.accept(fold.batch)`; before, nothing else has changed."""

    ledger: Ledger
    machine_id: str
    now_ms: int
    batch: Batch = attrs.field(factory=Batch)
    published: int = 0  # records that became message_added
    nul_lines: int = 0
    backfilled_projects: set[str] = attrs.field(factory=set)
    _live_projects: set[str] = attrs.field(factory=set)
    _copy_keys: dict[int, int] = attrs.field(factory=dict)  # of this batch → source id

    @property
    def now(self) -> str:
        """The turn's time."""
        return rfc3339(self.now_ms)

    def add(self, source: SourceRow, chunk: Chunk, known: Known, waiting: list[Item]) -> SourceRow:
        """Put a chunk of a source into the batch; returns the source's new row.

        waiting: what is stored of the source but was not recognised as Claude Code's yet.
        """
        items = self._items(source, chunk, known)
        after = _advanced(source, chunk, len(items))
        announced = source.conversation_id is not None and source.offset >= source.backfill_until
        if source.conversation_id is None and not _recognised([*waiting, *items]):
            self.batch.records.extend(_row(after, item, None) for item in items)
        else:
            after = self._follow(after, items, waiting, announced)
        self.batch.sources[after.id] = after
        return after

    def file_event(self, source: SourceRow, kind: str) -> None:
        """file_created, file_modified or file_deleted of a source. kind: created, modified or deleted."""
        data: dict[str, object] = {
            "event_id": str(uuid4()),
            "event_type": kind,
            "src_path": source.path,
            "file_path": source.path,
            "is_directory": False,
            "dest_path": None,
            "detected_at": self.now,
        }
        project_id = None
        if source.conversation_id is not None:
            conversation = self.ledger.conversation(self.batch, source.conversation_id)
            project_id = conversation.project_id if conversation is not None else None
            data |= {"project_id": project_id, "conversation_id": source.conversation_id}
        if kind != "deleted":
            data |= {"file_size": source.state.size, "modification_time": rfc3339(source.state.mtime_ns // 1_000_000)}
        self.batch.drafts.append(Draft(f"file_{kind}", data, topics.of_file(project_id)))

    def finish(self) -> Batch:
        """Add the project updates, at most one a project, and hand the batch over."""
        for project_id in sorted(self._live_projects):
            project = self.batch.projects.get(project_id)
            old = self.ledger.committed_project(project_id)
            data = update(old, project) if project is not None else None
            if data is not None:
                self.batch.drafts.append(Draft("project_update", data, topics.of_project(project_id)))
        return self.batch

    def announce(self, project_ids: set[str]) -> None:
        """project_update, as for a first sight: the history of these projects is in."""
        for project_id in sorted(project_ids):
            project = self.ledger.project(self.batch, project_id)
            if project is not None:
                data = update(None, project)
                assert data is not None
                self.batch.drafts.append(Draft("project_update", data, topics.of_project(project_id)))

    # -- lines → items -------------------------------------------------------------------------------------------------

    def _items(self, source: SourceRow, chunk: Chunk, known: Known) -> list[Item]:
        items: list[Item] = []
        for line in chunk.lines:
            for value, body in self._values(line):
                flags = self._flags(source, value, body, known)
                items.append(Item(value, body, source.lines + len(items), flags))
        return items

    def _values(self, line: Line | Oversize) -> list[tuple[Value, bytes]]:
        if isinstance(line, Oversize):
            return [(malformed(line.offset, line.length, "oversize line", line.head), line.head)]
        values = parse(line)
        if len(values) == 1:
            return [(values[0], line.data)]
        self.nul_lines += not values
        start = line.offset
        return [(v, line.data[v.offset - start : v.offset - start + v.length]) for v in values]

    def _flags(self, source: SourceRow, value: Value, body: bytes, known: Known) -> Flag:
        flags = Flag.BACKFILL if value.offset < source.backfill_until else Flag(0)
        if known.counts and known.take(_digest(value, body)):
            flags |= Flag.KNOWN
        if isinstance(value, Record):
            if value.copy_key is not None and self._is_copy(_signed(value.copy_key), source.id):
                flags |= Flag.COPY
            flags |= (Flag.SIDECHAIN if value.is_sidechain else 0) | (Flag.META if value.is_meta else 0)
        return flags

    def _is_copy(self, copy_key: int, source_id: int) -> bool:
        first = self._copy_keys.setdefault(copy_key, source_id)
        return first != source_id or self.ledger.lookup.holds_elsewhere(copy_key, source_id)

    # -- items → rows and events ---------------------------------------------------------------------------------------

    def _follow(self, source: SourceRow, items: list[Item], waiting: list[Item], announced: bool) -> SourceRow:
        """Fold items into their conversation, which the source opens if it has none yet."""
        every = [*waiting, *items]
        if source.conversation_id is None:
            opened = self._open(source, every)
            source = attrs.evolve(source, conversation_id=opened.id)
            if waiting:
                self.batch.adopted.append((source.id, opened.id))
        assert source.conversation_id is not None
        self.batch.records.extend(_row(source, item, source.conversation_id) for item in items)
        place = len(self.batch.drafts)
        for item in every:
            self._record(source, source.conversation_id, item)
        self._conclude(source, source.conversation_id, announced, place)
        return source

    def _open(self, source: SourceRow, items: list[Item]) -> Conversation:
        records = [item.value for item in items if isinstance(item.value, Record)]
        inline = next((r.session_id for r in records if r.session_id), None)
        cwd = next((r.cwd for r in records if r.cwd), None)
        location = identity.locate(source.path, source.root)
        taken = self._taken
        own_id = identity.conversation_id(location, inline, taken, source.path)
        parent = identity.parent_id(location, inline)
        project = project_for(self.ledger, self.batch, self.machine_id, location, parent, cwd, self.now)
        grown = attrs.evolve(project, conversation_count=project.conversation_count + 1, updated_at=self.now)
        self.batch.projects[project.id] = grown
        at = rfc3339(source.state.mtime_ns // 1_000_000)
        session = identity.session_id(location, inline)
        opened = Conversation(own_id, project.id, session, source.path, at, at, location.agent_id, parent)
        self.batch.conversations[own_id] = opened
        return opened

    def _taken(self, conversation_id: str) -> bool:
        return self.ledger.conversation(self.batch, conversation_id) is not None

    def _record(self, source: SourceRow, conversation_id: str, item: Item) -> None:
        conversation = self.ledger.conversation(self.batch, conversation_id)
        assert conversation is not None
        value, live = item.value, not item.flags & NOT_LIVE
        public_id = _public_id(source, value.offset)
        growth: Usage | None = None
        if isinstance(value, Record) and not item.flags & Flag.KNOWN:
            if value.cwd and conversation.cwd is None:
                conversation = upgrade(self.ledger, self.batch, self.machine_id, conversation, value.cwd, self.now)
            growth = self.ledger.record(self.batch, conversation, value, public_id, self.now if live else None)
        if live:
            self._publish(conversation, item, public_id, growth)

    def _publish(self, conversation: Conversation, item: Item, public_id: str, growth: Usage | None) -> None:
        data = message_added.data(
            item.value,
            record_id=public_id,
            conversation_id=conversation.id,
            project_id=conversation.project_id,
            session_id=conversation.session_id,
            agent_id=conversation.agent_id,
            sequence_number=item.line,
            growth=growth,
        )
        self.batch.drafts.append(Draft("message_added", data, self._topics(conversation)))
        self.published += 1

    def _conclude(self, source: SourceRow, conversation_id: str, announced: bool, place: int) -> None:
        """conversation_started when the history is in, conversation_update on change; the project follows."""
        conversation = self.ledger.conversation(self.batch, conversation_id)
        assert conversation is not None
        live = len(self.batch.drafts) > place
        data = None
        if announced:
            old = self.ledger.committed_conversation(conversation_id)
            data = changes(old, conversation) if old is not None else None
            if data is not None:
                self.batch.drafts.append(Draft("conversation_update", data, self._topics(conversation)))
        elif source.offset >= source.backfill_until:
            data = changes(None, conversation)
            assert data is not None
            self.batch.drafts.insert(place, Draft("conversation_started", data, self._topics(conversation)))
        project = self.ledger.project(self.batch, conversation.project_id)
        if project is not None and conversation.updated_at > project.last_activity:
            self.batch.projects[project.id] = attrs.evolve(
                project, last_activity=conversation.updated_at, updated_at=self.now
            )
        (self._live_projects if live else self.backfilled_projects).add(conversation.project_id)

    def _topics(self, conversation: Conversation) -> tuple[str, ...]:
        above = self.ledger.ancestors(self.batch, conversation) if conversation.parent_id else ()
        return topics.of_conversation(conversation.id, conversation.project_id, above)


def reread(body: bytes, offset: int, line: int, flags: int) -> Item:
    """A stored record that waited for its file to be recognised, as it was when it was read."""
    values = parse(Line(offset, len(body), body))
    value = values[0] if values else malformed(offset, len(body), "nul", body)
    return Item(value, body, line, Flag(flags))


def _advanced(source: SourceRow, chunk: Chunk, items: int) -> SourceRow:
    offset = source.offset + chunk.consumed
    torn_history = not chunk.more and offset < source.backfill_until  # the rest of the line is yet to be written: live
    return attrs.evolve(
        source,
        state=chunk.state,
        offset=offset,
        lines=source.lines + items,
        backfill_until=offset if torn_history else source.backfill_until,
        missing=False,
    )


def _recognised(items: list[Item]) -> bool:
    return any(isinstance(item.value, Record) and item.value.recognised for item in items)


def _row(source: SourceRow, item: Item, conversation_id: str | None) -> RecordRow:
    value = item.value
    place = (source.id, source.generation, value.offset, value.length, item.line, conversation_id)
    if isinstance(value, Malformed):
        digest = _digest(value, item.body)
        return RecordRow(*place, "", "other", None, None, None, int(item.flags), value.reason, None, digest, item.body)
    message_id = value.message.message_id if value.message is not None else None
    copy_key = None if value.copy_key is None else _signed(value.copy_key)
    return RecordRow(
        *place, value.type, value.kind, value.uuid, message_id, value.timestamp, int(item.flags), None, copy_key,
        _signed(value.digest), item.body,
    )  # fmt: skip


def _public_id(source: SourceRow, offset: int) -> str:
    return f"{source.id}-{source.generation}-{offset}"


def _digest(value: Value, body: bytes) -> int:
    digest = value.digest if isinstance(value, Record) else blake2b(body, digest_size=8).digest()
    return _signed(digest)


def _signed(digest: bytes) -> int:
    """SQLite integers are signed."""
    return int.from_bytes(digest, "big", signed=True)
