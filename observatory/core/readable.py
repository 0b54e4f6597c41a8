"""One readable text for records that are no messages. Source: transcripts.md §11."""

from collections.abc import Callable
from typing import Any

from observatory.core.blocks import text_of

Found = dict[str, Any]

# Record type → fields; the first that holds a text is it. bridge-session is left out: it holds account ids only.
FIELDS: dict[str, tuple[str, ...]] = {
    "summary": ("summary",),
    "ai-title": ("aiTitle",),
    "custom-title": ("customTitle",),
    "agent-name": ("agentName",),
    "agent-setting": ("agentSetting",),
    "last-prompt": ("lastPrompt",),
    "permission-mode": ("permissionMode",),
    "mode": ("mode",),
    "pr-link": ("prUrl",),
    "relocated": ("relocatedCwd",),
    "frame-link": ("title", "frameUrl", "path"),
}
ATTACHMENT_FIELDS = ("text", "content", "snippet", "banner", "displayPath", "filename", "path", "description")
HOOK_FIELDS = ("stderr", "stdout", "content")
PROGRESS_FIELDS = ("progressMessage", "taskDescription", "query", "hookName", "command")


def text(kind: str, found: Found) -> str | None:
    """The readable text of a record of type `kind`, or None if there is none worth showing."""
    if kind in _BY_TYPE:
        return _BY_TYPE[kind](found) or None
    return _first(found, FIELDS.get(kind, ()))


def _first(found: Found, keys: tuple[str, ...]) -> str | None:
    """The first of the fields that holds a text that is not empty."""
    for key in keys:
        value = text_of(found.get(key))
        if value:
            return value
    return None


def _object(found: Found, key: str) -> Found:
    value = found.get(key)
    return value if isinstance(value, dict) else {}


def _joined(*parts: object) -> str:
    return ": ".join([str(part) for part in parts if part is not None and part != ""])


def _system(found: Found) -> str | None:
    content = _first(found, ("content",))
    match found.get("subtype"):
        case "turn_duration" if isinstance(found.get("durationMs"), int | float):
            return f"turn took {found['durationMs'] / 1000:.1f} s"
        case "stop_hook_summary":
            return _stop_hooks(found)
        case "api_error" | "error":
            return _api_error(found) or content
        case "compact_boundary" | "microcompact_boundary" if content is None:
            before = _object(found, "compactMetadata").get("preTokens")
            return _joined("compacted", f"{before} tokens before" if isinstance(before, int) else None)
    return content


def _stop_hooks(found: Found) -> str:
    errors = found.get("hookErrors")
    shown = text_of(errors) if isinstance(errors, list) else ""
    count = found.get("hookCount")
    return _joined(f"{count} stop hooks" if isinstance(count, int) else "stop hooks", shown, found.get("stopReason"))


def _api_error(found: Found) -> str:
    """The message, wherever this version puts it, and how often it has been tried."""
    error = found.get("error")
    place, said = (error, None) if isinstance(error, dict) else ({}, error if isinstance(error, str) else None)
    while said is None and place:
        said = _first(place, ("message", "formatted"))
        status = place.get("status")
        said = said or (f"status {status}" if isinstance(status, int) and not place.get("error") else None)
        place = _object(place, "error")
    attempt, most = found.get("retryAttempt"), found.get("maxRetries")
    return _joined(said, f"attempt {attempt} of {most}" if isinstance(attempt, int) and isinstance(most, int) else None)


def _progress(found: Found) -> str | None:
    """The last line of output of a running tool or agent."""
    data = _object(found, "data")
    inner = _object(_object(data, "message"), "message")
    said = _first(data, ("output", "fullOutput")) or text_of(inner.get("content")) or _first(data, PROGRESS_FIELDS)
    return said.rstrip().rpartition("\n")[2] if said else None


def _attachment(found: Found) -> str | None:
    inside = _object(found, "attachment")
    if str(inside.get("type")).startswith("hook_"):
        blocking = _first(_object(inside, "blockingError"), ("blockingError",))
        return _joined(_first(inside, ("hookName",)), blocking or _first(inside, HOOK_FIELDS))
    if inside.get("type") == "queued_command":
        return text_of(inside.get("prompt"))
    return _first(inside, ATTACHMENT_FIELDS)


def _queue(found: Found) -> str:
    return _joined(_first(found, ("operation",)), _first(found, ("content",)))


def _worktree(found: Found) -> str | None:
    return _first(_object(found, "worktreeSession"), ("worktreePath", "worktreeName"))


_BY_TYPE: dict[str, Callable[[Found], str | None]] = {
    "system": _system,
    "progress": _progress,
    "attachment": _attachment,
    "queue-operation": _queue,
    "worktree-state": _worktree,
}
