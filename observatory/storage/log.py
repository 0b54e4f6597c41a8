"""EventLog: records and events in one SQLite file, written by one connection, one transaction a batch."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import msgspec

from observatory.core.batch import (
    GENERATION_BITS,
    OFFSET_BITS,
    Batch,
    ConversationUsage,
    FileState,
    Flag,
    RecordRow,
    SourceRow,
    StoredLine,
    StoredRecord,
    record_key,
    split_key,
)
from observatory.core.conversation import Conversation
from observatory.core.events import Event, LogPosition, encode
from observatory.core.forgetting import KeptOut, Removal, Target, drafts_of, fewer
from observatory.core.project import Project
from observatory.core.usage import Usage
from observatory.storage import forget
from observatory.storage.opening import DATABASE, explain, explained, open_writer

RAW = 0  # codec of a body stored as it was read
TRIM_ROWS = 2000  # events deleted in one transaction: a few ms, so that the loop is not held up

_INSERT_RECORD = (
    "INSERT OR IGNORE INTO records (id, length, span, line, conversation_id, type, kind, uuid, message_id, timestamp,"
    f" flags, error, body, codec) VALUES ({', '.join('?' * 14)})"
)
_SOURCE_COLUMNS = (
    "id, path, root, dev, ino, size, mtime_ns, ctime_ns,"
    " generation, offset, backfill_until, lines, conversation_id, missing"
)
_CHANGING = _SOURCE_COLUMNS.split(", ")[1:]
# Upserts, not replacements: an index whose columns did not change is not touched.
_UPSERT_SOURCE = (
    f"INSERT INTO sources ({_SOURCE_COLUMNS}) VALUES ({', '.join('?' * 14)}) ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in _CHANGING)
)
_UPSERT_CONVERSATION = (
    "INSERT INTO conversations (id, project_id, updated_at, body) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
    " SET project_id = excluded.project_id, updated_at = excluded.updated_at, body = excluded.body"
)
_UPSERT_PROJECT = (
    "INSERT INTO projects (id, path, slug, last_activity, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
    " SET path = excluded.path, slug = excluded.slug, last_activity = excluded.last_activity, body = excluded.body"
)


@attrs.frozen
class Retention:
    """How much of the events log is kept; whichever is reached first."""

    seconds: float = 7 * 24 * 3600.0
    events: int = 1_000_000
    bytes: int = 1024**3


class EventLog:
    """The writing side. All methods block, briefly; one caller at a time.

    redact: what is stored instead of an event's payload.
    """

    def __init__(self, directory: Path, boot_id: str | None, redact: Callable[[bytes], bytes] | None = None) -> None:
        self.path = directory / DATABASE
        self._redact = redact
        self._db = open_writer(self.path, boot_id)
        self.removals = 0  # how often something was forgotten: what was read before is not to be shown after
        try:
            with explained(self.path):
                self._load()
        except BaseException:
            self._db.close()
            raise

    def _load(self) -> None:
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        self.machine_id: str = meta["machine_id"]
        self._epoch: str = meta["epoch"]
        start = int(meta.get("head", 0))
        first = self._db.execute("SELECT seq, total FROM events ORDER BY seq LIMIT 1").fetchone()
        last = self._db.execute("SELECT seq, total FROM events ORDER BY seq DESC LIMIT 1").fetchone()
        self._head: int
        self._total: int
        self._head, self._total = last or (start, 0)
        self._oldest = first[0] if first else self._head + 1
        (highest,) = self._db.execute("SELECT coalesce(max(id), 0) FROM sources").fetchone()
        self._last_source: int = highest

    @property
    def position(self) -> LogPosition:
        """Epoch, head and oldest, as committed."""
        return LogPosition(self._epoch, self._head, self._oldest)

    def new_source_id(self) -> int:
        """An id for a file not seen before; a number drawn and not stored is lost, which is harmless."""
        self._last_source += 1
        return self._last_source

    # -- writing -------------------------------------------------------------------------------------------------------

    def append(self, batch: Batch, now_ms: int) -> tuple[Event, ...]:
        """Commit a batch; returns its events with their seq. Raises StoreError; then nothing is stored."""
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                events, total = self._insert_events(batch, now_ms)
                self._insert_rows(batch, now_ms)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        if events:
            self._head, self._total = events[-1].seq, total
        return events

    def _insert_events(self, batch: Batch, now_ms: int) -> tuple[tuple[Event, ...], int]:
        seq, total, epoch = self._head, self._total, self._epoch
        events, rows = [], []
        for draft in batch.drafts:
            seq += 1
            payload = encode(draft.type, draft.data, now_ms, seq, epoch)
            if self._redact is not None:
                payload = self._redact(payload)
            total += len(payload)
            events.append(Event(seq, draft.type, draft.topics, payload))
            rows.append((seq, now_ms, " ".join(draft.topics), total, payload))
        self._db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", rows)
        return tuple(events), total

    def _insert_rows(self, batch: Batch, now_ms: int) -> None:
        many = self._db.executemany
        if batch.withdrawn:
            many("DELETE FROM records WHERE id = ?", ((key,) for key in batch.withdrawn))
        if batch.records:
            many(_INSERT_RECORD, map(_record_values, batch.records))
        if batch.flagged:
            values = ((more, less, key) for key, more, less in batch.flagged)
            many("UPDATE records SET flags = (flags | ?) & ~? WHERE id = ?", values)
        if batch.renamed:  # first out of each other's way: paths are unique
            many("UPDATE sources SET path = path || '#' || id WHERE id = ?", ((source,) for source in batch.renamed))
        if batch.sources:
            many(_UPSERT_SOURCE, map(_source_values, batch.sources.values()))
        if batch.adopted:
            adopt = "UPDATE records SET conversation_id = ? WHERE id >= ? AND id < ? AND conversation_id IS NULL"
            many(adopt, ((conversation, *_range(source)) for source, conversation in batch.adopted))
        encode_row = msgspec.json.encode
        if batch.conversations:
            rows = [(c.id, c.project_id, c.updated_at, encode_row(c)) for c in batch.conversations.values()]
            many(_UPSERT_CONVERSATION, rows)
        if batch.projects:
            projects = [(p.id, p.path, p.slug, p.last_activity, encode_row(p)) for p in batch.projects.values()]
            many(_UPSERT_PROJECT, projects)
        if batch.usage:
            usage = ((*key, int(row.replied), *attrs.astuple(row.usage)) for key, row in batch.usage.items())
            many("INSERT OR REPLACE INTO usage VALUES (?, ?, ?, ?, ?, ?, ?)", usage)
        if batch.tool_calls:
            calls = ((t.conversation_id, t.tool_use_id, t.name, t.record) for t in batch.tool_calls.values())
            many("INSERT OR IGNORE INTO tool_calls VALUES (?, ?, ?, ?)", calls)
        if batch.copies:
            many("INSERT OR IGNORE INTO copies VALUES (?, ?)", batch.copies.items())
        if batch.scanned_roots:
            many("INSERT OR IGNORE INTO roots VALUES (?, ?)", ((root, now_ms) for root in batch.scanned_roots))

    def trim(self, retention: Retention, now_ms: int) -> int:
        """Delete events beyond the retention, at most TRIM_ROWS; returns how many. Raises StoreError."""
        keep_from = min(self._first_to_keep(retention, now_ms), self._oldest + TRIM_ROWS)
        if keep_from <= self._oldest:
            return 0
        with explained(self.path):
            self._db.execute("DELETE FROM events WHERE seq < ?", (keep_from,))
            if keep_from > self._head:  # an empty log must still know where it was
                self._db.execute("INSERT OR REPLACE INTO meta VALUES ('head', ?)", (str(self._head),))
        trimmed, self._oldest = keep_from - self._oldest, keep_from
        return trimmed

    def forget(self, target: Target, now_ms: int) -> Removal:
        """Remove a conversation or project, and log that it is gone; `scrub` has to follow. Raises StoreError."""
        db = self._db
        with explained(self.path), forget.transaction(db):
            known = forget.conversations(db)
            removal = forget.plan(db, target, known)
            forget.expunge(db, removal)
            batch = Batch(drafts=drafts_of(removal, known))
            batch.conversations |= {row.id: row for _, row in removal.cleaned}
            if removal.project is not None and not removal.whole_project:
                batch.projects[removal.project.id] = fewer(removal.project, removal.conversations)
            events, total = self._insert_events(batch, now_ms)
            self._insert_rows(batch, now_ms)
        self.removals += 1
        if events:
            self._head, self._total = events[-1].seq, total
        return attrs.evolve(removal, events=events)

    def scrub(self, patience_ms: int = 0) -> bool:
        """Leave nothing of what was deleted in the files; False: try again. Raises StoreError."""
        with explained(self.path):
            return forget.scrub(self._db, patience_ms)

    @property
    def scrub_due(self) -> bool:
        """Something was forgotten, and its bytes may still be in the files."""
        with explained(self.path):
            return forget.is_due(self._db)

    def kept_out(self) -> KeptOut:
        """The files that were forgotten."""
        return forget.kept_out(self._db)

    def _first_to_keep(self, retention: Retention, now_ms: int) -> int:
        by_count = self._head - retention.events + 1
        by_bytes = self._search("total", self._total - retention.bytes)
        by_age = self._search("at", now_ms - round(retention.seconds * 1000))
        return max(self._oldest, by_count, by_bytes, by_age)

    def _search(self, column: str, bound: int) -> int:
        """The first seq whose column (rising with seq) exceeds the bound, by bisection over the dense seq."""
        low, high = self._oldest, self._head + 1
        while low < high:
            middle = (low + high) // 2
            (value,) = self._db.execute(f"SELECT {column} FROM events WHERE seq = ?", (middle,)).fetchone()
            low, high = (low, middle) if value > bound else (middle + 1, high)
        return low

    def close(self) -> None:
        """Close cleanly: the next start keeps the epoch even after a reboot."""
        with explained(self.path):
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('clean', '1')")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()

    # -- looking up ----------------------------------------------------------------------------------------------------

    def sources(self) -> list[SourceRow]:
        """Every file known, without order."""
        rows = self._db.execute(f"SELECT {_SOURCE_COLUMNS} FROM sources")
        return [_source(*row) for row in rows]

    def scanned_roots(self) -> dict[str, int]:
        """Roots whose first scan is complete, with the time of it in ms."""
        return dict(self._db.execute("SELECT path, first_scan_at FROM roots").fetchall())

    def conversation(self, conversation_id: str) -> Conversation | None:
        """A conversation's row."""
        row = self._one("SELECT body FROM conversations WHERE id = ?", conversation_id)
        return None if row is None else msgspec.json.decode(row[0], type=Conversation)

    def project(self, project_id: str) -> Project | None:
        """A project's row."""
        row = self._one("SELECT body FROM projects WHERE id = ?", project_id)
        return None if row is None else msgspec.json.decode(row[0], type=Project)

    def project_at(self, path: str) -> Project | None:
        """The project with this working directory."""
        row = self._one("SELECT body FROM projects WHERE path = ?", path)
        return None if row is None else msgspec.json.decode(row[0], type=Project)

    def project_in(self, slug: str) -> Project | None:
        """The project whose folder this is, the one active last if there are several."""
        row = self._one("SELECT body FROM projects WHERE slug = ? ORDER BY last_activity DESC", slug)
        return None if row is None else msgspec.json.decode(row[0], type=Project)

    def project_ids(self) -> set[str]:
        """Every project."""
        return {key for (key,) in self._db.execute("SELECT id FROM projects")}

    def message_ids(self) -> Iterator[str]:
        """Every API message that was counted."""
        return (key for (key,) in self._db.execute("SELECT DISTINCT message_id FROM usage"))

    def usage(self, message_id: str) -> dict[str, ConversationUsage]:
        """What an API message counts, by conversation."""
        rows = self._db.execute("SELECT * FROM usage WHERE message_id = ?", (message_id,))
        return {row[1]: ConversationUsage(bool(row[2]), Usage(*row[3:])) for row in rows}

    def has_tool_call(self, conversation_id: str, tool_use_id: str) -> bool:
        """Whether the conversation made this call already."""
        query = "SELECT 1 FROM tool_calls WHERE conversation_id = ? AND tool_use_id = ?"
        return self._one(query, conversation_id, tool_use_id) is not None

    def first_holder(self, copy_key: int) -> int | None:
        """The source in which a line with this copy key was first seen."""
        row = self._one("SELECT source_id FROM copies WHERE copy_key = ?", copy_key)
        return None if row is None else row[0]

    def waiting(self, source_id: int) -> list[StoredRecord]:
        """A source's records that wait for it to be recognised, in order."""
        where = "id >= ? AND id < ? AND conversation_id IS NULL"
        return self._records(where, *_range(source_id))

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
        query = f"SELECT id, span, line, flags, body FROM records WHERE {where} ORDER BY id"
        return [StoredRecord(split_key(key)[2], *rest) for key, *rest in self._db.execute(query, values)]

    def lines(self, source_id: int) -> Iterator[tuple[int, int, bytes]]:
        """Key, flags and body of all records of a source, generation after generation."""
        yield from self._db.execute(
            "SELECT id, flags, body FROM records WHERE id >= ? AND id < ? ORDER BY id", _range(source_id)
        )

    def marks(self, source: SourceRow, size: int) -> list[StoredLine]:
        """The first and the last record that reading has passed in this generation, with `size` bytes of each end."""
        between = (record_key(source.id, source.generation, 0), record_key(source.id, source.generation, source.offset))
        query = (
            "SELECT id, flags, length, length(body), substr(body, 1, ?), substr(body, -?)"
            f" FROM records WHERE id >= ? AND id < ? AND NOT flags & {Flag.REDACTED} AND length(body) > 0"
            " ORDER BY id {} LIMIT 1"
        )
        rows = (self._db.execute(query.format(order), (size, size, *between)).fetchone() for order in ("ASC", "DESC"))
        return [StoredLine(*row) for row in rows if row is not None]

    def tail(self, source: SourceRow) -> bytes | None:
        """The record that was stored without its newline, where reading goes on; None if there is none."""
        key = record_key(source.id, source.generation, source.offset)
        row = self._one(f"SELECT body FROM records WHERE id = ? AND flags & {Flag.TAIL}", key)
        return None if row is None else row[0]

    def _one(self, query: str, *values: str | int) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._db.execute(query, values).fetchone()
        return row


def _range(source_id: int) -> tuple[int, int]:
    """The keys of a source's records: from, and up to but not including."""
    return record_key(source_id, 0, 0), record_key(source_id + 1, 0, 0)


def _record_values(row: RecordRow) -> tuple[Any, ...]:
    return (
        row.key, row.length, row.span, row.line, row.conversation_id, row.type, row.kind, row.uuid, row.message_id,
        row.timestamp, row.flags, row.error, row.body, RAW,
    )  # fmt: skip


def _source_values(row: SourceRow) -> tuple[Any, ...]:
    return (
        row.id, row.path, row.root, *attrs.astuple(row.state), row.generation, row.offset, row.backfill_until,
        row.lines, row.conversation_id, int(row.missing),
    )  # fmt: skip


def _source(source_id: int, path: str, root: str, *rest: Any) -> SourceRow:  # noqa: ANN401 - a row of the database
    generation, offset, backfill_until, lines, conversation_id, missing = rest[5:]
    state = FileState(*rest[:5])
    return SourceRow(
        source_id, path, root, state, generation, offset, backfill_until, lines, conversation_id, bool(missing)
    )
