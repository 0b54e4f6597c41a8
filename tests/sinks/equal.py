"""Whether a copy is equal to the archive: what must be there is read from SQLite in one go, and compared row for row.

It reads the archive whole and at once, so it shares nothing with how the copy is kept but what a row looks like.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import psycopg
from psycopg import sql

from observatory.core.batch import id_of, key_of_id, split_key
from observatory.core.lines import Line
from observatory.core.mirror_rows import (
    KEYS,
    Leaving,
    Owner,
    Row,
    call_row,
    conversation_row,
    is_wanted,
    message_row,
    project_row,
)
from observatory.core.redact import redact
from observatory.core.tools import ToolCallRow
from observatory.core.transcript import Record, parse
from observatory.storage.bodies import Bodies
from observatory.storage.decoding import conversation_of, project_of
from observatory.storage.rows import CALL_COLUMNS


def wanted(directory: Path, *, leaving: Leaving | None = redact, all_kinds: bool = False) -> dict[str, list[Row]]:
    """The rows that a complete copy has."""
    with closing(sqlite3.connect(f"{(directory / 'observatory.db').as_uri()}?mode=ro", uri=True)) as db:
        db.execute("BEGIN")
        (machine,) = db.execute("SELECT value FROM meta WHERE key = 'machine_id'").fetchone()
        conversations = [conversation_of(body) for (body,) in db.execute("SELECT body FROM conversations")]
        projects = [project_of(body) for (body,) in db.execute("SELECT body FROM projects")]
        owners = {row.id: Owner(machine, row.id, row.project_id) for row in conversations}
        found: dict[str, list[Row]] = {
            "projects": [project_row(machine, row, leaving) for row in projects],
            "conversations": [conversation_row(machine, row, leaving) for row in conversations],
            "messages": [],
            "tool_calls": [],
        }
        records: dict[str, Record] = {}
        bodies = Bodies(db)
        query = (
            "SELECT r.id, r.line, r.flags, r.error, r.codec, r.body, s.conversation_id FROM records AS r"
            " JOIN sources AS s ON s.id = r.id >> 43 WHERE s.conversation_id IS NOT NULL ORDER BY r.id"
        )
        for key, line, flags, error, codec, stored, conversation in db.execute(query):
            body = bodies.of(key, codec, stored)
            body = body if leaving is None else leaving(body)
            values = parse(Line(split_key(key)[2], len(body), body))
            if error is not None or len(values) != 1 or not isinstance(values[0], Record):
                continue
            records[id_of(key)] = values[0]
            if is_wanted(values[0], flags, all_kinds=all_kinds):
                raw = orjson.loads(body) if all_kinds and values[0].type != "bridge-session" else None
                found["messages"].append(message_row(owners[conversation], key, line, flags, values[0], raw))
        for row in db.execute(f"SELECT {CALL_COLUMNS} FROM tool_calls"):
            found["tool_calls"].append(_call(ToolCallRow(*row), owners, records))
    return found


def _call(call: ToolCallRow, owners: dict[str, Owner], records: dict[str, Record]) -> Row:
    def message(id: str | None) -> Any:
        record = records.get(id or "")
        return None if record is None else record.message

    asking, answering = message(call.record), message(call.result_record)
    asked = [one for one in (asking.tool_calls if asking else ()) if one.id == call.tool_use_id]
    answers = [one for one in (answering.tool_results if answering else ()) if one.tool_use_id == call.tool_use_id]
    key = key_of_id(call.record)
    assert key is not None
    return call_row(
        owners[call.conversation_id], call, key, asked[0] if asked else None, answers[0] if answers else None
    )


def differences(url: str, expected: dict[str, list[Row]], schema: str = "public") -> list[str]:
    """What differs: for each table the counts and checksums, and the first row that is on one side only."""
    told = []
    with psycopg.connect(url, autocommit=True) as db:
        for table, rows in expected.items():
            here = sql.Identifier(schema, table)
            db.execute("DROP TABLE IF EXISTS expected")
            db.execute(sql.SQL("CREATE TEMP TABLE expected (LIKE {} INCLUDING GENERATED)").format(here))
            if rows:
                names = sql.SQL(", ").join(map(sql.Identifier, rows[0]))
                db.execute(
                    sql.SQL("INSERT INTO expected ({0}) SELECT {0} FROM json_populate_recordset(NULL::{1}, %s)").format(
                        names, here
                    ),
                    (orjson.dumps(rows).decode(),),
                )
            sums = [_checksum(db, source, table) for source in (sql.Identifier("expected"), here)]
            if sums[0] != sums[1]:
                query = "(SELECT * FROM {0} EXCEPT ALL SELECT * FROM {1}) LIMIT 1"
                sides = (sql.Identifier("expected"), here), (here, sql.Identifier("expected"))
                only = [db.execute(sql.SQL(_comparable(query, table)).format(*pair)).fetchone() for pair in sides]
                told.append(f"{table}: {sums[0]} and not {sums[1]}: missing {only[0]}, too much {only[1]}"[:3000])
    return told


def _comparable(query: str, table: str) -> str:
    """JSON cannot be compared as such in every version; texts can."""
    for side in ("{0}", "{1}"):
        query = query.replace(f"SELECT * FROM {side}", f"SELECT {table[0]}.*::text FROM {side} {table[0]}")
    return query


def _checksum(db: psycopg.Connection[Any], source: sql.Identifier, table: str) -> tuple[int, str | None]:
    order = sql.SQL(", ").join(map(sql.Identifier, KEYS[table]))
    query = sql.SQL("SELECT count(*), md5(string_agg(t::text, ',' ORDER BY {})) FROM {} t").format(order, source)
    row = db.execute(query).fetchone()
    assert row is not None
    return row[0], row[1]
