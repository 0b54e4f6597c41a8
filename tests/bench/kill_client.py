"""A client of `kill`: follows its topics, and keeps what it got in a journal that only grows.

    python -m tests.bench.kill_client URL JOURNAL [--store] [--forget] TOPIC…

Two kinds, as docs/library.md tells programs to be. By itself: what was received and the place to resume from are the
same line of the journal, written by one write, so nothing is handled twice wherever the process is killed. With
--store: the typed subscription keeps its place in a file, and the event in hand at a kill comes again. With --forget it
claims to come from a log of another name, which makes the server declare a hole and give a snapshot.
"""

import hashlib
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import orjson
import trio

from observatory.client.api import connect
from observatory.client.follow import follow
from observatory.client.saved import SavedPosition
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


async def run(url: str, journal: Path, topics: list[str], forget: bool, store: bool) -> None:
    """Follow for ever, from where it was."""
    kept = SavedPosition(journal.with_suffix(".position"))
    since = kept.load() if store else position_after(read_journal(journal))
    if since is not None and forget:
        since = Position(OTHER_LOG, since.seq)
        if store:
            kept.save(since)
    out = os.open(journal, os.O_CREAT | os.O_RDWR | os.O_APPEND)
    _cut_torn_end(out)
    os.write(out, orjson.dumps({"begin": os.getpid(), "forget": forget, "store": store}) + b"\n")

    def note(item: Item) -> None:
        if (line := noted(item)) is not None:
            os.write(out, orjson.dumps(line) + b"\n")

    await (_subscribe(url, topics, kept, note) if store else _follow(url, topics, since, note))


async def _follow(url: str, topics: list[str], since: Position | None, note: Callable[[Item], None]) -> None:
    async with follow(url, topics, since=since, snapshot=True, patient=True, uniform=_quick) as items:
        async for item in items:
            note(item)


async def _subscribe(url: str, topics: list[str], kept: SavedPosition, note: Callable[[Item], None]) -> None:
    async with connect(url, uniform=_quick) as client:
        events = client.subscribe(*topics, store=kept.path, snapshot=True, patient=True, on_connection=note)
        async for event in events:
            note(event if isinstance(event, Snapshot | Gap | Incomplete) else event.envelope)


def _quick(low: float, high: float) -> float:
    return random.uniform(low, min(high, LONGEST_WAIT))


def _cut_torn_end(out: int) -> None:
    """A kill within a write leaves half a line: it was not handled."""
    size = os.fstat(out).st_size
    whole = os.pread(out, size, 0).rfind(b"\n") + 1
    os.ftruncate(out, whole)


def main() -> None:
    """Until killed."""
    words = sys.argv[1:]
    url, journal, *topics = [word for word in words if not word.startswith("--")]
    trio.run(run, url, Path(journal), topics, "--forget" in words, "--store" in words)


if __name__ == "__main__":
    main()
