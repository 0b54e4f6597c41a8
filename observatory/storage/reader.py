"""LogReader: replay and snapshots, by a read-only connection in a worker thread, never in the writer's way."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import orjson
import trio

from observatory.core import spilled
from observatory.core.annotations import Annotation
from observatory.core.conversation import Conversation, changes
from observatory.core.errors import StoreError
from observatory.core.events import LogPosition
from observatory.core.ports import Stored
from observatory.core.project import Project, update
from observatory.storage import annotations, attachments
from observatory.storage.log import EventLog
from observatory.storage.opening import DATABASE, check_version, connect, explained

R = TypeVar("R")
PAGE_EVENTS = 256
PAGE_BYTES = 256 * 1024
TOPICS_KEPT = 4096  # different sets of topics, each made once: a conversation's events have one
READ_PATIENCE_MS = 2000  # for the moment in which a checkpoint holds the log


class LogReader:
    """Reads what the writer has committed. One read at a time; `position` is the writer's.

    leaving: what becomes of a text that leaves the process; the same for all, so live and replayed bytes agree.
    """

    def __init__(self, log: EventLog, leaving: Callable[[bytes], bytes] | None = None) -> None:
        self._log = log
        self._leaving = leaving
        self._path: Path = log.path
        self._limiter = trio.CapacityLimiter(1)
        self._topics: dict[str, frozenset[str]] = {}  # of the thread
        with explained(self._path):
            self._db = connect(self._path, read_only=True)
            self._db.execute(f"PRAGMA busy_timeout={READ_PATIENCE_MS}")

    @property
    def position(self) -> LogPosition:
        """The log's epoch, head and oldest, now."""
        return self._log.position

    @property
    def removals(self) -> int:
        """How often something was forgotten in this process."""
        return self._log.removals

    async def read(self, after: int, upto: int) -> list[Stored]:
        """A page of events with after < seq ≤ upto, ascending, without a gap; empty when they have been trimmed.

        Raises StoreError; one that is not retryable when what follows `after` is damaged, or is not there.
        """
        page = await self._in_thread(lambda: self._page(after, upto))
        now = self.position
        if not page and now.oldest - 1 <= after < min(upto, now.head):
            raise StoreError(f"{self._path} has lost the events after seq {after}", "see docs/operations.md, Damage")
        return page

    async def snapshot(self, limit: int) -> dict[str, Any]:
        """Projects and conversations, latest activity first, with their position. Raises StoreError."""
        return await self._in_thread(lambda: self._snapshot(limit))

    async def attachment(self, conversation_id: str, name: str) -> bytes | None:
        """A spilled output's text; None if there is none of this name, or it has no body. Raises StoreError."""
        return await self._in_thread(lambda: self._attachment(conversation_id, name))

    async def attachments(self, conversation_id: str) -> dict[str, tuple[int, int, bool]]:
        """A conversation's spilled outputs: name → size and mtime_ns of the file as it was read, and whether it has a
        body. Raises StoreError."""
        return await self._in_thread(lambda: attachments.states(self._db, conversation_id))

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def _attachment(self, conversation_id: str, name: str) -> bytes | None:
        found = attachments.body(self._db, conversation_id, name)
        return found if found is None or self._leaving is None else spilled.redacted(found, self._leaving)

    async def _in_thread(self, call: Callable[[], R]) -> R:
        with explained(self._path):
            return await trio.to_thread.run_sync(call, limiter=self._limiter)

    def _page(self, after: int, upto: int) -> list[Stored]:
        query = "SELECT seq, topics, payload FROM events WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
        page: list[Stored] = []
        size = 0
        try:
            for seq, topics, payload in self._db.execute(query, (after, upto, PAGE_EVENTS)):
                size += len(payload)
                if seq != after + 1 + len(page) or (page and size > PAGE_BYTES):
                    break  # full; or trimmed meanwhile, or lost: never skip a seq
                leaving = payload if self._leaving is None else self._leaving(payload)
                page.append(Stored(seq, self._topics.get(topics) or self._set(topics), leaving))
        except sqlite3.Error:
            if not page:
                raise
        return page  # up to what cannot be read: the next one begins there

    def _set(self, topics: str) -> frozenset[str]:
        if len(self._topics) == TOPICS_KEPT:
            self._topics.clear()
        self._topics[topics] = made = frozenset(topics.split(" "))
        return made

    def _snapshot(self, limit: int) -> dict[str, Any]:
        rows, seq = _rows(self._db, limit)
        if self._leaving is not None:
            rows = orjson.loads(self._leaving(orjson.dumps(rows)))
        return {**rows, "position": {"epoch": self.position.epoch, "seq": seq}}


def at_rest(directory: Path, limit: int) -> dict[str, Any] | None:
    """A snapshot's rows from a data directory that no server runs on; None if nothing was ever kept there.

    Raises: StoreError.
    """
    path = directory / DATABASE
    if not path.exists():
        return None
    with explained(path), closing(connect(path, read_only=True)) as db:
        db.execute(f"PRAGMA busy_timeout={READ_PATIENCE_MS}")
        check_version(db, path)
        return _rows(db, limit)[0] if db.execute("PRAGMA user_version").fetchone() != (0,) else None


def _rows(db: sqlite3.Connection, limit: int) -> tuple[dict[str, Any], int]:
    """Projects and conversations, and the head they belong to."""
    db.execute("BEGIN")
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        seq = _head(db)
        projects = db.execute("SELECT body FROM projects ORDER BY last_activity DESC").fetchall()
        query = "SELECT body FROM conversations ORDER BY updated_at DESC LIMIT ?"
        conversations = db.execute(query, (limit + 1,)).fetchall()
        said = annotations.read_all(db) if version >= annotations.KNOWN_SINCE else {}
    finally:
        db.execute("COMMIT")
    decode = msgspec.json.decode
    return {
        "projects": [update(None, decode(body, type=Project)) for (body,) in projects],
        "conversations": [
            _with(said, changes(None, decode(row[0], type=Conversation))) for row in conversations[:limit]
        ],
        "truncated": len(conversations) > limit,
    }, seq


def _with(said: dict[str, Annotation], row: dict[str, Any] | None) -> dict[str, Any]:
    """A conversation's row, with what a person says of it."""
    assert row is not None, "all of it is told"
    found = said.get(row["id"])
    return row if found is None else row | {key: value for key, value in found.json().items() if value}


def _head(db: sqlite3.Connection) -> int:
    (seq,) = db.execute("SELECT max(seq) FROM events").fetchone()
    if seq is None:
        row = db.execute("SELECT value FROM meta WHERE key = 'head'").fetchone()
        seq = int(row[0]) if row else 0
    return int(seq)
