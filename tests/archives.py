"""Archives that are to be compared: what two of them hold is told alike, however the lines came in.

Sources are named by their paths, since ids are numbers in the order of arrival; times of activity, and whether a line
was history, do not count. Bodies are compared by `observatory doctor --account`, against the files.
"""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from observatory.core.batch import Flag, split_key
from observatory.storage.log import EventLog

MACHINE = "0123456789abcdef"
PUBLIC_ID = re.compile(r"(\d+)-(\d+)-(\d+)")
NOT_COMPARED = {
    "sources": {"id", "dev", "ino", "size", "mtime_ns", "ctime_ns", "backfill_until", "swept", "packed"},
    "records": {"codec", "body"},
    "projects": {"last_activity"},
    "conversations": {"updated_at", "status"},
}
ACTIVITY = {
    "created_at",
    "updated_at",
    "last_activity",
    "activity",
    "status",
    "status_reason",
    "told",
    "said_at",
}  # of a row's JSON
OF_NO_CONTENT = {"meta", "roots", "events", "blocks", "forgotten", "attachments", "attachment_parts", "changes"}


def prepare(directory: Path) -> None:
    """An empty archive of a known machine: ids of projects are made from that."""
    directory.mkdir(parents=True, exist_ok=True)
    log = EventLog(directory, None)
    log._db.execute("UPDATE meta SET value = ? WHERE key = 'machine_id'", (MACHINE,))
    log.close()


def holdings(directory: Path) -> dict[str, list[str]]:
    """Every table's rows as sorted JSON texts."""
    with closing(sqlite3.connect(f"{(directory / 'observatory.db').as_uri()}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        paths = {row["id"]: row["path"] for row in db.execute("SELECT id, path FROM sources")}
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            name: sorted(_text(name, row, paths) for row in db.execute(f"SELECT * FROM {name}"))
            for name in names
            if name not in OF_NO_CONTENT
        }


def differences(found: dict[str, list[str]], wanted: dict[str, list[str]]) -> list[str]:
    """Where two results differ: the first row of each table that is on one side only."""
    told = []
    for name in sorted(found.keys() | wanted.keys()):
        ours, theirs = found.get(name, []), wanted.get(name, [])
        if ours != theirs:
            more, less = set(ours) - set(theirs), set(theirs) - set(ours)
            counts = f"{name}: {len(ours)} rows and not {len(theirs)}, {len(more)} others"
            told.append(f"{counts}: {min(more, default='-')[:700]} ≠ {min(less, default='-')[:700]}")
    return told


def _text(table: str, row: sqlite3.Row, paths: dict[int, str]) -> str:
    left_out = NOT_COMPARED.get(table, set())
    values = {name: row[name] for name in row.keys() if name not in left_out}  # noqa: SIM118 - a Row's iterator is its values
    told = {name: TOLD.get((table, name), _plain)(value, paths) for name, value in values.items()}
    return orjson.dumps(told, option=orjson.OPT_SORT_KEYS).decode()


def _plain(value: Any, paths: dict[int, str]) -> Any:
    if isinstance(value, str) and (found := PUBLIC_ID.fullmatch(value)):
        return f"{paths.get(int(found[1]), found[1])}-{found[2]}-{found[3]}"
    if isinstance(value, dict):
        return {key: _plain(held, paths) for key, held in value.items()}
    if isinstance(value, list):
        return [_plain(held, paths) for held in value]
    return value


def _key(value: int, paths: dict[int, str]) -> list[Any]:
    source, generation, offset = split_key(value)
    return [paths.get(source, source), generation, offset]


def _flags(value: int, _: dict[int, str]) -> int:
    return value & ~Flag.BACKFILL


def _outcome(value: str | None, _: dict[int, str]) -> str | None:
    return "orphaned" if value == "pending" else value  # which of them hangs on whether the session has ended


def _body(value: bytes, paths: dict[int, str]) -> Any:
    found = {key: held for key, held in orjson.loads(value).items() if key not in ACTIVITY}
    return _plain(found, paths)


TOLD: dict[tuple[str, str], Callable[[Any, dict[int, str]], Any]] = {
    ("records", "id"): _key,
    ("records", "flags"): _flags,
    ("copies", "record"): _key,
    ("tool_calls", "status"): _outcome,
    ("conversations", "body"): _body,
    ("projects", "body"): _body,
}
