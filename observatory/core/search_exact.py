"""Looking for a text exactly as it stands, signs and all: which words of the index are certain to be where it is, and
which bytes of a stored record."""

import re

import attrs

from observatory.core.errors import UsageError
from observatory.core.search_query import MOST_CHARS, Term
from observatory.core.search_words import is_run, pieces

SHORTEST_HINT = 2
# What no JSON writer escapes: a stretch of it stands in the bytes of a record as it is.
_PLAIN = re.compile(r"[ !#-%'-.0-;=?-\[\]-~]+")


@attrs.frozen
class Needle:
    """The text that is looked for. case: whether upper and lower case are different."""

    text: str
    case: bool = False

    @property
    def words(self) -> str | None:
        """For MATCH: what a record that holds the text is certain to have in the index; None if nothing is.

        A word that is cut at its beginning cannot be looked for; one that is cut at its end is a beginning.
        """
        parts = pieces(self.text)
        if parts and not is_run(parts[0]) and self.text.startswith(parts[0]):
            parts = parts[1:]
        if not parts:
            return None
        return Term(tuple(parts), prefix=not is_run(parts[-1]) and self.text.endswith(parts[-1])).expression

    @property
    def hint(self) -> bytes | None:
        """The longest stretch of it that stands in the bytes of a record, in lower case; None: nothing is sure to."""
        longest = max(_PLAIN.findall(self.text), key=len, default="")
        return longest.lower().encode() if len(longest) >= SHORTEST_HINT else None

    @property
    def pattern(self) -> re.Pattern[str]:
        """For the text itself."""
        return re.compile(re.escape(self.text), 0 if self.case else re.IGNORECASE)


def needle(text: str, *, case: bool) -> Needle:
    """Raises UsageError: there is nothing to look for, or too much."""
    if not text.strip():
        raise UsageError("nothing to search for: name a text")
    if len(text) > MOST_CHARS:
        raise UsageError(f"a text to search for may have {MOST_CHARS:,} characters, this one has {len(text):,}")
    return Needle(text, case)
