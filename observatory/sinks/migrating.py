"""The copy's tables: brings a database up to date, one version after the other, each wholly or not at all.

What the SQL files change is here or in them; nothing else of this program alters a schema.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any, cast
from urllib.parse import quote

import attrs
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from observatory.core.errors import UsageError, WorldError
from observatory.core.mirror_rows import KEYS
from observatory.core.mirror_verdict import short

CONNECT_PATIENCE = 10
LOCK = 7_032_144_410_210_351  # of all who migrate: one at a time
_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
Db = psycopg.Connection[Any]


@attrs.frozen
class Migration:
    """One version of the tables, and what leads to it."""

    version: int
    name: str
    statements: str


def migrations() -> list[Migration]:
    """All of them, in order."""
    files = {file.name: file for file in resources.files("observatory.sinks").joinpath("migrations").iterdir()}
    named = [(match, files[name]) for name in sorted(files) if (match := _NAME.fullmatch(name))]
    return [Migration(int(match[1]), match[2], file.read_text()) for match, file in named]


@contextmanager
def connected(url: str) -> Iterator[Db]:
    """A connection for the block. Raises WorldError, also for what fails in it."""
    try:
        with psycopg.connect(url, autocommit=True, prepare_threshold=None, connect_timeout=CONNECT_PATIENCE) as db:
            yield db
    except psycopg.ProgrammingError as error:
        hint = _HINTS.get(error.sqlstate or "", "check SUPABASE_DB_URL, and that its login may make tables and roles")
        raise WorldError(f"the database refuses: {_said(error)}", hint) from error
    except psycopg.Error as error:
        raise WorldError(f"the database cannot be reached: {_said(error)}", "check SUPABASE_DB_URL") from error


_HINTS = {
    "3F000": "this is no database of Supabase: it has no auth.uid()",
    "42883": "this is no database of Supabase: it has no auth.uid()",
    "42501": "use the login postgres of your project for this command",
}


def _said(error: psycopg.Error) -> str:
    return short(error.diag.message_primary or str(error))


def version_of(db: Db, schema: str) -> int:
    """Of its tables; 0: there are none."""
    name = sql.Identifier(schema, "observatory_migrations").as_string(db)
    row = db.execute("SELECT to_regclass(%s)::text", (name,)).fetchone()
    if row is None or row[0] is None:
        return 0
    query = sql.SQL("SELECT coalesce(max(version), 0) FROM {}").format(sql.Identifier(schema, "observatory_migrations"))
    (version,) = cast(tuple[int], db.execute(query).fetchone())
    return version


def migrate(db: Db, schema: str, upto: int | None = None) -> list[Migration]:
    """Bring the tables up to date; returns what was done. Raises WorldError: the names are taken, or too new."""
    done = []
    for migration in migrations()[:upto]:
        with db.transaction():
            db.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            version = version_of(db, schema)
            if version >= migration.version:
                continue
            if not version:
                db.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
                _check_names(db, schema)
            db.execute("SELECT set_config('search_path', quote_ident(%s) || ', pg_temp', true)", (schema,))
            db.execute(migration.statements.encode())
            record = "INSERT INTO observatory_migrations (version, name) VALUES (%s, %s)"
            db.execute(record, (migration.version, migration.name))
            db.execute("NOTIFY pgrst, 'reload schema'")
            done.append(migration)
    newest = migrations()[-1].version
    if (version := version_of(db, schema)) > newest:
        what = f"its tables are of version {version}, and this program knows {newest}"
        raise WorldError(what, "upgrade observatory on this machine")
    return done


def _check_names(db: Db, schema: str) -> None:
    query = "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relname = ANY(%s)"
    quoted = sql.Identifier(schema).as_string(db)
    taken = [name for (name,) in db.execute(query, (quoted, [*KEYS, "project_members"]))]
    if taken:
        what = f"the schema {schema} has a table {taken[0]} that is not ours"
        raise WorldError(
            what, "choose another schema: supabase_schema = observatory, and expose it in the API settings"
        )


# -- who may write -----------------------------------------------------------------------------------------------------


def owner_of(db: Db, given: str) -> str:
    """The id of a user, given as such or as an address. Raises UsageError."""
    if _UUID.fullmatch(given):
        return given.lower()
    row = db.execute("SELECT id::text FROM auth.users WHERE lower(email) = lower(%s)", (given,)).fetchone()
    if row is None:
        raise UsageError(
            f"--owner {given}: no user of this project has that address; give the id of one, or sign up first"
        )
    return str(row[0])


def register(db: Db, schema: str, machine_id: str, owner: str, name: str) -> None:
    """Make a machine known as its owner's. Raises UsageError: it is somebody else's."""
    table = sql.Identifier(schema, "observatory_machines")
    db.execute(
        sql.SQL("INSERT INTO {} (machine_id, owner_id, name) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING").format(table),
        (machine_id, owner, name),
    )
    query = sql.SQL("SELECT owner_id::text FROM {} WHERE machine_id = %s").format(table)
    (stored,) = cast(tuple[str], db.execute(query, (machine_id,)).fetchone())
    if stored != owner:
        raise UsageError(f"this machine is registered there as {stored}'s; give that --owner")


def make_login(db: Db, schema: str, machine_id: str, url: str) -> str:
    """A login that may write this machine's rows and no others; returns the URL with it. An old one's key ends."""
    login, password = f"observatory_{machine_id}", secrets.token_urlsafe(24)
    name = sql.Identifier(login)
    with db.transaction():
        there = db.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (login,)).fetchone()
        verb = sql.SQL("ALTER" if there else "CREATE")
        db.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, name, sql.Literal(password)))
        db.execute(sql.SQL("GRANT observatory_writer TO {}").format(name))
        db.execute(
            sql.SQL("INSERT INTO {} (login, machine_id) VALUES (%s, %s) ON CONFLICT (login) DO NOTHING").format(
                sql.Identifier(schema, "observatory_writers")
            ),
            (login, machine_id),
        )
    return url_with(url, login, password)


def url_with(url: str, login: str, password: str) -> str:
    """The URL with another login. A pooler wants the project's name behind it."""
    parts = conninfo_to_dict(url)
    _, dot, project = str(parts.pop("user", "") or "").partition(".")
    for secret in ("password", "passfile"):
        parts.pop(secret, None)
    host, port = str(parts.pop("host", "") or "localhost"), parts.pop("port", None)
    where = f"{quote(host, safe='')}{f':{port}' if port else ''}/{quote(str(parts.pop('dbname', 'postgres')), safe='')}"
    rest = "&".join(f"{key}={quote(str(value), safe='')}" for key, value in parts.items() if value is not None)
    who = f"{quote(login + dot + project, safe='')}:{quote(password, safe='')}"
    return f"postgresql://{who}@{where}{f'?{rest}' if rest else ''}"
