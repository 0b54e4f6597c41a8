"""What one transaction of the log holds: rows and event drafts, decided before anything is written."""

from typing import Any

import attrs

from observatory.core.annotations import Annotation
from observatory.core.conversation import Conversation
from observatory.core.detail import UNKNOWN, Detail
from observatory.core.events import Draft
from observatory.core.frozen import frozen
from observatory.core.project import Project
from observatory.core.summaries import Summary
from observatory.core.tools import ToolCallRow
from observatory.core.usage import Usage

SOURCE_BITS, GENERATION_BITS, OFFSET_BITS = 20, 6, 37  # 1 M files, 64 generations, 128 GiB a file: 63 bits
MAX_GENERATION = (1 << GENERATION_BITS) - 1


def record_key(source_id: int, generation: int, offset: int) -> int:
    """A record's key as one integer, so that it needs no index of its own and a file's records lie together."""
    return (source_id << GENERATION_BITS | generation) << OFFSET_BITS | offset


def split_key(key: int) -> tuple[int, int, int]:
    """Source id, generation and offset of a record's key."""
    source, offset = key >> OFFSET_BITS, key & ((1 << OFFSET_BITS) - 1)
    return source >> GENERATION_BITS, source & MAX_GENERATION, offset


def id_of(key: int) -> str:
    """A record's id on the wire."""
    return "{}-{}-{}".format(*split_key(key))


def key_of_id(text: str) -> int | None:
    """The key of a record's id; None if that is none."""
    parts = text.split("-")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 13 for part in parts):
        return None
    source, generation, offset = map(int, parts)
    if source >> SOURCE_BITS or generation > MAX_GENERATION or offset >> OFFSET_BITS:
        return None
    return record_key(source, generation, offset)


def source_of(key: int) -> int:
    """Source id of a record's key."""
    return key >> GENERATION_BITS + OFFSET_BITS


class Flag:
    """Marks on a record; plain ints, because operators of an enum cost more than parsing a field."""

    COPY = 1  # a fork's or resume's copy of a line that is stored already: archived, not published
    KNOWN = 2  # the same line was read in an earlier generation of this source
    SIDECHAIN = 4
    META = 8
    BACKFILL = 16
    SUPERSEDED = 32  # of an earlier generation, and not in the file any more; kept all the same
    TAIL = 64  # the end of a file at rest, whole but without its newline: reading goes on before it
    FOREIGN = 256  # its line names another session than its file's: a fork's copy that kept its origin's id
    REDACTED = 128  # keys and tokens were replaced before it was stored: the body is shorter or longer than the line


@frozen
class FileState:
    """What tells two versions of a file apart: unchanged means that all five are equal."""

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int


@frozen
class SourceRow:
    """One transcript file; see sources in storage/schema.sql."""

    id: int
    path: str
    root: str
    state: FileState
    generation: int = 0
    offset: int = 0
    backfill_until: int = 0
    lines: int = 0
    conversation_id: str | None = None
    missing: bool = False


@frozen
class RecordRow:
    """One line, or one value of a glued line; keyed by (source_id, generation, offset).

    span: bytes from `offset` to the start of the next line: where reading goes on after this record.
    """

    source_id: int
    generation: int
    offset: int
    length: int
    span: int
    line: int
    conversation_id: str | None
    type: str
    kind: str
    uuid: str | None
    message_id: str | None
    timestamp: str | None
    flags: int
    error: str | None
    body: bytes

    @property
    def key(self) -> int:
        """The record's key in the archive."""
        return record_key(self.source_id, self.generation, self.offset)

    @property
    def values(self) -> tuple[Any, ...]:
        """As the archive stores it: the key, then the columns in this order, the codec (0: as read) last."""
        return (
            self.key, self.length, self.span, self.line, self.conversation_id, self.type, self.kind, self.uuid,
            self.message_id, self.timestamp, self.flags, self.error, self.body, 0,
        )  # fmt: skip


@attrs.frozen
class StoredLine:
    """What is read back of a record to find out whether its bytes still stand in the file, or have come back.

    size: of the body; head, tail: the body's first and last bytes, see EventLog.
    """

    key: int
    flags: int
    length: int
    size: int
    head: bytes
    tail: bytes


@attrs.frozen
class StoredRecord:
    """What is read back of a record to fold it in later."""

    offset: int
    span: int
    line: int
    flags: int
    body: bytes


@frozen
class ConversationUsage:
    """What one API message counts in one conversation; `replied`: an assistant line carried its id."""

    replied: bool
    usage: Usage
    detail: Detail = UNKNOWN


@attrs.frozen
class AttachmentRow:
    """A spilled output: its file as it was read. reason: why there is no body. transcript: its session's main file."""

    id: int
    conversation_id: str
    name: str
    size: int
    mtime_ns: int
    reason: str | None
    transcript: str


@attrs.frozen
class AttachmentPart:
    """A piece of its compressed body; with the last one it is complete, and takes the place of the one before."""

    attachment: int
    part: int
    data: bytes
    last: bool


@attrs.frozen
class HookRow:
    """What a hook told; see hook_events in storage/schema.sql."""

    id: int
    key: str | None
    at_ms: int
    conversation_id: str
    session_id: str
    project_id: str | None
    name: str
    body: bytes


@attrs.define
class Batch:
    """One transaction. Rows with the same key as a stored one replace it, but records, which stay."""

    sources: dict[int, SourceRow] = attrs.field(factory=dict)
    records: list[RecordRow] = attrs.field(factory=list)
    rows: list[tuple[Any, ...]] = attrs.field(factory=list)  # further records, as RecordRow.values
    blocks: dict[int, tuple[int, bytes]] = attrs.field(factory=dict)  # by the first record's key: last one's, zstd
    packed: dict[int, int] = attrs.field(factory=dict)  # source id → see sources.packed in storage/schema.sql
    adopted: list[tuple[int, str]] = attrs.field(factory=list)  # (source id, conversation id) of waiting records
    flagged: list[tuple[int, int, int]] = attrs.field(factory=list)  # (record key, flags to set, flags to take away)
    withdrawn: list[int] = attrs.field(factory=list)  # keys of records that another one takes the place of
    renamed: list[int] = attrs.field(factory=list)  # ids of sources whose path is another than in the store
    conversations: dict[str, Conversation] = attrs.field(factory=dict)
    projects: dict[str, Project] = attrs.field(factory=dict)
    usage: dict[tuple[str, str], ConversationUsage] = attrs.field(factory=dict)  # by message and conversation id
    tool_calls: dict[tuple[str, str], ToolCallRow] = attrs.field(factory=dict)
    ended: list[str] = attrs.field(factory=list)  # conversations that are completed now: no result is waited for
    summaries: dict[tuple[str, str], Summary] = attrs.field(factory=dict)  # by leaf and where it stands
    leaves: dict[tuple[str, str], bool] = attrs.field(factory=dict)  # (leaf, holder) → whether it is so
    copies: dict[int, int] = attrs.field(factory=dict)  # copy key → key of the record that counts as the original
    originals: dict[int, int] = attrs.field(factory=dict)  # the same, where another record counted as the original
    annotations: list[Annotation] = attrs.field(factory=list)
    hooks: list[HookRow] = attrs.field(factory=list)
    attachments: list[AttachmentRow] = attrs.field(factory=list)
    attachment_parts: list[AttachmentPart] = attrs.field(factory=list)
    swept: list[int] = attrs.field(factory=list)  # ids of sources whose session's spilled outputs were looked for
    scanned_roots: list[str] = attrs.field(factory=list)
    drafts: list[Draft] = attrs.field(factory=list)

    def add(self, other: "Batch") -> None:
        """Put another batch's rows behind this one's."""
        for name in _FIELDS:
            mine, theirs = getattr(self, name), getattr(other, name)
            if theirs and isinstance(mine, dict):
                mine.update(theirs)
            elif theirs:
                mine.extend(theirs)


_FIELDS = tuple(field.name for field in attrs.fields(Batch))
