"""A worker process of the full-text index: reads records and finds their words, while its parent writes.

It sends steps on its standard output, each with its length in 8 bytes before it, and ends when nothing is missing.
"""

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec

from observatory.storage.search_steps import Collector, Step, attached

LENGTH = struct.Struct("<Q")
NICENESS = 10  # whoever waits for a line comes first


@contextmanager
def steps(directory: Path) -> Iterator[Iterator[Step]]:
    """What is missing now, read by a process that lives as long as the block. It may end early: then that is all."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from observatory.storage.search_worker import main; main()"
    command = [sys.executable, "-c", code, str(directory)]
    # a group of its own: Ctrl-C is for us
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, process_group=0) as process:
        try:
            assert process.stdout is not None
            yield _received(process.stdout)
        finally:
            process.kill()


def _received(pipe: IO[bytes]) -> Iterator[Step]:
    decoder = msgspec.msgpack.Decoder(Step)
    while len(head := pipe.read(LENGTH.size)) == LENGTH.size:
        (length,) = LENGTH.unpack(head)
        data = pipe.read(length)
        if len(data) < length:
            return
        yield decoder.decode(data)


def main() -> None:
    """Send what is missing."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is logged here must not get between the steps
    os.nice(NICENESS)
    encoder = msgspec.msgpack.Encoder()
    with suppress(BrokenPipeError), closing(attached(Path(sys.argv[1]))) as db:  # nobody waits for it any more
        for step in Collector(db).steps():
            data = encoder.encode(step)
            out.write(LENGTH.pack(len(data)) + data)
            out.flush()
        return
    os._exit(1)  # what is still in the buffer cannot be written at the end either
