"""A copy's whole life in one process: settings, lock, archive, database, and the pusher between them."""

import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import attrs
from psycopg.conninfo import conninfo_to_dict

from observatory.core.errors import StoreError
from observatory.core.globs import compile_glob
from observatory.core.project import Project
from observatory.sinks.archive import Scope
from observatory.sinks.destination import Destination
from observatory.sinks.follower import Follower
from observatory.sinks.pusher import Progress, Pusher
from observatory.sinks.state import State

LOCK = "supabase.lock"
EVERYTHING = Scope()


@attrs.frozen
class Settings:
    """Where the copy is, and what goes there. db_url wins over url with key and jwt. projects: names or directories, as
    globs; none: all."""

    directory: str
    url: str | None = None
    key: str | None = None
    jwt: str | None = None
    db_url: str | None = None
    schema: str = "public"
    all_kinds: bool = False
    redact: bool = True
    projects: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """The other side, without its secrets."""
        if self.db_url is None:
            return f"{self.url}#{self.schema}"
        parts = conninfo_to_dict(self.db_url)
        return f"postgresql://{parts.get('host', '')}:{parts.get('port', '')}/{parts.get('dbname', '')}#{self.schema}"

    @property
    def shown(self) -> str:
        """The other side, for a person."""
        if self.db_url is None:
            return urlsplit(self.url or "").netloc or str(self.url)
        parts = conninfo_to_dict(self.db_url)
        return f"{parts.get('host') or 'localhost'}/{parts.get('dbname') or 'postgres'}"

    @property
    def identity(self) -> str:
        """Another one is another copy."""
        what = [self.target, "all" if self.all_kinds else "messages", "redacted" if self.redact else "as it is"]
        return "|".join([*what, *self.projects])

    @property
    def scope(self) -> Scope:
        """What goes there."""
        return Scope(self.all_kinds, self.redact, _wanted(self.projects))


def _wanted(patterns: tuple[str, ...]) -> Callable[[Project], bool] | None:
    if not patterns:
        return None
    globs = [compile_glob(pattern.rstrip("/") or "/") for pattern in patterns]
    return lambda project: any(fits(project.name) or fits(project.path) for fits in globs)


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """One process at a time keeps a copy. Raises StoreError."""
    file = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError("another process keeps the copy up to date", "it goes on by itself", True) from None
        yield
    finally:
        os.close(file)


@asynccontextmanager
async def destination_of(settings: Settings) -> AsyncIterator[Destination]:
    """The database, for the block."""
    destination: Destination
    if settings.db_url is not None:
        from observatory.sinks.postgres import PostgresDestination

        destination = PostgresDestination(settings.db_url, settings.schema)
        try:
            yield destination
        finally:
            await destination.close()
    else:
        from observatory.sinks.rest import reaching  # half a second, which nobody waits for who does not use it

        assert settings.url is not None
        assert settings.key is not None
        async with reaching(settings.url, settings.key, settings.jwt, settings.schema) as destination:
            yield destination


async def copy(settings: Settings, tell: Callable[[Progress], Awaitable[None]], *, once: bool = False) -> Progress:
    """Keep the copy up to date, until cancelled; once: until all is there. Raises StoreError."""
    directory = Path(settings.directory)
    with alone(directory), closing(State(directory)) as state, closing(Follower(directory, settings.scope)) as follower:
        if not follower.followed:
            raise StoreError("changes are not written down in this archive", "start the server with the same settings")
        async with destination_of(settings) as destination:
            pusher = Pusher(follower, state, destination, f"{follower.feed}|{settings.identity}", tell)
            await pusher.run(once=once)
            return pusher.progress
