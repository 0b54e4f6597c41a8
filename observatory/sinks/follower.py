"""Follower: reads what changed in the archive, in the order of the changes, and makes steps of rows from it.

A change says that something is different; it is read as it is by now. So what is sent twice is the same, or newer.
"""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from observatory.core.batch import id_of, key_of_id, record_key, split_key
from observatory.core.blocks import ToolCall, ToolResult
from observatory.core.bodies import PACKED
from observatory.core.decode import NotJson, decode
from observatory.core.errors import StoreError
from observatory.core.mirror_rows import Owner, call_row, conversation_row, is_wanted, message_row, project_row
from observatory.core.project import Project
from observatory.core.redact import RULES, Rule, redact, rules_in
from observatory.core.tools import ToolCallRow
from observatory.core.transcript import Record
from observatory.sinks.state import Place, Ref
from observatory.sinks.step import Delete, Step
from observatory.storage.bodies import Bodies
from observatory.storage.changes import FEED
from observatory.storage.conversations import Stored, record_of
from observatory.storage.decoding import conversation_of, project_of
from observatory.storage.opening import DATABASE, connect, explained
from observatory.storage.rows import CALL_COLUMNS

PATIENCE_MS = 5000
KNOWN_SINCE = 6  # version of the archive that has changes
PAGE = 500  # changes looked at together
RECORDS_PAGE = 100  # records read together: no read is left open, or the write-ahead file could not be begun anew
STEP_ROWS, STEP_BYTES = 1000, 4 * 1024 * 1024
OPEN_CALLS = 1024  # calls of one file whose results may still come
PRIVATE = frozenset({"bridge-session"})  # lines with ids of accounts: never stored whole
CLEARED = ("projects", "conversations")
_RECORD = "id, line, length, span, flags, error, codec, body"
_Row = tuple[int, int, int, int, int, str | None, int, bytes]


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


class Follower:
    """For one thread at a time; all methods block and raise StoreError."""

    def __init__(self, directory: Path, scope: Scope) -> None:
        self._path = directory / DATABASE
        self._scope = scope
        self._db = _opened(directory)
        self._bodies = Bodies(self._db)
        self._places: dict[int, Place] = {}
        self._seen = 0
        self.over = False
        self._version = -1
        self._step = Step()
        self._projects: dict[str, bool] = {}
        self._ruled: tuple[bytes, tuple[Rule, ...]] = (b"", ())  # a block's text, and what may be found in it
        with explained(self._path):
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version < KNOWN_SINCE:
                raise StoreError("the archive is of an older version", "start observatory serve once")
            meta = dict(self._db.execute("SELECT key, value FROM meta"))
        self.machine_id: str = meta["machine_id"]
        self.feed = f"{meta.get(FEED, '')}/{meta['epoch']}"
        self.followed = FEED in meta

    def begin(self, cursor: int, places: dict[int, Place], *, over: bool) -> None:
        """Go on from where the copy is. over: rows of an earlier one may be there."""
        self._seen, self._places, self.over = cursor, places, over

    def close(self) -> None:
        """Let go of the archive."""
        self._db.close()

    def is_stale(self) -> bool:
        """Whether the archive was written to since this was asked last."""
        with explained(self._path):
            (version,) = self._db.execute("PRAGMA data_version").fetchone()
        before, self._version = self._version, version
        return bool(before != version)

    def lag(self, cursor: int) -> tuple[int, int]:
        """Changes that are not in the copy, and how many bytes of files they are about, at most."""
        with explained(self._path):
            (changes,) = self._db.execute("SELECT count(*) FROM changes WHERE number > ?", (cursor,)).fetchone()
            rows = self._db.execute(
                "SELECT s.id, s.generation, s.offset FROM changes AS c JOIN sources AS s"
                " ON s.id = CAST(c.ref AS INTEGER) WHERE c.number > ? AND c.kind = 'source'",
                (cursor,),
            ).fetchall()
        return changes, sum(self._behind(*row) for row in rows)

    def _behind(self, source: int, generation: int, offset: int) -> int:
        start, place = record_key(source, generation, 0), self._places.get(source)
        return offset if place is None or place.done < start else max(0, offset - (place.done - start))

    # -- steps ---------------------------------------------------------------------------------------------------------

    def clearing(self) -> Step:
        """What is removed before a copy begins anew; the rest of what was there goes file by file."""
        with explained(self._path):
            (last,) = self._db.execute("SELECT coalesce(max(id), 0) FROM sources").fetchone()
        mine = {"machine_id": self.machine_id}
        deletes = [Delete(table, mine) for table in CLEARED]
        return Step(deletes=[*deletes, Delete("messages", mine, above=("source_id", last))])

    def steps(self, again: list[Ref]) -> Iterator[Step]:
        """All that has changed since, and what is asked for again, until there is no more."""
        with explained(self._path):
            self._bodies.forget()  # another process may have rewritten the block since
            self._projects.clear()
            for kind, ref in again:
                self._step.fine.append((kind, ref))
                yield from self._look_at(kind, ref)
            while page := self._page():
                for number, kind, ref in page:
                    yield from self._look_at(kind, ref)
                    self._seen = self._step.cursor = number
            if self._step.cursor is not None or not self._step.empty or self._step.fine:
                yield self._handed_over()

    def _page(self) -> list[tuple[int, str, str]]:
        query = "SELECT number, kind, ref FROM changes WHERE number > ? ORDER BY number LIMIT ?"
        return self._db.execute(query, (self._seen, PAGE)).fetchall()

    def _handed_over(self) -> Step:
        step, self._step = self._step, Step()
        return step

    def _full(self) -> bool:
        step = self._step
        return step.bytes >= STEP_BYTES or step.records >= STEP_ROWS or step.count >= STEP_ROWS

    def _look_at(self, kind: str, ref: str) -> Iterator[Step]:
        match kind:
            case "source":
                yield from self._source(int(ref))
            case "gone":
                self._gone(int(ref))
            case "conversation":
                self._conversation(ref)
            case "project":
                yield from self._project(ref)
            case "call":
                self._call(*ref.split(" ", 1))
            case "record":
                self._changed_record(int(ref))
        if self._full():
            yield self._handed_over()

    # -- projects and conversations ------------------------------------------------------------------------------------

    def _project(self, id: str) -> Iterator[Step]:
        row = self._db.execute("SELECT body FROM projects WHERE id = ?", (id,)).fetchone()
        project = None if row is None else project_of(row[0])
        self._projects.pop(id, None)
        if project is None or not self._is_wanted_project(id):
            self._step.deletes.append(Delete("projects", {"machine_id": self.machine_id, "id": id}))
            return
        self._step.put("projects", id, project_row(self.machine_id, project, redact if self._scope.redacted else None))
        if self._scope.projects is not None:  # it may be wanted only since its directory is known
            query = "SELECT c.id, s.id FROM conversations AS c JOIN sources AS s ON s.conversation_id = c.id"
            for conversation, source in self._db.execute(f"{query} WHERE c.project_id = ?", (id,)).fetchall():
                if source not in self._places:
                    yield from self._look_at("conversation", conversation)
                    yield from self._look_at("source", str(source))

    def _conversation(self, id: str) -> None:
        row = self._db.execute("SELECT body FROM conversations WHERE id = ?", (id,)).fetchone()
        found = None if row is None else conversation_of(row[0])
        if found is None or not self._is_wanted_project(found.project_id):
            mine = {"machine_id": self.machine_id}
            self._step.deletes.append(Delete("conversations", {**mine, "id": id}))
            self._step.deletes.append(Delete("tool_calls", {**mine, "conversation_id": id}))
        else:
            self._step.put(
                "conversations", id, conversation_row(self.machine_id, found, redact if self._scope.redacted else None)
            )

    def _is_wanted_project(self, id: str) -> bool:
        if self._scope.projects is None:
            return True
        if id not in self._projects:
            row = self._db.execute("SELECT body FROM projects WHERE id = ?", (id,)).fetchone()
            self._projects[id] = row is not None and self._scope.projects(project_of(row[0]))
        return self._projects[id]

    def _owner(self, conversation_id: str) -> Owner | None:
        """None: the conversation is not in the copy."""
        query = "SELECT project_id FROM conversations WHERE id = ?"
        row = self._db.execute(query, (conversation_id,)).fetchone()
        if row is None or not self._is_wanted_project(row[0]):
            return None
        return Owner(self.machine_id, conversation_id, row[0])

    # -- files ---------------------------------------------------------------------------------------------------------

    def _source(self, id: int) -> Iterator[Step]:
        source = self._source_row(id)
        if source is None:
            return
        owner = self._owner(source.conversation_id)
        if owner is None:
            if id in self._places:
                self._gone(id)
            return
        place = self._places.get(id)
        if place is None:
            if self.over:
                self._without(id, source.conversation_id)
            place = Place(record_key(id, 0, 0))
        if source.pruned > place.pruned:
            self._pruned(owner, source, place)
            place = attrs.evolve(place, pruned=source.pruned)
        yield from self._records(owner, source, place)

    def _source_row(self, id: int) -> Source | None:
        columns = "generation, offset, conversation_id, pruned"
        row = self._db.execute(f"SELECT {columns} FROM sources WHERE id = ?", (id,)).fetchone()
        if row is None or row[2] is None:
            return None
        return Source(id, record_key(id, row[0], row[1]), row[2], row[3])

    def _without(self, id: int, conversation_id: str) -> None:
        mine = {"machine_id": self.machine_id}
        self._step.deletes.append(Delete("messages", {**mine, "source_id": id}))
        self._step.deletes.append(Delete("tool_calls", {**mine, "conversation_id": conversation_id}))

    def _gone(self, id: int) -> None:
        """A file that was forgotten, or is wanted no more."""
        self._step.deletes.append(Delete("messages", {"machine_id": self.machine_id, "source_id": id}))
        self._step.gone.append(id)
        self._step.places.pop(id, None)
        self._places.pop(id, None)

    def _pruned(self, owner: Owner, source: Source, place: Place) -> None:
        """Records that were removed by their age; what their calls asked and got went with them."""
        mine = {"machine_id": self.machine_id, "source_id": source.id}
        self._step.deletes.append(Delete("messages", mine, below=("position", source.pruned)))
        before = record_key(source.id, 0, 0) + source.pruned
        for call in self._calls("conversation_id = ?", owner.conversation_id):
            key = key_of_id(call.record)
            if key is not None and key < min(before, place.done):
                self._put_call(owner, call, key, self._asked(call, key), self._result(call))

    def _records(self, owner: Owner, source: Source, place: Place) -> Iterator[Step]:
        """What is new in a file. The end of a file without a newline goes too, and again when it has one."""
        calls = _Calls(owner)
        for row in self._rows(place.done, source.at):
            if self._full():
                self._finish(source.id, attrs.evolve(place, done=row[0], tail=False), calls)
                yield self._handed_over()
            stored = self._stored(row)
            self._add(owner, stored, calls, was_tail=place.tail and stored.key == place.done)
        tail = ("record", str(source.at)) in self._step.rows["messages"]
        self._finish(source.id, attrs.evolve(place, done=source.at, tail=tail), calls)

    def _rows(self, start: int, end: int) -> Iterator[_Row]:
        """Records from a key to another, with that."""
        query = f"SELECT {_RECORD} FROM records WHERE id >= ? AND id <= ? ORDER BY id LIMIT {RECORDS_PAGE}"
        while rows := self._db.execute(query, (start, end)).fetchall():
            yield from rows
            start = rows[-1][0] + 1

    def _finish(self, source: int, place: Place, calls: "_Calls") -> None:
        """The step ends here: calls that still wait go as they are."""
        for call, key, asked in calls.waiting():
            self._put_call(calls.owner, call, key, asked)
        self._places[source] = self._step.places[source] = place

    def _stored(self, row: _Row) -> Stored:
        key, line, length, span, flags, error, codec, kept = row
        body = self._bodies.of(key, codec, kept)
        self._step.records += 1
        self._step.bytes += len(body)
        if self._scope.redacted:
            body = redact(body, self._rules_at(key) if codec == PACKED else RULES)
        return Stored(key, line, length, span, flags, error, body)

    def _rules_at(self, key: int) -> tuple[Rule, ...]:
        """The rules that may find something in a packed record's block."""
        text = self._bodies.text_around(key)
        if text is not self._ruled[0]:
            self._ruled = text, rules_in(text)
        return self._ruled[1]

    def _add(self, owner: Owner, stored: Stored, calls: "_Calls", *, was_tail: bool) -> None:
        record = record_of(stored)
        if not isinstance(record, Record) or not is_wanted(record, stored.flags, all_kinds=self._scope.all_kinds):
            if was_tail:
                self._step.deletes.append(self._record_delete(stored.key))
            return
        self._put_record(owner, stored, record)
        message = record.message
        if message is not None and message.tool_calls:
            for asked in message.tool_calls:
                if (call := self._call_row(owner.conversation_id, asked.id)) is not None:
                    calls.asked(call, stored.key, asked)
        if message is not None and message.tool_results:
            for answer in message.tool_results:
                if (call := self._call_row(owner.conversation_id, answer.tool_use_id)) is not None:
                    self._answered(owner, call, stored, answer, calls)

    def _put_record(self, owner: Owner, stored: Stored, record: Record) -> None:
        raw = _value(stored.body) if self._scope.all_kinds and record.type not in PRIVATE else None
        self._step.put("messages", str(stored.key), message_row(
            owner, stored.key, stored.line, stored.flags, record, raw))  # fmt: skip

    def _record_delete(self, key: int) -> Delete:
        source, generation, offset = split_key(key)
        equal = {"machine_id": self.machine_id, "source_id": source, "generation": generation, "byte_offset": offset}
        return Delete("messages", equal)

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _calls(self, where: str, *values: str) -> list[ToolCallRow]:
        query = f"SELECT {CALL_COLUMNS} FROM tool_calls WHERE {where}"
        return [ToolCallRow(*row) for row in self._db.execute(query, values)]

    def _call_row(self, conversation_id: str, tool_use_id: str) -> ToolCallRow | None:
        found = self._calls("conversation_id = ? AND tool_use_id = ?", conversation_id, tool_use_id)
        return found[0] if found else None

    def _answered(self, owner: Owner, call: ToolCallRow, stored: Stored, answer: ToolResult, calls: "_Calls") -> None:
        """A result; the first one counts, and the archive knows which that is."""
        if call.result_record != id_of(stored.key):
            return
        key = key_of_id(call.record)
        if key is None:
            return
        asked = calls.taken(call.tool_use_id)
        if asked is None:
            asked = self._asked(call, key)
        self._put_call(owner, call, key, asked, answer)

    def _call(self, conversation_id: str, tool_use_id: str) -> None:
        """A call whose status has changed, or that is to be looked at again."""
        owner, call = self._owner(conversation_id), self._call_row(conversation_id, tool_use_id)
        if owner is None or call is None or (key := key_of_id(call.record)) is None:
            equal = {"machine_id": self.machine_id, "conversation_id": conversation_id, "tool_use_id": tool_use_id}
            self._step.deletes.append(Delete("tool_calls", equal))
        else:
            self._put_call(owner, call, key, self._asked(call, key), self._result(call))

    def _put_call(
        self, owner: Owner, call: ToolCallRow, key: int, asked: ToolCall | None, answer: ToolResult | None = None
    ) -> None:
        ref = f"{call.conversation_id} {call.tool_use_id}"
        self._step.put("tool_calls", ref, call_row(owner, call, key, asked, answer))

    def _asked(self, call: ToolCallRow, key: int) -> ToolCall | None:
        record = self._record(key)
        made = record.message.tool_calls if record is not None and record.message is not None else ()
        return next((one for one in made if one.id == call.tool_use_id), None)

    def _result(self, call: ToolCallRow) -> ToolResult | None:
        key = None if call.result_record is None else key_of_id(call.result_record)
        record = None if key is None else self._record(key)
        results = record.message.tool_results if record is not None and record.message is not None else ()
        return next((one for one in results if one.tool_use_id == call.tool_use_id), None)

    def _record(self, key: int) -> Record | None:
        row = self._db.execute(f"SELECT {_RECORD} FROM records WHERE id = ?", (key,)).fetchone()
        found = None if row is None else record_of(self._stored(row))
        return found if isinstance(found, Record) else None

    # -- records that have changed -------------------------------------------------------------------------------------

    def _changed_record(self, key: int) -> None:
        """A record that was marked, emptied or replaced, with the calls that stand in it."""
        row = self._db.execute(f"SELECT {_RECORD}, conversation_id FROM records WHERE id = ?", (key,)).fetchone()
        owner = None if row is None or row[8] is None else self._owner(row[8])
        if row is None or owner is None:
            self._step.deletes.append(self._record_delete(key))
            return
        stored = self._stored(row[:8])
        record = record_of(stored)
        if isinstance(record, Record) and is_wanted(record, stored.flags, all_kinds=self._scope.all_kinds):
            self._put_record(owner, stored, record)
        else:
            self._step.deletes.append(self._record_delete(key))
        id = id_of(key)
        for call in self._calls("conversation_id = ? AND (record = ? OR result_record = ?)", row[8], id, id):
            self._call(call.conversation_id, call.tool_use_id)


@attrs.define
class _Calls:
    """Calls of a file whose results have not been met yet."""

    owner: Owner
    _open: dict[str, tuple[ToolCallRow, int, ToolCall]] = attrs.field(factory=dict)
    _fresh: list[str] = attrs.field(factory=list)

    def asked(self, call: ToolCallRow, key: int, asked: ToolCall) -> None:
        """A call was met."""
        if len(self._open) == OPEN_CALLS and asked.id not in self._open:
            oldest = next(iter(self._open))
            if oldest not in self._fresh:
                del self._open[oldest]
        self._open[asked.id] = call, key, asked
        self._fresh.append(asked.id)

    def taken(self, tool_use_id: str) -> ToolCall | None:
        """The call that a result is of, if it is remembered."""
        found = self._open.pop(tool_use_id, None)
        return None if found is None else found[2]

    def waiting(self) -> list[tuple[ToolCallRow, int, ToolCall]]:
        """The calls without a result that were met since this was asked last."""
        fresh = [self._open[id] for id in self._fresh if id in self._open]
        self._fresh.clear()
        return fresh


def _value(body: bytes) -> object:
    try:
        return decode(body)[0]
    except NotJson:
        return None


def _opened(directory: Path) -> sqlite3.Connection:
    """The archive, to be read beside whoever writes it."""
    path = directory / DATABASE
    with explained(path):
        db = connect(path, read_only=True)
        db.execute(f"PRAGMA busy_timeout={PATIENCE_MS}")
    return db
