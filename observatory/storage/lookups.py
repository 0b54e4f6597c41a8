"""Lookups: what the ingest asks the archive for, by key, on the writing connection."""

import sqlite3
from collections.abc import Collection, Iterator
from typing import Any

import msgspec

from observatory.core.batch import (
    GENERATION_BITS,
    OFFSET_BITS,
    ConversationUsage,
    FileState,
    Flag,
    SourceRow,
    StoredLine,
    StoredRecord,
    record_key,
    split_key,
)
from observatory.core.conversation import Conversation
from observatory.core.detail import Detail
from observatory.core.project import Project
from observatory.core.summaries import Summary
from observatory.core.tools import ToolCallRow
from observatory.core.usage import Usage
from observatory.storage.bodies import Bodies
from observatory.storage.decoding import conversation_of, project_of
from observatory.storage.rows import CALL_COLUMNS, SOURCE_COLUMNS, USAGE_COLUMNS, key_range


class Lookups:
    """Reads through the writer's connection, so that it sees what was committed a moment ago."""

    _db: sqlite3.Connection
    _bodies: Bodies

    def sources(self) -> list[SourceRow]:
        """Every file known, without order."""
        rows = self._db.execute(f"SELECT {SOURCE_COLUMNS} FROM sources")
        return [_source(*row) for row in rows]

    def scanned_roots(self) -> dict[str, int]:
        """Roots whose first scan is complete, with the time of it in ms."""
        return dict(self._db.execute("SELECT path, first_scan_at FROM roots").fetchall())

    def conversation(self, conversation_id: str) -> Conversation | None:
        """A conversation's row."""
        row = self._one("SELECT body FROM conversations WHERE id = ?", conversation_id)
        return None if row is None else conversation_of(row[0])

    def in_motion(self) -> list[str]:
        """Ids of the conversations that are active, the latest first."""
        rows = self._db.execute("SELECT id FROM conversations WHERE status = 'active' ORDER BY updated_at DESC")
        return [key for (key,) in rows]

    def unswept(self) -> list[int]:
        """Ids of the sources whose session's spilled outputs were not looked for yet."""
        return [key for (key,) in self._db.execute("SELECT id FROM sources WHERE NOT swept")]

    def project(self, project_id: str) -> Project | None:
        """A project's row."""
        row = self._one("SELECT body FROM projects WHERE id = ?", project_id)
        return None if row is None else project_of(row[0])

    def project_at(self, path: str) -> Project | None:
        """The project with this working directory."""
        row = self._one("SELECT body FROM projects WHERE path = ?", path)
        return None if row is None else project_of(row[0])

    def project_in(self, slug: str) -> Project | None:
        """The project whose folder this is, the one active last if there are several."""
        row = self._one("SELECT body FROM projects WHERE slug = ? ORDER BY last_activity DESC", slug)
        return None if row is None else project_of(row[0])

    def project_ids(self) -> set[str]:
        """Every project."""
        return {key for (key,) in self._db.execute("SELECT id FROM projects")}

    def message_ids(self) -> Iterator[str]:
        """Every API message that was counted."""
        return (key for (key,) in self._db.execute("SELECT DISTINCT message_id FROM usage"))

    def usage(self, message_id: str) -> dict[str, ConversationUsage]:
        """What an API message counts, by conversation."""
        query = f"SELECT conversation_id, {USAGE_COLUMNS} FROM usage WHERE message_id = ?"
        rows = self._db.execute(query, (message_id,))
        return {row[0]: ConversationUsage(bool(row[1]), Usage(*row[2:6]), Detail(*row[6:])) for row in rows}

    def tool_call(self, conversation_id: str, tool_use_id: str) -> ToolCallRow | None:
        """A call of a conversation."""
        query = f"SELECT {CALL_COLUMNS} FROM tool_calls WHERE conversation_id = ? AND tool_use_id = ?"
        row = self._one(query, conversation_id, tool_use_id)
        return None if row is None else ToolCallRow(*row)

    def summaries(self) -> list[Summary]:
        """Every summary, in the order of its place."""
        rows = self._db.execute("SELECT * FROM summaries ORDER BY conversation_id, offset")
        return [Summary(*row) for row in rows]

    def leaves(self) -> list[tuple[str, str]]:
        """Leaves of summaries, each with a conversation that holds it, or ''."""
        return self._db.execute("SELECT * FROM leaves").fetchall()

    def first_holder(self, copy_key: int) -> int | None:
        """The record that counts as the original of the lines with this copy key."""
        row = self._one("SELECT record FROM copies WHERE copy_key = ?", copy_key)
        return None if row is None else row[0]

    def holders(self, copy_keys: Collection[int]) -> dict[int, int]:
        """Of those copy keys that are known, the records that count as the originals."""
        query = "SELECT copy_key, record FROM copies WHERE copy_key IN (SELECT value FROM json_each(?))"
        return dict(self._db.execute(query, (msgspec.json.encode(copy_keys).decode(),)).fetchall())

    def flags(self, record: int) -> int:
        """A record's marks; 0 when there is none."""
        row = self._one("SELECT flags FROM records WHERE id = ?", record)
        return 0 if row is None else row[0]

    def waiting(self, source_id: int) -> list[StoredRecord]:
        """A source's records that wait for it to be recognised, in order."""
        where = "id >= ? AND id < ? AND conversation_id IS NULL"
        return self._records(where, *key_range(source_id))

    def behind(self) -> set[int]:
        """Sources whose books lack records: a process ended between the two."""
        place = f"(s.id << {GENERATION_BITS} | s.generation)"
        rows = self._db.execute(
            "SELECT s.id FROM sources AS s WHERE EXISTS (SELECT 1 FROM records AS r"
            f" WHERE r.id >= ({place} << {OFFSET_BITS}) + s.offset AND r.id < ({place} + 1) << {OFFSET_BITS}"
            f" AND NOT r.flags & {Flag.TAIL})"
        )
        return {source for (source,) in rows}

    def ahead(self, source: SourceRow) -> list[StoredRecord]:
        """A source's records that are not in the books yet, in order: a process ended between the two."""
        first = record_key(source.id, source.generation, source.offset)
        last = record_key(source.id, source.generation + 1, 0)
        return self._records(f"id >= ? AND id < ? AND NOT flags & {Flag.TAIL}", first, last)

    def _records(self, where: str, *values: int) -> list[StoredRecord]:
        query = f"SELECT id, span, line, flags, codec, body FROM records WHERE {where} ORDER BY id"
        rows = self._db.execute(query, values).fetchall()
        return [
            StoredRecord(split_key(key)[2], span, line, flags, self._bodies.of(key, codec, stored))
            for key, span, line, flags, codec, stored in rows
        ]

    def lines(self, source_id: int) -> Iterator[tuple[int, int, bytes]]:
        """Key, flags and body of all records of a source, generation after generation."""
        query = "SELECT id, flags, codec, body FROM records WHERE id >= ? AND id < ? ORDER BY id"
        for key, flags, codec, stored in self._db.execute(query, key_range(source_id)):
            yield key, flags, self._bodies.of(key, codec, stored)

    def marks(self, source: SourceRow, size: int) -> list[StoredLine]:
        """The first and the last record that reading has passed in this generation, with `size` bytes of each end."""
        between = (record_key(source.id, source.generation, 0), record_key(source.id, source.generation, source.offset))
        query = (
            f"SELECT id, flags, length, codec, body FROM records WHERE id >= ? AND id < ?"
            f" AND NOT flags & {Flag.REDACTED} AND length(body) > 0 ORDER BY id {{}} LIMIT 1"
        )
        found: list[StoredLine] = []
        for order in ("ASC", "DESC"):
            row = self._db.execute(query.format(order), between).fetchone()
            if row is not None:
                key, flags, length, codec, stored = row
                body = self._bodies.of(key, codec, stored)
                found.append(StoredLine(key, flags, length, len(body), body[:size], body[-size:]))
        return found

    def tail(self, source: SourceRow) -> bytes | None:
        """The record that was stored without its newline, where reading goes on; None if there is none."""
        key = record_key(source.id, source.generation, source.offset)
        row = self._one(f"SELECT codec, body FROM records WHERE id = ? AND flags & {Flag.TAIL}", key)
        return None if row is None else self._bodies.of(key, *row)

    def _one(self, query: str, *values: str | int) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._db.execute(query, values).fetchone()
        return row


def _source(source_id: int, path: str, root: str, *rest: Any) -> SourceRow:  # noqa: ANN401 - a row of the database
    generation, offset, backfill_until, lines, conversation_id, missing = rest[5:]
    state = FileState(*rest[:5])
    return SourceRow(
        source_id, path, root, state, generation, offset, backfill_until, lines, conversation_id, bool(missing)
    )
