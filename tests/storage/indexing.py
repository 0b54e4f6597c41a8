"""What tests of the search index share: an archive of a few lines, without files or an ingest."""

from typing import Any

import attrs
import orjson

from observatory.core.batch import Batch, FileState, Flag, RecordRow, SourceRow, record_key
from observatory.core.tools import ToolCallRow
from observatory.storage.log import EventLog

STATE = FileState(1, 2, 3, 4, 5)


def said(text: str, type_: str = "user", **message: Any) -> bytes:
    return orjson.dumps({"type": type_, "message": {"content": text, **message}})


def result(text: str, call: str, *, is_error: bool = False) -> bytes:
    block = {"type": "tool_result", "tool_use_id": call, "is_error": is_error, "content": text}
    return orjson.dumps({"type": "user", "message": {"content": [block]}})


def use(name: str, call: str, **asked: Any) -> bytes:
    block = {"type": "tool_use", "id": call, "name": name, "input": asked}
    return orjson.dumps({"type": "assistant", "message": {"content": [block], "model": "m-1"}})


@attrs.define
class Shelf:
    """Sources with lines, in a real archive."""

    log: EventLog
    rows: dict[int, SourceRow] = attrs.field(factory=dict)

    def write(
        self, source: int, *bodies: bytes, at: str = "2026-11-22T20:00:00.000Z", flags: int = 0, conversation: str = ""
    ) -> list[int]:
        """Add lines to a source's end; returns their keys."""
        row = self.rows.get(source) or SourceRow(
            source, f"/r/{source}.jsonl", "/r", STATE, conversation_id=conversation or f"c{source}"
        )
        batch, offset = Batch(), row.offset
        for number, body in enumerate(bodies, row.lines):
            place = (source, row.generation, offset, len(body), len(body) + 1, number, row.conversation_id)
            batch.records.append(RecordRow(*place, "user", "note", None, None, at, flags, None, body))
            offset += len(body) + 1
        state = attrs.evolve(STATE, size=offset, mtime_ns=source)
        self.rows[source] = row = attrs.evolve(row, offset=offset, lines=row.lines + len(bodies), state=state)
        batch.sources[source] = row
        self.log.append(batch, 1000)
        return [record.key for record in batch.records]

    def write_tail(self, source: int, body: bytes) -> None:
        """A line without its newline at the end of a source, which reading stays before."""
        row = self.rows[source]
        place = (source, row.generation, row.offset, len(body), len(body) + 1, row.lines, row.conversation_id)
        batch = Batch(records=[RecordRow(*place, "user", "note", None, None, None, Flag.TAIL, None, body)])
        state = attrs.evolve(row.state, size=row.offset + len(body))
        batch.sources[source] = self.rows[source] = attrs.evolve(row, state=state)
        self.log.append(batch, 1000)

    def end_tail(self, source: int, body: bytes) -> None:
        """Its newline has come."""
        row = self.rows[source]
        offset = row.offset + len(body) + 1
        state = attrs.evolve(row.state, size=offset)
        row = self.rows[source] = attrs.evolve(row, offset=offset, lines=row.lines + 1, state=state)
        key = record_key(source, row.generation, offset - len(body) - 1)
        self.log.append(Batch(sources={source: row}, flagged=[(key, 0, Flag.TAIL)]), 1000)

    def call(self, conversation: str, call: str, name: str) -> None:
        """A tool call that the books know."""
        row = ToolCallRow(conversation, call, name, "r", None, None, None, None, None)
        self.log.append(Batch(tool_calls={(conversation, call): row}), 1000)
