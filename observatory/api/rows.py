"""Rows of the archive as answers hold them."""

from typing import Any

from observatory.core import hook_events, message_added
from observatory.core.annotations import Annotation
from observatory.core.batch import HookRow
from observatory.core.conversation import Conversation, changes
from observatory.core.decode import valid
from observatory.core.project import Project, update
from observatory.storage.conversations import Stored, record_of

WHOLE = 1 << 40  # bytes: a record that is asked for by itself is not cut
Data = dict[str, Any]


def project_row(project: Project) -> Data:
    """As in project_update."""
    row = update(None, project)
    assert row is not None, "all of it is told"
    return row


def conversation_row(row: Conversation, said: Annotation) -> Data:
    """As in conversation_started, with what a person says of it, and where it takes place."""
    told = changes(None, row)
    assert told is not None, "all of it is told"
    more = {name: _text(getattr(row, name)) for name in ("cwd", "git_branch", "last_prompt")}
    return {**told, "tool_error_count": row.tool_error_count, **more, **said.json()}


def _text(text: str | None) -> str | None:
    return None if text is None else valid(text)


def record_row(stored: Stored, row: Conversation | None, *, whole: bool = False) -> Data:
    """As in message_added."""
    told = message_added.data(
        record_of(stored),
        record_id=stored.id,
        conversation_id="" if row is None else row.id,
        project_id="" if row is None else row.project_id,
        session_id="" if row is None else row.session_id,
        agent_id=None if row is None else row.agent_id,
        sequence_number=stored.line,
        growth=None,
        limit=WHOLE if whole else message_added.FRAME_BYTES,
    )
    return {"line": stored.line, "record": told["record"], "message": told["message"]}


def hook_row(row: HookRow) -> Data:
    """As in hook_event."""
    return hook_events.wire(row)
