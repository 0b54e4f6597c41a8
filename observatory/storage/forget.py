"""Forgetting on the database: finds all that belongs to a conversation or project, and removes it."""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson

from observatory.core.batch import GENERATION_BITS, OFFSET_BITS, Flag, record_key, source_of, split_key
from observatory.core.conversation import Conversation, Facts, apply
from observatory.core.copy_key import copy_key, digest
from observatory.core.forgetting import (
    FORGOTTEN,
    FORGOTTEN_SOURCE,
    ForgottenFile,
    KeptOut,
    Removal,
    Target,
    cleaned,
    family,
    topics_of,
)
from observatory.core.identity import locate
from observatory.core.lines import Line
from observatory.core.particulars import texts_of
from observatory.core.project import Project
from observatory.core.transcript import Record, parse
from observatory.storage import attachments, hooks
from observatory.storage.bodies import Bodies, leave_out
from observatory.storage.decoding import conversation_of, project_of
from observatory.storage.opening import DATABASE, check_version, connect, explained

READ_PATIENCE_MS = 2000
MANY = 500  # values of one statement
SCRUB = "scrub"  # in meta while deleted text may still be in the files: what is left to do
EMPTY = (
    "type = '', kind = 'error', uuid = NULL, message_id = NULL, timestamp = NULL, codec = 0, body = x'',"
    f" error = '{FORGOTTEN}'"
)
Known = dict[str, Conversation]


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Everything in the block, or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def conversations(db: sqlite3.Connection) -> Known:
    """Every conversation, by id."""
    rows = db.execute("SELECT body FROM conversations")
    return {row.id: row for row in (conversation_of(body) for (body,) in rows)}


def preview(directory: Path, target: Target) -> Removal:
    """What would go; also beside a running server. Raises StoreError."""
    path = directory / DATABASE
    with explained(path), closing(connect(path, read_only=True)) as db:
        db.execute(f"PRAGMA busy_timeout={READ_PATIENCE_MS}")
        check_version(db, path)
        db.execute("BEGIN")
        return plan(db, target, conversations(db))


def plan(db: sqlite3.Connection, target: Target, known: Known) -> Removal:
    """All that belongs to the target. Reads each event's topics, and each record that is a copy."""
    meant = family(target, known)
    wanted = target.id if target.kind == "project" else meant[0].project_id if meant else ""
    project = _project(db, wanted)
    files = _files(db, {row.id for row in meant}, project if target.kind == "project" else None)
    counts = [_extent(db, file.id) for file in files]
    ids = {file.id for file in files}
    copies = _copies(db, ids) if files else []
    texts = frozenset(text for _, body in copies for text in _texts(body))
    named, titles = _named(db, {row.id for row in meant})
    texts |= titles
    copied_in = _holders(db, {split_key(key)[0] for key, _ in copies})
    rows = [(known[key], cleaned(known[key], texts)) for key in sorted({*copied_in, *named}) if key in known]
    changed = tuple((before, after) for before, after in rows if before != after)
    seqs, size = _events(db, topics_of(target, meant), meant, files, {row.id for row, _ in changed}, texts)
    return Removal(
        conversations=tuple(meant),
        project=project,
        whole_project=target.kind == "project",
        files=tuple(files),
        records=sum(count for count, _ in counts),
        record_bytes=sum(size for _, size in counts),
        copies=tuple(key for key, _ in copies),
        cleaned=changed,
        copied_in=tuple(copied_in),
        kept_in=tuple(_holders(db, _origins(db, ids))),
        seqs=tuple(seqs),
        event_bytes=size,
    )


def expunge(db: sqlite3.Connection, removal: Removal) -> None:
    """Remove it, in the caller's transaction. The files still hold the text until they are scrubbed."""
    many = db.executemany
    ranges = [(record_key(file.id, 0, 0), record_key(file.id + 1, 0, 0)) for file in removal.files]
    leave_out(db, removal.copies)
    for table in ("records", "blocks"):
        many(f"DELETE FROM {table} WHERE id >= ? AND id < ?", ranges)
    many(f"UPDATE records SET {EMPTY} WHERE id = ?", ((key,) for key in removal.copies))
    many("DELETE FROM sources WHERE id = ?", ((file.id,) for file in removal.files))
    many("INSERT OR REPLACE INTO forgotten VALUES (?, ?)", ((file.name, file.head) for file in removal.files))
    _each(
        db,
        f"UPDATE copies SET record = {FORGOTTEN_SOURCE} WHERE record >> {GENERATION_BITS + OFFSET_BITS}",
        [file.id for file in removal.files],
    )
    ids = [row.id for row in removal.conversations]
    _unsettle(db, ids)
    for table in ("usage", "tool_calls", "summaries", "leaves", "annotations", "tags"):
        _each(db, f"DELETE FROM {table} WHERE conversation_id", ids)
    orphans = [row.parent_id for row in removal.conversations if removal.whole_project and row.parent_id]
    attachments.expunge(db, {*ids, *orphans})
    hooks.expunge(db, ids)
    _each(db, "DELETE FROM conversations WHERE id", ids)
    if removal.whole_project and removal.project is not None:
        db.execute("DELETE FROM projects WHERE id = ?", (removal.project.id,))
        db.execute("DELETE FROM hook_events WHERE project_id = ?", (removal.project.id,))
    many("UPDATE events SET topics = '', payload = x'' WHERE seq = ?", ((seq,) for seq in removal.seqs))
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, 'vacuum')", (SCRUB,))


def scrub(db: sqlite3.Connection, patience_ms: int) -> bool:
    """Leave nothing of deleted rows in the files; True when that is done. False: somebody reads; call it again.

    Deleting leaves the bytes in free pages, in the slack of others, and in the write-ahead file. So the database is
    written anew from its rows, brought into its file, and the write-ahead file cut to nothing.
    """
    db.execute(f"PRAGMA busy_timeout={patience_ms}")
    try:
        if _left_to_do(db) == "vacuum":
            db.execute("VACUUM")
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, 'truncate')", (SCRUB,))
        (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            db.execute("DELETE FROM meta WHERE key = ?", (SCRUB,))
        return not busy
    finally:
        db.execute("PRAGMA busy_timeout=0")


def is_due(db: sqlite3.Connection) -> bool:
    """Whether a scrub was begun, or is still to come."""
    return _left_to_do(db) is not None


def kept_out(db: sqlite3.Connection) -> KeptOut:
    """The files that are not read again."""
    rows = db.execute("SELECT path, head FROM forgotten").fetchall()
    paths = {path for path, _ in rows if path is not None}
    return KeptOut(paths=paths, heads={head for _, head in rows if head is not None})


def _left_to_do(db: sqlite3.Connection) -> str | None:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (SCRUB,)).fetchone()
    return None if row is None else row[0]


# -- what belongs to it ------------------------------------------------------------------------------------------------


def _project(db: sqlite3.Connection, project_id: str) -> Project | None:
    row = db.execute("SELECT body FROM projects WHERE id = ?", (project_id,)).fetchone()
    return None if row is None else project_of(row[0])


def _files(db: sqlite3.Connection, ids: set[str], project: Project | None) -> list[ForgottenFile]:
    """Their sources, and those that were not recognised: in a project's folder, or in that of a session's agents."""
    rows = db.execute("SELECT id, path, root, generation, conversation_id FROM sources").fetchall()
    named = KeptOut(paths={path for _, path, _, _, conversation in rows if conversation in ids})
    found = []
    for source, path, root, generation, conversation in rows:
        stray = conversation is None and (
            named.holds(path) or (project is not None and locate(path, root).slug == project.slug)
        )
        if stray or conversation in ids:
            found.append(ForgottenFile(source, path, _head(db, source, generation)))
    return found


def _head(db: sqlite3.Connection, source: int, generation: int) -> int | None:
    first = record_key(source, generation, 0)
    row = db.execute(
        "SELECT id, codec, body FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT 1",
        (first, record_key(source, generation + 1, 0)),
    ).fetchone()
    return digest(Bodies(db).of(*row)) if row is not None and row[2] else None


def _extent(db: sqlite3.Connection, source: int) -> tuple[int, int]:
    between = (record_key(source, 0, 0), record_key(source + 1, 0, 0))
    query = "SELECT count(*), coalesce(sum(length), 0) FROM records WHERE id >= ? AND id < ?"
    count, size = db.execute(query, between).fetchone()
    return count, size


def _copies(db: sqlite3.Connection, ids: set[int]) -> list[tuple[int, bytes]]:
    """Records of other sources that repeat lines which were first seen in these."""
    found = []
    bodies = Bodies(db)
    rows = db.execute(f"SELECT id, codec, body FROM records WHERE flags & {Flag.COPY} AND error IS NULL")
    for key, codec, stored in rows:
        body = bodies.of(key, codec, stored)
        if split_key(key)[0] not in ids and _first_holder(db, body) in ids:
            found.append((key, body))
    return found


def _origins(db: sqlite3.Connection, ids: set[int]) -> set[int]:
    """Other sources that lines of these were first seen in."""
    found: set[int | None] = set()
    bodies = Bodies(db)
    query = f"SELECT id, codec, body FROM records WHERE id >= ? AND id < ? AND flags & {Flag.COPY} AND error IS NULL"
    for source in ids:
        for row in db.execute(query, (record_key(source, 0, 0), record_key(source + 1, 0, 0))):
            found.add(_first_holder(db, bodies.of(*row)))
    return {source for source in found if source is not None} - ids - {FORGOTTEN_SOURCE}


def _first_holder(db: sqlite3.Connection, body: bytes) -> int | None:
    row = db.execute("SELECT record FROM copies WHERE copy_key = ?", (copy_key(body),)).fetchone()
    return None if row is None else source_of(row[0])


def _holders(db: sqlite3.Connection, sources: Iterable[int]) -> list[str]:
    """The conversations of sources."""
    rows = (db.execute("SELECT conversation_id FROM sources WHERE id = ?", (source,)).fetchone() for source in sources)
    return sorted({row[0] for row in rows if row is not None and row[0] is not None})


def _named(db: sqlite3.Connection, ids: set[str]) -> tuple[set[str], frozenset[str]]:
    """Other conversations that hold leaves of summaries which stand in these, and those summaries."""
    rows = db.execute(
        "SELECT s.title, l.conversation_id FROM summaries AS s LEFT JOIN leaves AS l"
        " ON l.leaf_uuid = s.leaf_uuid AND l.conversation_id != '' WHERE s.conversation_id IN"
        " (SELECT value FROM json_each(?))",
        (json.dumps(sorted(ids)),),
    ).fetchall()
    return {holder for _, holder in rows if holder is not None} - ids, frozenset(title for title, _ in rows)


def _unsettle(db: sqlite3.Connection, ids: list[str]) -> None:
    """Who is named by what is left is to be worked out again: of each leaf that a summary of these names, or that
    they hold, or that another holder of such a leaf holds."""
    db.execute(
        "WITH gone AS (SELECT value FROM json_each(?)),"
        " touched AS (SELECT leaf_uuid FROM summaries WHERE conversation_id IN gone"
        " UNION SELECT leaf_uuid FROM leaves WHERE conversation_id IN gone),"
        " heirs AS (SELECT conversation_id FROM leaves WHERE conversation_id != '' AND leaf_uuid IN touched)"
        " DELETE FROM leaves WHERE conversation_id = '' AND"
        " leaf_uuid IN (SELECT leaf_uuid FROM leaves WHERE conversation_id IN heirs)",
        (json.dumps(ids),),
    )


def _texts(body: bytes) -> Iterator[str]:
    """What a conversation's row may have taken over from a line."""
    blank = Conversation("", "", "", "", "", "")
    for value in parse(Line(0, len(body), body)):
        if isinstance(value, Record):
            row = apply(blank, value, Facts(owns_leaf=True))
            yield from (text for text in (row.title, row.last_prompt, *texts_of(row.particulars)) if text)


def _events(
    db: sqlite3.Connection,
    wanted: frozenset[str],
    meant: Sequence[Conversation],
    files: Sequence[ForgottenFile],
    forks: Collection[str],
    texts: frozenset[str],
) -> tuple[list[int], int]:
    """Seqs and bytes of the events that go: by their topics; of files and forks by what they say."""
    ids, paths = {row.id for row in meant}, {file.path for file in files}
    suspects = {"file_events", *(f"conversation:{fork}" for fork in forks)}
    seqs, size = [], 0
    for seq, joined, length in db.execute("SELECT seq, topics, length(payload) FROM events WHERE topics != ''"):
        carried = joined.split(" ")
        if wanted.isdisjoint(carried):
            if suspects.isdisjoint(carried):
                continue
            (payload,) = db.execute("SELECT payload FROM events WHERE seq = ?", (seq,)).fetchone()
            if not _tells(orjson.loads(payload).get("data"), ids, paths, texts):
                continue
        seqs.append(seq)
        size += length
    return seqs, size


def _tells(data: Any, ids: set[str], paths: set[str], texts: frozenset[str]) -> bool:  # noqa: ANN401 - any JSON value
    if not isinstance(data, dict):
        return False
    values = [data.get(key) for key in ("conversation_id", "file_path", "title")]
    own, path, title = (value if isinstance(value, str) else None for value in values)
    return own in ids or path in paths or title in texts


def _each(db: sqlite3.Connection, statement: str, values: Sequence[Any]) -> None:
    for start in range(0, len(values), MANY):
        some = values[start : start + MANY]
        db.execute(f"{statement} IN ({', '.join('?' * len(some))})", some)
