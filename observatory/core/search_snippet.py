"""A snippet: the stretch of a record's text in which most of what was asked for stands, on one line."""

import re
from collections.abc import Sequence
from itertools import islice

import attrs

from observatory.core.search_query import folded
from observatory.core.search_text import Passage

WIDTH = 160  # characters
BEFORE = 40  # of them before the first thing found
SCANNED = 200_000  # characters of one passage that are looked through
MOST_MARKS = 1000  # things found that are looked at
_BLANKS = re.compile(r"\s+")


@attrs.frozen
class Snippet:
    """text: one line, cut at words with an ellipsis. marks: where in it what was asked for stands, as (start, end).

    role: of the passage it is from. at: where in that passage the first mark stands, in characters.
    """

    text: str
    marks: tuple[tuple[int, int], ...]
    role: int
    at: int


def snippet(passages: Sequence[Passage], roles: int, pattern: re.Pattern[str], *, exactly: bool = False) -> Snippet:
    """The best one of those passages whose role is asked for. exactly: the pattern is for the text itself, not for a
    folded one. What is not found at all (it stands further back than is looked) is shown from the beginning."""
    best: tuple[int, Passage, list[tuple[int, int]]] | None = None
    for passage in [passage for passage in passages if passage.role & roles] or passages:
        found = _spans(passage.text[:SCANNED], pattern, exactly)
        if not found:
            continue
        close = max((_close(found, number) for number in range(len(found))), key=len)
        distinct = len({folded(passage.text[start:end]) for start, end in close})
        if best is None or distinct > best[0]:
            best = distinct, passage, close
    if best is None:
        first = passages[0] if passages else Passage(0, "")
        return _cut(first, [], 0)
    _, passage, spans = best
    return _cut(passage, spans, spans[0][0])


def _spans(text: str, pattern: re.Pattern[str], exactly: bool) -> list[tuple[int, int]]:
    matches = islice(pattern.finditer(text if exactly else folded(text)), MOST_MARKS)
    return [match.span() for match in matches if match.end() > match.start()]


def _close(found: list[tuple[int, int]], first: int) -> list[tuple[int, int]]:
    """What stands within one snippet's width behind the first of them."""
    limit = found[first][0] + WIDTH - BEFORE
    close = [found[first]]
    for span in found[first + 1 : first + 1 + WIDTH]:
        if span[1] > limit:
            break
        close.append(span)
    return close


def _cut(passage: Passage, spans: list[tuple[int, int]], at: int) -> Snippet:
    text = passage.text
    start = max(0, at - BEFORE)
    if start and (blank := text.find(" ", start, at)) >= 0:
        start = blank + 1
    end = min(len(text), start + WIDTH)
    if (
        end < len(text)
        and (blank := text.rfind(" ", max(start, *(span[1] for span in spans or [(0, start)])), end)) > 0
    ):
        end = blank
    made, marks = "…" if start else "", []
    place = start
    for mark_start, mark_end in [*spans, (end, end)]:
        mark_start, mark_end = min(mark_start, end), min(mark_end, end)
        made = _joined(made, text[place:mark_start])
        if mark_end > mark_start:
            before = len(made)
            made = _joined(made, text[mark_start:mark_end])
            marks.append((before, len(made)))
        place = mark_end
    return Snippet(made.rstrip() + ("…" if end < len(text) else ""), tuple(marks), passage.role, at)


def _joined(made: str, more: str) -> str:
    """On one line: blanks of any kind become a single space."""
    line = _BLANKS.sub(" ", more)
    return made + (line.lstrip() if not made or made.endswith((" ", "…")) else line)
