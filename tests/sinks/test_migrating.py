"""The tables: made, made again, brought up from each earlier version; and what cannot be ends in one line."""

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from observatory.core.errors import UsageError, WorldError
from observatory.sinks import migrating
from observatory.sinks.pusher import VERSION
from tests.postgres import Cluster, rows
from tests.sinks.stage import OTHER, OWNER, conversation, staged

EVERY = migrating.migrations()


def test_the_program_knows_its_newest_version() -> None:
    assert EVERY[-1].version == VERSION


@pytest.mark.parametrize("version", range(len(EVERY)))
async def test_a_database_of_each_earlier_version_is_brought_up(
    tmp_path: Path, postgres: Cluster, supabase: str, version: int
) -> None:
    async with staged(tmp_path, postgres, supabase) as on:
        with migrating.connected(on.url) as db:
            assert len(migrating.migrate(db, "public", version)) == version
            assert migrating.version_of(db, "public") == version
            assert [one.version for one in migrating.migrate(db, "public")] == [*range(version + 1, VERSION + 1)]
            assert migrating.migrate(db, "public") == []
        on.write("-w/s001.jsonl", *conversation(1))
        await on.archived()
        await on.copy(on.settings("direct", on.set_up()))
        assert on.differences() == []


def test_rows_survive_what_leads_to_the_next_version(postgres: Cluster, supabase: str) -> None:
    with migrating.connected(postgres.url(supabase)) as db:
        migrating.migrate(db, "public", 1)
        db.execute("INSERT INTO observatory_machines VALUES ('m', %s, 'n')", (OWNER,))
        migrating.migrate(db, "public")
        assert db.execute("SELECT machine_id FROM observatory_machines").fetchall() == [("m",)]


def test_realtime_gets_the_tables_of_the_copy(postgres: Cluster, supabase: str) -> None:
    with migrating.connected(postgres.url(supabase)) as db:
        migrating.migrate(db, "public")
    query = "SELECT tablename FROM pg_publication_tables WHERE pubname = 'supabase_realtime' ORDER BY 1"
    assert rows(postgres.url(supabase), query) == [("conversations",), ("messages",), ("projects",), ("tool_calls",)]


def test_another_schema_holds_the_tables_as_well(postgres: Cluster, supabase: str) -> None:
    with migrating.connected(postgres.url(supabase)) as db:
        db.execute("CREATE TABLE public.projects (id int)")
        with pytest.raises(WorldError, match="the schema public has a table projects that is not ours"):
            migrating.migrate(db, "public")
        assert migrating.version_of(db, "public") == 0
        migrating.migrate(db, "Team")
        assert migrating.version_of(db, "Team") == VERSION


def test_a_newer_database_is_left_alone(postgres: Cluster, supabase: str) -> None:
    with migrating.connected(postgres.url(supabase)) as db:
        migrating.migrate(db, "public")
        db.execute("INSERT INTO observatory_migrations VALUES (99, 'x')")
        with pytest.raises(WorldError, match="its tables are of version 99"):
            migrating.migrate(db, "public")


def test_a_database_that_is_not_supabases_is_named(postgres: Cluster) -> None:
    name = postgres.create()
    with (
        pytest.raises(WorldError, match=r"this is no database of Supabase"),
        migrating.connected(postgres.url(name)) as db,
    ):
        migrating.migrate(db, "public")
    postgres.drop(name)


def test_a_database_that_is_not_there_is_named() -> None:
    nowhere = migrating.connected("postgresql://u:s3cret@127.0.0.1:9/x")
    with pytest.raises(WorldError, match=r"cannot be reached.*check SUPABASE_DB_URL"), nowhere:
        raise AssertionError


def test_owners_are_users_and_a_machine_has_one(postgres: Cluster, supabase: str) -> None:
    with migrating.connected(postgres.url(supabase)) as db:
        migrating.migrate(db, "public")
        db.execute("INSERT INTO auth.users VALUES (%s, 'Ada@example.org')", (OWNER,))
        assert migrating.owner_of(db, "ada@example.org") == OWNER
        assert migrating.owner_of(db, OTHER.upper()) == OTHER
        with pytest.raises(UsageError, match="no user of this project has that address"):
            migrating.owner_of(db, "bob@example.org")
        migrating.register(db, "public", "m" * 16, OWNER, "laptop")
        migrating.register(db, "public", "m" * 16, OWNER, "laptop")
        with pytest.raises(UsageError, match="registered there as"):
            migrating.register(db, "public", "m" * 16, OTHER, "laptop")


@pytest.mark.parametrize(
    ("given", "user", "host"),
    [
        ("postgresql://postgres:pw@db.abc.supabase.co:5432/postgres?sslmode=require", "obs", "db.abc.supabase.co"),
        ("postgresql://postgres.abc:p%40w@pooler.supabase.com:6543/postgres", "obs.abc", "pooler.supabase.com"),
    ],
)
def test_a_new_login_keeps_the_place_and_the_poolers_project(given: str, user: str, host: str) -> None:
    made = conninfo_to_dict(migrating.url_with(given, "obs", "n/w"))
    assert (made["user"], made["password"], made["host"]) == (user, "n/w", host)
    assert made.get("sslmode") == conninfo_to_dict(given).get("sslmode")
    assert made["port"] == conninfo_to_dict(given)["port"]
