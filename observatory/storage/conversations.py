"""ConversationReader: one conversation from the archive: its row, files, records in order, results, and sub-agents.

Read-only, beside a server or without one. For one thread at a time; all methods block, and raise StoreError.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import attrs

from observatory.core.batch import Flag, id_of, key_of_id, record_key, split_key
from observatory.core.blocks import ToolResult
from observatory.core.conversation import Conversation
from observatory.core.lines import Line
from observatory.core.project import Project
from observatory.core.timeline import Answer
from observatory.core.transcript import Malformed, Record, malformed, parse
from observatory.storage.accounting import archive
from observatory.storage.bodies import Bodies
from observatory.storage.decoding import conversation_of, project_of
from observatory.storage.opening import DATABASE, explained

PAGE_ROWS = 256


@attrs.frozen
class File:
    """A transcript file of a conversation. end: bytes of it that are in the archive; pruned: of these, now removed."""

    id: int
    path: str
    generation: int
    end: int
    size: int
    missing: bool
    pruned: int


@attrs.frozen
class Stored:
    """A record as it is in the archive."""

    key: int
    line: int
    length: int
    span: int
    flags: int
    error: str | None
    body: bytes

    @property
    def id(self) -> str:
        """Its id on the wire."""
        return id_of(self.key)


def record_of(stored: Stored) -> Record | Malformed:
    """A record as it was parsed when it came. One whose line is empty by now tells why."""
    _, _, offset = split_key(stored.key)
    values = list(parse(Line(offset, len(stored.body), stored.body)))
    if len(values) == 1 and stored.error is None:
        return values[0]
    return malformed(offset, stored.length, stored.error or "nul", stored.body)


class ConversationReader:
    """leaving: what becomes of a text that leaves the process, as in LogReader."""

    def __init__(self, db: sqlite3.Connection, path: Path, leaving: Callable[[bytes], bytes] | None = None) -> None:
        self._db = db
        self._path = path
        self._leaving = leaving
        self._bodies = Bodies(db)

    def conversation(self, id: str) -> Conversation | None:
        """Its row."""
        with explained(self._path):
            row = self._db.execute("SELECT body FROM conversations WHERE id = ?", (id,)).fetchone()
        return None if row is None else conversation_of(self._clean(bytes(row[0])))

    def project(self, id: str) -> Project | None:
        """A project's row."""
        with explained(self._path):
            row = self._db.execute("SELECT body FROM projects WHERE id = ?", (id,)).fetchone()
        return None if row is None else project_of(self._clean(bytes(row[0])))

    def of_project(self, id: str) -> list[str]:
        """Ids of a project's conversations, oldest first; sub-agents are not among them."""
        query = "SELECT id FROM conversations WHERE project_id = ? AND json_extract(body, '$.agent_id') IS NULL"
        with explained(self._path):
            rows = self._db.execute(f"{query} ORDER BY json_extract(body, '$.created_at'), id", (id,))
            return [key for (key,) in rows]

    def agents(self, id: str) -> list[str]:
        """Ids of a conversation's own sub-agents, oldest first."""
        query = (
            "SELECT id FROM conversations WHERE json_extract(body, '$.parent_id') = ?"
            " ORDER BY json_extract(body, '$.created_at'), id"
        )
        with explained(self._path):
            return [key for (key,) in self._db.execute(query, (id,))]

    def files(self, id: str) -> list[File]:
        """Its transcript files, in the order in which they became known."""
        offset = (1 << 37) - 1
        query = (
            f"SELECT id, path, generation, offset, size, missing, pruned & {offset} FROM sources"
            " WHERE conversation_id = ? ORDER BY id"
        )
        with explained(self._path):
            rows = self._db.execute(query, (id,)).fetchall()
        return [
            File(number, path, generation, end, size, bool(missing), pruned)
            for number, path, generation, end, size, missing, pruned in rows
        ]

    def records(self, id: str) -> Iterator[Stored]:
        """All its records, each once, in the order of the files; what was rewritten comes as it was before, too."""
        for file in self.files(id):
            end = record_key(file.id + 1, 0, 0)
            yield from self._between(record_key(file.id, 0, 0), end, f"NOT flags & {Flag.KNOWN}")

    def lines(self, file: File) -> Iterator[Stored]:
        """The records of a file as it is now."""
        start = record_key(file.id, file.generation, 0)
        yield from self._between(start, record_key(file.id, file.generation + 1, 0), "1")

    def _between(self, start: int, end: int, where: str) -> Iterator[Stored]:
        query = (
            "SELECT id, line, length, span, flags, error, codec, body FROM records WHERE id >= ? AND id < ?"
            f" AND {where} ORDER BY id LIMIT {PAGE_ROWS}"
        )
        while True:
            self._bodies.forget()  # a server that runs may have rewritten the block since
            with explained(self._path):
                rows = self._db.execute(query, (start, end)).fetchall()
                for key, line, length, span, flags, error, codec, stored in rows:
                    body = self._clean(self._bodies.of(key, codec, stored))
                    yield Stored(key, line, length, span, flags, error, body)
            if len(rows) < PAGE_ROWS:
                return
            start = rows[-1][0] + 1

    def answer(self, conversation: str, call: str) -> Answer | None:
        """What came of a tool call: its result, as far as there is one."""
        query = (
            "SELECT status, duration_ms, result_record FROM tool_calls WHERE conversation_id = ? AND tool_use_id = ?"
        )
        with explained(self._path):
            row = self._db.execute(query, (conversation, call)).fetchone()
            if row is None:
                return None
            status, duration_ms, record = row
            result, agent = self._result(record, call) if record is not None else (None, None)
        return Answer(status, duration_ms, record, result, agent)

    def _result(self, record: str, call: str) -> tuple[ToolResult | None, str | None]:
        """The result in a record, and the agent that gave it."""
        key = key_of_id(record)
        row = self._db.execute("SELECT codec, body FROM records WHERE id = ?", (key,)).fetchone()
        if row is None or key is None:
            return None, None
        body = self._clean(self._bodies.of(key, *row))
        for value in parse(Line(0, len(body), body)):
            if isinstance(value, Record) and value.message is not None:
                for result in value.message.tool_results:
                    if result.tool_use_id == call:
                        return result, None if value.hint is None else value.hint.agent_id
        return None, None

    def _clean(self, text: bytes) -> bytes:
        return text if self._leaving is None else self._leaving(text)


@contextmanager
def conversations(directory: Path, leaving: Callable[[bytes], bytes] | None = None) -> Iterator[ConversationReader]:
    """A reader of a data directory. Raises StoreError when there is no archive that can be read."""
    with archive(directory) as db, closing(db):
        yield ConversationReader(db, directory / DATABASE, leaving)
