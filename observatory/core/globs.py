"""Globs over whole strings: `*` any run without `/`, `**` any run, `?` one character but `/`. Linear in the string.

A glob becomes a regular expression that never goes back: each piece of literal text is looked for once, and its first
place is kept (`(?>…)`). That is enough. Within a run without `/` an earlier place leaves more room to what follows; a
piece that itself contains a `/` has only one place in its run; and behind `**` it is enough to try each run once.
"""

import re
from collections.abc import Callable

_WILDCARD = re.compile(r"\*\*|\*|\?")
_RUN = "[^/]*?"  # the shortest part of a run that does


def wildcards(pattern: str) -> int:
    """How many there are; `**` is one."""
    return len(_WILDCARD.findall(pattern))


def compile_glob(pattern: str) -> Callable[[str], bool]:
    """Whether a whole string matches; upper and lower case differ, and nothing escapes a wildcard."""
    match = re.compile(_translated(pattern), re.DOTALL).match
    return lambda text: match(text) is not None


def _translated(pattern: str) -> str:
    first, *others = [_pieces(part) for part in pattern.split("**")]
    (others[-1] if others else first)[-1] += r"\Z"
    found = first[0] + _in_one_run(first[1:])
    for pieces in others:
        here = _in_one_run(pieces)
        found += f"(?>{here}|.*?(?<=/){here})"  # from here on in this run, or from the beginning of a later one
    return found


def _pieces(part: str) -> list[str]:
    """The literal text between the `*`."""
    return ["[^/]".join(map(re.escape, piece.split("?"))) for piece in part.split("*")]


def _in_one_run(pieces: list[str]) -> str:
    return "".join([f"(?>{_RUN}{piece})" for piece in pieces])
