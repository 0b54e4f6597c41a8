"""`observatory supabase`: sets the copy's database up, tells how the copy is, brings it up to date, and ends it."""

import os
import socket
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import click
import jwt
import trio

from observatory.cli.place import Where
from observatory.config import SUPABASE, Config, load
from observatory.core.errors import StoreError, UsageError, WorldError
from observatory.core.finding import number, size
from observatory.core.neutral import neutral
from observatory.mirroring import JWT_FILE, settings_of
from observatory.sinks import copying, migrating
from observatory.sinks.copying import Settings
from observatory.sinks.destination import About, Failed
from observatory.sinks.estimate import Estimate, estimate
from observatory.sinks.follower import Follower
from observatory.sinks.pusher import Progress
from observatory.sinks.state import State, forget_state, state_of
from observatory.storage.log import EventLog
from observatory.storage.opening import DATABASE, AlreadyServed, DirectoryLock, boot_id, running

JWT_SECONDS = 365 * 24 * 3600
SHOWN = 10  # parked things that are listed
LOOK_EVERY = 0.5


def init(owner: str, name: str | None, jwt_secret_file: Path | None, data_dir: Path | None) -> None:
    """Set the database up for this machine. Raises UsageError, WorldError."""
    config, url = _config(data_dir), ""
    url = _admin_url(config)
    machine = _machine(config.data_dir)
    schema = config.supabase_schema
    with migrating.connected(url) as db:
        _tell_migrations(migrating.migrate(db, schema), schema)
        user = migrating.owner_of(db, owner)
        migrating.register(db, schema, machine, user, name or socket.gethostname())
        login = migrating.make_login(db, schema, machine, url)
    _keep(config.data_dir / SUPABASE, login)
    click.echo(f"this machine ({machine}) is registered for the user {user}")
    click.echo(
        f"its login is in {neutral(str(config.data_dir / SUPABASE))}: it may write this machine's rows, no others"
    )
    if jwt_secret_file is not None:
        claims = {"role": "observatory_writer", "sub": user, "machine_id": machine, "aud": "authenticated"}
        now = int(time.time())
        key = jwt.encode({**claims, "iat": now, "exp": now + JWT_SECONDS}, _secret(jwt_secret_file), "HS256")
        _keep(config.data_dir / JWT_FILE, key)
        click.echo(f"a key for the API, good for a year, is in {neutral(str(config.data_dir / JWT_FILE))}")
    _tell_estimate(_settings(attrs.evolve(config, supabase_db_url=login)))
    click.echo("start the server without SUPABASE_DB_URL to keep the copy, or send it now: observatory supabase push")


def migrate(data_dir: Path | None) -> None:
    """Bring the tables up to date. Raises UsageError, WorldError."""
    config = _config(data_dir)
    with migrating.connected(_admin_url(config)) as db:
        done = migrating.migrate(db, config.supabase_schema)
    _tell_migrations(done, config.supabase_schema)


def status(data_dir: Path | None) -> None:
    """Tell how the copy is. Raises UsageError, WorldError, also when something is wrong."""
    config = _config(data_dir)
    settings = _settings(config)
    click.echo(f"database: {neutral(settings.shown)}, {'straight' if settings.db_url else 'through the API'}")
    what = "every record" if settings.all_kinds else "messages and tool calls"
    which = f"projects {', '.join(map(neutral, settings.projects))}" if settings.projects else "all projects"
    click.echo(f"scope:    {what}, {which}, {'keys and tokens replaced' if settings.redact else 'as it is'}")
    if not (config.data_dir / DATABASE).exists():
        raise StoreError(f"there is no archive in {config.data_dir}", "start observatory serve first")
    _tell_estimate(settings)
    state = state_of(config.data_dir)
    if state is None:
        click.echo("copy:     nothing was sent yet")
    else:
        with closing(state):
            _tell_state(config.data_dir, settings, state)
    about = _look(settings)
    if not about.registered:
        raise WorldError("the database does not know this machine", "observatory supabase init")
    newest = migrating.migrations()[-1].version
    click.echo(
        f"tables:   version {about.version}{'' if about.version == newest else f'; this program needs {newest}'}"
    )
    if about.privileged:
        click.echo("login:    it may do anything there; observatory supabase init makes one that may not")


def _look(settings: Settings) -> About:
    async def ask() -> About:
        async with copying.destination_of(settings) as destination:
            with closing(Follower(Path(settings.directory), settings.scope)) as follower:
                return await destination.look(follower.machine_id)

    try:
        return trio.run(ask)
    except Failed as failed:
        hint = getattr(failed.verdict, "hint", "it is tried again by itself")
        raise WorldError(f"the database cannot be used: {failed.verdict.reason}", hint) from None


def push(retry_parked: bool, everything: bool, data_dir: Path | None) -> None:
    """Bring the copy up to date. Raises UsageError, WorldError."""
    settings = _settings(_config(data_dir))
    directory = Path(settings.directory)
    if retry_parked:
        with closing(State(directory)) as state:
            click.echo(f"{number(state.ask_again(), 'thing')} will be tried again")
    try:
        lock = DirectoryLock(directory)
    except AlreadyServed as served:
        if everything:
            raise StoreError("a server keeps the copy", "stop it, then push --all") from None
        _wait_for_the_server(directory, served)
        return
    try:
        log = EventLog(directory, boot_id())
        log.follow_changes()
        log.close()
        if everything:
            with closing(State(directory)) as state:
                state.begin_anew("", over=True)
        done = trio.run(_push, settings)
    finally:
        lock.release()
    sent = ", ".join(f"{count:,} {table.replace('_', ' ')}" for table, count in done.sent.items())
    click.echo(f"the copy is up to date: {sent} sent")
    if done.parked:
        raise WorldError(f"the database would not take {number(done.parked, 'thing')}", "observatory supabase status")


async def _push(settings: Settings) -> Progress:
    shown = ""

    async def tell(progress: Progress) -> None:
        nonlocal shown
        line = f"waiting: {progress.reason}{f': {progress.hint}' if progress.hint else ''}" if progress.reason else ""
        if line and line != shown:
            click.echo(line, err=True)
        shown = line
        await trio.lowlevel.checkpoint()

    return await copying.copy(settings, tell, once=True)


def _wait_for_the_server(directory: Path, served: AlreadyServed) -> None:
    if not _is_kept(directory):
        raise StoreError("the server that runs keeps no copy", "start it again with the same settings")
    with closing(State(directory)) as state, closing(Follower(directory, copying.EVERYTHING)) as follower:
        while running(directory) is not None:
            follower.begin(state.cursor, state.places(), over=False)
            changes, _ = follower.lag(state.cursor)
            if not changes:
                click.echo("the copy is up to date: the server keeps it so")
                return
            time.sleep(LOOK_EVERY)
    raise StoreError("the server has ended before the copy was up to date", "observatory supabase push", True)


def _is_kept(directory: Path) -> bool:
    try:
        with copying.alone(directory):
            return False
    except StoreError:
        return True


def off(data_dir: Path | None) -> None:
    """Keep no copy any more. Raises UsageError, WorldError."""
    directory = _config(data_dir).data_dir
    try:
        lock = DirectoryLock(directory)
    except AlreadyServed:
        raise StoreError("a server keeps the copy", "stop it first") from None
    try:
        if (directory / DATABASE).exists():
            log = EventLog(directory, boot_id())
            log.unfollow_changes()
            log.close()
        for file in (SUPABASE, JWT_FILE):
            (directory / file).unlink(missing_ok=True)
        forget_state(directory)
    finally:
        lock.release()
    click.echo("no copy is kept any more; what is in the database stays there")


# -- pieces ------------------------------------------------------------------------------------------------------------


def _config(data_dir: Path | None) -> Config:
    directory = Where(data_dir=data_dir).directory()
    return load({"data_dir": str(directory)})


def _settings(config: Config) -> Settings:
    settings = settings_of(config)
    if settings is None:
        raise UsageError("no database is named: observatory supabase init, or set SUPABASE_DB_URL (docs/supabase.md)")
    return settings


def _admin_url(config: Config) -> str:
    if config.supabase_db_url is None:
        raise UsageError(
            "set SUPABASE_DB_URL to the project's connection string, with the login postgres, for this command"
        )
    return config.supabase_db_url


def _machine(directory: Path) -> str:
    """The archive's machine; it is made if there is none yet."""
    if running(directory) is None and not (directory / DATABASE).exists():
        lock = DirectoryLock(directory)
        try:
            EventLog(directory, boot_id()).close()
        finally:
            lock.release()
    with closing(Follower(directory, copying.EVERYTHING)) as follower:
        return follower.machine_id


def _secret(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError) as error:
        raise UsageError(f"--jwt-secret-file {file} cannot be read: {error}") from None


def _keep(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"{text}\n")
        new.replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror})", "make it writable for this user") from None


def _tell_migrations(done: list[migrating.Migration], schema: str) -> None:
    newest = migrating.migrations()[-1].version
    if not done:
        click.echo(f"the tables in the schema {schema} are up to date: version {newest}")
    for one in done:
        click.echo(f"schema {schema}: version {one.version} ({one.name})")


def _tell_estimate(settings: Settings) -> None:
    found: Estimate = estimate(Path(settings.directory), settings.scope)
    click.echo(f"size:     about {number(found.rows, 'message')} in the copy, {size(found.bytes)}")


def _tell_state(directory: Path, settings: Settings, state: State) -> None:
    with closing(Follower(directory, settings.scope)) as follower:
        follower.begin(state.cursor, state.places(), over=False)
        if state.get("identity") != f"{follower.feed}|{settings.identity}":
            click.echo("copy:     begins anew: it is of another archive, database or scope")
            return
        changes, behind = follower.lag(state.cursor)
    lag = f"{number(changes, 'change')} behind, {size(behind)} of transcripts" if changes else "up to date"
    click.echo(f"copy:     {lag}")
    parked: list[Any] = state.parked()
    if parked:
        click.echo(f"parked:   {number(len(parked), 'thing')}; observatory supabase push --retry-parked")
    for one in parked[:SHOWN]:
        click.echo(f"          {one.kind} {neutral(one.ref)}: {neutral(one.reason)}")
