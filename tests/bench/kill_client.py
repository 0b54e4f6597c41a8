"""A client of `kill`: follows its topics and keeps what it got, and how far it is, in one journal that only grows.

    python -m tests.bench.kill_client URL JOURNAL [--forget] TOPIC…

What was received and the place to resume from are the same line of the journal, written by one write: so nothing is
handled twice, wherever the process is killed. With --forget it claims to come from a log of another name, which makes
the server declare a hole and give a snapshot.
"""

import hashlib
import os
import random
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import orjson
import trio

from observatory.client.follow import follow
from observatory.core.client_items import Agreed, Connected, Disconnected, Event, Gap, Incomplete, Item, Snapshot
from observatory.core.events import Position

LONGEST_WAIT = 0.5  # of the jitter, so that a round is short; the server's own bound is 30 s
OTHER_LOG = "another-log"


def digest(text: bytes) -> str:
    """What stands for a payload in a journal."""
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def noted(item: Item) -> dict[str, Any] | None:
    """An item as a line of the journal; None for what proves nothing."""
    match item:
        case Event(seq=int()):
            return {"event": [item.epoch, item.seq, digest(item.text.encode())]}
        case Connected(position=Position() as position):
            return {"connected": attrs.astuple(position), "recovered": item.recovered}
        case Snapshot():
            state = {"projects": item.projects, "conversations": item.conversations, "truncated": item.truncated}
            return {"snapshot": attrs.astuple(item.position), "state": state}
        case Gap() | Incomplete():
            return {"fault": repr(item)}
        case Event() | Agreed() | Connected() | Disconnected():
            return None


def position_after(journal: Iterable[dict[str, Any]]) -> Position | None:
    """Where to resume: the last event or snapshot; before the first one where the first connection began."""
    last = None
    for line in journal:
        match line:
            case {"event": [epoch, seq, _]} | {"snapshot": [epoch, seq]}:
                last = Position(epoch, seq)
            case {"connected": [epoch, seq]} if last is None:
                last = Position(epoch, seq)
    return last


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Its whole lines."""
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield orjson.loads(line)


async def run(url: str, journal: Path, topics: list[str], forget: bool) -> None:
    """Follow for ever, from where the journal ends."""
    since = position_after(read_journal(journal))
    if since is not None and forget:
        since = Position(OTHER_LOG, since.seq)
    out = os.open(journal, os.O_CREAT | os.O_RDWR | os.O_APPEND)
    _cut_torn_end(out)
    os.write(out, orjson.dumps({"begin": os.getpid(), "forget": forget}) + b"\n")
    quick = lambda low, high: random.uniform(low, min(high, LONGEST_WAIT))  # noqa: E731
    async with follow(url, topics, since=since, snapshot=True, patient=True, uniform=quick) as items:
        async for item in items:
            if (line := noted(item)) is not None:
                os.write(out, orjson.dumps(line) + b"\n")


def _cut_torn_end(out: int) -> None:
    """A kill within a write leaves half a line: it was not handled."""
    size = os.fstat(out).st_size
    whole = os.pread(out, size, 0).rfind(b"\n") + 1
    os.ftruncate(out, whole)


def main() -> None:
    """Until killed."""
    url, journal, *topics = [word for word in sys.argv[1:] if word != "--forget"]
    trio.run(run, url, Path(journal), topics, "--forget" in sys.argv)


if __name__ == "__main__":
    main()
