"""Spilled outputs: what a tool said that was too big for a line lies in a file of its session's `tool-results` folder.

A record names it by a path, which is untrusted text: it tells when to look, and at which name, never where.
Source: transcripts.md §1, §3.
"""

import re
from collections.abc import Callable, Iterable

from observatory.core.identity import Location
from observatory.core.transcript import Record

FOLDER = "tool-results"
MARK = b"<persisted-output>"  # in the text of a record that names one
MAX_BYTES = 16 * 1024 * 1024  # of a file that is kept
CHUNK = 256 * 1024  # searched for keys at once: a few ms in which no other thread runs
_SAVED = re.compile(r"Full output saved to: ([^\r\n]+)")
_NAME = re.compile(r"[^/\0]{1,240}\.(?:txt|json)")


def is_spilled(name: str) -> bool:
    """Whether a file of the folder is one."""
    return _NAME.fullmatch(name) is not None and name.isprintable()


def named_in(record: Record) -> list[str]:
    """The paths that a record names, as they are written."""
    results = record.message.tool_results if record.message is not None else ()
    return [path.strip() for result in results for path in _SAVED.findall(result.content)]


def session_folder(path: str, location: Location) -> str | None:
    """The folder of the session that a transcript belongs to, also of a sub-agent's; None if it has none.

    Its spilled outputs are in `tool-results` there; its main file, if any, is `<folder>.jsonl` beside it.
    """
    if location.parent_session is not None:
        before, found, _ = path.rpartition("/subagents/")
        while "/subagents/" in before:
            before = before.rpartition("/subagents/")[0]
        return before if found else None
    return None if location.agent_id is not None else path.removesuffix(".jsonl")


def redacted(text: bytes, redact: Callable[[bytes], bytes]) -> bytes:
    """A plain text without keys. redact: does it for JSON, where a line end is an escape.

    A private key runs over lines, so that they are made escapes for it; everything else is found line by line.
    """
    if b"PRIVATE KEY" not in text:
        return b"".join(redact(piece) for piece in _pieces(text))
    slashes = b"\\" * 9
    while slashes in text:
        slashes += b"\\"
    escaped = text.replace(b"\n", slashes + b"n").replace(b"\r", slashes + b"r")
    return redact(escaped).replace(slashes + b"n", b"\n").replace(slashes + b"r", b"\r")


def _pieces(text: bytes) -> Iterable[bytes]:
    """Whole lines, some CHUNK bytes at a time."""
    start = 0
    while start < len(text):
        end = text.find(b"\n", start + CHUNK)
        end = len(text) if end < 0 else end + 1
        yield text[start:end]
        start = end
