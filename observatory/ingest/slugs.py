"""Working directories that Claude Code itself lists: the only way back from a folder's name where no line has one."""

import os
from pathlib import Path

import orjson

from observatory.core.identity import is_slug_of

LISTING = ".claude.json"  # beside a config directory, or in it when CLAUDE_CONFIG_DIR named it
LISTING_BYTES = 16 * 1024 * 1024  # a larger one is left alone


def directory_of(slug: str, root: str) -> str | None:
    """The one working directory that a project's folder is named after; None if none or several are listed.

    Args: root: the projects/ directory. The file also holds account data: nothing but the keys of `projects` is used.
    """
    config = Path(os.path.realpath(root)).parent
    listed = {path for place in (config, config.parent) for path in _listed(place / LISTING)}
    found = [path for path in listed if is_slug_of(slug, path)]
    return found[0] if len(found) == 1 else None


def _listed(file: Path) -> list[str]:
    try:
        if file.stat().st_size > LISTING_BYTES:
            return []
        content = orjson.loads(file.read_bytes())
    except (OSError, ValueError):
        return []
    projects = content.get("projects") if isinstance(content, dict) else None
    return list(projects) if isinstance(projects, dict) else []
