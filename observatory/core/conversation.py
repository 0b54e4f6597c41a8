"""A conversation's row, folded from its records one by one, in the order of the file.

No clock: time makes a conversation idle or completed elsewhere. Source: transcripts.md §9–11; protocol.md §6.
"""

from typing import Any, Literal

import attrs

from observatory.core import usage
from observatory.core.decode import valid
from observatory.core.frozen import evolver, frozen
from observatory.core.instants import with_ms
from observatory.core.particulars import NOTHING, Particulars, follow
from observatory.core.prompts import LOCAL_OUTPUT
from observatory.core.titles import STRENGTH, Title
from observatory.core.transcript import SYNTHETIC, Record
from observatory.core.usage import Usage

Status = Literal["active", "completed", "error"]
Activity = Literal["working", "waiting", "idle"]
Told = Literal["working", "spoken", "waiting", "idle"]  # spoken: text came last, which may be the end of the turn

MAX_OPEN_TOOLS = 256  # unanswered calls remembered; the oldest go first, they are orphans by then
LAST_PROMPT_CHARS = 1000
ASKING_TOOLS = frozenset({"AskUserQuestion", "ExitPlanMode"})  # their answer comes from the person
TURN_ENDS = frozenset({"turn_duration", "stop_hook_summary"})
SAYS_NOTHING = frozenset({"hook_progress"})  # hooks also run when nothing else does


@frozen
class Conversation:
    """One transcript file, as a client sees it. Times: RFC 3339, ms, Z; tokens are totals.

    `created_at` is the file's time until `stamped` by a line. `message_count` = `prompt_count` + `reply_count`.
    `first_prompt` is its title while nothing better names it. `last_uuid` is its last record's that has one.
    `asking` are the open tools that wait for the person; both lists hold tool_use ids, oldest first.
    """

    id: str
    project_id: str
    session_id: str
    file_path: str
    created_at: str
    updated_at: str
    agent_id: str | None = None
    parent_id: str | None = None
    title: str | None = None
    title_source: str | None = None
    first_prompt: str | None = None
    status: Status = "active"
    activity: Activity = "idle"
    message_count: int = 0
    prompt_count: int = 0
    reply_count: int = 0
    tool_usage_count: int = 0
    tool_error_count: int = 0
    model: str | None = None
    tokens: Usage = usage.NONE
    cwd: str | None = None
    git_branch: str | None = None
    last_prompt: str | None = None
    open_tools: tuple[str, ...] = ()
    asking: tuple[str, ...] = ()
    stamped: bool = False
    # Status in time (core/status.py): why it is so; what the lines said of it last, and when: a live one by our clock.
    status_reason: str | None = None
    told: Told | None = None
    said_at: str | None = None
    last_uuid: str | None = None
    particulars: Particulars = NOTHING


_evolve = evolver(Conversation)


@frozen
class Facts:
    """What a record means to this conversation, from the database.

    new_message_id: its message.id was in no assistant line of this conversation before (ignored where there is none:
                    such a line counts by itself). new_tool_ids: how many of its tool calls were not seen before;
    tool_errors: how many calls it is the first result of, a failure.
    growth:         what its usage adds to this conversation's tokens. owns_leaf: its summary names this conversation.
    at:             the time to take for a record that has none: the commit's if it is live.
    """

    new_message_id: bool = False
    new_tool_ids: int = 0
    tool_errors: int = 0
    growth: Usage = usage.NONE
    owns_leaf: bool = False
    at: str | None = None


def apply(conversation: Conversation, record: Record, facts: Facts) -> Conversation:
    """The row after one more record. Sidechain lines inside a main file count tokens, replies and tools, but are no
    prompts and set neither title nor status."""
    main = not record.is_sidechain or conversation.agent_id is not None
    changed = _times(conversation, record, facts) | _counts(conversation, record, facts, main)
    if conversation.cwd is None and record.cwd:
        changed["cwd"] = record.cwd
    if record.uuid is not None:
        changed["last_uuid"] = record.uuid
    particulars = follow(conversation.particulars, conversation.session_id, record, main)
    if particulars is not conversation.particulars:
        changed["particulars"] = particulars
    if main:
        if record.git_branch:
            changed["git_branch"] = record.git_branch
        state = _state(conversation, record)
        if state:
            changed["told"] = _told(record, state) or conversation.told
            changed["said_at"] = facts.at or changed.get("updated_at", conversation.updated_at)
        changed |= _said(record) | state
        if record.title is not None and (record.title.source != "summary" or facts.owns_leaf):
            changed |= _named(conversation, record.title)
    return _evolve(conversation, changed) if changed else conversation


def retitle(conversation: Conversation, title: Title | None) -> Conversation:
    """The row under a name found elsewhere: a summary's, mostly in another file. A weaker name never replaces a
    stronger one. None: no summary names it any more."""
    if title is not None:
        return attrs.evolve(conversation, **_named(conversation, title))
    if conversation.title_source != "summary":
        return conversation
    first = conversation.first_prompt
    return attrs.evolve(conversation, title=first, title_source=None if first is None else "prompt")


def _named(conversation: Conversation, title: Title) -> dict[str, Any]:
    """Of two prompts the first counts, of two equal names the last."""
    strength, present = STRENGTH[title.source], STRENGTH.get(conversation.title_source or "", 0)
    first = _first_prompt(conversation, title)
    if strength < present or (strength == present and title.source == "prompt"):
        return first
    return {"title": title.text, "title_source": title.source, **first}


def _first_prompt(conversation: Conversation, title: Title) -> dict[str, Any]:
    """Kept for when a stronger name goes. Rows of older archives have it as their title only."""
    if conversation.first_prompt is not None:
        return {}
    if conversation.title_source == "prompt":
        return {"first_prompt": conversation.title}
    return {"first_prompt": title.text} if title.source == "prompt" else {}


def _times(conversation: Conversation, record: Record, facts: Facts) -> dict[str, Any]:
    """The first stamp is when it was created; `updated_at` never goes back, though stamps do."""
    if record.timestamp is None:
        return {"updated_at": facts.at} if facts.at and facts.at > conversation.updated_at else {}
    at = with_ms(record.timestamp)
    if not conversation.stamped:
        return {"created_at": at, "updated_at": at, "stamped": True}
    return {"updated_at": at} if at > conversation.updated_at else {}


def _counts(conversation: Conversation, record: Record, facts: Facts, main: bool) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    prompt = record.kind == "prompt" and main
    reply = is_reply(record) and (facts.new_message_id or not (record.message and record.message.message_id))
    if prompt or reply:
        changed["message_count"] = conversation.message_count + 1
        changed["prompt_count"] = conversation.prompt_count + prompt
        changed["reply_count"] = conversation.reply_count + reply
    if facts.new_tool_ids:
        changed["tool_usage_count"] = conversation.tool_usage_count + facts.new_tool_ids
    if facts.tool_errors:
        changed["tool_error_count"] = conversation.tool_error_count + facts.tool_errors
    if facts.growth:
        changed["tokens"] = usage.add(conversation.tokens, facts.growth)
    return changed


def is_reply(record: Record) -> bool:
    """Whether a record is a line of an API message: an assistant line that a model wrote."""
    return record.kind == "assistant" and record.message is not None and record.message.model != SYNTHETIC


def _said(record: Record) -> dict[str, Any]:
    if record.kind == "prompt":
        text = record.message.content if record.message else record.text or ""
        return {"last_prompt": text.strip()[:LAST_PROMPT_CHARS]}
    if is_reply(record) and record.message is not None and record.message.model:
        return {"model": record.message.model}
    return {}


def _state(conversation: Conversation, record: Record) -> dict[str, Any]:
    """Status, activity and open tools after a line of the main chain."""
    match record.kind:
        case "error":
            if record.type == "assistant" or record.exhausted:
                return {**_OVER, "status": "error"}
        case "interruption":
            return {**_OVER, "status": "active"}
        case "prompt" if record.type == "user":  # calls that are still open stay unanswered
            return {**_OVER, "status": "active", "activity": "working"}
        case "assistant" if not is_reply(record):  # "No response requested.": nothing is running
            return {"status": "active"}
        case "prompt" | "command" | "tool_result" | "assistant":
            return {"status": "active"} | _working(conversation, record)
        case "note" if record.message and record.message.content.lstrip().startswith(LOCAL_OUTPUT):
            return {} if conversation.open_tools else {"activity": "idle"}
        case "other" if record.type == "system":
            return _OVER if record.subtype in TURN_ENDS else _local_command(conversation, record)
        case "other" if record.type == "progress" and record.subtype not in SAYS_NOTHING:
            return {"status": "active"} | _working(conversation, record)
    return {}


def _told(record: Record, state: dict[str, Any]) -> Told | None:
    """What to go by when nothing follows this line; None: as before."""
    activity: Told | None = state.get("activity")
    if activity == "working" and record.kind == "assistant" and not state["open_tools"]:
        return "spoken" if record.message is not None and record.message.content else activity
    return activity


_OVER: dict[str, Any] = {"activity": "idle", "open_tools": (), "asking": ()}


def _local_command(conversation: Conversation, record: Record) -> dict[str, Any]:
    return {"activity": "idle"} if record.subtype == "local_command" and not conversation.open_tools else {}


def _working(conversation: Conversation, record: Record) -> dict[str, Any]:
    """Open the calls a line makes, close those it answers; waiting while one of them asks the person."""
    message = record.message
    open_tools, asking = conversation.open_tools, conversation.asking
    if message is not None and message.tool_results:
        answered = {result.tool_use_id for result in message.tool_results}
        open_tools = tuple([tool for tool in open_tools if tool not in answered])
        asking = tuple([tool for tool in asking if tool not in answered])
    if message is not None and message.tool_calls:
        open_tools = _more(open_tools, [call.id for call in message.tool_calls])
        asking = _more(asking, [call.id for call in message.tool_calls if call.name in ASKING_TOOLS])
    return {"activity": "waiting" if asking else "working", "open_tools": open_tools, "asking": asking}


def given_up(before: Conversation, after: Conversation, record: Record) -> list[str]:
    """The calls that were open before a line and are not after it, though it does not answer them."""
    closed = [tool for tool in before.open_tools if tool not in after.open_tools]
    if not closed or record.message is None or not record.message.tool_results:
        return closed
    answers = {result.tool_use_id for result in record.message.tool_results}
    return [tool for tool in closed if tool not in answers]


def _more(tools: tuple[str, ...], ids: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*tools, *ids)))[-MAX_OPEN_TOOLS:]


def changes(old: Conversation | None, new: Conversation) -> dict[str, Any] | None:
    """`data` of conversation_started (`old` is None) or conversation_update; None if no client would see a change."""
    always = {
        "id": new.id,
        "project_id": new.project_id,
        "session_id": new.session_id,
        "message_count": new.message_count,
        "file_path": valid(new.file_path),
    }
    if old is None:
        absent = {key for key in ("agent_id", "parent_id", "model") if getattr(new, key) is None}
        return always | {key: _wire(new, key) for key in OPTIONAL if key not in absent}
    changed = {key: _wire(new, key) for key in OPTIONAL if getattr(old, key) != getattr(new, key)}
    if changed or any(getattr(old, key) != getattr(new, key) for key in always):
        return always | changed
    return None


OPTIONAL = (
    *("title", "status", "activity", "tool_usage_count", "created_at", "updated_at"),
    *("agent_id", "parent_id", "model", "tokens"),
)


def _wire(conversation: Conversation, key: str) -> Any:  # noqa: ANN401 - a JSON value
    value = getattr(conversation, key)
    return usage.wire(value) if isinstance(value, Usage) else value
