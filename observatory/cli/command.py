"""What all commands share: errors end in one line, and options say which server is meant."""

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from observatory.core.errors import UsageError, WorldError

R = TypeVar("R")
EXIT_FAILURE = 1
EXIT_USAGE = 2


def one_line_errors(command: Callable[..., R]) -> Callable[..., R]:
    """A user's mistake or a world's obstacle ends in one line on stderr: exit 2 or 1, never a traceback."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> R:  # noqa: ANN401 - any command
        try:
            return command(*args, **kwargs)
        except (UsageError, WorldError, KeyboardInterrupt, BrokenPipeError) as error:
            _end(error)
        except BaseExceptionGroup as group:
            expected, others = group.split((UsageError, WorldError, KeyboardInterrupt, BrokenPipeError))
            if expected is None or others is not None:
                raise
            _end(_first(expected))

    return run


def _end(error: BaseException) -> NoReturn:
    if isinstance(error, UsageError | WorldError):
        _die(str(error), EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILURE)
    if isinstance(error, BrokenPipeError):  # the reader of our output has seen enough: no complaint at exit either
        sys.stderr.close()
    sys.exit(0)


def _die(message: str, code: int) -> NoReturn:
    click.echo(f"observatory: {message}", err=True)
    sys.exit(code)


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def which_server(command: Callable[..., R]) -> Callable[..., R]:
    """The options that say which server is meant, given to the command as `place`: the fields of cli/place.py."""

    @click.option("--url", metavar="URL", help="The server, if it is not the one of the data directory.")
    @click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="The server's data directory.")
    @click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE",
                  help="Where its token is, if not in its data directory.")  # fmt: skip
    @click.option("--ca-file", type=click.Path(path_type=Path), metavar="FILE",
                  help="Who signed its certificate (PEM), if not an authority of the system.")  # fmt: skip
    @wraps(command)
    def run(url: str | None, data_dir: Path | None, token_file: Path | None, ca_file: Path | None,
            **rest: Any) -> R:  # noqa: ANN401 - any command  # fmt: skip
        place = {"url": url, "data_dir": data_dir, "token_file": token_file, "ca_file": ca_file}
        return command(place=place, **rest)

    return run


class OneLineGroup(click.Group):
    """A group whose usage errors are one line, as all others."""

    def main(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401 - as in click
        try:
            code = super().main(*args, **extra | {"standalone_mode": False})
        except getattr(click.exceptions, "NoArgsIsHelpError", ()) as help_wanted:
            help_wanted.show()
            code = help_wanted.exit_code
        except click.Abort:  # Ctrl-C before a command runs
            code = 0
        except click.ClickException as error:
            _die(f"{error.format_message().rstrip('.')}: see observatory --help", error.exit_code)
        sys.exit(code)
