"""The commands that keep the archive healthy: their options."""

from pathlib import Path
from typing import Any

import click

from observatory.cli.command import one_line_errors


@click.command()
@click.option("--older-than", required=True, metavar="AGE", help="How long nothing has happened: 30d, 8w, 6m, 2y.")
@click.option("--project", metavar="NAME|.", help="Only this project; . is the one of this directory.")
@click.option("--also-marked", "marked", is_flag=True, help="Conversations with a star or a tag, too.")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="The data directory.")
@one_line_errors
def prune(**options: Any) -> None:  # noqa: ANN401 - the options above
    """Remove the records of old conversations for good; what was counted of them stays. Also while a server runs."""
    from observatory.cli.prune import Options, run

    run(Options(**options))


@click.command()
@click.argument("target", type=click.Path(path_type=Path), metavar="FILE|DIR")
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="The data directory.")
@one_line_errors
def backup(target: Path, force: bool, data_dir: Path | None) -> None:
    """Copy the archive as it is at one moment, and check the copy; also while a server runs."""
    from observatory.cli import backup as command

    command.backup(target, data_dir, force=force)


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--force", is_flag=True, help="Move an archive that is there aside.")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="The data directory.")
@one_line_errors
def restore(file: Path, force: bool, data_dir: Path | None) -> None:
    """Put a backup in the archive's place, while no server runs."""
    from observatory.cli import backup as command

    command.restore(file, data_dir, force=force)


@click.command()
@click.argument("what", type=click.Choice(["test"]), metavar="test")
@one_line_errors
def notify(what: str) -> None:
    """Send one test notice through every way that is configured, and tell how that went."""
    from observatory.cli.notify import run

    run()
