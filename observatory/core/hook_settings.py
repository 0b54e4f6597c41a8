"""Hooks in Claude Code's settings.json: ours are added and taken away, everything else stays as it is.

Shape: {"hooks": {event: [{"matcher": str, "hooks": [{"type": "command", "command": str, …}]}]}}. Ours are told by the
program that they run. Taking them away leaves what was there before they were added.
"""

import copy
import json
import re
import shlex
from typing import Any

import orjson

from observatory.core.errors import UsageError

PROGRAM = "observatory-hook"
EVENTS = ("PermissionRequest", "Notification", "Stop", "SubagentStop", "SessionStart", "SessionEnd")
SECONDS = 5  # for which Claude Code waits for it at most
Settings = dict[str, Any]


def settings_of(text: str, name: str) -> Settings:
    """Settings as they are written; nothing is none. Raises UsageError: they are not what Claude Code reads."""
    if not text.strip():
        return {}
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{name} is no JSON ({error}); mend it first") from None
    _check(found, name)
    assert isinstance(found, dict)
    return found


def _check(settings: object, name: str) -> None:
    if not isinstance(settings, dict):
        raise UsageError(f"{name} holds no JSON object; mend it first")
    hooks = settings.get("hooks", {})
    if not isinstance(hooks, dict):
        raise UsageError(f"hooks in {name} is no object; mend it first")
    for event, groups in hooks.items():
        good = isinstance(groups, list) and all(
            isinstance(group, dict) and isinstance(group.get("hooks", []), list) for group in groups
        )
        if not good:
            raise UsageError(f"hooks.{event} in {name} is no list of objects with hooks; mend it first")


def installed(settings: Settings, command: str) -> Settings:
    """The settings with ours, once for each event; an older entry of ours is replaced."""
    found = removed(settings)
    hooks = found.setdefault("hooks", {})
    for event in EVENTS:
        entry = {"type": "command", "command": command, "timeout": SECONDS}
        hooks[event] = [*hooks.get(event, []), {"hooks": [entry]}]
    return found


def removed(settings: Settings) -> Settings:
    """The settings without ours."""
    found = copy.deepcopy(settings)
    hooks = found.get("hooks")
    if not isinstance(hooks, dict):
        return found
    ours = {event for event, groups in hooks.items() if any(_has_ours(group) for group in groups)}
    for event in ours:
        hooks[event] = [kept for group in hooks[event] if (kept := _without_ours(group)) is not None]
        if not hooks[event]:
            del hooks[event]
    if ours and not hooks:
        del found["hooks"]
    return found


def _has_ours(group: Settings) -> bool:
    return any(is_ours(entry) for entry in group.get("hooks", ()))


def _without_ours(group: Settings) -> Settings | None:
    """A group of entries without ours; None if it held nothing else."""
    if not _has_ours(group):
        return group
    kept = [entry for entry in group["hooks"] if not is_ours(entry)]
    return {**group, "hooks": kept} if kept else None


def is_ours(entry: object) -> bool:
    """Whether an entry runs our program."""
    command = entry.get("command") if isinstance(entry, dict) else None
    if not isinstance(command, str):
        return False
    try:
        words = shlex.split(command)
    except ValueError:
        return False
    return bool(words) and words[0].replace("\\", "/").rpartition("/")[2] == PROGRAM


def events_of(settings: Settings) -> tuple[str, ...]:
    """The events that ours are there for."""
    hooks = settings.get("hooks", {})
    return tuple(event for event, groups in hooks.items() if any(_has_ours(group) for group in groups))


def written(settings: Settings, before: str) -> str:
    """Settings as text: with the indent, the line ends and the last newline that were there; keys in their order."""
    found = re.search(r"^([ \t]+)\S", before, re.MULTILINE)
    indent: str | int | None = found[1] if found else (2 if "\n" in before.strip() or not before.strip() else None)
    text = json.dumps(settings, indent=indent, ensure_ascii=before.isascii() and "\\u" in before)
    text += "\n" if before.endswith("\n") or not before else ""
    return text.replace("\n", "\r\n") if "\r\n" in before else text
