"""Hook events: what Claude Code's hooks, and scripts, tell of a session at once, such as a permission prompt.

They stand in no transcript, so they are kept beside the records, and told as `hook_event`. Source: docs/api.md, Hooks.
"""

from collections.abc import Sequence
from typing import Any

import attrs
import orjson

from observatory.core.batch import HookRow
from observatory.core.broadcast import to_json
from observatory.core.conversation import Conversation
from observatory.core.errors import UsageError
from observatory.core.events import Draft
from observatory.core.replies import rfc3339
from observatory.core.topics import ALL_CONVERSATIONS, is_topic, of_conversation

HOOK_EVENT = "hook_event"
WAITING_HOOKS = frozenset({"PermissionRequest"})  # the session waits for the person
MAX_BYTES = 256 * 1024  # of one event's body: as a frame of the pipeline
NAME_CHARS, KEY_CHARS = 100, 200
_SESSION = "session_id"


@attrs.frozen
class Hook:
    """One event as it was sent. name: the hook's, verbatim. key: the sender's; what comes twice under one is one event.

    transcripts: paths that the body names, the nearest first: they tell whose it is. body: the whole of it, as JSON.
    """

    name: str
    session_id: str
    key: str | None
    cwd: str | None
    transcripts: tuple[str, ...]
    body: bytes


@attrs.frozen
class Belonging:
    """Whose event it is. conversation: None while its transcript is not known; above: the conversations over it."""

    conversation: Conversation | None
    project_id: str | None
    above: Sequence[str] = ()


def hook_of(body: object, key: str | None) -> Hook:
    """An event as sent. Raises UsageError: it is none."""
    if not isinstance(body, dict):
        raise UsageError("a hook event is a JSON object")
    name, session = body.get("hook_event_name"), body.get(_SESSION)
    if not isinstance(name, str) or not 0 < len(name) <= NAME_CHARS:
        raise UsageError(f"hook_event_name must be a text of 1 to {NAME_CHARS} characters")
    if not isinstance(session, str) or not is_topic(f"conversation:{session}"):
        raise UsageError("session_id must be an id: 1 to 200 visible ASCII characters")
    if key is not None and not 0 < len(key) <= KEY_CHARS:
        raise UsageError(f"the idempotency key must have 1 to {KEY_CHARS} characters")
    text = to_json(body)
    if len(text) > MAX_BYTES:
        raise UsageError(f"a hook event may have {MAX_BYTES:,} bytes, this one has {len(text):,}")
    paths = [body.get("agent_transcript_path"), body.get("transcript_path")]
    cwd = body.get("cwd")
    return Hook(
        name, session, key, cwd if isinstance(cwd, str) else None, tuple(p for p in paths if isinstance(p, str)), text
    )


def hook_id(number: int) -> str:
    """The public id of a hook event, beside those of records."""
    return f"h{number}"


def number_of(id: str) -> int | None:
    """The number in a hook event's id; None if it is none."""
    digits = id.removeprefix("h")
    return int(digits) if id.startswith("h") and digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def wire(row: HookRow) -> dict[str, Any]:
    """`data` of hook_event."""
    return {
        "id": hook_id(row.id),
        "hook_event_name": row.name,
        "session_id": row.session_id,
        "conversation_id": row.conversation_id,
        "project_id": row.project_id,
        "at": rfc3339(row.at_ms),
        "payload": orjson.Fragment(row.body),
    }


def row_of(number: int, at_ms: int, hook: Hook, whose: Belonging) -> HookRow:
    """As it is kept."""
    conversation_id = hook.session_id if whose.conversation is None else whose.conversation.id
    return HookRow(number, hook.key, at_ms, conversation_id, hook.session_id, whose.project_id, hook.name, hook.body)


def draft_of(row: HookRow, above: Sequence[str]) -> Draft:
    """What clients are told, and who is."""
    id, project = row.conversation_id, row.project_id
    known = (ALL_CONVERSATIONS, f"conversation:{id}") if project is None else of_conversation(id, project, above)
    return Draft(HOOK_EVENT, wire(row), known)
