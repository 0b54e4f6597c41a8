"""Untrusted text made harmless for terminals: every invisible command becomes something one can see.

Transcripts hold whatever a web page or a program printed. A raw ESC retitles the window or writes the clipboard
(OSC 52), a CR or newline forges a line of ours, a bidi override shows a command backwards, and Unicode tags hide a
prompt. What was sent stays readable; it only stops being obeyed.
"""

import re

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_HIDDEN = "\u200b\u2060-\u2064\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
_BREAKS = "\u2028\u2029"
_UNSAFE = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff{_BIDI}{_HIDDEN}{_BREAKS}]")
# In JSON text C0 controls are escaped already, except for the blanks between tokens.
_UNSAFE_JSON = re.compile(f"[\x7f-\x9f\ud800-\udfff{_BIDI}{_HIDDEN}{_BREAKS}]")
_PICTURES = 0x2400  # U+2400 + n is the picture of control n
_DELETE = 0x7F
_PICTURE_OF_DELETE = "\u2421"


def neutral(text: str) -> str:
    """Text without controls, newlines included: C0 and DEL as their pictures (␛ ␍ ␊), the rest as \\u escapes."""
    return _UNSAFE.sub(_visible, text)


def neutral_json(text: str) -> str:
    """JSON that means the same and is safe on a terminal: what `neutral` replaces is escaped, blanks between tokens go.

    Newlines become spaces, so that one frame stays one line.
    """
    return _UNSAFE_JSON.sub(_escaped, text).replace("\r", " ").replace("\n", " ")


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(_PICTURES + code)
    if code == _DELETE:
        return _PICTURE_OF_DELETE
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
