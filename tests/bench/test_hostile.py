import json
from collections.abc import Callable
from pathlib import Path

import pytest

from observatory.core.lines import Line, trimmed
from observatory.core.transcript import Record, parse
from tests.bench.hostile import Part, batches, bounded, faults, part
from tests.bench.hostile_lines import KINDS, LINE_CAP, Grammar, Hostile, counted

GOOD, BAD = Hostile("good", b'{"type":"x"}', 1, 0), Hostile("torn", b'{"type"', 0, 1)
ANY = Hostile("mutated", b'{"ty', None, None)


def of(*lines: Hostile, start: int = 0) -> Part:
    return Part(Path("a.jsonl"), start, list(lines), b"")


def test_the_same_seed_gives_the_same_lines_and_another_seed_others() -> None:
    first, again, other = (Grammar(seed) for seed in (1, 1, 2))
    lines = [first.line() for _ in range(300)]
    assert lines == [again.line() for _ in range(300)]
    assert lines != [other.line() for _ in range(300)]


def test_no_line_holds_a_newline_and_all_kinds_come() -> None:
    grammar = Grammar(3)
    lines = [grammar.line() for _ in range(3000)]
    assert not any(b"\n" in line.data for line in lines)
    assert len({line.kind for line in lines} - {"long", "oversize"}) == len(set(KINDS))


@pytest.mark.parametrize("make", dict.fromkeys(KINDS))
def test_the_parser_finds_what_the_grammar_put_there(make: Callable[[Grammar], Hostile]) -> None:
    grammar = Grammar(5)
    for _ in range(40):
        line = make(grammar)
        data = trimmed(line.data, 1)
        values = parse(Line(1, len(line.data), data)) if data and not data.isspace() else ()
        records = sum(isinstance(value, Record) for value in values)
        if line.records is None:
            assert values
        else:
            assert (records, len(values) - records) == (line.records, line.errors), line


def test_long_lines_stay_below_the_cap_and_oversize_lines_do_not() -> None:
    grammar, found = Grammar(1), dict[str, list[int]]()
    while len(found) < 2:
        line = grammar._long()
        found.setdefault(line.kind, []).append(len(line.data))
    assert max(found["long"]) < LINE_CAP < min(found["oversize"])


@pytest.mark.parametrize(
    ("line", "holds"),
    [
        (b'{"a":1}', (1, 0)),
        (b'\0\0{"a":1}\r\0', (1, 0)),
        (b'{"a":"\xff"}', (1, 0)),
        (b"[1]", (0, 1)),
        (b"NaN", (0, 1)),
        (b"\0 \0", (0, 0)),
        (b"{", (None, None)),
        (b"[" * 100_000, (None, None)),
    ],
)
def test_an_arbitrary_line_is_counted_by_a_look_of_its_own(line: bytes, holds: tuple[int | None, int | None]) -> None:
    assert counted(line) == holds


def test_rows_as_the_grammar_put_them_there_are_no_fault() -> None:
    found = of(GOOD, BAD, ANY, start=100)
    first, second, third, end = found.offsets
    assert (first, end) == (100, 100 + sum(len(line.data) + 1 for line in found.lines))
    assert list(faults(found, [(first, None), (second, "not JSON"), (third + 2, None)])) == []


def test_a_lost_a_doubled_and_a_misread_line_are_faults() -> None:
    found = of(GOOD, GOOD, BAD, ANY)
    first, second, third, _, _ = found.offsets
    rows = [(first, None), (first + 1, None), (third, None)]
    assert [kind for kind, _ in faults(found, rows)] == ["good", "good", "torn", "mutated"]
    assert [text[:10] for _, text in faults(found, [(second, None), *rows[:1], (third, "x")])] == ["no row for"]


def test_a_byte_order_mark_is_legal_where_a_file_begins(tmp_path: Path) -> None:
    grammar, marked = Grammar(1), 0
    for number in range(200):
        first = part(grammar, tmp_path / f"{number}", 3, "m").lines[0]
        if first.kind == "bom":
            marked += 1
            assert (first.records, first.errors) == (1, 0)
            assert json.loads(first.data.decode("utf-8-sig"))
    assert marked


def test_batches_hold_all_lines_and_each_part_ends_with_a_mark(tmp_path: Path) -> None:
    made = list(batches(Grammar(1), tmp_path, 12_000))
    parts = [one for batch in made for one in batch]
    assert sum(len(one.lines) for one in parts) >= 12_000
    assert all(one.last in one.lines[-1].data for one in parts)
    assert len({one.last for one in parts}) == len(parts)


def test_memory_is_bounded_when_the_last_third_needs_no_more_than_the_second() -> None:
    assert bounded([10, 50, 100, 100, 100, 105]) == (100, 102.5, True)
    assert bounded([10, 50, 100, 110, 120, 130])[2] is False
    assert bounded([10]) == (10, 10, True)
