"""The commands around what happens now: their options."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from observatory.cli.command import one_line_errors, which_server


@click.group()
def hooks() -> None:
    """Have Claude Code's hooks tell at once what waits for you, and what has ended."""


def _which_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("-y", "--yes", is_flag=True, help="Do not ask."),
        click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="The server's data directory."),
        click.option("--project", type=click.Path(path_type=Path), metavar="DIR",
                     help="The settings of this project, instead of your own."),
        click.option("--settings", type=click.Path(path_type=Path), metavar="FILE", help="A settings file."),
    )  # fmt: skip
    for option in options:
        command = option(command)
    return command


@hooks.command()
@_which_settings
@one_line_errors
def install(**options: Any) -> None:  # noqa: ANN401 - the options above
    """Show what would change in Claude Code's settings, ask, and write it."""
    from observatory.cli.hooks import Options, install

    install(Options(**options))


@hooks.command()
@_which_settings
@one_line_errors
def remove(**options: Any) -> None:  # noqa: ANN401 - the options above
    """Take our hooks away; what was there before stays."""
    from observatory.cli.hooks import Options, remove

    remove(Options(**options))


@hooks.command()
@_which_settings
@one_line_errors
def status(**options: Any) -> None:  # noqa: ANN401 - the options above
    """Tell what is installed, and whether a server runs."""
    from observatory.cli.hooks import Options, status

    status(Options(**options))


@click.command()
@click.option("--once", is_flag=True, help="Print one frame, and exit.")
@which_server
@one_line_errors
def top(place: dict[str, Any], once: bool) -> None:
    """Show what every session does now, in the whole terminal; ? tells the keys."""
    import sys

    import trio

    from observatory.cli import top as command
    from observatory.cli.place import Where
    from observatory.cli.terminal import PlainConsole

    server = Where(**place).server()
    if once:
        trio.run(command.once, server, PlainConsole(sys.stdout))
    else:
        trio.run(command.run, server)
