"""What a person types into a search: words, all of which must be there, and a few signs.

cart total      both words, anywhere in a record        "cart total"   the one right behind the other
cart OR basket  one of them                             -cart          not this one; it binds before OR
cart*           words that begin so                     snake_case, a.b.c, /usr/lib, foo::bar   as they stand
"""

import re
import unicodedata
from collections.abc import Sequence

import attrs

from observatory.core.errors import UsageError
from observatory.core.search_words import is_run, pieces, wanted

MOST_CHARS = 1000
MOST_TERMS = 64
_TOKEN = re.compile(r'(-(?=[^\s-]))?(?:"([^"]*)"?|(\S+?(?="|\s|$)))(\*)?')
NO_WORD = "no letter or digit is in it; to look for signs, use --exact"


@attrs.frozen
class Term:
    """Pieces that stand one behind the other. prefix: the last one may go on."""

    parts: tuple[str, ...]
    prefix: bool = False

    @property
    def expression(self) -> str:
        """As FTS5 has it: a string, with nothing in it that means anything."""
        words, open_ended = wanted(list(self.parts))
        return f'"{words}"*' if self.prefix or open_ended else f'"{words}"'

    @property
    def pattern(self) -> str:
        """A regular expression for it in a folded text."""
        made = "" if is_run(self.parts[0]) else r"(?<![^\W_])"
        for before, part in zip(("", *self.parts), self.parts, strict=False):
            gap = r"[\W_]*" if is_run(part) or is_run(before or part) else r"[\W_]+"
            made += (gap if before else "") + re.escape(folded(part))
        return made + ("" if self.prefix or is_run(self.parts[-1]) else r"(?![^\W_])")


@attrs.frozen
class Wish:
    """all_of: of each of these groups one term must be there. none_of: and none of these."""

    all_of: tuple[tuple[Term, ...], ...]
    none_of: tuple[Term, ...] = ()

    def expression(self, columns: Sequence[str] = ()) -> str:
        """For MATCH. columns: where to look; everywhere if there are none."""
        groups = [" OR ".join([term.expression for term in group]) for group in self.all_of]
        made = " AND ".join([f"({group})" for group in groups])
        for term in self.none_of:
            made = f"({made}) NOT {term.expression}"
        return f"{{{' '.join(columns)}}} : ({made})" if columns else made

    @property
    def pattern(self) -> re.Pattern[str]:
        """What to show as found, in a folded text."""
        return re.compile("|".join([term.pattern for group in self.all_of for term in group]))


def parse(text: str) -> Wish:
    """What is wished for. Raises UsageError: nothing is, or too much."""
    if len(text) > MOST_CHARS:
        raise UsageError(f"a query may have {MOST_CHARS:,} characters, this one has {len(text):,}: shorten it")
    groups: list[list[Term]] = []
    without: list[Term] = []
    joins = False
    for found in _TOKEN.finditer(text):
        minus, quoted, word, star = found.groups()
        if word in ("OR", "AND", "NOT") and not minus and not star:
            joins = word == "OR" and bool(groups)
            continue
        parts = tuple(pieces(quoted if word is None else word))
        if not parts:
            continue
        term = Term(parts, star is not None or (word or "").endswith("*"))
        if term.prefix and len(parts[-1]) == 1 and not is_run(parts[-1]):
            raise UsageError(f"half of all words begin with '{parts[-1]}': write at least two letters before *")
        if minus:
            without.append(term)
        elif joins:
            groups[-1].append(term)
        else:
            groups.append([term])
        joins = False
    _check(text, groups, without)
    return Wish(tuple(map(tuple, groups)), tuple(without))


def _check(text: str, groups: list[list[Term]], without: list[Term]) -> None:
    if not groups and without:
        raise UsageError("name at least one word that must be there, beside those that must not")
    if not groups:
        raise UsageError(f"nothing to search for: {NO_WORD if text.strip() else 'name a word'}")
    if sum(map(len, groups)) + len(without) > MOST_TERMS:
        raise UsageError(f"a query may have {MOST_TERMS} words: leave some out")


def folded(text: str) -> str:
    """A text for comparing, letter by letter: without case and accents, each character in its place."""
    if text.isascii():
        return text.lower()
    return "".join([char.lower() if char.isascii() else _folded(char) for char in text])


def _folded(char: str) -> str:
    base = unicodedata.normalize("NFD", char)[0] if not is_run(char) else char
    lower = base.lower()
    return lower if len(lower) == 1 else base
