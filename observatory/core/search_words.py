"""Words of the full-text index, for scripts that put no spaces between them: a run of Han, kana or Hangul becomes its
overlapping pairs, so that any two characters in a row are found, and what follows from that for a query.

東京都 is written as 東京 京都 都: its last character stands alone too, so that each one begins some word.
"""

import re
import unicodedata
from collections.abc import Iterator

# Letters only: what is no letter or digit separates words in the index.
_RUN = re.compile(
    "[\u1100-\u11ff\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    "\u3105-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\ua48c\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9d"
    "\U00016fe0-\U00018fff\U0001aff0-\U0001b2ff\U00020000-\U0003ffff]+"
)
# First bytes of such characters in UTF-8. To look for them takes a tenth of the time, and most texts that are not ASCII
# hold dashes, arrows or letters with accents.
_LEADS = bytes([0xE1, *range(0xE3, 0xEE), 0xEF, 0xF0])


def spread(text: str) -> str:
    """A text as it goes into the index."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFC", text)
    encoded = text.encode("utf-8", "replace")
    if len(encoded.translate(None, _LEADS)) == len(encoded):
        return text
    return _RUN.sub(lambda run: f" {_pairs(run[0])} ", text)


def _pairs(run: str) -> str:
    return " ".join([*(run[at : at + 2] for at in range(len(run) - 1)), run[-1]])


def pieces(text: str) -> list[str]:
    """What is asked for, cut where words of the index may begin or end: runs of such characters, and of letters and
    digits; nothing else is in the index."""
    return list(_pieces(unicodedata.normalize("NFC", text)))


def _pieces(text: str) -> Iterator[str]:
    at = 0
    for run in _RUN.finditer(text):
        yield from _plain(text[at : run.start()])
        yield run[0]
        at = run.end()
    yield from _plain(text[at:])


def _plain(text: str) -> list[str]:
    words = "".join([char if _is_part(char) else " " for char in text]).split()
    return [word for word in words if any(unicodedata.category(char)[0] != "M" for char in word)]


def _is_part(char: str) -> bool:
    """Whether it is part of a word: letters, digits, private use, and the accents that follow a letter."""
    return (char.isascii() and char.isalnum()) or unicodedata.category(char)[0] in "LNM" or "\ue000" <= char <= "\uf8ff"


def is_run(piece: str) -> bool:
    """Whether a piece is of characters that are written without spaces."""
    return _RUN.fullmatch(piece) is not None


def wanted(parts: list[str]) -> tuple[str, bool]:
    """The words that pieces standing one behind the other are in the index; whether the last one may go on there."""
    *before, last = parts
    words = [_pairs(piece) if is_run(piece) else piece for piece in before]
    if not is_run(last):
        return " ".join([*words, last]), False
    pairs = _pairs(last)
    return " ".join([*words, pairs if len(last) == 1 else pairs[: -len(" x")]]), len(last) == 1
