"""ArchiveRows: what the copy reads of the archive: sources, records, calls, and whose they are."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from observatory.core.batch import key_of_id, record_key
from observatory.core.blocks import ToolCall, ToolResult
from observatory.core.bodies import PACKED
from observatory.core.errors import StoreError
from observatory.core.mirror_rows import Owner
from observatory.core.project import Project
from observatory.core.redact import RULES, Rule, redact, rules_in
from observatory.core.tools import ToolCallRow
from observatory.core.transcript import Record
from observatory.storage.bodies import Bodies
from observatory.storage.changes import FEED
from observatory.storage.conversations import Stored, record_of
from observatory.storage.decoding import project_of
from observatory.storage.opening import DATABASE, connect, explained
from observatory.storage.rows import CALL_COLUMNS

PATIENCE_MS = 5000
KNOWN_SINCE = 6  # version of the archive that has changes
RECORDS_PAGE = 100  # records read together: no read is left open, or the write-ahead file could not be begun anew
RECORD = "id, line, length, span, flags, error, codec, body"
Row = tuple[int, int, int, int, int, str | None, int, bytes]


@attrs.frozen
class Scope:
    """What goes into the copy. all_kinds: what is no message, too. projects: of a project, whether it does; None: all.

    redacted: keys and tokens are replaced.
    """

    all_kinds: bool = False
    redacted: bool = False
    projects: Callable[[Project], bool] | None = None


@attrs.frozen
class Source:
    """A file, as far as it matters here. at: key of where reading of it goes on. pruned: as in the archive."""

    id: int
    at: int
    conversation_id: str
    pruned: int


class ArchiveRows:
    """Reads beside whoever writes; for one thread at a time. All methods block; they raise sqlite3.Error too."""

    def __init__(self, directory: Path, scope: Scope) -> None:
        self.path = directory / DATABASE
        self.scope = scope
        self.db = _opened(self.path)
        self.bodies = Bodies(self.db)
        self._projects: dict[str, bool] = {}
        self._ruled: tuple[bytes, tuple[Rule, ...]] = (b"", ())  # a block's text, and what may be found in it
        with explained(self.path):
            (version,) = self.db.execute("PRAGMA user_version").fetchone()
            if version < KNOWN_SINCE:
                raise StoreError("the archive is of an older version", "start observatory serve once")
            meta = dict(self.db.execute("SELECT key, value FROM meta"))
        self.machine_id: str = meta["machine_id"]
        self.feed = f"{meta.get(FEED, '')}/{meta['epoch']}"
        self.followed = FEED in meta

    def look_again(self, project: str | None = None) -> None:
        """Blocks may have been rewritten, and projects may have got a name: all, or this one."""
        if project is not None:
            self._projects.pop(project, None)
            return
        self.bodies.forget()
        self._projects.clear()

    def is_wanted_project(self, id: str) -> bool:
        if self.scope.projects is None:
            return True
        if id not in self._projects:
            row = self.db.execute("SELECT body FROM projects WHERE id = ?", (id,)).fetchone()
            self._projects[id] = row is not None and self.scope.projects(project_of(row[0]))
        return self._projects[id]

    def owner(self, conversation_id: str) -> Owner | None:
        """None: the conversation is not in the copy."""
        query = "SELECT project_id FROM conversations WHERE id = ?"
        row = self.db.execute(query, (conversation_id,)).fetchone()
        if row is None or not self.is_wanted_project(row[0]):
            return None
        return Owner(self.machine_id, conversation_id, row[0])

    def source(self, id: int) -> Source | None:
        columns = "generation, offset, conversation_id, pruned"
        row = self.db.execute(f"SELECT {columns} FROM sources WHERE id = ?", (id,)).fetchone()
        if row is None or row[2] is None:
            return None
        return Source(id, record_key(id, row[0], row[1]), row[2], row[3])

    def rows(self, start: int, end: int) -> Iterator[Row]:
        """Records from a key to another, with that."""
        query = f"SELECT {RECORD} FROM records WHERE id >= ? AND id <= ? ORDER BY id LIMIT {RECORDS_PAGE}"
        while rows := self.db.execute(query, (start, end)).fetchall():
            yield from rows
            start = rows[-1][0] + 1

    def stored(self, row: Row) -> Stored:
        key, line, length, span, flags, error, codec, kept = row
        body = self.bodies.of(key, codec, kept)
        if self.scope.redacted:
            body = redact(body, self._rules_at(key) if codec == PACKED else RULES)
        return Stored(key, line, length, span, flags, error, body)

    def _rules_at(self, key: int) -> tuple[Rule, ...]:
        """The rules that may find something in a packed record's block."""
        text = self.bodies.text_around(key)
        if text is not self._ruled[0]:
            self._ruled = text, rules_in(text)
        return self._ruled[1]

    def calls(self, where: str, *values: str) -> list[ToolCallRow]:
        query = f"SELECT {CALL_COLUMNS} FROM tool_calls WHERE {where}"
        return [ToolCallRow(*row) for row in self.db.execute(query, values)]

    def call(self, conversation_id: str, tool_use_id: str) -> ToolCallRow | None:
        found = self.calls("conversation_id = ? AND tool_use_id = ?", conversation_id, tool_use_id)
        return found[0] if found else None

    def asked(self, call: ToolCallRow, key: int) -> ToolCall | None:
        record = self.record(key)
        made = record.message.tool_calls if record is not None and record.message is not None else ()
        return next((one for one in made if one.id == call.tool_use_id), None)

    def result(self, call: ToolCallRow) -> ToolResult | None:
        key = None if call.result_record is None else key_of_id(call.result_record)
        record = None if key is None else self.record(key)
        results = record.message.tool_results if record is not None and record.message is not None else ()
        return next((one for one in results if one.tool_use_id == call.tool_use_id), None)

    def record(self, key: int) -> Record | None:
        row = self.db.execute(f"SELECT {RECORD} FROM records WHERE id = ?", (key,)).fetchone()
        found = None if row is None else record_of(self.stored(row))
        return found if isinstance(found, Record) else None


def _opened(path: Path) -> sqlite3.Connection:
    with explained(path):
        db = connect(path, read_only=True)
        db.execute(f"PRAGMA busy_timeout={PATIENCE_MS}")
    return db
