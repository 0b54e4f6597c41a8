"""`observatory backup` and `observatory restore`: a copy of the archive, and back."""

from datetime import UTC, datetime
from pathlib import Path

import click

from observatory.cli.place import Where
from observatory.core.finding import size
from observatory.storage import backup as storage


def backup(target: Path, data_dir: Path | None, *, force: bool) -> None:
    """Write a copy. Raises UsageError, StoreError."""
    directory = Where(data_dir=data_dir).directory()
    if target.is_dir():
        target = target / f"observatory-{stamp()}.db"
    written = storage.backup(directory, target.absolute(), lambda what: None, force=force)
    click.echo(f"wrote {target}, {size(written)}; put it back with: observatory restore {target}")
    click.echo("not in it: the token, settings, the search index (it is made anew), and events to replay")


def restore(file: Path, data_dir: Path | None, *, force: bool) -> None:
    """Put a copy in the archive's place. Raises UsageError, StoreError."""
    directory = Where(data_dir=data_dir).directory()
    moved = storage.restore(file.absolute(), directory, f"replaced-{stamp()}", force=force)
    if moved is not None:
        click.echo(f"the archive that was there is now {moved}")
    click.echo(f"restored into {directory}; clients that resume are told to load anew")


def stamp() -> str:
    """The time, for a file's name."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
