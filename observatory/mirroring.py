"""What the copy at Supabase needs of this installation: its settings, and the two files that `supabase init` leaves."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import structlog
import trio

from observatory.config import SUPABASE, Config
from observatory.core.contracts import Report
from observatory.core.errors import UsageError
from observatory.core.setting_values import database_url, secret
from observatory.sinks.copying import Settings
from observatory.sinks.keeper import Keeper
from observatory.storage.committer import Committer

log = structlog.get_logger()
JWT_FILE = "supabase.jwt"  # beside the one with the login, in the data directory, for its owner only


def settings_of(config: Config) -> Settings | None:
    """How a copy is kept; None: there is to be none. Settings come before the files. Raises UsageError."""
    settings = Settings(
        str(config.data_dir),
        schema=config.supabase_schema,
        all_kinds=config.supabase_scope == "all",
        redact=config.supabase_redact,
        projects=config.supabase_projects,
    )
    if config.supabase_db_url is not None:
        return attrs.evolve(settings, db_url=config.supabase_db_url)
    if config.supabase_url is not None and config.supabase_key is not None:
        jwt = config.supabase_jwt or _kept(config.data_dir / JWT_FILE, secret)
        return attrs.evolve(settings, url=config.supabase_url, key=config.supabase_key, jwt=jwt)
    kept = _kept(config.data_dir / SUPABASE, database_url)
    if kept is not None:
        return attrs.evolve(settings, db_url=kept)
    if config.supabase_url is not None or config.supabase_key is not None:
        missing = "supabase_key" if config.supabase_key is None else "supabase_url"
        log.warning("supabase.incomplete", missing=missing)
    return None


def _kept(path: Path, read: Callable[[object], str | None]) -> str | None:
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    try:
        return read(text)
    except ValueError as error:
        raise UsageError(f"what is in {path} {error}") from None


@asynccontextmanager
async def running(settings: Settings, commits: Committer, report: Report) -> AsyncIterator[Keeper]:
    """The copy is kept while the block runs. Raises StoreError."""
    await commits.follow_changes()
    keeper = Keeper(settings, report, commits.trim_changes, time.time)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        yield keeper
        nursery.cancel_scope.cancel()
