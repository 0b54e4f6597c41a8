"""The stand-in itself: HTTP in, one transaction as the key's role, JSON out.

Run: python -m tests.postgrest.server DSN SECRET
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs
import jwt
import orjson
import psycopg
from psycopg import sql

from tests.postgrest import parameters
from tests.postgrest.catalogue import Catalogue, Function, Table
from tests.postgrest.errors import Refusal, not_satisfiable, of_database, of_key

SINGLE = "application/vnd.pgrst.object+json"
Headers = dict[str, str]
Answer = tuple[int, bytes | None, Headers]


@attrs.define
class Fault:
    """What happens to a request instead. applied: the work is done all the same, and its answer lost.

    trickle: seconds between two bytes of the answer. when: which requests it is for.
    """

    status: int = 503
    headers: Headers = attrs.field(factory=dict)
    body: bytes | None = None
    drop: bool = False
    applied: bool = False
    trickle: float = 0.0
    times: int = 1
    when: Callable[[str, str, bytes], bool] = lambda method, path, body: True


class StandIn(ThreadingHTTPServer):
    """faults: what happens to the next requests. seen: method, path and body of each."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        dsn: str,
        schema: str = "public",
        *,
        port: int = 0,
        secret: str | None = None,
        anonymous: str | None = None,
        undo: bool = False,
    ) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.dsn, self.schema, self.secret, self.anonymous, self.undo = dsn, schema, secret, anonymous, undo
        self.faults: list[Fault] = []
        self.seen: list[tuple[str, str, bytes]] = []
        self.lock = threading.Lock()
        self._catalogue: Catalogue | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def connect(self) -> psycopg.Connection[Any]:
        """A connection to the database."""
        return psycopg.connect(self.dsn, autocommit=True)

    def catalogue(self, db: psycopg.Connection[Any]) -> Catalogue:
        """The schema cache."""
        with self.lock:
            if self._catalogue is None:
                self._catalogue = Catalogue(db, self.schema)
            return self._catalogue

    def reload(self) -> None:
        """As `NOTIFY pgrst, 'reload schema'`."""
        with self.lock:
            self._catalogue = None

    def fault(self, method: str, path: str, body: bytes) -> Fault | None:
        """What happens to this request, if something does."""
        with self.lock:
            self.seen.append((method, path, b"" if len(self.seen) > 1000 else body))
            for fault in self.faults:
                if fault.times and fault.when(method, path, body):
                    fault.times -= 1
                    return fault
        return None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone."""


@contextmanager
def standing_in(dsn: str, schema: str = "public", **options: Any) -> Iterator[StandIn]:
    """A stand-in for the block, in a thread."""
    server = StandIn(dsn, schema, **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection of a client, with one to the database."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one write: two cost 44 ms a call
    server: StandIn
    _db: psycopg.Connection[Any] | None = None

    def log_message(self, format: str, *args: Any) -> None:
        """It says nothing."""

    def finish(self) -> None:
        """The client has gone."""
        with suppress(OSError):
            super().finish()
        if self._db is not None:
            self._db.close()

    def _serve(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        fault = self.server.fault(self.command, self.path, self.body)
        if fault is not None and not fault.applied and not fault.trickle:
            self._suffer(fault)
            return
        try:
            answer = self._answer()
        except Refusal as refusal:
            answer = refusal.status, json.dumps(refusal.body).encode(), refusal.headers
        except psycopg.Error as error:
            anonymous = self.headers.get("authorization") is None
            refused = of_database(error, anonymous=anonymous)
            answer = refused.status, json.dumps(refused.body).encode(), refused.headers
        if fault is not None and fault.applied:
            self._suffer(fault)
            return
        self._respond(*answer, trickle=0.0 if fault is None else fault.trickle)

    do_GET = do_HEAD = do_POST = do_PATCH = do_DELETE = _serve

    def _suffer(self, fault: Fault) -> None:
        if fault.drop:
            self.close_connection = True
            return
        body = (
            fault.body
            or json.dumps({"code": "PGRST000", "message": "injected", "details": None, "hint": None}).encode()
        )
        self._respond(fault.status, body, fault.headers)

    def _respond(self, status: int, body: bytes | None, headers: Headers, trickle: float = 0.0) -> None:
        self.send_response(status)
        if body is not None:
            headers = {"Content-Type": "application/json; charset=utf-8", **headers}
        if status != 204:
            headers = {**headers, "Content-Length": str(len(body or b""))}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if not body or self.command == "HEAD":
            return
        if not trickle:
            self.wfile.write(body)
        for byte in body if trickle else b"":
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(trickle)

    # -- one request ---------------------------------------------------------------------------------------------------

    def _answer(self) -> Answer:
        url = urlsplit(self.path)
        name = unquote(url.path).removeprefix("/rest/v1").strip("/")
        self.pairs = parse_qsl(url.query, keep_blank_values=True)
        self.given = dict(self.pairs)
        stated = (part.strip().partition("=")[::2] for part in (self.headers.get("prefer") or "").split(","))
        self.prefer = {key: value for key, value in stated if key}
        claims = self._claims()
        role = claims.get("role", self.server.anonymous)
        if self._db is None or self._db.closed:
            self._db = self.server.connect()
        with self._db.transaction(force_rollback=self.server.undo):
            catalogue = self.server.catalogue(self._db)
            if role:
                self._db.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
            told = json.dumps(claims)
            self._db.execute("SELECT set_config('request.jwt.claims', %s, true), set_config('search_path', %s, true)",
                             (told, self.server.schema))  # fmt: skip
            if name.startswith("rpc/"):
                return self._call(name[4:], catalogue)
            if "/" in name:
                raise Refusal(404, "PGRST125", "Invalid path specified in request URL")
            work = {"GET": self._read, "HEAD": self._read, "POST": self._insert, "PATCH": self._update}
            return work.get(self.command, self._delete)(name, catalogue.table(name))

    def _claims(self) -> dict[str, Any]:
        given = self.headers.get("authorization")
        if given is None or self.server.secret is None:
            return {}
        token = given.partition(" ")[2].strip()
        if not token:
            raise of_key("PGRST301", "Empty JWT is sent in Authorization header")
        if (parts := token.count(".") + 1) != 3:
            raise of_key("PGRST301", f"Expected 3 parts in JWT; got {parts}")
        try:
            claims: dict[str, Any] = jwt.decode(token, self.server.secret, ["HS256"], options={"verify_aud": False})
        except jwt.ExpiredSignatureError:
            raise of_key("PGRST303", "JWT expired") from None
        except jwt.ImmatureSignatureError:
            raise of_key("PGRST303", "JWT not yet valid") from None
        except jwt.PyJWTError as error:
            raise of_key("PGRST301", str(error)) from None
        return claims

    @property
    def db(self) -> psycopg.Connection[Any]:
        """The connection, in the request's transaction."""
        assert self._db is not None
        return self._db

    def _relation(self, name: str) -> sql.Identifier:
        return sql.Identifier(self.server.schema, name)

    def _applied(self, *names: str) -> Headers:
        """Which preferences were heeded, in PostgREST's order."""
        heeded = [f"{name}={self.prefer[name]}" for name in ("resolution", "missing", "return", "count")
                  if name in names and name in self.prefer]  # fmt: skip
        return {"Preference-Applied": ", ".join(heeded)} if heeded else {}

    def _shaped(self, text: str, count: int, headers: Headers) -> tuple[bytes, Headers]:
        if "vnd.pgrst.object" not in (self.headers.get("accept") or ""):
            return text.encode(), headers
        if count != 1:
            raise Refusal(406, "PGRST116", "Cannot coerce the result to a single JSON object",
                          f"The result contains {count} rows")  # fmt: skip
        return text.strip()[1:-1].encode(), {**headers, "Content-Type": f"{SINGLE}; charset=utf-8"}

    # -- reads ---------------------------------------------------------------------------------------------------------

    def _read(self, name: str, table: Table) -> Answer:
        return self._page(self._relation(name), parameters.where(self.pairs, name), table.columns)

    def _page(self, source: sql.Composable, filters: sql.Composable, columns: Mapping[str, Any]) -> Answer:
        reading = self.command in ("GET", "HEAD")
        offset, limit = parameters.window(self.given, self.headers.get("range") if reading else None)
        if limit is not None and limit < 0:
            raise not_satisfiable("Limit should be greater than or equal to zero.")
        total: int | None = None
        if self.prefer.get("count") == "exact":
            row = self.db.execute(sql.SQL("SELECT count(*) FROM {}{}").format(source, filters)).fetchone()
            assert row is not None
            total = row[0]
            if offset > row[0]:
                details = f"An offset of {offset} was requested, but there are only {total} rows."
                raise not_satisfiable(details, {"Content-Range": f"*/{total}"})
        query = sql.SQL("SELECT {} FROM {}{}{} LIMIT {} OFFSET {}").format(
            parameters.selected(self.given.get("select"), columns), source, filters,
            parameters.ordered(self.given.get("order")), sql.Literal(limit), sql.Literal(offset),
        )  # fmt: skip
        found = self.db.execute(
            sql.SQL("SELECT coalesce(json_agg(t)::text, '[]'), count(*) FROM ({}) t").format(query)
        ).fetchone()
        assert found is not None
        text, count = found
        span = f"{offset}-{offset + count - 1}" if count else "*"
        headers = {"Content-Range": f"{span}/{'*' if total is None else total}", **self._applied("count")}
        body, headers = self._shaped(text, count, headers)
        return 206 if total is not None and count < total else 200, body, headers

    # -- writes --------------------------------------------------------------------------------------------------------

    def _payload(self, name: str, table: Table) -> tuple[int, list[str], sql.Composable]:
        """How many rows, which columns, and the rows as SQL."""
        try:
            data = orjson.loads(self.body)
        except ValueError:
            raise Refusal(400, "PGRST102", "Empty or invalid json") from None
        rows = data if isinstance(data, list) else [data]
        if "columns" in self.given:
            columns = [one.strip('"') for one in self.given["columns"].split(",")]
        else:
            columns = list(rows[0]) if rows else []
            if any(row.keys() != rows[0].keys() for row in rows):
                raise Refusal(400, "PGRST102", "All object keys must match")
        for one in columns:
            if one not in table.columns:
                raise Refusal(400, "PGRST204", f"Could not find the '{one}' column of '{name}' in the schema cache")
        text = self.body if isinstance(data, list) else b"[" + self.body + b"]"
        source: sql.Composable = sql.Literal(text.decode()) + sql.SQL("::json")
        if self.prefer.get("missing") == "default":
            pairs = [
                sql.SQL("{}, {}").format(sql.Literal(one), sql.SQL(table.columns[one] or "NULL")) for one in columns
            ]
            source = sql.SQL(
                "(SELECT json_agg(jsonb_build_object({}) || x) FROM jsonb_array_elements({}::jsonb) x)"
            ).format(sql.SQL(", ").join(pairs), sql.Literal(text.decode()))
        return len(rows), columns, sql.SQL("json_populate_recordset(NULL::{}, {})").format(self._relation(name), source)

    def _insert(self, name: str, table: Table) -> Answer:
        count, columns, source = self._payload(name, table)
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        head = sql.SQL("INSERT INTO {} ").format(self._relation(name))
        if columns:
            query = head + sql.SQL("({0}) SELECT {0} FROM {1}").format(names, source)
        elif count:
            query = head + sql.SQL("DEFAULT VALUES")
        else:
            query = head + sql.SQL("SELECT * FROM {} WHERE FALSE").format(self._relation(name))
        key = self.given["on_conflict"].split(",") if "on_conflict" in self.given else table.key
        resolution = self.prefer.get("resolution") if key else None
        if resolution and columns:
            sets = sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(one)) for one in columns)
            action = sql.SQL("UPDATE SET ") + sets if resolution == "merge-duplicates" else sql.SQL("NOTHING")
            query += sql.SQL(" ON CONFLICT ({}) DO {}").format(sql.SQL(", ").join(map(sql.Identifier, key)), action)
        merged = resolution == "merge-duplicates"
        heeded = ("resolution", "missing", "return", "count") if resolution else ("missing", "return", "count")
        text, written, new, headers = self._written(query, table, lambda count: "*", heeded, "(xmax = 0)")
        return self._told(200 if merged and not new else 201, text, written, headers)

    def _update(self, name: str, table: Table) -> Answer:
        _, columns, source = self._payload(name, table)
        sets = sql.SQL(", ").join(sql.SQL("{0} = b.{0}").format(sql.Identifier(one)) for one in columns)
        query = sql.SQL("UPDATE {} SET {} FROM (SELECT * FROM {}) b{}").format(
            self._relation(name), sets, source, parameters.where(self.pairs, name)
        )
        heeded = ("missing", "return", "count")
        text, count, _, headers = self._written(query, table, _span, heeded, "FALSE", name)
        return self._told(200 if self._represented else 204, text, count, headers)

    def _delete(self, name: str, table: Table) -> Answer:
        query = sql.SQL("DELETE FROM {}{}").format(self._relation(name), parameters.where(self.pairs, name))
        text, count, _, headers = self._written(query, table, lambda count: "*", ("return", "count"), "FALSE")
        return self._told(200 if self._represented else 204, text, count, headers)

    @property
    def _represented(self) -> bool:
        return self.prefer.get("return") == "representation"

    def _written(
        self,
        query: sql.Composable,
        table: Table,
        span: Callable[[int], str],
        heeded: tuple[str, ...],
        new: str,
        relation: str | None = None,
    ) -> tuple[str, int, int, Headers]:
        """Run a write. Returns its rows as JSON, how many, how many of them new, and headers."""
        every = sql.SQL("{}.*").format(self._relation(relation)) if relation else sql.SQL("*")
        shape = parameters.selected(self.given.get("select"), table.columns) if self._shows else sql.SQL("1")
        returned = every if self._shows else sql.SQL("1")
        told: sql.Composable = sql.SQL("''")
        if self._shows:
            told = sql.SQL("(SELECT coalesce(json_agg(t)::text, '[]') FROM (SELECT {} FROM written) t)").format(shape)
        found = self.db.execute(
            sql.SQL(
                "WITH written AS ({} RETURNING {}, {} AS pgrst_new) SELECT {}, (SELECT count(*) FROM written),"
                " (SELECT count(*) FROM written WHERE pgrst_new)"
            ).format(query, returned, sql.SQL(new), told)
        ).fetchone()
        assert found is not None
        text, count, fresh = found
        total = count if self.prefer.get("count") == "exact" else "*"
        return text, count, fresh, {"Content-Range": f"{span(count)}/{total}", **self._applied(*heeded)}

    @property
    def _shows(self) -> bool:
        return self._represented or "vnd.pgrst.object" in (self.headers.get("accept") or "")

    def _told(self, status: int, text: str, count: int, headers: Headers) -> Answer:
        if not self._shows:
            return status, None, headers
        body, headers = self._shaped(text, count, headers)
        return status, body if self._represented else None, headers

    # -- functions -----------------------------------------------------------------------------------------------------

    def _call(self, name: str, catalogue: Catalogue) -> Answer:
        posted = self.command == "POST"
        if posted:
            data = orjson.loads(self.body or b"{}")
            arguments = data if isinstance(data, dict) else {}
        else:
            arguments = {key: value for key, value in self.pairs
                         if key not in parameters.RESERVED and not parameters.looks_like_a_filter(value)}  # fmt: skip
        function = catalogue.function(name, list(arguments), with_body=posted)
        call = self._called(name, function, arguments)
        if function.void:
            self.db.execute(sql.SQL("SELECT {}").format(call))
            return 204, None, {}
        if function.composite:
            pairs = [(key, value) for key, value in self.pairs if key not in arguments]
            return self._page(call + sql.SQL(" AS called"), parameters.where(pairs, "called"), {})
        shape = sql.SQL(
            "SELECT coalesce(json_agg(x), '[]')::text FROM {} x" if function.rows else "SELECT to_json({})::text"
        )
        found = self.db.execute(shape.format(call)).fetchone()
        assert found is not None
        return 200, (found[0] or "null").encode(), {"Content-Range": "0-0/*"}

    def _called(self, name: str, function: Function, arguments: Mapping[str, Any]) -> sql.Composed:
        if function.whole:
            given: sql.Composable = sql.Literal(self.body.decode()) + sql.SQL("::json")
        else:
            values = {
                key: json.dumps(value) if isinstance(value, dict | list) else value for key, value in arguments.items()
            }
            given = sql.SQL(", ").join(
                sql.SQL("{} := {}").format(sql.Identifier(key), sql.Literal(value)) for key, value in values.items()
            )
        return sql.SQL("{}({})").format(self._relation(name), given)


def _span(count: int) -> str:
    return f"0-{count - 1}" if count else "*"


if __name__ == "__main__":
    made = StandIn(sys.argv[1], secret=sys.argv[2], anonymous="anon")
    print(made.url, flush=True)
    made.serve_forever()
