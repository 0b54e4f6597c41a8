"""A real PostgreSQL for tests: Debian's own, started on a free port, with what only Supabase brings along.

One server for all tests of a process; each test has a database of its own.
"""

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import attrs
import psycopg
import pytest
from psycopg import sql

from tests.running import free_port

SECRET = "a-secret-of-forty-characters-for-tests-only"
# What Supabase has and PostgreSQL has not: its roles, its auth.uid(), and the publication of Realtime.
ROLES = """
create role anon nologin; create role authenticated nologin; create role service_role nologin bypassrls;
create role authenticator noinherit login password 'authenticator';
grant anon, authenticated, service_role to authenticator;
"""
SUPABASE = """
create schema auth;
create table auth.users (id uuid primary key, email text);
create function auth.jwt() returns jsonb language sql stable as
    $$ select coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb $$;
create function auth.uid() returns uuid language sql stable as $$ select (auth.jwt() ->> 'sub')::uuid $$;
grant usage on schema auth to anon, authenticated, service_role;
grant usage on schema public to anon, authenticated, service_role;
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public grant all on functions to anon, authenticated, service_role;
create publication supabase_realtime;
"""


def programs() -> Path | None:
    """Where Debian keeps the server's programs, the newest version's first."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), key=lambda path: int(path.split("/")[4]))
    on_path = shutil.which("postgres")
    return Path(found[-1]).parent if found else Path(on_path).parent if on_path else None


@attrs.define
class Cluster:
    """A server with its files."""

    bin: Path
    directory: Path
    port: int
    user: list[str]  # what starts a program as somebody who is not root
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", user: str = "postgres", password: str = "") -> str:
        """Where a database is."""
        given = f"{user}:{password}" if password else user
        return f"postgresql://{given}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ["-D", str(self.directory / "data"), "-p", str(self.port), "-k", str(self.directory)]
        settings = ["listen_addresses=127.0.0.1", "fsync=off", "max_connections=200", "wal_level=logical"]
        self.process = subprocess.Popen(
            [*self.user, str(self.bin / "postgres"), *options, *(f"-c{one}" for one in settings)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0,
        )  # fmt: skip
        for _ in range(600):
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
            except psycopg.OperationalError:
                assert self.process.poll() is None, "PostgreSQL does not start"
                time.sleep(0.05)
            else:
                return
        raise AssertionError("PostgreSQL does not answer")

    @property
    def pid(self) -> int:
        """Of the server."""
        return int((self.directory / "data" / "postmaster.pid").read_text().split()[0])

    def children(self) -> list[int]:
        """Its processes but the first."""
        parents = {}
        for stat in glob.glob("/proc/[0-9]*/stat"):
            with suppress(OSError):
                text = Path(stat).read_text()
                parents[int(stat.split("/")[2])] = int(text.rpartition(")")[2].split()[1])
        return [child for child, parent in parents.items() if parent == self.pid]

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it, by default as a power loss would."""
        assert self.process is not None
        children = self.children()
        os.kill(self.pid, number)
        if number == signal.SIGKILL:  # its children would end by themselves, and not at once
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        self.process.wait()
        (self.directory / "data" / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """End it in order."""
        if self.process is not None and self.process.poll() is None:
            self.kill(signal.SIGINT)

    def create(self, collation: str = "C") -> str:
        """A new, empty database; returns its name."""
        name = f"t{uuid4().hex[:12]}"
        with psycopg.connect(self.url(), autocommit=True) as db:
            db.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE {} LC_CTYPE {}").format(
                    sql.Identifier(name), sql.Literal(collation), sql.Literal(collation)
                )
            )
        return name

    def supabase(self) -> str:
        """A new database as a project at Supabase has it; returns its name."""
        name = self.create()
        with psycopg.connect(self.url(name), autocommit=True) as db:
            db.execute(SUPABASE)
        return name

    def drop(self, name: str) -> None:
        """A database that is not needed any more."""
        with psycopg.connect(self.url(), autocommit=True) as db:
            db.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A server for the block, with Supabase's roles."""
    found = programs()
    if found is None:
        assert "CI" not in os.environ, "PostgreSQL is not installed"
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    directory = Path(tempfile.mkdtemp(prefix="observatory-pg"))
    user: list[str] = []
    if os.getuid() == 0:  # postgres refuses to run as root
        account = pwd.getpwnam("postgres")
        os.chown(directory, account.pw_uid, account.pw_gid)
        user = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    made = Cluster(found, directory, free_port(), user)
    try:
        make = [*user, str(found / "initdb"), "-D", str(directory / "data"), "-U", "postgres", "-A", "trust", "-N"]
        subprocess.run([*make, "--locale=C", "-E", "UTF8"], check=True, capture_output=True)
        made.start()
        with psycopg.connect(made.url(), autocommit=True) as db:
            db.execute(ROLES)
        yield made
    finally:
        made.stop()
        shutil.rmtree(directory, ignore_errors=True)


def rows(url: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """What a query gives."""
    with psycopg.connect(url, autocommit=True) as db:
        return db.execute(query, values or None).fetchall()


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for what another process does."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)
