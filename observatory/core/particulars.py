"""Particulars: what few lines tell of a conversation. An object of its own, as the row is made anew for each line.

Every list is bounded: the newest entries stay, but the first of the directories, branches and models. Sub-agents are in
`tasks.py`. Source: transcripts.md §3, §4, §11.
"""

from collections.abc import Callable
from typing import Any

import attrs

from observatory.core import resync, tasks
from observatory.core.frozen import evolver, frozen
from observatory.core.tasks import Agent, Task
from observatory.core.titles import one_line
from observatory.core.transcript import METADATA_TYPES, SYNTHETIC, Record

MAX_NAMES = 32  # models, directories, branches, sessions, unknown types: a person's session has a few of each
MAX_LINKS = 64  # pull requests
NAME_CHARS, PATH_CHARS = 200, 4096  # a longer one is none
KNOWN_TYPES = frozenset({*resync.TREE_TYPES, *METADATA_TYPES, "summary", "started", "result"})


@frozen
class PullRequest:
    """`number` and `repository` as the line says."""

    url: str
    number: int | None
    repository: str | None


@frozen
class Particulars:
    """What is not known is None, empty or 0.

    models, cwds, branches: all seen, in that order. sessions: ids of other sessions that lines carried, and forked_from
    the one that a line says it was copied from: hints of a fork. pre_compaction_tokens: before the last compaction.
    leaf_uuid: the active tip of the tree. queued: prompts that wait. turns: those whose duration was told; turn_ms is
    their sum. api_retries: failed attempts. stray_results: of calls that no line made. unknown_types: lines by type.
    agents: sub-agents that lines tell of; tasks: calls that may start further ones. agent_type, agent_description: of a
    sub-agent, by its parent's call.
    """

    models: tuple[str, ...] = ()
    cwds: tuple[str, ...] = ()
    branches: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    forked_from: str | None = None
    compactions: int = 0
    microcompactions: int = 0
    pre_compaction_tokens: int | None = None
    pull_requests: tuple[PullRequest, ...] = ()
    mode: str | None = None
    permission_mode: str | None = None
    agent_name: str | None = None
    leaf_uuid: str | None = None
    queued: int = 0
    api_retries: int = 0
    turns: int = 0
    turn_ms: int = 0
    last_turn_ms: int | None = None
    invalid_lines: int = 0
    stray_results: int = 0
    unknown_types: dict[str, int] = attrs.field(factory=dict)  # never changed in place
    agents: tuple[Agent, ...] = ()
    tasks: tuple[Task, ...] = ()
    agent_type: str | None = None
    agent_description: str | None = None


NOTHING = Particulars()
Changes = dict[str, Any]
evolve = evolver(Particulars)


def follow(known: Particulars, session_id: str, record: Record, main: bool) -> Particulars:
    """What is known after one more record; the same object if it tells nothing new.

    session_id: the conversation's. main: no sidechain line inside a main file.
    """
    changed: Changes = {}
    if record.cwd and record.cwd not in known.cwds:
        changed |= _one_more("cwds", known.cwds, record.cwd, PATH_CHARS)
    if record.session_id and record.session_id != session_id and record.session_id not in known.sessions:
        changed |= _one_more("sessions", known.sessions, record.session_id)
    if main and record.git_branch and record.git_branch not in known.branches:
        changed |= _one_more("branches", known.branches, record.git_branch)
    message = record.message
    if message is not None:
        if main and message.model and message.model != SYNTHETIC and message.model not in known.models:
            changed |= _one_more("models", known.models, message.model)
        if message.tool_calls and (begun := tasks.begun(known.tasks, message.tool_calls)) is not known.tasks:
            changed["tasks"] = begun
    elif (read := _BY_TYPE.get(record.type)) is not None:
        if main or record.type == "progress":
            changed |= read(known, record)
    elif record.type not in KNOWN_TYPES and not record.type.startswith("workflow-"):
        changed |= _unknown(known, record.type)
    if record.hint is not None:
        changed |= _hinted(known, record)
    return evolve(known, changed) if changed else known


def invalid(known: Particulars) -> Particulars:
    """One more line that is no record."""
    return evolve(known, {"invalid_lines": known.invalid_lines + 1})


def stray(known: Particulars, results: int) -> Particulars:
    """So many more results whose call is not here."""
    return evolve(known, {"stray_results": known.stray_results + results})


def _one_more(field: str, seen: tuple[str, ...], value: str, longest: int = NAME_CHARS) -> Changes:
    """The first and the newest stay."""
    if len(value) > longest or value in seen:
        return {}
    full = len(seen) >= MAX_NAMES
    return {field: (seen[0], *seen[2:], value) if full else (*seen, value)}


def _unknown(known: Particulars, type_: str) -> Changes:
    name = type_[:NAME_CHARS]
    if name not in known.unknown_types and len(known.unknown_types) >= MAX_NAMES:
        return {}
    return {"unknown_types": known.unknown_types | {name: known.unknown_types.get(name, 0) + 1}}


def _hinted(known: Particulars, record: Record) -> Changes:
    hint = record.hint
    assert hint is not None
    changed: Changes = {}
    if hint.forked_from and known.forked_from is None and len(hint.forked_from) <= NAME_CHARS:
        changed["forked_from"] = hint.forked_from
    if hint.agent_id and record.message is not None and record.message.tool_results:
        call = record.message.tool_results[0].tool_use_id
        changed |= _linked(known, hint.agent_id, call, "result")
    return changed


def _linked(known: Particulars, agent_id: object, tool_use_id: object, told_by: tasks.Teller) -> Changes:
    if not isinstance(agent_id, str) or not isinstance(tool_use_id, str):
        return {}
    agents = tasks.linked(known.agents, known.tasks, agent_id, tool_use_id, told_by)
    if agents is known.agents:
        return {}
    left = tuple(task for task in known.tasks if told_by != "result" or task.tool_use_id != tool_use_id)
    return {"agents": agents, "tasks": left}


# -- by type of the line -----------------------------------------------------------------------------------------------


def _system(known: Particulars, record: Record) -> Changes:
    found = record.raw or {}
    match record.subtype:
        case "turn_duration" if (ms := _count(found.get("durationMs"))) is not None:
            return {"turns": known.turns + 1, "turn_ms": known.turn_ms + ms, "last_turn_ms": ms}
        case "compact_boundary":
            tokens = _count(_object(found, "compactMetadata").get("preTokens"))
            return {"compactions": known.compactions + 1, "pre_compaction_tokens": tokens}
        case "microcompact_boundary":
            return {"microcompactions": known.microcompactions + 1}
        case "api_error":
            return {"api_retries": known.api_retries + 1}
    return {}


def _progress(known: Particulars, record: Record) -> Changes:
    if record.subtype != "agent_progress" or record.raw is None:
        return {}
    return _linked(known, _object(record.raw, "data").get("agentId"), record.raw.get("parentToolUseID"), "progress")


def _queue(known: Particulars, record: Record) -> Changes:
    found = record.raw or {}
    match found.get("operation"):
        case "enqueue":
            return {"queued": known.queued + 1, **_notified(known, found.get("content"))}
        case "dequeue" | "remove" if known.queued:
            return {"queued": known.queued - 1}
        case "popAll" if known.queued:
            return {"queued": 0}
    return {}


def _notified(known: Particulars, content: object) -> Changes:
    """A background task is done. It may also be a shell: only of a call that starts agents it is a link."""
    told = tasks.notification(content)
    if told is None or not tasks.is_begun(known.tasks, told[1]):
        return {}
    return _linked(known, *told, "notification")


def _pull_request(known: Particulars, record: Record) -> Changes:
    found = record.raw or {}
    url, number, repository = (found.get(key) for key in ("prUrl", "prNumber", "prRepository"))
    if not isinstance(url, str) or not 0 < len(url) <= PATH_CHARS or any(url == pr.url for pr in known.pull_requests):
        return {}
    link = PullRequest(url, _count(number), _name(repository))
    return {"pull_requests": (*known.pull_requests, link)[-MAX_LINKS:]}


def _further_cwd(known: Particulars, path: object) -> Changes:
    return _one_more("cwds", known.cwds, path, PATH_CHARS) if isinstance(path, str) and path else {}


def _worktree(known: Particulars, record: Record) -> Changes:
    return _further_cwd(known, _object(record.raw or {}, "worktreeSession").get("worktreePath"))


def _text(field: str, key: str) -> Callable[[Particulars, Record], Changes]:
    def read(known: Particulars, record: Record) -> Changes:
        name = _name((record.raw or {}).get(key))
        return {} if name is None or name == getattr(known, field) else {field: name}

    return read


def _object(found: dict[str, Any], key: str) -> dict[str, Any]:
    value = found.get(key)
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int | None:
    """A whole number, as large as JSON can carry."""
    return int(value) if isinstance(value, int | float) and 0 <= value < 2**53 else None


def _name(value: object) -> str | None:
    return one_line(value) or None if isinstance(value, str) else None


def _nothing(known: Particulars, record: Record) -> Changes:
    return {}


_BY_TYPE: dict[str, Callable[[Particulars, Record], Changes]] = {
    "progress": _progress,
    "attachment": _nothing,  # frequent: found at once
    "file-history-snapshot": _nothing,
    "system": _system,
    "queue-operation": _queue,
    "pr-link": _pull_request,
    "relocated": lambda known, record: _further_cwd(known, (record.raw or {}).get("relocatedCwd")),
    "worktree-state": _worktree,
    "mode": _text("mode", "mode"),
    "permission-mode": _text("permission_mode", "permissionMode"),
    "agent-name": _text("agent_name", "agentName"),
    "last-prompt": _text("leaf_uuid", "leafUuid"),
}


def texts_of(known: Particulars) -> list[str]:
    """What it says in words of a transcript."""
    described = (*(task.description for task in known.tasks), *(agent.description for agent in known.agents))
    said = (known.agent_name, *described)
    return [text for text in said if text]


def without(known: Particulars, texts: frozenset[str]) -> Particulars:
    """The same without these words, which came from lines that were forgotten."""
    if known.agent_description not in texts and texts.isdisjoint(texts_of(known)):
        return known

    def kept(text: str | None) -> str | None:
        return None if text in texts else text

    return attrs.evolve(
        known,
        agent_name=kept(known.agent_name),
        agent_description=kept(known.agent_description),
        tasks=tuple(attrs.evolve(task, description=kept(task.description)) for task in known.tasks),
        agents=tuple(attrs.evolve(agent, description=kept(agent.description)) for agent in known.agents),
    )
