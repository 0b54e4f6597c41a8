"""PostgresDestination: straight to PostgreSQL, each step in one transaction. psycopg, in a thread: it knows no trio.

Statements are not prepared, and settings are of the transaction only: so it also works through a pooler.
"""

import time
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any, TypeVar

import orjson
import psycopg
import trio
from psycopg import sql

from observatory.core.mirror_rows import KEYS
from observatory.core.mirror_verdict import INIT, Again, Paused, Verdict, of_code, of_connecting, short
from observatory.sinks.destination import About, Failed
from observatory.sinks.step import Delete, Step

PATIENCE = 60.0  # seconds for one step; a database that hangs is left, and connected to anew
CONNECT_PATIENCE = 10
CANCEL_PATIENCE = 2.0
R = TypeVar("R")


class PostgresDestination:
    """See Destination. schema: where its tables are."""

    def __init__(self, url: str, schema: str, patience: float = PATIENCE) -> None:
        self._url = url
        self._schema = schema
        self._patience = patience
        self._connection: psycopg.Connection[Any] | None = None
        self._limiter = trio.CapacityLimiter(2)  # one may hang, abandoned

    async def look(self, machine_id: str) -> About:
        """See Destination."""

        def ask(db: psycopg.Connection[Any]) -> About:
            there = db.execute("SELECT to_regprocedure('observatory_about(text)')::text").fetchone()
            if there is None or there[0] is None:
                raise Failed(Paused("its tables are not there", INIT))
            row = db.execute(
                "SELECT observatory_about(%s), r.rolsuper OR r.rolbypassrls"
                " OR EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = to_regclass('messages') AND c.relowner = r.oid)"
                " FROM pg_roles r WHERE r.rolname = current_user",
                (machine_id,),
            ).fetchone()
            assert row is not None
            told, privileged = row
            return about_of(told, bool(privileged))

        return await self._run(ask)

    async def write(self, step: Step) -> None:
        """See Destination."""
        encoded = [(table, [*rows.values()]) for table, rows in step.rows.items() if rows]

        def send(db: psycopg.Connection[Any]) -> None:
            for delete in step.deletes:
                db.execute(*statement_of(delete))
            for table, rows in encoded:
                db.execute(_upsert(table, tuple(rows[0])), (orjson.dumps(rows).decode(),))

        await self._run(send)

    async def close(self) -> None:
        """See Destination."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _run(self, call: Callable[[psycopg.Connection[Any]], R]) -> R:
        """In one transaction. What takes too long is cancelled at the server, and the connection left to its thread."""
        with trio.move_on_after(self._patience):
            return await trio.to_thread.run_sync(
                partial(self._blocking, call), limiter=self._limiter, abandon_on_cancel=True
            )
        connection, self._connection = self._connection, None
        if connection is not None:
            with trio.move_on_after(CANCEL_PATIENCE):
                cancel = partial(connection.cancel_safe, timeout=CANCEL_PATIENCE)
                await trio.to_thread.run_sync(cancel, abandon_on_cancel=True)
        raise Failed(Again(f"it did not answer for {self._patience:g} seconds", smaller=True))

    def _blocking(self, call: Callable[[psycopg.Connection[Any]], R]) -> R:
        db = self._connection
        try:
            if db is None or db.closed:
                db = self._connection = self._connect()
            with db.transaction():
                db.execute("SELECT set_config('search_path', quote_ident(%s) || ', pg_temp', true)", (self._schema,))
                return call(db)
        except psycopg.Error as error:
            if db is not None and (db.closed or db.broken):
                self._connection = None
            raise Failed(_verdict(error, connected=db is not None)) from error
        finally:
            if db is not None and db is not self._connection:  # lost, or abandoned meanwhile
                db.close()

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            self._url, autocommit=True, prepare_threshold=None, connect_timeout=CONNECT_PATIENCE,
            application_name="observatory", tcp_user_timeout=round(PATIENCE * 1000),
            keepalives_idle=30, keepalives_interval=10, keepalives_count=3,
        )  # fmt: skip


def about_of(told: dict[str, Any], privileged: bool) -> About:
    """What the function observatory_about answers."""
    skew = float(told["now"]) - time.time()
    return About(int(told["version"] or 0), bool(told["registered"]), bool(told["rows"]), skew, privileged)


def statement_of(delete: Delete) -> tuple[sql.Composed, list[Any]]:
    """The statement, and its values."""
    tests = [sql.SQL("{} = %s").format(sql.Identifier(name)) for name in delete.equal]
    values = [*delete.equal.values()]
    for bound, sign in ((delete.below, "<"), (delete.above, ">")):
        if bound is not None:
            tests.append(sql.SQL("{} {} %s").format(sql.Identifier(bound[0]), sql.SQL(sign)))
            values.append(bound[1])
    return sql.SQL("DELETE FROM {} WHERE {}").format(sql.Identifier(delete.table), sql.SQL(" AND ").join(tests)), values


@lru_cache(maxsize=len(KEYS) * 2)
def _upsert(table: str, columns: tuple[str, ...]) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    changing = [name for name in columns if name not in KEYS[table]]
    return sql.SQL(
        "INSERT INTO {table} ({names}) SELECT {names} FROM json_populate_recordset(NULL::{table}, %s::json)"
        " ON CONFLICT ({key}) DO UPDATE SET {sets}"
    ).format(
        table=sql.Identifier(table), names=names, key=_joined(KEYS[table]),
        sets=sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in changing),
    )  # fmt: skip


def _joined(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _verdict(error: psycopg.Error, *, connected: bool) -> Verdict:
    message = error.diag.message_primary or str(error)
    if error.sqlstate:
        return of_code(error.sqlstate, message) or Again(message)
    if connected and isinstance(error, psycopg.OperationalError):
        return Again(short(message))
    return of_connecting(message)
