"""Bytes of a transcript into lines: split on 0x0A only, whole lines only.

U+2028, NEL, VT, FF and a lone CR are legal inside JSON strings and never end a line.
Source: transcripts.md R1, R5, R14.
"""

from observatory.core.frozen import frozen

BOM = b"\xef\xbb\xbf"


@frozen
class Line:
    """One line of a file.

    `offset` is the absolute byte offset in the file, `length` counts the bytes as they stand there, without the
    newline. `data` is what to parse: one trailing CR is gone, and the BOM if the line starts the file.
    """

    offset: int
    length: int
    data: bytes


def split(data: bytes, offset: int) -> tuple[list[Line], int]:
    """The whole lines in a chunk.

    Args:    data: bytes of the file from `offset` on; `offset` must be the start of a line.
    Returns: the lines, and how many bytes they take: up to and with the last newline. The torn tail is not consumed:
             the next read starts there. Blank lines are consumed and yield nothing.
    """
    lines: list[Line] = []
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        text = trimmed(data[start:end], offset + start)
        if text and not text.isspace():
            lines.append(Line(offset + start, end - start, text))
        start = end + 1
    return lines, start


def trimmed(data: bytes, offset: int) -> bytes:
    """A line's bytes without one trailing CR, and without the BOM if it is the first of the file."""
    if data.endswith(b"\r"):
        data = data[:-1]
    if offset == 0 and data.startswith(BOM):
        data = data[len(BOM) :]
    return data
