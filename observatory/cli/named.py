"""A conversation by what a person calls it."""

from pathlib import Path

from observatory.cli.forget import target_of
from observatory.core.errors import UsageError
from observatory.core.neutral import neutral


def conversation_named(what: str, directory: Path) -> str:
    """Its id. Raises UsageError: nothing is called so, or it is a project."""
    target = target_of(what, directory)
    if target.kind != "conversation":
        name = neutral(what[:80])
        raise UsageError(f"'{name}' is a project; name one of its conversations: observatory ls sessions")
    return target.id
