"""`observatory hooks`: puts our entries into Claude Code's settings, and takes them away, showing what changes."""

import difflib
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import click

from observatory.config import claude_settings, default_data_dir, default_token_file
from observatory.core.errors import StoreError, UsageError
from observatory.core.hook_settings import PROGRAM, Settings, events_of, installed, removed, settings_of, written
from observatory.core.neutral import neutral
from observatory.storage.opening import running

COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@attrs.frozen
class Options:
    """What the command line said."""

    settings: Path | None
    project: Path | None
    data_dir: Path | None
    yes: bool


def install(options: Options) -> None:
    """Add ours. Raises UsageError, StoreError."""
    directory = (options.data_dir or default_data_dir()).absolute()
    words = [_program(), "--data-dir", str(directory)]
    if (token := default_token_file()) is not None:
        words += ["--token-file", str(token)]
    command = shlex.join(words)
    if _change(options, lambda settings: installed(settings, command), "installed", "they are installed already"):
        click.echo("Sessions that start from now on tell what waits and what ends; restart those that run.")


def remove(options: Options) -> None:
    """Take ours away. Raises UsageError, StoreError."""
    _change(options, removed, "removed", "there are none of ours")


def status(options: Options) -> None:
    """Tell what is installed, and whether a server would hear of it. Raises UsageError."""
    path = _path(options)
    found = events_of(settings_of(_read(path), str(path)))
    click.echo(f"{neutral(str(path))}: {', '.join(found) if found else 'no hooks of ours'}")
    directory = (options.data_dir or default_data_dir()).absolute()
    server = running(directory)
    click.echo(f"{neutral(str(directory))}: {'no server runs' if server is None else f'served at {server.url}'}")


def _program() -> str:
    """Where our sender is. Raises UsageError."""
    beside = Path(sys.executable).with_name(PROGRAM)
    found = str(beside) if beside.is_file() else shutil.which(PROGRAM)
    if found is None:
        raise UsageError(f"{PROGRAM} is not beside this Python; install the package again: pip install .")
    return found


def _path(options: Options) -> Path:
    if options.settings is not None:
        return options.settings.absolute()
    return claude_settings() if options.project is None else options.project.absolute() / ".claude" / "settings.json"


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read ({error})", "name another with --settings") from None


def _change(options: Options, change: Callable[[Settings], Settings], done: str, nothing: str) -> bool:
    """Show what changes, ask, and write it. Whether anything has changed."""
    path = _path(options)
    before = _read(path)
    settings = settings_of(before, str(path))
    wanted = change(settings)
    if wanted == settings:
        click.echo(f"{neutral(str(path))}: {nothing}; nothing changed")
        return False
    after = written(wanted, before)
    for line in _difference(before, after, str(path)):
        click.echo(line)
    if not options.yes:
        _confirm()
    if _read(path) != before:
        raise StoreError(f"{path} has changed meanwhile; nothing was written", "run the command again")
    _write(path, after)
    click.echo(f"{done} in {neutral(str(path))}")
    return True


def _difference(before: str, after: str, name: str) -> Iterator[str]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), name, name, lineterm="")
    for line in map(neutral, lines):
        yield click.style(line, fg=COLOURS.get(line[:1])) if sys.stdout.isatty() else line


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise UsageError("nothing was written: there is no terminal to ask on; say it with --yes")
    if not click.confirm("Write it?"):
        raise StoreError("nothing was written")


def _write(path: Path, text: str) -> None:
    """Whole or not at all; a link stays one, and permissions stay as they are."""
    real = Path(os.path.realpath(path))
    new = real.with_name(f".{real.name}.{os.getpid()}.new")
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        mode = real.stat().st_mode & 0o777 if real.exists() else 0o600
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            new.replace(real)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written ({error.strerror})", "make it writable, or use --settings"
        ) from None
