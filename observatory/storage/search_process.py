"""A process of its own that brings the full-text index up to date, in the time that nobody else wants."""

import os
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

from observatory.core.errors import StoreError
from observatory.storage.search_index import SearchIndex

NICENESS = 19


def command(directory: Path) -> list[str]:
    """How to start it, with this process's import path, and without its main module."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from observatory.storage.search_process import main; main()"
    return [sys.executable, "-c", code, str(directory)]


def main() -> None:
    """Take in all that is missing; tell after each step how many records came in, and how many documents there are."""
    _yield_to_all()
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        with closing(SearchIndex(Path(sys.argv[1]))) as index:
            index.catch_up(lambda taken, missing: print(taken, index.documents, flush=True))
            index.settle()
    except StoreError as error:
        print(f"observatory: the search index: {error}", file=sys.stderr)
        sys.exit(1)


def _yield_to_all() -> None:
    os.nice(NICENESS)
    with suppress(AttributeError, OSError):  # Linux: only when a processor would be idle
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _end_with_the_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)  # what is not committed is not in, and is taken in the next time
