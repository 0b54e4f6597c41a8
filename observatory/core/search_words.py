"""Words of the full-text index, for scripts that put no spaces between them: a run of Han, kana or Hangul becomes its
overlapping pairs, so that any two characters in a row are found, and what follows from that for a query.

東京都 is written as 東京 京都 都: its last character stands alone too, so that each one begins some word.
"""

import re
import unicodedata

# Few ranges, for speed: they take some symbols in, which is the same in the index and in a query.
_RUN = re.compile("[\u1100-\u11ff\u3005-\ud7ff\uf900-\ufaff\uff66-\uff9d\U00016fe0-\U0003ffff]+")
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
    return _RUN.sub(lambda run: f" {_pairs(run[0])} {run[0][-1]} ", text)


def spread_word(text: str) -> str:
    """What is asked for, as the index has it: words that stand one behind the other. See `begins_word`."""
    if text.isascii():
        return text
    return _RUN.sub(lambda run: f" {_pairs(run[0])} ", unicodedata.normalize("NFC", text))


def is_lone(text: str) -> bool:
    """Whether it is one such character by itself, which in the index is the beginning of a word."""
    return len(text) == 1 and _RUN.fullmatch(text) is not None


def _pairs(run: str) -> str:
    return " ".join([run[at : at + 2] for at in range(len(run) - 1)]) or run
