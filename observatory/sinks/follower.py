"""Follower: reads what changed in the archive, in the order of the changes, and makes steps of rows from it.

A change says that something is different; it is read as it is by now. So what is sent twice is the same, or newer.
"""

from collections.abc import Iterator
from pathlib import Path

import attrs

from observatory.core.batch import id_of, key_of_id, record_key, split_key
from observatory.core.blocks import ToolCall, ToolResult
from observatory.core.decode import NotJson, decode
from observatory.core.mirror_rows import Owner, call_row, conversation_row, is_wanted, message_row, project_row
from observatory.core.redact import redact
from observatory.core.tools import ToolCallRow
from observatory.core.transcript import Record
from observatory.sinks.archive import RECORD, ArchiveRows, Row, Scope, Source
from observatory.sinks.state import Place, Ref
from observatory.sinks.step import Delete, Step
from observatory.storage.conversations import Stored, record_of
from observatory.storage.decoding import conversation_of, project_of
from observatory.storage.opening import explained

PAGE = 500  # changes looked at together
STEP_ROWS, STEP_BYTES = 1000, 4 * 1024 * 1024
OPEN_CALLS = 1024  # calls of one file whose results may still come
PRIVATE = frozenset({"bridge-session"})  # lines with ids of accounts: never stored whole
CLEARED = ("projects", "conversations")


@attrs.define
class OpenCalls:
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


class Follower:
    """For one thread at a time; all methods block and raise StoreError."""

    def __init__(self, directory: Path, scope: Scope) -> None:
        self._archive = ArchiveRows(directory, scope)
        self._path, self._db, self._scope = self._archive.path, self._archive.db, scope
        self._leaving = redact if scope.redacted else None
        self._places: dict[int, Place] = {}
        self._seen = 0
        self.over = False
        self._version = -1
        self._step = Step()
        self.machine_id, self.feed, self.followed = (
            self._archive.machine_id,
            self._archive.feed,
            self._archive.followed,
        )

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
            self._archive.look_again()
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
        self._archive.look_again(id)
        if project is None or not self._archive.is_wanted_project(id):
            self._step.remove(Delete("projects", {"machine_id": self.machine_id, "id": id}))
            return
        self._step.put("projects", id, project_row(self.machine_id, project, self._leaving))
        if self._scope.projects is not None:  # it may be wanted only since its directory is known
            query = "SELECT c.id, s.id FROM conversations AS c JOIN sources AS s ON s.conversation_id = c.id"
            for conversation, source in self._db.execute(f"{query} WHERE c.project_id = ?", (id,)).fetchall():
                if source not in self._places:
                    yield from self._look_at("conversation", conversation)
                    yield from self._look_at("source", str(source))

    def _conversation(self, id: str) -> None:
        row = self._db.execute("SELECT body FROM conversations WHERE id = ?", (id,)).fetchone()
        found = None if row is None else conversation_of(row[0])
        if found is None or not self._archive.is_wanted_project(found.project_id):
            mine = {"machine_id": self.machine_id}
            self._step.remove(Delete("conversations", {**mine, "id": id}))
            self._step.remove(Delete("tool_calls", {**mine, "conversation_id": id}))
        else:
            self._step.put("conversations", id, conversation_row(self.machine_id, found, self._leaving))

    # -- files ---------------------------------------------------------------------------------------------------------

    def _source(self, id: int) -> Iterator[Step]:
        source = self._archive.source(id)
        if source is None:
            return
        owner = self._archive.owner(source.conversation_id)
        if owner is None:
            if id in self._places or self.over:
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

    def _without(self, id: int, conversation_id: str) -> None:
        mine = {"machine_id": self.machine_id}
        self._step.remove(Delete("messages", {**mine, "source_id": id}))
        self._step.remove(Delete("tool_calls", {**mine, "conversation_id": conversation_id}))

    def _gone(self, id: int) -> None:
        """A file that was forgotten, or is wanted no more."""
        self._step.remove(Delete("messages", {"machine_id": self.machine_id, "source_id": id}))
        self._step.gone.append(id)
        self._step.places.pop(id, None)
        self._places.pop(id, None)

    def _pruned(self, owner: Owner, source: Source, place: Place) -> None:
        """Records that were removed by their age; what their calls asked and got went with them."""
        mine = {"machine_id": self.machine_id, "source_id": source.id}
        self._step.remove(Delete("messages", mine, below=("position", source.pruned)))
        before = record_key(source.id, 0, 0) + source.pruned
        for call in self._archive.calls("conversation_id = ?", owner.conversation_id):
            key = key_of_id(call.record)
            if key is not None and key < min(before, place.done):
                self._put_call(owner, call, key, self._archive.asked(call, key), self._archive.result(call))

    def _records(self, owner: Owner, source: Source, place: Place) -> Iterator[Step]:
        """What is new in a file. The end of a file without a newline goes too, and again when it has one."""
        calls = OpenCalls(owner)
        for row in self._archive.rows(place.done, source.at):
            if self._full():
                self._finish(source.id, attrs.evolve(place, done=row[0], tail=False), calls)
                yield self._handed_over()
            stored = self._taken(row)
            self._add(owner, stored, calls, was_tail=place.tail and stored.key == place.done)
        tail = ("record", str(source.at)) in self._step.rows["messages"]
        self._finish(source.id, attrs.evolve(place, done=source.at, tail=tail), calls)

    def _taken(self, row: Row) -> Stored:
        stored = self._archive.stored(row)
        self._step.records += 1
        self._step.bytes += len(stored.body)
        return stored

    def _finish(self, source: int, place: Place, calls: "OpenCalls") -> None:
        """The step ends here: calls that still wait go as they are."""
        for call, key, asked in calls.waiting():
            self._put_call(calls.owner, call, key, asked)
        self._places[source] = self._step.places[source] = place

    def _add(self, owner: Owner, stored: Stored, calls: "OpenCalls", *, was_tail: bool) -> None:
        record = record_of(stored)
        if not isinstance(record, Record) or not is_wanted(record, stored.flags, all_kinds=self._scope.all_kinds):
            if was_tail:
                self._step.remove(self._record_delete(stored.key))
            return
        self._put_record(owner, stored, record)
        message = record.message
        if message is not None and message.tool_calls:
            for asked in message.tool_calls:
                if (call := self._archive.call(owner.conversation_id, asked.id)) is not None:
                    calls.asked(call, stored.key, asked)
        if message is not None and message.tool_results:
            for answer in message.tool_results:
                if (call := self._archive.call(owner.conversation_id, answer.tool_use_id)) is not None:
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

    def _answered(
        self, owner: Owner, call: ToolCallRow, stored: Stored, answer: ToolResult, calls: "OpenCalls"
    ) -> None:
        """A result; the first one counts, and the archive knows which that is."""
        if call.result_record != id_of(stored.key):
            return
        key = key_of_id(call.record)
        if key is None:
            return
        asked = calls.taken(call.tool_use_id)
        if asked is None:
            asked = self._archive.asked(call, key)
        self._put_call(owner, call, key, asked, answer)

    def _call(self, conversation_id: str, tool_use_id: str) -> None:
        """A call whose status has changed, or that is to be looked at again."""
        owner, call = self._archive.owner(conversation_id), self._archive.call(conversation_id, tool_use_id)
        if owner is None or call is None or (key := key_of_id(call.record)) is None:
            equal = {"machine_id": self.machine_id, "conversation_id": conversation_id, "tool_use_id": tool_use_id}
            self._step.remove(Delete("tool_calls", equal))
        else:
            self._put_call(owner, call, key, self._archive.asked(call, key), self._archive.result(call))

    def _put_call(
        self, owner: Owner, call: ToolCallRow, key: int, asked: ToolCall | None, answer: ToolResult | None = None
    ) -> None:
        ref = f"{call.conversation_id} {call.tool_use_id}"
        self._step.put("tool_calls", ref, call_row(owner, call, key, asked, answer))

    # -- records that have changed -------------------------------------------------------------------------------------

    def _changed_record(self, key: int) -> None:
        """A record that was marked, emptied or replaced, with the calls that stand in it."""
        row = self._db.execute(f"SELECT {RECORD}, conversation_id FROM records WHERE id = ?", (key,)).fetchone()
        owner = None if row is None or row[8] is None else self._archive.owner(row[8])
        if row is None or owner is None:
            self._step.remove(self._record_delete(key))
            return
        stored = self._taken(row[:8])
        record = record_of(stored)
        if isinstance(record, Record) and is_wanted(record, stored.flags, all_kinds=self._scope.all_kinds):
            self._put_record(owner, stored, record)
        else:
            self._step.remove(self._record_delete(key))
        id = id_of(key)
        for call in self._archive.calls("conversation_id = ? AND (record = ? OR result_record = ?)", row[8], id, id):
            self._call(call.conversation_id, call.tool_use_id)


def _value(body: bytes) -> object:
    try:
        return decode(body)[0]
    except NotJson:
        return None
