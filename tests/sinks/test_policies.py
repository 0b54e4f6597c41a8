"""Who may do what: for every table and every role, what is allowed and what is denied, tried on a real PostgreSQL.

Rows of two machines with two owners are there, and one project of the first is shared with a member. What is denied by
grants raises; what is denied by policies is not seen, or raises where it is written.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from observatory.sinks import migrating
from tests.postgres import Cluster
from tests.sinks.stage import OTHER, OWNER, STRANGER

MINE, THEIRS = "a" * 16, "b" * 16
MEMBER, NOBODY = OTHER, STRANGER[:-1] + "9"
STAMP = "2026-01-01T00:00:00Z"
NEVER = dict.fromkeys(("altered", "truncated"), False)
COUNTS = dict.fromkeys(
    (
        *("message_count", "prompt_count", "reply_count", "tool_usage_count", "tool_error_count"),
        *("input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens"),
    ),
    0,
)
MARKS = dict.fromkeys(("is_sidechain", "is_meta", "is_copy", "superseded"), False)
WHOSE = {"id": "c1", "session_id": "s", "status": "active", "created_at": STAMP, "updated_at": STAMP}
PLACE = {"source_id": 1, "generation": 0, "byte_offset": 0}


def row(table: str, machine: str, fresh: int = 0) -> dict[str, Any]:
    """A row of a machine's project p1. fresh: of another key."""
    made: dict[str, dict[str, Any]] = {
        "observatory_migrations": {"version": 900 + fresh, "name": "x"},
        "observatory_machines": {"machine_id": f"{machine}{fresh or ''}", "owner_id": OWNER, "name": "m"},
        "observatory_writers": {"login": f"w{machine[0]}{fresh}", "machine_id": machine},
        "project_members": {"machine_id": machine, "project_id": f"p{1 + fresh}",
                            "user_id": MEMBER if machine == MINE else NOBODY},
        "projects": {"machine_id": machine, "id": f"p{1 + fresh}", "name": "n", "path": "/n", "conversation_count": 1,
                     "status": "active", "created_at": STAMP, "updated_at": STAMP, "last_activity": STAMP, **NEVER},
        "conversations": {"machine_id": machine, "project_id": "p1", **WHOSE, **COUNTS, **NEVER, "id": f"c{fresh}"},
        "messages": {"machine_id": machine, "project_id": "p1", "conversation_id": "c1", **PLACE, "line": fresh,
                     "byte_offset": fresh, "type": "user", "kind": "prompt", "role": "user", "content": "", **MARKS,
                     **NEVER},
        "tool_calls": {"machine_id": machine, "project_id": "p1", "conversation_id": "c1", **PLACE, **NEVER,
                       "tool_use_id": f"t{fresh}", "name": "Bash"},
    }  # fmt: skip
    return made[table]


DATA = ("projects", "conversations", "messages", "tool_calls")
TABLES = ("observatory_migrations", "observatory_machines", "observatory_writers", "project_members", *DATA)
CHANGED = {"observatory_migrations": "name", "observatory_machines": "name", "observatory_writers": "login",
           "project_members": "added_at", "projects": "path", "conversations": "title", "messages": "content",
           "tool_calls": "name"}  # fmt: skip
VERBS = ("select", "insert", "update", "delete")
WHO = {
    "anon": ("anon", None),
    "owner": ("authenticated", OWNER),
    "member": ("authenticated", MEMBER),
    "stranger": ("authenticated", STRANGER),
    "writer": ("observatory_writer", OWNER),
    "service": ("service_role", None),
}


def may(who: str, table: str, verb: str, machine: str) -> bool:
    """What docs/supabase.md says."""
    if who == "service":
        return True
    if who == "writer":
        if table in DATA:
            return machine == MINE
        return table == "observatory_machines" and verb == "select" and machine == MINE
    if who == "owner" and machine == MINE:
        if table in DATA:
            return verb == "select"
        if table == "observatory_machines":
            return verb in ("select", "update")
        return table == "project_members"
    if who == "member":
        if table in DATA:
            return verb == "select" and machine == MINE
        return table == "project_members" and verb in ("select", "delete") and machine == MINE  # rows that name them
    return False


@pytest.fixture(scope="module")
def there(postgres: Cluster) -> Iterator[str]:
    """A database with the tables and the rows."""
    name = postgres.supabase()
    with migrating.connected(postgres.url(name)) as db:
        migrating.migrate(db, "public")
        for machine, owner in ((MINE, OWNER), (THEIRS, NOBODY)):
            migrating.register(db, "public", machine, owner, "m")
            for table in (*DATA, "project_members", "observatory_writers"):
                put(db, table, row(table, machine))
    yield name
    postgres.drop(name)


def put(db: psycopg.Connection[Any], table: str, values: dict[str, Any]) -> int:
    names = sql.SQL(", ").join(map(sql.Identifier, values))
    query = "INSERT INTO {0} ({1}) SELECT {1} FROM json_populate_recordset(NULL::{0}, %s)"
    return db.execute(sql.SQL(query).format(sql.Identifier(table), names), (json.dumps([values]),)).rowcount


def tried(db: psycopg.Connection[Any], table: str, verb: str, machine: str) -> int:
    """How many rows it was done to."""
    name = sql.Identifier(table)
    whose = sql.SQL("machine_id = {}").format(sql.Literal(machine))
    which = sql.SQL("version = 1") if table == "observatory_migrations" else whose
    if verb == "insert":
        return put(db, table, row(table, machine, 7))
    if verb == "select":
        return len(db.execute(sql.SQL("SELECT * FROM {} WHERE {}").format(name, which)).fetchall())
    if verb == "delete":
        return db.execute(sql.SQL("DELETE FROM {} WHERE {}").format(name, which)).rowcount
    column = sql.Identifier(CHANGED[table])
    return db.execute(sql.SQL("UPDATE {0} SET {1} = {1} WHERE {2}").format(name, column, which)).rowcount


@contextmanager
def acting(url: str, role: str, claims: dict[str, Any]) -> Iterator[psycopg.Connection[Any]]:
    """As PostgREST does it; what is written is undone."""
    with psycopg.connect(url, autocommit=True) as db, db.transaction(force_rollback=True):
        db.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        db.execute("SELECT set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
        yield db


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("who", WHO)
def test_each_role_may_do_to_each_table_what_the_docs_say(
    postgres: Cluster, there: str, who: str, table: str, verb: str
) -> None:
    role, user = WHO[who]
    claims = {"role": role, "sub": user, "machine_id": MINE}
    for machine in (MINE, THEIRS):
        with acting(postgres.url(there, "authenticator", "authenticator"), role, claims) as db:
            try:
                done = tried(db, table, verb, machine)
            except psycopg.errors.InsufficientPrivilege:
                done = 0
        assert (done > 0) == may(who, table, verb, machine), f"{who} {verb} {table} of {machine[0]}: {done} rows"


@pytest.mark.parametrize("table", TABLES)
def test_for_every_table_something_is_allowed_and_something_is_denied(table: str) -> None:
    for verb in VERBS:
        answers = {may(who, table, verb, machine) for who in WHO for machine in (MINE, THEIRS)}
        assert answers == {True, False}


def test_a_login_writes_for_its_machine_whatever_it_claims(postgres: Cluster, there: str) -> None:
    url = postgres.url(there)
    with migrating.connected(url) as db:
        login = migrating.make_login(db, "public", MINE, url)
    claims = {"role": "observatory_writer", "sub": NOBODY, "machine_id": THEIRS}
    with psycopg.connect(login, autocommit=True) as db, db.transaction(force_rollback=True):
        db.execute("SELECT set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
        assert tried(db, "messages", "select", MINE) == 1
        assert tried(db, "messages", "select", THEIRS) == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            tried(db, "messages", "insert", THEIRS)


def test_a_key_of_a_machine_that_is_not_its_owners_writes_nothing(postgres: Cluster, there: str) -> None:
    claims = {"role": "observatory_writer", "sub": OWNER, "machine_id": THEIRS}
    with acting(postgres.url(there, "authenticator", "authenticator"), "observatory_writer", claims) as db:
        assert [tried(db, table, "select", THEIRS) for table in DATA] == [0, 0, 0, 0]


def test_the_view_shows_to_each_what_the_tables_do(postgres: Cluster, there: str) -> None:
    with psycopg.connect(postgres.url(there), autocommit=True) as db:
        db.execute("UPDATE messages SET message_id = 'm', input_tokens = 3")
        for user, seen in ((OWNER, 1), (MEMBER, 1), (STRANGER, 0)):
            with acting(postgres.url(there), "authenticated", {"sub": user}) as asked:
                assert len(asked.execute("SELECT * FROM api_messages").fetchall()) == seen
        db.execute("UPDATE messages SET message_id = NULL, input_tokens = NULL")


def test_the_files_are_in_the_package() -> None:
    names = [one.name for one in migrating.migrations()]
    assert names == ["tables", "policies", "realtime"]
    assert [one.version for one in migrating.migrations()] == [1, 2, 3]
    assert Path(migrating.__file__).with_name("migrations").is_dir()
