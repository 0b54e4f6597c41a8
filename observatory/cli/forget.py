"""`observatory forget`: shows what would go, asks, and has it removed: by itself, or by the server that runs."""

import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from observatory.cli.lookup import here, names_of
from observatory.config import default_data_dir
from observatory.core.errors import StoreError, UsageError
from observatory.core.finding import number, size
from observatory.core.forgetting import Removal, Target
from observatory.core.naming import Names, topic_of
from observatory.core.neutral import neutral
from observatory.storage import errands
from observatory.storage.forget import preview
from observatory.storage.log import EventLog
from observatory.storage.opening import AlreadyServed, DirectoryLock, boot_id, running
from observatory.storage.reader import at_rest

ALL = 10_000_000  # conversations looked through for a name
LOOK_EVERY = 0.1  # seconds between two looks for the server's answer
TAKEN_WITHIN = 15.0  # seconds in which a server that can forget begins to
SCRUB_PATIENCE_MS = 5000
SHOWN = 10  # files and conversations named one by one


def run(what: str, data_dir: Path | None, *, yes: bool) -> None:
    """Forget it. Raises UsageError, StoreError."""
    directory = (data_dir or default_data_dir()).absolute()
    target = target_of(what, directory)
    removal = preview(directory, target)
    for line in lines(removal):
        click.echo(line)
    if not yes:
        _confirm()
    scrubbed = _forget(directory, target)
    click.echo("forgotten")
    if not scrubbed:
        raise StoreError(
            "its bytes are still in the database's files, because another program reads them",
            "close it; a running server goes on by itself, else run: observatory forget once more",
        )


def target_of(what: str, directory: Path) -> Target:
    """What is meant. Raises UsageError: nothing is called so, or more than one thing."""
    kept = at_rest(directory, ALL)
    if kept is None:
        raise UsageError(f"nothing is kept in {directory}; name another directory with --data-dir")
    names = names_of(kept)
    family, _, id = topic_of(what, names, here()).partition(":")
    if not id or not _is_known(family, id, names):
        raise UsageError(f"'{neutral(what[:80])}' is no conversation or project; see them with: observatory ls")
    return Target("conversation" if family == "conversation" else "project", id)


def _is_known(family: str, id: str, names: Names) -> bool:
    rows = names.conversations if family == "conversation" else names.projects
    return any(row["id"] == id for row in rows)


def lines(removal: Removal) -> Iterator[str]:
    """What goes and what does not, for a person."""
    rows = sorted(removal.conversations, key=lambda row: (row.id.count("."), row.id))
    agents = sum(row.agent_id is not None for row in rows)
    yield "This will be removed for good:"
    if removal.whole_project and removal.project is not None:
        yield f"  project {neutral(removal.project.name)} ({neutral(removal.project.path)})"
    yield f"  {number(len(rows) - agents, 'conversation')} and {number(agents, 'sub-agent')}"
    for row in rows[:SHOWN]:
        yield f"    {neutral(row.id)}  {neutral(row.title or '-')[:80]}"
    if len(rows) > SHOWN:
        yield f"    … and {len(rows) - SHOWN} more"
    yield f"  {number(removal.records, 'record')}, {size(removal.record_bytes)}"
    yield f"  {number(len(removal.seqs), 'event')} that can be replayed, {size(removal.event_bytes)}"
    if removal.copies:
        where = ", ".join(map(neutral, removal.copied_in[:SHOWN]))
        yield f"  {number(len(removal.copies), 'line')} that forks have copied from it, in {where}"
    yield "This stays, because Observatory does not own it:"
    yield from _staying(removal)


def _staying(removal: Removal) -> Iterator[str]:
    paths = [file.name for file in removal.files if file.name is not None and Path(file.name).exists()]
    for path in paths[:SHOWN]:
        yield f"  rm -- {shlex.quote(neutral(path))}"
    if len(paths) > SHOWN:
        yield f"  … and {len(paths) - SHOWN} more transcripts"
    if paths:
        yield "  (the transcripts: they are not read again, but only you can delete them)"
    yield "  backups and snapshots of disks, and what clients have already received"
    if removal.kept_in:
        where = ", ".join(map(neutral, removal.kept_in[:SHOWN]))
        yield f"  lines that it has copied from {where}: forget those too, if they matter"


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise UsageError("nothing was forgotten: there is no terminal to ask on; say it with --yes")
    if not click.confirm("Forget it?"):
        raise StoreError("nothing was forgotten")


def _forget(directory: Path, target: Target) -> bool:
    """Returns whether its bytes have left the files, too."""
    try:
        lock = DirectoryLock(directory)
    except AlreadyServed:
        return _by_server(directory, target)
    try:
        log = EventLog(directory, boot_id())
        try:
            while (left := errands.FORGET.take(directory)) is not None:  # by a server that ended before it was done
                log.forget(left.wish, now_ms())
                errands.FORGET.finish(directory, left, {"scrubbed": False})
            log.forget(target, now_ms())
            return log.scrub(SCRUB_PATIENCE_MS)
        finally:
            log.close()
    finally:
        lock.release()


def now_ms() -> int:
    """Wall clock in ms since the epoch."""
    return time.time_ns() // 1_000_000


def _by_server(directory: Path, target: Target) -> bool:
    """The server holds some of it in memory, so it is the one to forget."""
    try:
        errand = errands.FORGET.ask(directory, target)
    except FileExistsError:
        raise StoreError("another forget waits for the server", "try again when it is done") from None
    deadline = time.monotonic() + TAKEN_WITHIN
    while True:
        done, gone = not errands.FORGET.is_open(directory), running(directory) is None
        if (found := errands.FORGET.answer(directory, errand)) is not None:
            return _scrubbed(found)
        if done or gone:
            raise _lost(done)
        if time.monotonic() > deadline and errands.FORGET.withdraw(directory):
            raise StoreError("the server does not take it; nothing was forgotten", "stop the server, and try again")
        time.sleep(LOOK_EVERY)


def _lost(done: bool) -> StoreError:
    if done:
        return StoreError("the server is done, but could not say how it went", "see its log, and observatory ls")
    return StoreError("the server ended meanwhile", "the next one finishes it, or run the command once more")


def _scrubbed(found: dict[str, Any]) -> bool:
    if "error" in found:
        raise StoreError(f"the server could not do it: {found['error']}")
    return bool(found["scrubbed"])
