"""What a person says of a conversation: a star, tags, a note. Nothing of it comes from transcripts, nor goes there."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from observatory.core.conversation import Conversation
from observatory.core.errors import UsageError
from observatory.core.events import Draft
from observatory.core.neutral import neutral
from observatory.core.topics import of_conversation

TAG_CHARS, MOST_TAGS, NOTE_CHARS = 64, 32, 4096


@attrs.frozen
class Annotation:
    """tags: in the order of their letters; each one is there once, whatever its case."""

    conversation_id: str
    starred: bool = False
    tags: tuple[str, ...] = ()
    note: str = ""

    @property
    def empty(self) -> bool:
        """Nothing is said."""
        return not (self.starred or self.tags or self.note)

    def json(self) -> dict[str, Any]:
        """As in conversation_update."""
        return {"starred": self.starred, "tags": list(self.tags), "note": self.note}


@attrs.frozen
class Change:
    """What is to be said of a conversation from now on; None: as before."""

    conversation_id: str
    starred: bool | None = None
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    note: str | None = None

    @property
    def empty(self) -> bool:
        """Nothing changes."""
        return self == Change(self.conversation_id)


def change_of(
    conversation_id: str, starred: bool | None, add: Iterable[str], remove: Iterable[str], note: str | None
) -> Change:
    """A change as typed. Raises UsageError."""
    if note is not None and len(note) > NOTE_CHARS:
        raise UsageError(f"a note may have {NOTE_CHARS:,} characters, this one has {len(note):,}")
    if note is not None and "\0" in note:
        raise UsageError("a note is a text: there is a NUL in it")
    tags = tuple(map(tag_of, add))
    return Change(conversation_id, starred, tags, tuple(map(tag_of, remove)), None if note is None else note.strip())


def tag_of(text: str) -> str:
    """A tag as typed. Raises UsageError."""
    tag = unicodedata.normalize("NFC", text).strip()
    if not tag or len(tag) > TAG_CHARS or "," in tag or neutral(tag) != tag:
        raise UsageError(f"'{neutral(text[:80])}' is no tag: 1 to {TAG_CHARS} characters on one line, without a comma")
    return tag


def applied(before: Annotation, change: Change) -> Annotation:
    """What is said after a change. Raises UsageError: too many tags."""
    tags = {tag.casefold(): tag for tag in before.tags}
    for tag in change.add:
        tags.setdefault(tag.casefold(), tag)
    for tag in change.remove:
        tags.pop(tag.casefold(), None)
    if len(tags) > MOST_TAGS:
        raise UsageError(f"a conversation may have {MOST_TAGS} tags: remove one with --remove TAG")
    starred = before.starred if change.starred is None else change.starred
    note = before.note if change.note is None else change.note
    return Annotation(before.conversation_id, starred, tuple(sorted(tags.values(), key=str.casefold)), note)


def draft_of(row: Conversation, above: Sequence[str], before: Annotation, after: Annotation) -> Draft | None:
    """What clients are told. above: the conversations over a sub-agent's. None: nothing has changed."""
    told, known = after.json(), before.json()
    changed = {key: value for key, value in told.items() if value != known[key]}
    if not changed:
        return None
    always = {
        "id": row.id,
        "project_id": row.project_id,
        "session_id": row.session_id,
        "message_count": row.message_count,
        "file_path": row.file_path,
    }
    return Draft("conversation_update", always | changed, of_conversation(row.id, row.project_id, above))
