"""The process that keeps a copy: it tells how it goes, a line of JSON each time, and ends when its parent does.

Its settings come on standard input, where no list of processes shows them.
"""

import os
import sys
import threading

import msgspec
import orjson
import trio

from observatory.core.errors import WorldError
from observatory.sinks.copying import Settings, copy
from observatory.sinks.pusher import Progress

NICENESS = 10  # whoever waits for a line comes first


def command() -> list[str]:
    """How to start it, with this process's import path, and without its main module."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from observatory.sinks.process import main; main()"
    return [sys.executable, "-c", code]


def main() -> None:
    """Keep the copy until the parent ends."""
    os.nice(NICENESS)
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=Settings)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        trio.run(copy, settings, _tell)
    except WorldError as error:
        print(f"observatory: the copy: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    except BaseExceptionGroup as group:
        expected, others = group.split(WorldError)
        if expected is None or others is not None:
            raise
        print(f"observatory: the copy: {expected.exceptions[0]}", file=sys.stderr, flush=True)
        os._exit(1)


async def _tell(progress: Progress) -> None:
    sys.stdout.buffer.write(orjson.dumps(progress, default=lambda value: {name: getattr(value, name) for name in
                                         Progress.__slots__ if name != "__weakref__"}) + b"\n")  # fmt: skip
    sys.stdout.buffer.flush()


def _end_with_the_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)  # what was not answered is sent again the next time
