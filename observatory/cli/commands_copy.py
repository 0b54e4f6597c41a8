"""The commands of the copy at Supabase: their options."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from observatory.cli.command import one_line_errors


@click.group()
def supabase() -> None:
    """Keep a copy of the archive in a database of Supabase, for a team."""


def _which_archive(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="The data directory.")(
        command
    )


@supabase.command()
@click.option("--owner", required=True, metavar="ID|EMAIL", help="The user of the project whose sessions these are.")
@click.option("--name", metavar="TEXT", help="What others call this machine.  [default: its host name]")
@click.option("--jwt-secret-file", type=click.Path(path_type=Path), metavar="FILE",
              help="The project's JWT secret: makes a key for the API, too.")  # fmt: skip
@_which_archive
@one_line_errors
def init(**options: Any) -> None:  # noqa: ANN401 - the options above
    """Make the tables, and a login that may write this machine's rows and no others.

    Needs SUPABASE_DB_URL with the login postgres, this time only.
    """
    from observatory.cli.supabase import init

    init(**options)


@supabase.command()
@_which_archive
@one_line_errors
def migrate(**options: Any) -> None:  # noqa: ANN401 - the options above
    """Bring the tables up to date. Needs SUPABASE_DB_URL with the login postgres."""
    from observatory.cli.supabase import migrate

    migrate(**options)


@supabase.command()
@_which_archive
@one_line_errors
def status(**options: Any) -> None:  # noqa: ANN401 - the options above
    """Tell where the copy is, how far, and what it would not take."""
    from observatory.cli.supabase import status

    status(**options)


@supabase.command()
@click.option("--retry-parked", is_flag=True, help="Try again what the database would not take.")
@click.option("--all", "everything", is_flag=True, help="Send everything again, over what is there.")
@_which_archive
@one_line_errors
def push(**options: Any) -> None:  # noqa: ANN401 - the options above
    """Bring the copy up to date, and end; beside a server, wait until it has."""
    from observatory.cli.supabase import push

    push(**options)


@supabase.command()
@_which_archive
@one_line_errors
def off(**options: Any) -> None:  # noqa: ANN401 - the options above
    """Keep no copy any more. What is in the database stays there."""
    from observatory.cli.supabase import off

    off(**options)
