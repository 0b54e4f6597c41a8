"""Lines of transcripts, and a writer that does to them what disks and killed programs do."""

import random
from collections.abc import Iterator

import orjson


def prompt(file: str, number: int, size: int = 20) -> bytes:
    """One prompt as a line; its uuid tells file and number."""
    stamp = f"2026-11-22T21:{number // 60000 % 60:02}:{number // 1000 % 60:02}.{number % 1000:03}Z"
    message = {"role": "user", "content": f"{file} {number} " + "x" * size}
    found = {"type": "user", "uuid": f"{file}-{number}", "parentUuid": None, "sessionId": file, "cwd": "/w"}
    return orjson.dumps({**found, "timestamp": stamp, "message": message}) + b"\n"


def torn(data: bytes, draw: random.Random, pieces: int = 4) -> Iterator[bytes]:
    """The same bytes in pieces cut anywhere, also inside of characters."""
    cuts = sorted(draw.randrange(len(data) + 1) for _ in range(pieces - 1))
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        yield data[start:end]
