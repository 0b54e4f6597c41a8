"""What tests of packed archives share: packing without waiting for quiet, and what hides in compressed bytes."""

from contextlib import suppress
from pathlib import Path

import pytest
import zstandard

from observatory.core.batch import Batch
from observatory.core.events import Event
from observatory.storage import bodies
from observatory.storage.log import EventLog

LONG_AFTER_NS = 1 << 62  # every file has been quiet since
MAGIC = b"\x28\xb5\x2f\xfd"
MOST = 1 << 20


def pack_all(log: EventLog) -> int:
    """Pack what can be packed; returns in how many steps."""
    steps = 0
    while log.pack(LONG_AFTER_NS):
        steps += 1
    return steps


def pack_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on each commit is followed by packing all that is in the books, be it a single line."""
    monkeypatch.setattr(bodies, "WORTH_BYTES", 1)
    append = EventLog.append

    def append_and_pack(log: EventLog, batch: Batch, now_ms: int) -> tuple[Event, ...]:
        events = append(log, batch, now_ms)
        pack_all(log)
        return events

    monkeypatch.setattr(EventLog, "append", append_and_pack)


def unpacked(data: bytes) -> bytes:
    """The text of all that is compressed in there, also in pages that are free, as far as it is in one piece."""
    texts, start = [], data.find(MAGIC)
    while start >= 0:
        with suppress(zstandard.ZstdError):  # cut off, or no frame at all
            texts.append(zstandard.ZstdDecompressor().decompressobj().decompress(data[start : start + MOST]))
        start = data.find(MAGIC, start + 1)
    return b"".join(texts)


def everything(directory: Path) -> bytes:
    """All bytes of all files of the data directory, and what they hold compressed."""
    found = b"".join(path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file())
    return found + unpacked(found)
