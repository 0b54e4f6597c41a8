"""Statistics: the rows that figures are made of, read-only, beside a running server or without one.

Everything is read in one transaction of a second or so: a checkpoint can wait for that long.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from observatory.core.errors import StoreError
from observatory.core.stats import Row
from observatory.core.stats_tools import ToolRow
from observatory.storage.accounting import archive
from observatory.storage.opening import DATABASE, explained

KNOWS_DETAILS_SINCE = 3  # version of the schema


@attrs.frozen
class Place:
    """Where a conversation belongs, and what it is called."""

    project_id: str
    title: str | None


class StatisticsReader:
    """One read-only connection; all methods block and raise StoreError."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    def usage(self) -> Iterator[Row]:
        """What each API message counts in each conversation; the rows of one message follow each other."""
        columns = (
            "message_id, conversation_id, input_tokens, output_tokens, cache_creation_input_tokens,"
            " cache_read_input_tokens, cache_1h, web_searches, at, model, branch, service_tier, speed, geo, cost_usd"
        )
        with explained(self._path):  # the primary key's order: nothing is sorted
            rows = self._db.execute(f"SELECT {columns} FROM usage ORDER BY 1, 2")
            yield from map(partial(tuple.__new__, Row), rows)  # as Row._make, without its call of Python: 250,000 times

    def tool_calls(self) -> Iterator[ToolRow]:
        """Every tool call of every conversation."""
        columns = "tool_use_id, conversation_id, name, called_at, status, duration_ms"
        with explained(self._path):
            yield from map(ToolRow._make, self._db.execute(f"SELECT {columns} FROM tool_calls"))

    def places(self) -> dict[str, Place]:
        """Every conversation's project and title, by its id."""
        query = "SELECT id, project_id, json_extract(body, '$.title') FROM conversations"
        with explained(self._path):
            return {key: Place(project, title) for key, project, title in self._db.execute(query)}

    def projects(self) -> list[dict[str, Any]]:
        """Id, name and path of every project, the one active last first."""
        query = "SELECT id, json_extract(body, '$.name'), path FROM projects ORDER BY last_activity DESC"
        with explained(self._path):
            return [{"id": key, "name": name, "path": path} for key, name, path in self._db.execute(query)]


@contextmanager
def statistics(directory: Path) -> Iterator[StatisticsReader]:
    """The figures of a data directory, as of one moment. Raises StoreError when there are none that can be read."""
    path = directory / DATABASE
    with archive(directory) as db:
        with explained(path):
            (version,) = db.execute("PRAGMA user_version").fetchone()
        if version < KNOWS_DETAILS_SINCE:
            what = (
                f"{path} was written by an older Observatory (schema {version}), which did not keep what is asked for"
            )
            raise StoreError(what, "start a server on it once: observatory serve")
        with explained(path):
            db.execute("BEGIN")
        yield StatisticsReader(db, path)
