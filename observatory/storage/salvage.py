"""What can be read of a damaged archive, into a new one; and what was lost.

Rows are read around pages that cannot be. Bodies whose block fails its checksum are left out and counted.
"""

import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import attrs

from observatory.core.batch import GENERATION_BITS, OFFSET_BITS, record_key, split_key
from observatory.core.bodies import PACKED, text_of
from observatory.core.errors import StoreError
from observatory.storage.opening import connect, explained

PAGE_ROWS = 200
DEEPEST = 40  # halvings in search of what lies between two places that cannot be read
MOST_ATTEMPTS = 5000  # a damaged page high up in the tree makes all below it unreadable, however it is asked for
MOST_SOURCES = 100_000
NUMBERED = ("sources", "blocks", "records", "copies", "attachments")  # tables with a whole number as their key
NAMED = ("projects", "conversations", "usage", "tool_calls", "summaries", "leaves", "forgotten", "annotations", "tags",
         "hook_events", "attachment_parts")  # fmt: skip
# What follows from records: where some of it is lost, the transcripts that are there are read anew.
DERIVED = frozenset({"projects", "conversations", "usage", "tool_calls"})
Show = Callable[[str], None]
Row = tuple[Any, ...]


@attrs.define
class Salvage:
    """rows: saved, by table. damaged: tables of which something could not be read. bad_blocks, bad_records: whose bytes
    fail their checksum."""

    rows: dict[str, int] = attrs.field(factory=dict)
    damaged: set[str] = attrs.field(factory=set)
    bad_blocks: int = 0
    bad_records: int = 0
    attempts: int = 0  # to read around damage


def salvage(damaged: Path, new: Path, show: Show) -> Salvage:
    """Copy what can be read into an archive that was just made. Raises StoreError: it cannot be written."""
    found = Salvage()
    try:
        opened = _opened(damaged)
    except StoreError:  # what tells where the tables are is damaged itself
        found.damaged |= {*NUMBERED, *NAMED}
        return found
    with closing(opened) as old, explained(new), closing(connect(new)) as db:
        db.execute("PRAGMA synchronous=OFF")
        db.execute("BEGIN IMMEDIATE")
        _copy_meta(old, db)
        for table in (*NUMBERED, *NAMED):
            show(f"saving {table}")
            columns = _columns(old, db, table)
            if columns:
                read = _by_number if table in NUMBERED else _by_place
                _copy(db, table, columns, read(old, table, columns, found), found)
        _name_the_nameless(db)
        show("checking bodies")
        _leave_out_bad_bodies(db, found)
        db.execute("INSERT OR REPLACE INTO meta VALUES ('clean', '0')")  # a new epoch at the first start
        db.execute("COMMIT")
        _rest(db)
    return found


def short(new: Path) -> list[str]:
    """Transcripts of which fewer records are there than were read, or whose conversation is not there."""
    place = f"(s.id << {GENERATION_BITS} | s.generation) << {OFFSET_BITS}"
    count = f"SELECT count(*) FROM records WHERE id >= {place} AND id < ({place}) + (1 << {OFFSET_BITS})"
    with explained(new), closing(connect(new, read_only=True)) as db:
        nameless = "s.conversation_id IS NOT NULL AND s.conversation_id NOT IN (SELECT id FROM conversations)"
        lacking = f"NOT s.pruned AND ({count}) < s.lines"
        rows = db.execute(f"SELECT path FROM sources AS s WHERE ({lacking}) OR ({nameless}) ORDER BY path")
        return [path for (path,) in rows]


def leave_out(new: Path, paths: Iterable[str]) -> None:
    """Know nothing of these transcripts, so that they are read anew, and as history: what was read of them is old."""
    with explained(new), closing(connect(new)) as db:
        db.execute("BEGIN IMMEDIATE")
        for path in paths:
            row = db.execute("SELECT id, conversation_id FROM sources WHERE path = ?", (path,)).fetchone()
            if row is not None:
                _leave_out(db, *row)
        db.execute("DELETE FROM roots")
        db.execute("COMMIT")
        _rest(db)


def _leave_out(db: sqlite3.Connection, source: int, conversation: str | None) -> None:
    keys = record_key(source, 0, 0), record_key(source + 1, 0, 0)
    for table in ("records", "blocks"):
        db.execute(f"DELETE FROM {table} WHERE id >= ? AND id < ?", keys)
    db.execute("DELETE FROM copies WHERE record >= ? AND record < ?", keys)
    db.execute("DELETE FROM sources WHERE id = ?", (source,))
    for table, column in (("conversations", "id"), *((name, "conversation_id") for name in ("usage", "tool_calls",
                          "summaries", "leaves"))):  # fmt: skip
        db.execute(f"DELETE FROM {table} WHERE {column} = ?", (conversation,))


def _rest(db: sqlite3.Connection) -> None:
    """Everything in the one file, whose write-ahead file goes when this connection is closed."""
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _opened(path: Path) -> sqlite3.Connection:
    """As far as it can be: without its write-ahead file if that is what stands in the way."""
    with explained(path):
        db = connect(path, read_only=True)
        try:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.DatabaseError:
            db.close()
            db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return db


def _copy_meta(old: sqlite3.Connection, db: sqlite3.Connection) -> None:
    with suppress(sqlite3.DatabaseError):
        kept = dict(old.execute("SELECT key, value FROM meta WHERE key IN ('machine_id', 'head')"))
        db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", kept.items())
    with suppress(sqlite3.DatabaseError):
        (head,) = old.execute("SELECT max(seq) FROM events").fetchone()
        if head is not None:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('head', ?)", (str(head),))


def _columns(old: sqlite3.Connection, db: sqlite3.Connection, table: str) -> list[str]:
    """Those that both have; an older archive has fewer."""
    here = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    with suppress(sqlite3.DatabaseError):
        there = {row[1] for row in old.execute(f"PRAGMA table_info({table})")}
        return [name for name in here if name in there]
    return []


def _copy(db: sqlite3.Connection, table: str, columns: list[str], rows: Iterator[Row], found: Salvage) -> None:
    query = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    saved = 0
    for row in rows:
        with suppress(sqlite3.IntegrityError):  # half of it is not what it was
            saved += db.execute(query, row).rowcount
    found.rows[table] = saved


def _by_number(old: sqlite3.Connection, table: str, columns: list[str], found: Salvage) -> Iterator[Row]:
    """Rows in the order of their numbers, around what cannot be read."""
    key, low = columns[0], -(1 << 63)
    for high in (*_ends(old, table), (1 << 63) - 1):
        yield from _between(old, table, columns, key, low, high, DEEPEST, found)
        low = high + 1


def _ends(old: sqlite3.Connection, table: str) -> list[int]:
    """Where one file's rows end and another's begin: what is damaged in one is not looked for in others."""
    if table not in ("records", "blocks"):
        return []
    with suppress(sqlite3.DatabaseError):
        (last,) = old.execute("SELECT max(id) FROM sources").fetchone()
        return [record_key(source + 1, 0, 0) - 1 for source in range(min(last or 0, MOST_SOURCES))]
    return []


def _between(
    old: sqlite3.Connection, table: str, columns: list[str], key: str, low: int, high: int, depth: int, found: Salvage
) -> Iterator[Row]:
    """Rows with low ≤ key ≤ high: from below and from above as far as it goes, then what lies between."""
    names = ", ".join(columns)
    query = f"SELECT {names} FROM {table} WHERE {key} >= ? AND {key} <= ? ORDER BY {key} {{}} LIMIT ?"
    low, whole = yield from _run(old, query.format("ASC"), low, high, up=True)
    if whole:
        return
    found.damaged.add(table)
    found.attempts += 1
    high, _ = yield from _run(old, query.format("DESC"), low, high, up=False)
    middle = (low + high) // 2
    if depth and low < middle < high and found.attempts < MOST_ATTEMPTS:
        yield from _between(old, table, columns, key, low, middle, depth - 1, found)
        yield from _between(old, table, columns, key, middle + 1, high, depth - 1, found)


def _run(
    old: sqlite3.Connection, query: str, low: int, high: int, *, up: bool
) -> Generator[Row, None, tuple[int, bool]]:
    """Rows until one cannot be read; returns the bound that is left, and whether all were read."""
    size = PAGE_ROWS
    while True:
        try:
            rows = old.execute(query, (low, high, size)).fetchall()
        except sqlite3.DatabaseError:
            if size == 1:
                return (low if up else high), False
            size = max(1, size // 8)  # fewer rows may lie on good pages alone
            continue
        yield from rows
        if len(rows) < size:
            return (low if up else high), True
        if up:
            low = rows[-1][0] + 1
        else:
            high = rows[-1][0] - 1
        if low > high:
            return (low if up else high), True


def _by_place(old: sqlite3.Connection, table: str, columns: list[str], found: Salvage) -> Iterator[Row]:
    """Rows as they lie, from the beginning, and if there is something in between, from the end."""
    with suppress(sqlite3.DatabaseError):
        info = old.execute(f"PRAGMA table_info({table})").fetchall()
        key = ", ".join([f"{row[1]} {{0}}" for row in info if row[5]]) or "rowid {0}"
        for order in ("ASC", "DESC"):
            try:
                with closing(
                    old.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {key.format(order)}")
                ) as rows:
                    yield from rows
                return
            except sqlite3.DatabaseError:
                found.damaged.add(table)


def _leave_out_bad_bodies(db: sqlite3.Connection, found: Salvage) -> None:
    """What is in a block that is damaged or gone, and blocks that nothing is left of."""
    bad = []
    for block, data in db.execute("SELECT id, data FROM blocks"):
        try:
            text_of(bytes(data))
        except (ValueError, TypeError):
            bad.append((block,))
    db.executemany("DELETE FROM blocks WHERE id = ?", bad)
    found.bad_blocks = len(bad)
    last = "(SELECT last FROM blocks WHERE id <= records.id ORDER BY id DESC LIMIT 1)"
    gone = db.execute(f"DELETE FROM records WHERE codec = {PACKED} AND coalesce({last} < records.id, 1)")
    found.bad_records = gone.rowcount


def _name_the_nameless(db: sqlite3.Connection) -> None:
    """Sources whose row is lost, although records of theirs are there: their ids must not be given to others."""
    shift, columns = (
        GENERATION_BITS + OFFSET_BITS,
        "id, path, root, dev, ino, size, mtime_ns, ctime_ns, generation, offset",
    )
    query = f"SELECT DISTINCT id >> {shift} FROM records WHERE id >> {shift} NOT IN (SELECT id FROM sources)"
    for (source,) in db.execute(query).fetchall():
        keys = record_key(source, 0, 0), record_key(source + 1, 0, 0)
        where = "FROM records WHERE id >= ? AND id < ?"
        lines, conversation = db.execute(f"SELECT count(*), max(conversation_id) {where}", keys).fetchone()
        last, span = db.execute(f"SELECT id, span {where} ORDER BY id DESC LIMIT 1", keys).fetchone()
        _, generation, offset = split_key(last + span)
        path = db.execute(
            "SELECT json_extract(body, '$.file_path') FROM conversations WHERE id = ?1"
            " AND json_extract(body, '$.file_path') NOT IN (SELECT path FROM sources)", (conversation,)
        ).fetchone()  # fmt: skip
        place = (
            source,
            path[0] if path else f"/recovered/{source}.jsonl",
            "/recovered",
            0,
            0,
            -1,
            0,
            0,
            generation,
            offset,
        )
        more = f"{columns}, backfill_until, lines, conversation_id, missing"
        values = (*place, offset, lines, conversation, 1)
        db.execute(f"INSERT INTO sources ({more}) VALUES ({', '.join('?' * 14)})", values)
