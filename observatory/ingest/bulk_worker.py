"""A worker process of the import: takes jobs from its standard input, answers with pieces on its standard output.

Frames both ways: the length in 8 bytes, then a pickle. Both ends are this program, of one version.
"""

import os
import pickle
import struct
import sys
from contextlib import suppress
from typing import IO

from observatory.ingest.bulk_file import read_file

LENGTH = struct.Struct("<Q")
NICENESS = 10  # whoever waits for a line comes first


def command() -> list[str]:
    """How to start one, with this process's import path, and without its main module."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from observatory.ingest.bulk_worker import main; main()"
    return [sys.executable, "-c", code]


def frame(message: object) -> bytes:
    """A message as it goes through a pipe."""
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(data)) + data


def main() -> None:
    """Work until the standard input ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is logged here must not get between the frames
    os.nice(NICENESS)
    with suppress(BrokenPipeError):  # nobody waits for it any more
        while (data := _read(sys.stdin.buffer)) is not None:
            for piece in read_file(pickle.loads(data)):
                out.write(frame(piece))
                out.flush()
        return
    os._exit(1)  # what is still in the buffer cannot be written at the end either


def _read(pipe: IO[bytes]) -> bytes | None:
    head = pipe.read(LENGTH.size)
    return pipe.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else None
