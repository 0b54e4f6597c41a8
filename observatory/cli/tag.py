"""`observatory tag`: stars, tags and notes on conversations: by itself, or by the server that runs."""

import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import attrs
import click
import orjson

from observatory.cli.ls import Cell, write
from observatory.cli.named import conversation_named
from observatory.cli.place import Where
from observatory.cli.terminal import one_line
from observatory.core.annotations import Annotation, Change, change_of
from observatory.core.errors import StoreError, UsageError
from observatory.core.neutral import neutral, neutral_json
from observatory.storage import annotations
from observatory.storage.errands import ANNOTATE
from observatory.storage.log import EventLog
from observatory.storage.opening import DATABASE, AlreadyServed, DirectoryLock, boot_id, running

LOOK_EVERY = 0.05  # seconds between two looks for the server's answer
TAKEN_WITHIN = 15.0  # seconds in which a server that knows of tags begins to


@attrs.frozen
class Options:
    """What the command line said."""

    what: str | None
    tags: tuple[str, ...]
    remove: tuple[str, ...]
    star: bool | None
    note: str | None
    as_json: bool
    data_dir: Path | None


def run(options: Options) -> None:
    """Say it, or show what is said. Raises UsageError, StoreError."""
    directory = Where(data_dir=options.data_dir).directory()
    if options.what is None:
        if options.remove or options.star is not None or options.note is not None:
            raise UsageError("name the conversation that it is about; see them with: observatory ls sessions")
        _list(_said(directory).values(), as_json=options.as_json)
        return
    id = conversation_named(options.what, directory)
    change = change_of(id, options.star, options.tags, options.remove, options.note)
    said = _said(directory).get(id, Annotation(id)) if change.empty else _annotate(directory, change)
    if options.as_json:
        click.echo(neutral_json(orjson.dumps({"conversation_id": id, **said.json()}).decode()))
    else:
        click.echo(line(said))


def line(said: Annotation) -> str:
    """What is said of one, in one line."""
    parts = ["★" if said.starred else "", ", ".join(said.tags), said.note]
    shown = "  ".join([one_line(part) for part in parts if part])
    return f"{neutral(said.conversation_id)}  {shown or 'nothing is said of it'}"


def _list(said: Iterable[Annotation], *, as_json: bool) -> None:
    """All tags, and how many conversations have them; stars first."""
    counts: Counter[str] = Counter()
    starred = 0
    for one in said:
        starred += one.starred
        counts.update(one.tags)
    if as_json:
        click.echo(neutral_json(orjson.dumps({"starred": starred, "tags": dict(counts)}).decode()))
        return
    rows = [("★ starred", starred)] if starred else []
    rows += sorted(counts.items(), key=lambda row: (-row[1], row[0].casefold()))
    if rows:
        write([[Cell(str(count)), Cell(one_line(name))] for name, count in rows], sys.stdout)
    else:
        click.echo("observatory: nothing is tagged yet: observatory tag CONVERSATION TAG", err=True)


def _said(directory: Path) -> dict[str, Annotation]:
    return annotations.at_rest(directory) if (directory / DATABASE).exists() else {}


def _annotate(directory: Path, change: Change) -> Annotation:
    try:
        lock = DirectoryLock(directory)
    except AlreadyServed:
        return _by_server(directory, change)
    try:
        log = EventLog(directory, boot_id())
        try:
            return log.annotate(change, time.time_ns() // 1_000_000)[0]
        finally:
            log.close()
    finally:
        lock.release()


def _by_server(directory: Path, change: Change) -> Annotation:
    """The server is the one to write the archive, and tells those who follow the conversation."""
    deadline = time.monotonic() + TAKEN_WITHIN
    while True:
        try:
            errand = ANNOTATE.ask(directory, change)
            break
        except FileExistsError:  # another command's, which is answered in a moment
            if time.monotonic() > deadline:
                raise StoreError("another tag waits for the server", "try again when it is done") from None
            time.sleep(LOOK_EVERY)
        except OSError as error:
            raise StoreError(f"the data directory {directory} cannot be written ({error.strerror})") from None
    while (answer := ANNOTATE.answer(directory, errand)) is None:
        if running(directory) is None:
            ANNOTATE.abandon(directory, errand)
            raise StoreError("the server ended meanwhile", "run the command once more")
        if time.monotonic() > deadline and ANNOTATE.withdraw(directory):
            raise StoreError("the server does not take it", "is it an older version? stop it, and try again")
        time.sleep(LOOK_EVERY)
    if "error" in answer:
        raise StoreError(str(answer["error"]))
    return Annotation(change.conversation_id, bool(answer["starred"]), tuple(answer["tags"]), str(answer["note"]))
