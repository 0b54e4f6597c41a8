"""`observatory prune`: shows what is old enough to go, asks, and removes it: by itself, or by the server that runs."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import attrs
import click

from observatory.cli.lookup import here, names_of
from observatory.cli.place import Where
from observatory.core import pruning
from observatory.core.errors import StoreError, UsageError
from observatory.core.finding import number, size
from observatory.core.naming import Names, project_of
from observatory.core.pruning import Prune, Pruned
from observatory.storage import prune
from observatory.storage.errands import PRUNE
from observatory.storage.log import EventLog
from observatory.storage.opening import DATABASE, AlreadyServed, DirectoryLock, boot_id, connect, explained, running
from observatory.storage.reader import at_rest

ALL = 10_000_000  # conversations looked through for a name
LOOK_EVERY = 0.1  # seconds between two looks for the server's answer
TAKEN_WITHIN = 15.0  # seconds in which a server that can prune begins to


@attrs.frozen
class Options:
    """What the command line said."""

    older_than: str
    project: str | None
    marked: bool
    dry_run: bool
    yes: bool
    data_dir: Path | None


def run(options: Options) -> None:
    """Prune. Raises UsageError, StoreError."""
    directory = Where(data_dir=options.data_dir).directory()
    before = pruning.before(time.time(), pruning.age(options.older_than))
    wish = Prune(before, _project(options.project, directory), options.marked)
    would = prune.plan(directory, wish)
    for line in lines(would, before):
        click.echo(line)
    if options.dry_run or not would.records:
        return
    if not options.yes:
        _confirm()
    freed = _prune(directory, wish)
    click.echo(f"pruned{'' if freed is None else f', and gave {size(freed)} back to the disk'}")


def _project(name: str | None, directory: Path) -> str | None:
    if name is None:
        return None
    kept = at_rest(directory, ALL)
    return project_of(name, Names([], []) if kept is None else names_of(kept), here())


def lines(would: Pruned, before: str) -> Iterator[str]:
    """What goes and what stays, for a person."""
    if not would.records:
        yield f"nothing to prune: no conversation with records was quiet since {before[:10]}"
    else:
        yield f"Conversations in which nothing happened since {before[:10]}:"
        amount = f"{number(would.records, 'record')}, {size(would.bytes)}"
        yield f"  {number(would.conversations, 'conversation')} with sub-agents, {amount}"
        yield "Their lines will be removed for good. Titles, costs, tokens, tool statistics, tags and notes stay."
    if would.kept:
        yield f"{number(would.kept, 'more conversation')} as old, with a star or a tag, will stay (--also-marked)"


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise UsageError("nothing was pruned: there is no terminal to ask on; say it with --yes")
    if not click.confirm("Prune?"):
        raise StoreError("nothing was pruned")


def _prune(directory: Path, wish: Prune) -> int | None:
    """Returns the bytes that the disk has got back; None: the server keeps the room for what comes."""
    try:
        lock = DirectoryLock(directory)
    except AlreadyServed:
        _by_server(directory, wish)
        return None
    try:
        log = EventLog(directory, boot_id())
        try:
            for source in log.prunable(wish):
                while log.prune_some(source):
                    pass
        finally:
            log.close()
        return _give_back(directory)
    finally:
        lock.release()


def _give_back(directory: Path) -> int:
    """Write the database anew, without the room that is free in it, if the disk has room for that."""
    path = directory / DATABASE
    before = path.stat().st_size
    with explained(path), closing(connect(path)) as db:
        pages, free = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
        used = before * (pages - free) // max(pages, 1)
        if not free or shutil.disk_usage(directory).free < 2 * used:
            return 0
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return max(0, before - path.stat().st_size)


def _by_server(directory: Path, wish: Prune) -> None:
    try:
        errand = PRUNE.ask(directory, wish)
    except FileExistsError:
        raise StoreError("another prune waits for the server", "try again when it is done") from None
    except OSError as error:
        raise StoreError(f"the data directory {directory} cannot be written ({error.strerror})") from None
    deadline = time.monotonic() + TAKEN_WITHIN
    while (answer := PRUNE.answer(directory, errand)) is None:
        if running(directory) is None:
            raise StoreError("the server ended meanwhile", "the next one finishes it, or run the command once more")
        late = time.monotonic() > deadline and not (directory / PRUNE.taken).exists()
        if late and PRUNE.withdraw(directory):
            raise StoreError("the server does not take it", "is it an older version? stop it, and try again")
        time.sleep(LOOK_EVERY)
    if "error" in answer:
        raise StoreError(f"the server could not do it: {answer['error']}")
