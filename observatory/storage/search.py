"""SearchReader: asks the full-text index, and shows what it finds from the archive itself.

Read-only, beside a server or without one. For one thread at a time; all methods block.
"""

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zlib import crc32

import attrs
import msgspec

from observatory.core.batch import Flag, id_of
from observatory.core.bodies import RAW
from observatory.core.errors import StoreError
from observatory.core.search_exact import Needle, needle
from observatory.core.search_page import Hit, Page, Place, Search, Sort, names_of, place_of
from observatory.core.search_query import Wish, parse
from observatory.core.search_snippet import snippet
from observatory.core.search_text import ERROR, Passage, Role, passages_of
from observatory.storage.bodies import Bodies, block_of
from observatory.storage.opening import DATABASE, connect, explained, running
from observatory.storage.reader import READ_PATIENCE_MS
from observatory.storage.search_schema import VERSION
from observatory.storage.search_steps import SEARCH, records_behind

# What was said weighs most, then what a tool was asked; results are long, and often copies of files.
WEIGHTS = "10.0, 2.0, 4.0, 2.0, 3.0"
MONTH_MS = 30 * 86_400_000
AGE_WEIGHT = 0.25  # how much more a new record counts than an old one; a month halves it
TOO_COMMON = 75_000  # hits; more are not ranked: it would take longer than anyone waits, and mean nothing
ROLE_COLUMNS = {
    Role.USER: "said",
    Role.ASSISTANT: "said",
    Role.THINKING: "thinking",
    Role.TOOL_USE: "input",
    Role.TOOL_RESULT: "result",
    Role.OTHER: "other",
}
SCAN_SECONDS = 10.0  # for one page of a scan; the next one goes on from there
NEW_INDEX = "it is made by a server that runs, by the next import, and by observatory search"
_HIDDEN = Flag.KNOWN | Flag.COPY


@attrs.frozen
class _Found:
    """A document that was found."""

    record: int
    role: int
    flags: int
    at: int
    tool: str | None


class SearchReader:
    """leaving: what becomes of a text that leaves the process, as in LogReader. wall_ms: the time now."""

    def __init__(
        self, db: sqlite3.Connection, path: Path, wall_ms: Callable[[], int], leaving: Callable[[bytes], bytes] | None
    ) -> None:
        self._db = db
        self._path = path
        self._wall_ms = wall_ms
        self._leaving = leaving
        self._bodies = Bodies(db)

    def search(self, asked: Search) -> Page:
        """One page of what is found. Raises UsageError: the query or the cursor is none. StoreError."""
        sought = needle(asked.query, case=asked.case) if asked.exact else parse(asked.query)
        place = self._begin(asked)
        self._bodies.forget()  # a server that runs may have rewritten the block since
        with explained(self._path):
            if isinstance(sought, Needle):
                return self._scan(asked, sought, place)
            return self._ask(asked, sought, place)

    def _ask(self, asked: Search, wish: Wish, place: Place) -> Page:
        where, values = self._filters(asked)
        columns = sorted({column for role, column in ROLE_COLUMNS.items() if asked.roles & role})
        values |= {"match": wish.expression(columns), "ceiling": place.ceiling}
        total = self._count(where, values)
        sort: Sort = "newest" if total > TOO_COMMON else asked.sort
        rows = self._rows(where, values, sort, place, asked.limit)
        hits = tuple(filter(None, [self._hit(found, asked, wish.pattern) for found in rows]))
        done = place.skip + len(rows)
        cursor = attrs.evolve(place, skip=done).text if done < total else None
        return Page(hits, total, total <= TOO_COMMON, records_behind(self._db), cursor, sort)

    def _scan(self, asked: Search, sought: Needle, place: Place) -> Page:
        """Look into each record that may hold the text, newest first, until there are enough or no time is left."""
        where, values = self._filters(asked)
        until, hint, looked, hits = time.monotonic() + SCAN_SECONDS, sought.hint, place.skip, list[Hit]()
        words, source = sought.words, "docs AS d WHERE"
        if words is not None:
            source = "words JOIN docs AS d ON d.id = words.rowid WHERE words MATCH :match AND"
        query = (
            f"SELECT d.record, d.role, d.flags, d.at, d.tool FROM {source} d.id <= :ceiling AND {where}"
            " ORDER BY d.at DESC, d.id DESC LIMIT -1 OFFSET :skip"
        )
        values |= {"match": words, "ceiling": place.ceiling, "skip": place.skip}
        stopped, pattern, promising = False, sought.pattern, dict[int, bool]()
        with closing(self._db.execute(query, values)) as rows:
            for row in rows:
                if len(hits) == asked.limit or (stopped := time.monotonic() > until):
                    break
                looked += 1
                if self._may_hold(row[0], hint, promising) and self._holds(row[0], pattern, asked.roles):
                    hits += filter(None, [self._hit(self._found(row), asked, pattern)])
            else:
                return Page(tuple(hits), len(hits), place.skip == 0, records_behind(self._db), None, "newest")
        cursor = attrs.evolve(place, skip=looked).text
        return Page(tuple(hits), len(hits), False, records_behind(self._db), cursor, "newest", stopped)

    def _may_hold(self, key: int, hint: bytes | None, promising: dict[int, bool]) -> bool:
        """Whether the block of a record has these bytes at all, each block being looked through once."""
        if hint is None:
            return True
        row = self._db.execute("SELECT codec, body FROM archive.records WHERE id = ?", (key,)).fetchone()
        if row is None or row[0] == RAW:
            return row is not None and hint in row[1].lower()
        block = block_of(self._db, key)
        if block not in promising:
            promising[block] = hint in self._bodies.text_around(key).lower()
        return promising[block]

    def _holds(self, key: int, pattern: re.Pattern[str], roles: int) -> bool:
        row = self._db.execute("SELECT codec, body FROM archive.records WHERE id = ?", (key,)).fetchone()
        if row is None:
            return False
        texts = self._texts(self._bodies.of(key, *row))
        return any(pattern.search(one.text) for one in texts if not roles or one.role & roles)

    def _begin(self, asked: Search) -> Place:
        """Where the page begins."""
        told = attrs.astuple(attrs.evolve(asked, cursor=None, limit=0))
        number = crc32(repr(told).encode("utf-8", "replace"))
        if asked.cursor is not None:
            return place_of(asked.cursor, number)
        with explained(self._path):
            (last,) = self._db.execute("SELECT coalesce(max(id), 0) FROM docs").fetchone()
        return Place(last, self._wall_ms(), 0, number)

    # -- finding -------------------------------------------------------------------------------------------------------

    def _filters(self, asked: Search) -> tuple[str, dict[str, Any]]:
        """What beside the words is asked for, as SQL over `docs AS d`."""
        hidden = _HIDDEN if asked.conversation is None else Flag.KNOWN  # copies are found where they are asked for
        terms, values = [f"NOT d.flags & {hidden}"], dict[str, Any]()
        if asked.roles:
            terms.append(f"d.role & {int(asked.roles)}")
        if asked.errors:
            terms.append(f"d.flags & {ERROR}")
        name = "(SELECT id FROM names WHERE text = :{})"
        for column in ("tool", "model"):
            if (value := getattr(asked, column)) is not None:
                terms.append(f"d.{column} = {name.format(column)}")
                values[column] = value
        if asked.since is not None:
            terms.append("d.at >= :since")
            values["since"] = asked.since
        if asked.until is not None:
            terms.append("d.at < :until AND d.at")
            values["until"] = asked.until
        if asked.conversation is not None or asked.project is not None:
            terms.append("d.conversation IN (SELECT value FROM json_each(:conversations))")
            values["conversations"] = msgspec.json.encode(self._conversations(asked)).decode()
        return " AND ".join(terms), values

    def _conversations(self, asked: Search) -> list[int]:
        """Numbers of the conversations that are asked for, as far as the index knows them."""
        query = (
            "SELECT n.id FROM archive.conversations AS c JOIN names AS n ON n.text = c.id"
            " WHERE (:project IS NULL OR c.project_id = :project)"
            " AND (:own IS NULL OR c.id = :own OR substr(c.id, 1, length(:own) + 1) = :own || '.')"
        )
        rows = self._db.execute(query, {"project": asked.project, "own": asked.conversation})
        return [number for (number,) in rows]

    def _count(self, where: str, values: dict[str, Any]) -> int:
        """How many there are, as far as it is worth counting."""
        found = f"SELECT 1 FROM words JOIN docs AS d ON d.id = words.rowid WHERE words MATCH :match AND {where}"
        query = f"SELECT count(*) FROM ({found} AND d.id <= :ceiling LIMIT {TOO_COMMON + 1})"
        total: int = self._db.execute(query, values).fetchone()[0]
        return total

    def _rows(self, where: str, values: dict[str, Any], sort: Sort, place: Place, limit: int) -> list[_Found]:
        age = f"max(0, :now - d.at) / {MONTH_MS}.0"
        score = f"bm25(words, {WEIGHTS}) * (1.0 + {AGE_WEIGHT} / (1.0 + {age}))"
        order = "d.at DESC, d.id DESC" if sort == "newest" else f"{score}, d.id DESC"
        query = (
            "SELECT d.record, d.role, d.flags, d.at, d.tool FROM words JOIN docs AS d ON d.id = words.rowid"
            f" WHERE words MATCH :match AND d.id <= :ceiling AND {where} ORDER BY {order} LIMIT :limit OFFSET :skip"
        )
        more = {"now": place.now, "limit": limit, "skip": place.skip}
        rows = self._db.execute(query, {**values, **more}).fetchall()
        return [self._found(row) for row in rows]

    def _found(self, row: tuple[int, int, int, int, int | None]) -> _Found:
        record, role, flags, at, tool = row
        return _Found(record, role, flags, at, self._name(tool))

    def _name(self, number: int | None) -> str | None:
        row = self._db.execute("SELECT text FROM names WHERE id = ?", (number,)).fetchone()
        return None if row is None else str(row[0])

    # -- showing -------------------------------------------------------------------------------------------------------

    def _hit(self, found: _Found, asked: Search, pattern: re.Pattern[str]) -> Hit | None:
        """None: the record is gone."""
        query = (
            "SELECT r.codec, r.body, r.line, c.id, c.project_id, json_extract(c.body, '$.title'),"
            " json_extract(p.body, '$.name') FROM archive.records AS r"
            " JOIN archive.conversations AS c ON c.id = r.conversation_id"
            " LEFT JOIN archive.projects AS p ON p.id = c.project_id WHERE r.id = ?"
        )
        row = self._db.execute(query, (found.record,)).fetchone()
        if row is None:
            return None
        codec, stored, line, conversation, project, title, name = row
        texts = self._texts(self._bodies.of(found.record, codec, stored))
        at = _instant(found.at)
        return Hit(
            id_of(found.record), conversation, project, self._clean(title), self._clean(name) or project, at, line,
            names_of(found.role), found.tool, bool(found.flags & ERROR),
            snippet(texts, asked.roles or ~0, pattern, exactly=asked.exact),
        )  # fmt: skip

    def _texts(self, body: bytes) -> list[Passage]:
        return [Passage(one.role, self._clean(one.text) or "") for one in passages_of(body)]

    def _clean(self, text: str | None) -> str | None:
        if self._leaving is None or not text:
            return text
        return self._leaving(text.encode("utf-8", "replace")).decode("utf-8", "replace")


def _instant(at: int) -> str | None:
    if not at:
        return None
    moment = datetime.fromtimestamp(at / 1000, UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds") + "Z"


def _cure(directory: Path) -> str:
    return NEW_INDEX if running(directory) is None else "the server makes it: try again in a few seconds"


@contextmanager
def searching(
    directory: Path,
    wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    leaving: Callable[[bytes], bytes] | None = None,
) -> Iterator[SearchReader]:
    """A reader of a data directory. Raises StoreError: there is no index, or it cannot be read."""
    path, archive = directory / SEARCH, directory / DATABASE
    if not archive.is_file():
        raise StoreError(f"there is no archive in {directory}", "start a server first, or name another with --data-dir")
    if not path.is_file():
        raise StoreError("there is no search index yet", _cure(directory))
    with explained(path):
        db = connect(path, read_only=True)
    with closing(db), explained(path):
        db.execute(f"PRAGMA busy_timeout={READ_PATIENCE_MS}")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            raise StoreError("the search index is another version's, or is being made", _cure(directory))
        with explained(archive):
            db.execute("ATTACH ? AS archive", (f"{archive.absolute().as_uri()}?mode=ro",))
        yield SearchReader(db, path, wall_ms, leaving)
