"""What names a conversation, and how strong that name is. Source: transcripts.md §9."""

import re
from typing import Any, Literal

import attrs

Source = Literal["prompt", "summary", "agent-name", "ai-title", "custom-title"]

TITLE_CHARS = 120
STRENGTH: dict[str, int] = {"prompt": 1, "summary": 2, "agent-name": 3, "ai-title": 4, "custom-title": 5}
FIELDS: dict[str, tuple[Source, str]] = {  # record type → source, field that holds the text
    "summary": ("summary", "summary"),
    "agent-name": ("agent-name", "agentName"),
    "ai-title": ("ai-title", "aiTitle"),
    "custom-title": ("custom-title", "customTitle"),
}
# Characters of a long prompt looked at: white space and controls may take many more than a title keeps.
_USUALLY_ENOUGH, _ENOUGH = 160, 4096
# C0, DEL, C1, and the marks that reorder or hide text.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


@attrs.frozen
class Title:
    """A name found in a line. `leaf_uuid` (summaries only) says whose name it is: mostly another conversation's."""

    source: Source
    text: str
    leaf_uuid: str | None = None


def one_line(text: str) -> str:
    """One line, white space folded, control characters removed, at most 120 characters."""
    start = text.lstrip()
    line = _folded(start[:_USUALLY_ENOUGH])
    if len(line) < TITLE_CHARS and len(start) > _USUALLY_ENOUGH:
        line = _folded(start[:_ENOUGH])
    return line[:TITLE_CHARS].rstrip()


def _folded(text: str) -> str:
    folded = " ".join(text.split())
    return folded if folded.isprintable() else " ".join(_CONTROLS.sub("", folded).split())


def title(source: Source, text: object, leaf_uuid: str | None = None) -> Title | None:
    """A title, or None if nothing readable is left."""
    line = one_line(text) if isinstance(text, str) else ""
    return Title(source, line, leaf_uuid) if line else None


def named_by(kind: str, found: dict[str, Any], leaf_uuid: str | None) -> Title | None:
    """The title in a record of type `kind`, if it is one of the naming types."""
    if kind not in FIELDS:
        return None
    source, field = FIELDS[kind]
    return title(source, found.get(field), leaf_uuid if source == "summary" else None)
