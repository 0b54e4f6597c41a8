"""ArchiveBrowser: what a person looks at, page by page: conversations, records, calls, outputs, hook events."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs

from observatory.core import spilled
from observatory.core.annotations import Annotation
from observatory.core.batch import Flag, HookRow, record_key
from observatory.core.conversation import Conversation
from observatory.core.listing import Listing, Place, place_of
from observatory.core.project import Project
from observatory.storage import annotations, attachments, hooks
from observatory.storage.accounting import archive
from observatory.storage.conversations import ConversationReader, Stored
from observatory.storage.decoding import conversation_of, project_of
from observatory.storage.opening import DATABASE, explained

SORTS = {
    "updated_at": "c.updated_at",
    "created_at": "json_extract(c.body, '$.created_at')",
    "message_count": "json_extract(c.body, '$.message_count')",
    "tokens": " + ".join(
        f"coalesce(json_extract(c.body, '$.tokens.{field}'), 0)"
        for field in ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    ),
}
RECORD = "id, line, length, span, flags, error, codec, body"
CALL = ("tool_use_id", "name", "record", "called_at", "status", "answered_at", "duration_ms", "result_record")
TEXTS = "coalesce(json_extract(c.body, '$.title'), '') || ' ' || coalesce(json_extract(c.body, '$.last_prompt'), '')"


@attrs.frozen
class Listed:
    """A page of conversations, with what a person says of them. total: without paging. next: None at the end."""

    rows: list[tuple[Conversation, Annotation]]
    total: int
    next: str | None


class ArchiveBrowser(ConversationReader):
    """As ConversationReader: for one thread at a time; all methods block, and raise StoreError."""

    def listed(self, wanted: Listing) -> Listed:
        """Conversations. Raises UsageError: the cursor is none."""
        where, values = _conditions(wanted)
        sort, falling = SORTS[wanted.sort], wanted.order == "desc"
        direction, beyond = ("DESC", "<") if falling else ("ASC", ">")
        with explained(self._path):
            (total,) = self._db.execute(f"SELECT count(*) FROM conversations AS c WHERE {where}", values).fetchone()
            if wanted.cursor is not None:
                place = place_of(wanted.cursor)
                where += f" AND ({sort}, c.id) {beyond} (:value, :last)"
                values |= {"value": place.value, "last": place.id}
            rows = self._db.execute(
                f"SELECT c.id, c.body, {sort} FROM conversations AS c WHERE {where}"
                f" ORDER BY 3 {direction}, c.id {direction} LIMIT :limit",
                values | {"limit": wanted.limit + 1},
            ).fetchall()
            shown = rows[: wanted.limit]
            found = [(self._row(body), annotations.read(self._db, id)) for id, body, _ in shown]
        more = len(rows) > wanted.limit
        return Listed(found, total, Place(shown[-1][2], shown[-1][0]).text if more else None)

    def _row(self, body: bytes) -> Conversation:
        return conversation_of(self._clean(bytes(body)))

    def annotation(self, id: str) -> Annotation:
        """What a person says of a conversation."""
        with explained(self._path):
            return annotations.read(self._db, id)

    def projects(self) -> list[Project]:
        """All projects, the one active last first."""
        with explained(self._path):
            rows = self._db.execute("SELECT body FROM projects ORDER BY last_activity DESC, id").fetchall()
        return [project_of(self._clean(bytes(body))) for (body,) in rows]

    def page(self, id: str, after: int | None, before: int | None, limit: int, *, last: bool) -> list[Stored]:
        """Records of a conversation between two keys, in order: the first of them, or the last.

        What was rewritten comes as it was before, too; what a file still holds of an earlier generation comes once.
        """
        found: list[Stored] = []
        files = self.files(id)
        for file in reversed(files) if last else files:
            low = max(record_key(file.id, 0, 0), -1 if after is None else after + 1)
            high = record_key(file.id + 1, 0, 0) if before is None else min(record_key(file.id + 1, 0, 0), before)
            rows = self._some(low, high, limit - len(found), falling=last)
            found = [*rows, *found] if last else [*found, *rows]
            if len(found) >= limit:
                break
        return found

    def _some(self, low: int, high: int, limit: int, *, falling: bool) -> list[Stored]:
        query = (
            f"SELECT {RECORD} FROM records WHERE id >= ? AND id < ? AND NOT flags & {Flag.KNOWN}"
            f" ORDER BY id {'DESC' if falling else 'ASC'} LIMIT ?"
        )
        rows = [self._stored(row) for row in self._rows(query, (low, high, limit))]
        return rows[::-1] if falling else rows

    def count(self, id: str, before: int | None = None) -> int:
        """How many records a conversation has; before a key, if one is given."""
        return sum(self._count(file.id, before) for file in self.files(id))

    def behind(self, id: str, skip: int, limit: int) -> list[Stored]:
        """Records of a conversation as in `page`, behind so many."""
        found: list[Stored] = []
        for file in self.files(id):
            there = self._count(file.id)
            if skip < there:
                query = (
                    f"SELECT {RECORD} FROM records WHERE id >= ? AND id < ? AND NOT flags & {Flag.KNOWN}"
                    " ORDER BY id LIMIT ? OFFSET ?"
                )
                bounds = record_key(file.id, 0, 0), record_key(file.id + 1, 0, 0)
                found += [self._stored(row) for row in self._rows(query, (*bounds, limit - len(found), skip))]
                if len(found) >= limit:
                    break
            skip = max(0, skip - there)
        return found

    def _count(self, file: int, before: int | None = None) -> int:
        low, high = record_key(file, 0, 0), record_key(file + 1, 0, 0)
        query = f"SELECT count(*) FROM records WHERE id >= ? AND id < ? AND NOT flags & {Flag.KNOWN}"
        return int(self._rows(query, (low, high if before is None else min(high, before)))[0][0])

    def record(self, key: int) -> tuple[Stored, str | None] | None:
        """A record, and the conversation that it is of; None if there is none."""
        rows = self._rows(f"SELECT {RECORD}, conversation_id FROM records WHERE id = ?", (key,))
        return (self._stored(rows[0][:8]), rows[0][8]) if rows else None

    def _rows(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        self._bodies.forget()  # a server that runs may have rewritten the block since
        with explained(self._path):
            return self._db.execute(query, values).fetchall()

    def _stored(self, row: tuple[Any, ...]) -> Stored:
        key, line, length, span, flags, error, codec, stored = row
        with explained(self._path):
            return Stored(key, line, length, span, flags, error, self._clean(self._bodies.of(key, codec, stored)))

    def committed_at(self, seq: int) -> int | None:
        """When an event of the log, or the first one behind it, was committed: ms."""
        rows = self._rows("SELECT at FROM events WHERE seq >= ? ORDER BY seq LIMIT 1", (seq,))
        return rows[0][0] if rows else None

    def calls(self, id: str, after: str, limit: int) -> list[dict[str, Any]]:
        """Tool calls of a conversation, by their ids, behind one."""
        query = (
            f"SELECT {', '.join(CALL)} FROM tool_calls WHERE conversation_id = ? AND tool_use_id > ?"
            " ORDER BY tool_use_id LIMIT ?"
        )
        return [dict(zip(CALL, row, strict=True)) for row in self._rows(query, (id, after, limit))]

    def outputs(self, id: str) -> list[dict[str, Any]]:
        """Outputs of tools that were too big for a line."""
        query = "SELECT name, size, reason FROM attachments WHERE conversation_id = ? AND ready = 1 ORDER BY name"
        return [{"name": name, "size": size, "absent": why} for name, size, why in self._rows(query, (id,))]

    def output(self, id: str, name: str) -> bytes | None:
        """One of them; None if there is none, or it was not kept."""
        with explained(self._path):
            found = attachments.body(self._db, id, name)
        return found if found is None or self._leaving is None else spilled.redacted(found, self._leaving)

    def hooks(self, id: str, after: int, limit: int) -> list[HookRow]:
        """Hook events of a conversation, in order, behind one."""
        with explained(self._path):
            return [self._hook(row) for row in hooks.of_conversation(self._db, id, after, limit)]

    def hook(self, number: int) -> HookRow | None:
        """One hook event."""
        with explained(self._path):
            row = hooks.one(self._db, number)
        return None if row is None else self._hook(row)

    def _hook(self, row: HookRow) -> HookRow:
        return attrs.evolve(row, body=self._clean(row.body))


def _conditions(wanted: Listing) -> tuple[str, dict[str, Any]]:
    """What a conversation must be: SQL, and its values."""
    terms = ["1"]
    values: dict[str, Any] = {}
    for name, term in (
        ("project", "c.project_id = :project"),
        ("status", "c.status = :status"),
        ("activity", "json_extract(c.body, '$.activity') = :activity"),
        ("parent", "json_extract(c.body, '$.parent_id') = :parent"),
        ("since", "c.updated_at >= :since"),
    ):
        if (value := getattr(wanted, name)) is not None:
            terms.append(term)
            values[name] = value
    if not wanted.agents and wanted.parent is None:
        terms.append("json_extract(c.body, '$.agent_id') IS NULL")
    if wanted.starred is not None:
        starred = "EXISTS (SELECT 1 FROM annotations AS a WHERE a.conversation_id = c.id AND a.starred)"
        terms.append(starred if wanted.starred else f"NOT {starred}")
    for number, tag in enumerate(wanted.tags):
        tagged = f"SELECT 1 FROM tags AS t WHERE t.conversation_id = c.id AND t.tag = :tag{number} COLLATE NOCASE"
        terms.append(f"EXISTS ({tagged})")
        values[f"tag{number}"] = tag
    if wanted.text is not None:
        terms.append(f"instr(lower({TEXTS}), lower(:text))")
        values["text"] = wanted.text
    return " AND ".join(terms), values


@contextmanager
def browsing(directory: Path, leaving: Callable[[bytes], bytes] | None = None) -> Iterator[ArchiveBrowser]:
    """A browser of a data directory. Raises StoreError when there is no archive that can be read."""
    with archive(directory) as db, closing(db):
        yield ArchiveBrowser(db, directory / DATABASE, leaving)
