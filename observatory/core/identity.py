"""What a file's path says: project folder, session, agent; and the ids minted from it.

Pure string work on POSIX paths: nothing is opened, nothing is resolved. Source: transcripts.md §1, §2; protocol.md §4.
"""

import re
from collections.abc import Callable
from hashlib import blake2b

import attrs

from observatory.core.decode import valid

SLUG_CHARS = 200  # a longer slug is cut here and gets a hash that changed between versions
ID_CHARS = 200
NOT_TRANSCRIPTS = frozenset({"tool-results", "memory"})  # folders
OTHER_FILES = frozenset({"history.jsonl"})  # prompts of all sessions, beside projects/
_OUTSIDE_SLUG = re.compile("[^A-Za-z0-9]")
_OUTSIDE_ID = re.compile(r"[^!-)+-~]")  # visible ASCII but the asterisk
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@attrs.frozen
class Location:
    """Where a transcript lies.

    `slug` is the folder under `projects` ("" if there is none), `stem` the file name without `.jsonl`.
    `parent_session` is the session folder above `subagents`; None for a main file and for the old flat layout, whose
    parent only the lines name. `agent_id` is set for a sub-agent's file, `run` for the files of a workflow.
    """

    slug: str
    stem: str
    parent_session: str | None = None
    agent_id: str | None = None
    run: str | None = None
    is_journal: bool = False


def encode_slug(cwd: str) -> str:
    """The folder name Claude Code gives a working directory, without the hash that follows 200 characters.

    It counts in UTF-16: a character beyond the BMP becomes two dashes.
    """
    return _OUTSIDE_SLUG.sub(lambda match: "--" if match[0] > "\uffff" else "-", cwd)[:SLUG_CHARS]


def is_slug_of(slug: str, cwd: str) -> bool:
    """Whether a folder can be this working directory's: also with a long name's hash, or an old version's `_`."""
    encoded = encode_slug(cwd)
    if len(encoded) == SLUG_CHARS and slug.startswith(f"{encoded}-"):
        return True
    return slug.replace("_", "-") == encoded


def locate(path: str, root: str) -> Location:
    """Read a transcript's path. `root` is the `projects` directory or anything above it."""
    *folders, name = _below_projects(path, root)
    stem = name.removesuffix(".jsonl")
    agent_id = stem.removeprefix("agent-") if stem.startswith("agent-") and stem != "agent-" else None
    if "subagents" not in folders:
        return Location(folders[0] if folders else "", stem, agent_id=agent_id)
    at = folders.index("subagents")
    session = folders[at - 1] if at > 0 else None
    slug = folders[at - 2] if at > 1 else ""
    run = folders[-1] if "workflows" in folders[at:-1] else None
    return Location(slug, stem, session, agent_id, run, run is not None and stem == "journal")


def _below_projects(path: str, root: str) -> list[str]:
    """The path's parts below the last `projects`; without one, those below the root, or the last two."""
    parts = [part for part in path.split("/") if part]
    if "projects" in parts[:-1]:
        return parts[len(parts) - parts[::-1].index("projects") :]
    if path.startswith(root.rstrip("/") + "/"):
        parts = parts[len([part for part in root.split("/") if part]) :]
    return parts if "subagents" in parts else parts[-2:]


def is_transcript(path: str) -> bool:
    """Whether a path can be a transcript: `.jsonl`, and not in a folder of spilled outputs or memories."""
    *folders, name = _below_projects(path, "/")
    if not name.endswith(".jsonl") or name == ".jsonl" or name in OTHER_FILES:
        return False
    return not NOT_TRANSCRIPTS.intersection(folders)


def is_text(path: str) -> bool:
    """Whether a path is valid Unicode: names are bytes to the system, maybe no UTF-8, and no table takes those."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def session_id(location: Location, inline: str | None) -> str:
    """The session a file belongs to: the parent's for a sub-agent, else the stem if it is a UUID, else what the lines
    say, else the stem.

    Args: inline: the first `sessionId` of the lines.
    """
    if location.agent_id is not None or location.parent_session is not None:
        found = location.parent_session or inline or location.stem
    else:
        found = location.stem if _UUID.fullmatch(location.stem) else inline or location.stem
    return valid(found)[:ID_CHARS] or "unknown"


def parent_id(location: Location, inline: str | None) -> str | None:
    """The id of the conversation above a sub-agent's file; None for a main file, or if nothing names the parent."""
    if location.agent_id is None and location.parent_session is None:
        return None
    parent = location.parent_session or inline
    return clean_id(parent) if parent else None


def conversation_id(location: Location, inline: str | None, taken: Callable[[str], bool], path: str) -> str:
    """A new conversation's id (protocol.md §4).

    The stem; for a sub-agent parent id + "." + agent id; for a workflow's journal parent id + "." + run + ".journal".
    Args: inline: the first `sessionId` of the lines. taken: whether an id belongs to another path already; then a hash
    of the path is added. path: the file's, as stable as the id shall be.
    """
    own = f"{location.run}.journal" if location.is_journal else location.agent_id or location.stem
    parent = location.parent_session or (inline if location.agent_id is not None else None)
    wanted = clean_id(f"{parent}.{own}" if parent else location.stem)
    for digits in (0, 6, 16, 32):
        candidate = _suffixed(wanted, path, digits)
        if not taken(candidate):
            break
    return candidate


def clean_id(text: str) -> str:
    """1–200 visible ASCII characters without `*`. What had to be changed gets a hash, so that ids stay distinct."""
    clean = _OUTSIDE_ID.sub("_", text)
    return clean if clean == text and 0 < len(text) <= ID_CHARS else _suffixed(clean, text, 8)


def _suffixed(name: str, key: str, digits: int) -> str:
    if not digits:
        return name
    return f"{name[: ID_CHARS - digits - 1]}-{_hash(key)[:digits]}"


def project_id(machine_id: str, cwd_or_slug: str) -> str:
    """12 hex digits, the same for a directory of one machine for ever. The slug only where no cwd is known."""
    return _hash(f"{machine_id}\0{cwd_or_slug}")[:12]


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
