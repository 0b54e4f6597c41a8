"""Records against their file: each byte has a class, and what does not agree is found."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from observatory.core import accounting
from observatory.core.accounting import CLASSES, KEPT_FINDINGS, Account, Claim, Found, account
from observatory.core.lines import BOM
from observatory.core.transcript import OVERSIZE

REST = "rest of a glued line"


def against(data: bytes, *claims: Claim, offset: int | None = None) -> Account:
    result = account(claims, len(data) if offset is None else offset, lambda start, end: data[start:end])
    assert sum(result.bytes.values()) == result.size == len(data)
    return result


def classes(result: Account) -> dict[str, int]:
    return {name: count for name, count in result.bytes.items() if count}


def claim(offset: int, body: bytes, *, length: int = 0, span: int = 0, error: str | None = None) -> Claim:
    length = length or len(body)
    return Claim(offset, length, span or length + 1, error, body)


def test_records_newlines_and_a_torn_tail_are_all_there_is() -> None:
    result = against(b"{1}\n{2}\n{to", claim(0, b"{1}"), claim(4, b"{2}"), offset=8)
    assert result.clean
    assert (classes(result), result.records) == ({"record": 6, "newline": 2, "torn": 3}, 2)


@pytest.mark.parametrize(
    ("data", "claims", "found"),
    [
        (BOM + b"{1}\r\n", [claim(0, b"{1}", length=7)], {"record": 3, "bom": 3, "cr": 1, "newline": 1}),
        (BOM + b"{1}\n", [claim(0, b"{1}", length=6)], {"record": 3, "bom": 3, "newline": 1}),
        (BOM + b"nope\n", [claim(3, b"nope", error="not JSON")], {"error": 4, "bom": 3, "newline": 1}),
        (b"nope\r\n", [claim(0, b"nope", span=6, error="not JSON")], {"error": 4, "cr": 1, "newline": 1}),
        (b"{1}\0\0\n", [claim(0, b"{1}\0\0", length=3, span=6)], {"record": 3, "nul": 2, "newline": 1}),
        (b"\0\0{1}\n", [claim(2, b"{1}", span=4)], {"record": 3, "nul": 2, "newline": 1}),
        (b"\n \t\x0b\r\n\0\n{1}\n", [claim(8, b"{1}")], {"record": 3, "blank": 3, "cr": 1, "nul": 1, "newline": 4}),
        (BOM + b"\n", [], {"bom": 3, "newline": 1}),
        (b"{1}{2}\n", [claim(0, b"{1}", span=7), claim(3, b"{2}", span=4)], {"record": 6, "newline": 1}),
        (
            b"a{1}b{2}\n",
            [claim(0, b"a{1}b", span=9, error=REST), claim(1, b"{1}", span=8), claim(5, b"{2}", span=4)],
            {"error": 5, "record": 3, "newline": 1},
        ),
        (
            b"x" * 5000 + b"\n{1}\n",
            [claim(0, b"x" * 1024, length=5000, error="oversize line"), claim(5001, b"{1}")],
            {"oversize": 5000, "record": 3, "newline": 2},
        ),
        (b"", [], {}),
    ],
)
def test_what_is_stripped_or_shared_or_too_long_is_accounted_for(
    data: bytes, claims: list[Claim], found: dict[str, int]
) -> None:
    result = against(data, *claims)
    assert (result.findings, classes(result)) == ((), found)


def test_a_record_beyond_the_books_or_without_its_newline_covers_its_bytes() -> None:
    assert against(b"{1}\n{2}\n", claim(0, b"{1}"), claim(4, b"{2}"), offset=4).clean
    whole_tail = against(b"{1}\n{2}", claim(0, b"{1}"), claim(4, b"{2}"), offset=4)
    assert (whole_tail.clean, classes(whole_tail)) == (True, {"record": 6, "newline": 1})


def found(data: bytes, *claims: Claim, offset: int | None = None) -> list[tuple[int, int, str]]:
    return [(f.offset, f.length, f.what) for f in against(data, *claims, offset=offset).findings]


def test_an_edit_in_the_middle_is_found_where_it_is() -> None:
    claims = [claim(4 * n, b"{%d}" % n) for n in range(9)]
    data = b"".join(c.body + b"\n" for c in claims)
    edited = data[:17] + b"X" + data[18:]
    assert found(edited, *claims) == [(16, 3, "changed")]


def test_bytes_that_no_record_holds_are_found() -> None:
    assert found(b"{1}\n  lost  \n{2}\n", claim(0, b"{1}"), claim(13, b"{2}")) == [(6, 4, "unaccounted")]
    assert found(b"{1} lost\n", claim(0, b"{1}", span=9)) == [(4, 4, "unaccounted")]
    assert found(b"{1}\n" + BOM + b"\n", claim(0, b"{1}")) == [(4, 3, "unaccounted")]


def test_lines_behind_the_last_record_have_not_been_read() -> None:
    result = against(b"{1}\n{2}\n{3}\n{t", claim(0, b"{1}"), offset=4)
    assert result.findings == (Found(4, 7, "not read"),)
    assert classes(result) == {"record": 3, "newline": 2, "not read": 7, "torn": 2}
    assert against(b"{1}\n \n", claim(0, b"{1}"), offset=4).clean


def test_a_file_that_ends_before_its_records_do_is_one_finding() -> None:
    claims = [claim(4 * n, b"{%d}" % n) for n in range(4)]
    assert found(b"{0}\n{1", *claims, offset=16) == [(4, 12, "changed")]
    assert found(b"{0}\n", *claims, offset=16) == [(4, 12, "changed")]
    assert found(b"{0}", *claims[:1], offset=4) == [(3, 1, "changed")]
    assert found(b"", *claims, offset=16) == [(0, 16, "changed")]


def test_rows_that_contradict_each_other_are_found() -> None:
    assert found(b"{1{2}}\n", claim(0, b"{1{2}}"), claim(2, b"{2}", span=5)) == [(2, 4, "overlap")]
    assert found(b"a{1}b\n", claim(0, b"a{1}b", error=REST), claim(1, b"{X}", span=5)) == [(1, 3, "changed")]
    assert found(b"{12}\n", claim(0, b"{1", length=4)) == [(0, 4, "changed")]


def test_a_newline_that_joined_or_cut_lines_is_found() -> None:
    assert found(b"{1} {2}\n", claim(0, b"{1}"), claim(4, b"{2}")) == [(3, 1, "changed")]
    assert found(b"{1} ", claim(0, b"{1}")) == [(3, 1, "changed")]
    oversize = claim(0, b"x" * 4, length=9, error="oversize line")
    assert found(b"xxxxxx\nxx\n", oversize) == [(0, 9, "changed")]


def test_the_first_findings_are_kept_and_all_are_counted() -> None:
    claims = [claim(2 * n, b"x") for n in range(100)]
    result = against(b"y\n" * 100, *claims)
    assert (result.count, len(result.findings), result.bytes["changed"]) == (100, KEPT_FINDINGS, 100)


gaps = st.text("\n\r \0", max_size=6).map(str.encode)


@given(st.lists(st.tuples(gaps, st.binary(min_size=1, max_size=9)), max_size=8), gaps, st.integers(1, 7))
@example([(b"", b"a")], b"", 1)
def test_every_byte_has_one_class_however_small_the_pieces(
    parts: list[tuple[bytes, bytes]], end: bytes, step: int
) -> None:
    data, claims = b"", []
    for gap, body in parts:
        data += gap + b"\n" if data else gap
        claims.append(claim(len(data), body))
        data += body
    data += end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounting, "STEP", step)
        in_pieces = account(claims, 0, lambda start, stop: data[start:stop])
    assert in_pieces == against(data, *claims, offset=0)
    assert set(in_pieces.bytes) >= set(CLASSES)


KEY = b"AK" + b"IA" + b"ABCDEFGHIJKLMNOP"
CLEAN = b"[redacted:aws-key-id]"


def redacted(offset: int, body: bytes, length: int, error: str | None = None) -> Claim:
    return Claim(offset, length, length + 1, error, body, True)


def test_a_redacted_record_is_compared_up_to_its_keys() -> None:
    line = b'{"a":"' + KEY + b'"}'
    result = against(line + b"\n", redacted(0, b'{"a":"' + CLEAN + b'"}', len(line)))
    assert (result.clean, classes(result)) == (True, {"redacted": len(line), "newline": 1})
    result = against(BOM + line + b"\r\n", redacted(0, b'{"a":"' + CLEAN + b'"}', len(line) + 4))
    assert result.clean


def test_an_edit_of_a_redacted_record_is_found_and_so_is_its_end() -> None:
    line = b'{"a":"' + KEY + b'"}'
    claimed = redacted(0, b'{"b":"' + CLEAN + b'"}', len(line))
    assert against(line + b"\n", claimed).findings == (Found(0, len(line), "changed"),)
    assert against(line[:9], claimed, offset=len(line) + 1).findings == (Found(0, len(line) + 1, "changed"),)


def test_a_redacted_record_that_an_older_version_left_half_redacted_is_the_same() -> None:
    line = b'{"a":"' + KEY + b'","b":"' + KEY + b'"}'
    stored = b'{"a":"' + CLEAN + b'","b":"' + KEY + b'"}'
    assert against(line + b"\n", redacted(0, stored, len(line))).clean


def test_of_a_redacted_line_beyond_the_cap_only_the_end_is_compared() -> None:
    line = b'{"a":"' + KEY + b"x" * 100
    claimed = redacted(0, b'{"a":"' + CLEAN, len(line), OVERSIZE)
    assert against(line + b"\n", claimed).clean
    assert not against(line[:50] + b"\n" + line[51:] + b"\n", claimed).clean


def test_a_forgotten_line_has_its_place_and_is_not_compared() -> None:
    forgotten = Claim(4, 3, 4, "forgotten", b"")
    result = against(b"{1}\n{2}\n", claim(0, b"{1}"), forgotten)
    assert (result.clean, classes(result)) == (True, {"record": 3, "forgotten": 3, "newline": 2})
    assert not against(b"{1}\n{", claim(0, b"{1}"), forgotten, offset=8).clean


def test_redacted_and_forgotten_values_of_a_glued_line_may_lie_within_its_rest() -> None:
    data = b"{oops " + KEY + b" {2}{3}\n"
    claims = [
        redacted(0, b"{oops " + CLEAN + b" {2}{3}", len(data) - 1, REST),
        Claim(27, 3, 4, "forgotten", b""),
        redacted(30, b"{3}", 3),
    ]
    assert against(data, *claims).clean
    claims[2] = redacted(30, b"{4}", 3)
    assert against(data, *claims).findings == (Found(30, 3, "changed"),)
