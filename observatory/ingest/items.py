"""The values of a chunk of a file, with what is known about each: history, copy of a fork, known from before."""

from collections.abc import Callable, Sequence

import attrs
import structlog

from observatory.core import usage
from observatory.core.batch import Flag, RecordRow, SourceRow, StoredRecord, record_key
from observatory.core.copy_key import copy_key
from observatory.core.copy_key import key_of as key_of_decoded
from observatory.core.forgetting import FORGOTTEN
from observatory.core.lines import BOM, Line, trimmed
from observatory.core.transcript import OVERSIZE, Malformed, Record, malformed, parse
from observatory.core.usage import Usage
from observatory.ingest.generations import NOTHING_KNOWN, Known
from observatory.ingest.reading import Oversize

log = structlog.get_logger()
Value = Record | Malformed
NOT_LIVE = Flag.BACKFILL | Flag.COPY | Flag.KNOWN
Redact = Callable[[bytes], bytes]  # the same object if there is nothing to replace
IsCopy = Callable[[str, str | None, bytes, int], bool]  # (uuid, stamp, body, record key) → another file held it first


@attrs.define
class Item:
    """One value on its way into the archive.

    line: its number in the file. span: bytes to the start of the next line. stored: it is in the archive already.
    growth, own_growth: tokens it adds overall and to its conversation, once counted. copy_key: once worked out.
    """

    value: Value
    body: bytes
    line: int
    span: int
    flags: int
    stored: bool = False
    growth: Usage = usage.NONE
    own_growth: Usage = usage.NONE
    copy_key: int | None = None

    @property
    def live(self) -> bool:
        """Whether it is published."""
        return not self.flags & NOT_LIVE


def items_of(
    source: SourceRow,
    lines: tuple[Line | Oversize, ...],
    known: Known,
    is_copy: IsCopy,
    redact: Redact | None = None,
    *,
    keyed: bool = False,
) -> list[Item]:
    """The values of whole lines, in order. A line of NULs only has none.

    redact: what is stored instead of a body. keyed: copy keys are wanted too: cheap while a line is decoded.
    """
    items: list[Item] = []
    for line in lines:
        end = line.offset + line.length + 1
        decoded: list[object] | None = [] if keyed else None
        values = _values(line, decoded)
        key = key_of_decoded(decoded[0]) if decoded else None
        for value, body in values:
            mark = 0
            if redact is not None:
                value, body, mark = _redacted(value, body, redact)
            flags = _flags(source, value, body, known, is_copy) | mark
            items.append(
                Item(value, body, source.lines + len(items), end - value.offset, flags, copy_key=None if mark else key)
            )
    return items


def _values(line: Line | Oversize, decoded: list[object] | None) -> list[tuple[Value, bytes]]:
    if isinstance(line, Oversize):
        return [(malformed(line.offset, line.length, OVERSIZE, line.head), line.head)]
    values = _parsed(line, decoded)
    if len(values) == 1 and values[0].offset == line.offset:
        return [(values[0], line.data)]
    start = line.offset + (len(BOM) if line.length - len(line.data) >= len(BOM) else 0)
    return [(v, line.data[v.offset - start : v.offset - start + v.length]) for v in values]


def _redacted(value: Value, body: bytes, redact: Redact) -> tuple[Value, bytes, int]:
    """A value without its keys, and all that is made of it: copies and lines known from before are told by that."""
    clean = redact(body)
    if clean is body:
        return value, body, 0
    if isinstance(value, Record):
        found = _parsed(Line(value.offset, len(clean), clean))
        if len(found) == 1:
            return attrs.evolve(found[0], offset=value.offset, length=value.length), clean, Flag.REDACTED
    reason = value.reason if isinstance(value, Malformed) else "not understood"
    return malformed(value.offset, value.length, reason, clean), clean, Flag.REDACTED


def _parsed(line: Line, decoded: list[object] | None = None) -> tuple[Value, ...]:
    try:
        return parse(line, decoded)
    except Exception:  # a defect of ours costs this one line its meaning; the next start would meet it again
        log.exception("line.failed", offset=line.offset, length=line.length)
        return (malformed(line.offset, line.length, "not understood", line.data),)


def _flags(source: SourceRow, value: Value, body: bytes, known: Known, is_copy: IsCopy) -> int:
    flags = Flag.BACKFILL if value.offset < source.backfill_until else 0
    if known.left and known.take(body):
        flags |= Flag.KNOWN
    if isinstance(value, Record):
        if (
            value.uuid is not None
            and not flags & Flag.BACKFILL
            and is_copy(value.uuid, value.timestamp, body, record_key(source.id, source.generation, value.offset))
        ):
            flags |= Flag.COPY
        if value.is_sidechain:
            flags |= Flag.SIDECHAIN
        if value.is_meta:
            flags |= Flag.META
    return flags


def nobody_had_it(uuid: str, stamp: str | None, body: bytes, record: int) -> bool:
    """An IsCopy for history: which of its lines are copies is told by their keys (originals.py)."""
    return False


def empty_forgotten(items: list[Item], repeats_forgotten: Callable[[bytes], bool]) -> None:
    """Leave nothing but the place of lines that repeat forgotten ones."""
    for item in items:
        if item.flags & Flag.COPY and repeats_forgotten(item.body):
            item.value, item.body = malformed(item.value.offset, item.value.length, FORGOTTEN, b""), b""


def is_nul(line: Line) -> bool:
    """Whether a line has no value: what a power loss leaves, transcripts.md §7."""
    return line.data.startswith(b"\0") and not line.data.strip(b"\0").strip()


def bad_lines(counts: dict[str, int], lines: Sequence[Line | Oversize], items: Sequence[Item]) -> None:
    """Count what was no record, by reason."""
    if len(lines) == len(items) == 1 and isinstance(items[0].value, Record):
        return
    nul = sum(isinstance(line, Line) and is_nul(line) for line in lines)
    for reason in [*["nul"] * nul, *(item.value.reason for item in items if isinstance(item.value, Malformed))]:
        counts[reason] = counts.get(reason, 0) + 1


def stored_item(record: StoredRecord) -> Item:
    """A record of the archive, as it was when it was read."""
    values = _parsed(Line(record.offset, len(record.body), record.body))
    value = values[0] if values else malformed(record.offset, len(record.body), "nul", record.body)
    return Item(value, record.body, record.line, record.span, record.flags, stored=True)


def row_of(source: SourceRow, item: Item, conversation_id: str | None) -> RecordRow:
    """The archive's row."""
    value = item.value
    place = (source.id, source.generation, value.offset, value.length, item.span, item.line, conversation_id)
    if isinstance(value, Malformed):
        return RecordRow(*place, "", "error", None, None, None, item.flags, value.reason, item.body)
    message_id = value.message.message_id if value.message is not None else None
    return RecordRow(
        *place, value.type, value.kind, value.uuid, message_id, value.timestamp, item.flags, None, item.body
    )


def key_of(item: Item) -> int | None:
    """A record's copy key; None for what no fork would copy."""
    if not isinstance(item.value, Record) or item.value.uuid is None:
        return None
    return copy_key(item.body) if item.copy_key is None else item.copy_key


def public_id(source: SourceRow, offset: int) -> str:
    """A record's id on the wire."""
    return f"{source.id}-{source.generation}-{offset}"


def tail_item(source: SourceRow, data: bytes, redact: Redact | None = None) -> Item | None:
    """The end of a file at rest if it is a whole record without its newline, else None: it may be half of one."""
    line = Line(source.offset, len(data), trimmed(data, source.offset))
    values = parse(line)
    if len(values) != 1 or not isinstance(values[0], Record) or values[0].length != len(data):
        return None
    value, body, mark = (values[0], line.data, 0) if redact is None else _redacted(values[0], line.data, redact)
    history = attrs.evolve(source, backfill_until=source.state.size)
    flags = _flags(history, value, body, NOTHING_KNOWN, nobody_had_it) | mark
    return Item(value, body, source.lines, len(data) + 1, flags | Flag.TAIL)
