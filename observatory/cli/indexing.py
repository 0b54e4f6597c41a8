"""Brings the search index up to date where no server does it: after an import, and before a search."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn

from observatory.cli.terminal import PlainConsole
from observatory.storage.opening import AlreadyServed, DirectoryLock
from observatory.storage.search_index import WORTH_RECORDS, SearchIndex

SHOW_AFTER = 1.0  # seconds; what takes less needs no bar


def bring_up_to_date(directory: Path) -> None:
    """Take in what the index lacks; a server that runs does so by itself. Raises StoreError."""
    try:
        lock = DirectoryLock(directory)
    except AlreadyServed:
        return
    try:
        with closing(SearchIndex(directory)) as index, _bar() as show:
            if index.catch_up(show) > WORTH_RECORDS:
                index.settle()
    finally:
        lock.release()


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal's standard error, when it takes long."""
    if not sys.stderr.isatty():
        yield lambda taken, missing: None
        return
    columns = (TextColumn("indexing for search"), BarColumn(None), TextColumn("{task.percentage:>3.0f} %"))
    bars = Progress(*columns, console=PlainConsole(sys.stderr), transient=True, expand=True)
    bar, due = bars.add_task("", total=None), time.monotonic() + SHOW_AFTER

    def show(taken: int, missing: int) -> None:
        if time.monotonic() >= due:
            bars.start()
            bars.update(bar, total=missing, completed=taken)

    try:
        yield show
    finally:
        bars.stop()
