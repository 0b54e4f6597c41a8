"""`observatory import`: takes in all history of the roots and ends: by itself, or by the server that runs."""

import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import click
import trio

from observatory import app
from observatory.cli.indexing import bring_up_to_date
from observatory.cli.screen import Screen, screen_on
from observatory.config import Config, load
from observatory.core.errors import StoreError, UsageError
from observatory.core.identity import is_text
from observatory.core.neutral import neutral
from observatory.core.progress import Imported, Progress
from observatory.core.progress_text import progress_of, total, unread
from observatory.storage.errands import IMPORT, Errand
from observatory.storage.opening import AlreadyServed, running
from observatory.telemetry import logs

LOOK_EVERY = 0.2  # seconds between two looks for what the server tells
TAKEN_WITHIN = 15.0  # seconds in which a server that can import begins to
AGAIN = "run it again: it goes on where it stopped"
SIGNALLED = 128  # plus the signal's number: the exit code of what a signal has stopped, as in a shell


@attrs.frozen
class Stopped:
    """A signal came before the end; what has come of it, in words."""

    number: int
    told: str


def run(flags: Mapping[str, Any]) -> int:
    """Import; returns the exit code. Raises UsageError, StoreError."""
    config = load(flags)
    config = attrs.evolve(config, roots=present(config.roots, given="roots" in flags))
    with screen_on(sys.stdout) as screen:
        stream = screen.log_stream(sys.stderr)
        sink = logs.configure(config.log_format or logs.format_for(sys.stderr), stream, "warning").sink
        try:
            found = _import(config, screen)
        finally:
            sink.close()
    if isinstance(found, Stopped):
        click.echo(f"observatory: {found.told}", err=True)
        return SIGNALLED + found.number
    click.echo(total(found.progress))
    try:
        bring_up_to_date(config.data_dir)
    except KeyboardInterrupt:
        told = "stopped; what the search index lacks is taken in by the next search, or by a server"
        click.echo(f"observatory: {told}", err=True)
        return SIGNALLED + signal.SIGINT
    if found.unreadable:
        raise StoreError(neutral(unread(found.unreadable)), "see to that, and run it again")
    return 0


def present(roots: tuple[str, ...], *, given: bool) -> tuple[str, ...]:
    """Those that are there. given: on the command line, so that all have to be. Raises UsageError."""
    for root in roots:
        if not is_text(root):
            raise UsageError(f"the name of the root {neutral(root)} is no UTF-8; rename it")
    there = tuple(root for root in roots if Path(root).is_dir())
    missing = [neutral(root) for root in roots if root not in there]
    if given and missing:
        raise UsageError(f"there is no directory {missing[0]}; name one that holds transcripts with --root")
    if not there:
        raise UsageError(f"nothing to import: there is no {' or '.join(missing)}; name another with --root")
    return there


def _import(config: Config, screen: Screen) -> Imported | Stopped:
    """By whoever may: a server that ends meanwhile leaves the rest to us."""
    while True:
        try:
            return _by_ourselves(config, screen)
        except AlreadyServed:
            if (found := _by_server(config, screen)) is not None:
                return found
        except KeyboardInterrupt:  # before we listen for it
            return Stopped(signal.SIGINT, f"stopped; {AGAIN}")


def _by_ourselves(config: Config, screen: Screen) -> Imported | Stopped:
    last = Progress()

    def show(progress: Progress) -> None:
        nonlocal last
        last = progress
        screen.show(progress)

    try:
        found = trio.run(app.import_history, config, show)
    except AlreadyServed:
        raise
    except StoreError as error:
        raise StoreError(error.message, f"{error.hint}; then {AGAIN}") from error
    if isinstance(found, signal.Signals):
        return Stopped(found, f"stopped after {last.files_done:,} of {last.files_total:,} files; {AGAIN}")
    return found


# -- beside a server ---------------------------------------------------------------------------------------------------


def _by_server(config: Config, screen: Screen) -> Imported | Stopped | None:
    """The server is the one to write the archive. None: it has ended, or is no more in our way."""
    directory = config.data_dir
    try:
        errand = IMPORT.ask(directory, config.roots)
    except FileExistsError:
        raise StoreError("another import waits for the server", "try again when it is done") from None
    except OSError as error:
        raise StoreError(f"the data directory {directory} cannot be written ({error.strerror})") from None
    except TypeError:  # bytes that no text stands for
        raise StoreError(
            "a root's name is no text, so that the server cannot be asked", "stop the server first"
        ) from None
    try:
        return _watch(directory, errand, screen)
    except KeyboardInterrupt:
        if IMPORT.withdraw(directory):
            return Stopped(signal.SIGINT, "nothing was imported: the server had not begun")
        told = "the server goes on with the import; how far it is: observatory status"
        return Stopped(signal.SIGINT, told)


def _watch(directory: Path, errand: Errand[tuple[str, ...]], screen: Screen) -> Imported | None:
    deadline = time.monotonic() + TAKEN_WITHIN
    while True:
        done, gone = not IMPORT.is_open(directory), running(directory) is None
        if (answer := IMPORT.answer(directory, errand)) is not None:
            return Imported(progress_of(answer["progress"]), answer["unreadable"])
        if done:
            raise StoreError("the server is done, but could not say how it went", "see its log, and observatory ls")
        if gone:
            IMPORT.abandon(directory, errand)
            return None
        if (told := IMPORT.told(directory)) is not None:
            screen.show(progress_of(told))
        elif time.monotonic() > deadline and not (directory / IMPORT.taken).exists() and IMPORT.withdraw(directory):
            raise StoreError("the server does not take the import", "stop the server, and try again")
        time.sleep(LOOK_EVERY)
