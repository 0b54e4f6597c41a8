"""Splitting bytes into lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.lines import BOM, Line, split

ODD = [b"\n", b"\r", b"\r\n", b"\x0b", b"\x0c", "\u2028".encode(), "\u2029".encode(), "\x85".encode(), BOM, b"a", b"{}"]
CONTENT = st.lists(st.sampled_from(ODD) | st.binary(max_size=8), max_size=40).map(b"".join)


@pytest.mark.parametrize(
    ("data", "offset", "lines", "consumed"),
    [
        (b"", 0, [], 0),
        (b"torn", 0, [], 0),
        (b"a\nb\n", 0, [Line(0, 1, b"a"), Line(2, 1, b"b")], 4),
        (b"a\ntor", 10, [Line(10, 1, b"a")], 2),
        (b"a\r\n", 5, [Line(5, 2, b"a")], 3),
        (b"a\r\r\n", 5, [Line(5, 3, b"a\r")], 4),
        (b"\n\r\n  \n", 5, [], 6),
        (BOM + b"a\n", 0, [Line(0, 4, b"a")], 5),
        (BOM + b"a\n", 9, [Line(9, 4, BOM + b"a")], 5),
        (BOM + b"\n", 0, [], 4),
    ],
)
def test_whole_lines_come_with_their_place_in_the_file(
    data: bytes, offset: int, lines: list[Line], consumed: int
) -> None:
    assert split(data, offset) == (lines, consumed)


@pytest.mark.parametrize("inside", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\r", "\x1c", "\x1e"])
def test_only_a_newline_ends_a_line(inside: str) -> None:
    lines, _ = split(f'{{"a":"x{inside}y"}}\n'.encode(), 0)
    assert [line.data.decode() for line in lines] == [f'{{"a":"x{inside}y"}}']


@given(CONTENT, st.lists(st.integers(min_value=1, max_value=9), max_size=30))
def test_any_chunking_gives_the_same_lines(content: bytes, sizes: list[int]) -> None:
    whole, consumed = split(content, 0)
    lines: list[Line] = []
    offset, read = 0, 0
    for size in [*sizes, len(content)]:  # the reader keeps its offset and reads the tail again
        read = min(len(content), read + size)
        more, taken = split(content[offset:read], offset)
        lines += more
        offset += taken
    assert (lines, offset) == (whole, consumed)


@given(CONTENT)
def test_a_line_stands_where_it_says(content: bytes) -> None:
    lines, consumed = split(content, 0)
    assert consumed == content.rfind(b"\n") + 1
    for line in lines:
        found = content[line.offset : line.offset + line.length]
        assert line.data in found
        assert b"\n" not in found
        assert content[line.offset + line.length :].startswith(b"\n")
