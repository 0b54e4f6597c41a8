"""Sessions: the registry of live ones, `sessions/<pid>.json` beside `projects/`, which Claude Code keeps since 2.1.139.

It is undocumented and changes: what is not understood says nothing. Source: transcripts.md §10.
"""

import attrs
import orjson

from observatory.core.conversation import Activity

FOLDER = "sessions"
# At `shell` it stands at its prompt while something runs in the background.
ACTIVITIES: dict[str, Activity] = {"busy": "working", "waiting": "waiting", "idle": "idle", "shell": "idle"}
_NAME_DIGITS = 10  # a pid has no more
_STARTTIME = 19  # field 22 of /proc/<pid>/stat, counted behind the name, which may hold anything


@attrs.frozen
class Session:
    """One entry. proc_start: the process's start in clock ticks since boot, as text; since_ms: None if not told."""

    session_id: str
    activity: Activity
    proc_start: str
    since_ms: int | None = None


def pid_of(name: str) -> int | None:
    """The process that a file of the registry is about; None: it is another file."""
    digits = name.removesuffix(".json")
    usable = digits != name and len(digits) <= _NAME_DIGITS and digits.isascii() and digits.isdecimal()
    return int(digits) if usable else None


def parse(data: bytes) -> Session | None:
    """An entry's text; None if it says nothing: an old generation has no `status`, a new one may have other values."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict):
        return None
    session_id, status, start = (found.get(key) for key in ("sessionId", "status", "procStart"))
    activity = ACTIVITIES.get(status) if isinstance(status, str) else None
    if not isinstance(session_id, str) or not session_id or activity is None:
        return None
    if type(start) not in (str, int):
        return None
    since = found.get("statusUpdatedAt")
    return Session(session_id, activity, str(start), since if type(since) is int and since > 0 else None)


def start_of(stat: bytes) -> str | None:
    """When a process was started, in clock ticks since boot, from the text of its /proc/<pid>/stat."""
    fields = stat.rpartition(b")")[2].split()
    return fields[_STARTTIME].decode("ascii", "replace") if len(fields) > _STARTTIME else None
