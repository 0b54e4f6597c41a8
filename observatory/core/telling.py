"""What of a tool's input, or of a hook event, says most in one line."""

from collections.abc import Mapping
from typing import Any

# The first field that holds a text.
INPUT = ("command", "file_path", "notebook_path", "path", "pattern", "url", "query", "description", "prompt", "skill")
HOOK = ("message", "tool_name", "last_assistant_message", "reason", "source")


def telling(value: Mapping[str, Any], fields: tuple[str, ...] = INPUT) -> str | None:
    """The text that says most; None if no field does."""
    return next((value[key] for key in fields if isinstance(value.get(key), str) and value[key]), None)
