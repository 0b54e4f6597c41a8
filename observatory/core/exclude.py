"""Which files are kept out: glob patterns on a file, on a directory above it, or on a project's working directory.

Decided by the path alone, so that what is kept out is never opened. A project's folder is named after its working
directory with every other character than a letter or digit as a dash: a directory's pattern also fits that name.
"""

import re
from collections.abc import Callable, Iterable
from fnmatch import translate

from observatory.core.identity import encode_slug

_GLOB = re.compile(r"(\*|\?|\[[^\]]*\])")


def excluder(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether a path is kept out. `*` also stands for slashes; what fits a directory fits all below it."""
    globs = [glob for pattern in patterns for glob in _globs(pattern.rstrip("/") or "/*")]
    if not globs:
        return lambda path: False
    fits = re.compile("|".join(map(translate, globs))).match
    return lambda path: fits(path) is not None


def _globs(pattern: str) -> list[str]:
    whole = pattern if pattern.startswith("/") else f"*/{pattern}"
    found = [whole, f"{whole}/*"]
    if pattern.startswith("/"):
        slug = "".join(part if _GLOB.fullmatch(part) else encode_slug(part) for part in _GLOB.split(pattern))
        found += [f"*/{slug}", f"*/{slug}/*"]
    return found
