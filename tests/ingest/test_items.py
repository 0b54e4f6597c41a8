"""The values of lines with what is known about each."""

import attrs
import pytest

from observatory.core.batch import FileState, Flag, SourceRow, StoredRecord, source_of
from observatory.core.lines import BOM, split
from observatory.core.transcript import Malformed, Record
from observatory.ingest.generations import NOTHING_KNOWN, Known
from observatory.ingest.items import IsCopy, Item, is_nul, items_of, public_id, row_of, stored_item
from observatory.ingest.reading import Oversize
from tests.ingest.stage import prompt, reply

SOURCE = SourceRow(3, "/p/a.jsonl", "/p", FileState(1, 2, 3, 4, 5), generation=2, lines=10)


def never(uuid: str, stamp: str | None, body: bytes, record: int) -> bool:
    return False


def items(data: bytes, source: SourceRow = SOURCE, known: Known = NOTHING_KNOWN, copy: IsCopy = never) -> list[Item]:
    return items_of(source, tuple(split(data, 0)[0]), known, copy)


def test_values_are_numbered_on_and_span_to_the_next_line() -> None:
    data = prompt(1) + b"\n" + b"{oops\n" + prompt(2) + b"\n"
    found = items(data)
    assert [item.line for item in found] == [10, 11, 12]
    assert [item.value.offset + item.span for item in found] == [n + 1 for n, byte in enumerate(data) if byte == 10]
    assert [type(item.value) for item in found] == [Record, Malformed, Record]
    assert all(item.live for item in found)


def test_each_value_of_a_glued_line_is_an_item_whose_span_ends_with_the_line() -> None:
    data = prompt(1) + prompt(2) + b"\n"
    found = items(data)
    assert [item.body for item in found] == [prompt(1), prompt(2)]
    assert [item.value.offset + item.span for item in found] == [len(data)] * 2


def test_a_line_of_nuls_has_no_item() -> None:
    lines = split(b"\0\0\n" + b"\0" + prompt(1) + b"\0\n" + b"x\n", 0)[0]
    assert [is_nul(line) for line in lines] == [True, False, False]
    assert len(items(b"\0\0\n")) == 0


def test_an_oversize_line_is_an_error_with_its_head() -> None:
    (item,) = items_of(SOURCE, (Oversize(5, 1000, b'{"type'),), NOTHING_KNOWN, never)
    assert isinstance(item.value, Malformed)
    assert (item.value.reason, item.value.text, item.body, item.span) == ("oversize line", '{"type', b'{"type', 1001)


def test_flags_say_what_a_line_is() -> None:
    source = attrs.evolve(SOURCE, backfill_until=len(prompt(1)) + 1)
    data = b"\n".join([prompt(1), prompt(2, isMeta=True), prompt(3, isSidechain=True), prompt(4)]) + b"\n"
    known = Known()
    known.add(prompt(4), 1)
    found = items(data, source, known, lambda uuid, stamp, body, record: (uuid, source_of(record)) == ("u3", 3))
    assert [item.flags for item in found] == [Flag.BACKFILL, Flag.META, Flag.SIDECHAIN | Flag.COPY, Flag.KNOWN]
    assert [item.live for item in found] == [False, True, False, False]


def test_a_known_line_is_met_as_often_as_it_was_there() -> None:
    known = Known()
    known.add(b"x", 1)
    known.add(b"x", 2)
    assert [known.take(b"x") for _ in range(3)] == [True, True, False]
    assert not known.take(b"y")


def test_a_row_holds_what_search_and_tokens_need() -> None:
    (item,) = items(reply(1, "m1") + b"\n")
    row = row_of(SOURCE, item, "c")
    assert (row.source_id, row.generation, row.offset, row.line, row.conversation_id) == (3, 2, 0, 10, "c")
    assert (row.type, row.kind, row.uuid, row.message_id, row.error) == ("assistant", "assistant", "a1", "m1", None)
    (bad,) = items(b"{oops\n")
    assert (row_of(SOURCE, bad, None).kind, row_of(SOURCE, bad, None).error) == ("error", "not JSON")
    assert public_id(SOURCE, 77) == "3-2-77"


@pytest.mark.parametrize("bom", [b"", BOM], ids=["", "BOM"])
@pytest.mark.parametrize(
    "data",
    [prompt(1), prompt(1) + prompt(2), b"\0\0" + prompt(1), b"\0" + prompt(1) + prompt(2) + b"\0", b"{oops"],
    ids=["one", "glued", "behind NULs", "glued, between NULs", "malformed"],
)
def test_what_is_stored_reads_back_as_it_was(bom: bytes, data: bytes) -> None:
    """Behind NULs or a BOM the stored bytes did not begin where the value does: reading went on in mid-line."""
    found = items(bom + data + b"\r\n")
    assert [item.body.strip(b"\0") for item in found] == [prompt(1), prompt(2)][: len(found)] or data == b"{oops"
    for item in found:
        row = row_of(SOURCE, item, None)
        again = stored_item(StoredRecord(row.offset, row.span, row.line, row.flags, row.body))
        assert again.stored
        assert (again.body, again.span, again.line, again.flags) == (item.body, item.span, item.line, item.flags)
        assert type(again.value) is type(item.value)
        assert again.value.offset == item.value.offset
        if isinstance(item.value, Record) and isinstance(again.value, Record):
            assert again.value.uuid == item.value.uuid
