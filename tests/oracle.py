"""The delivery oracle: what the log published to a client's topics, against what the client received.

published = the events of the log database; received = all frames of a client over all its connections. Both must be the
same events, each once, in order, byte for byte; a hole is allowed only where it was declared and a snapshot taken.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
import orjson

from observatory.core.client_items import Connected, Event, Item, Snapshot
from observatory.core.topics import EVERYONE
from tests.core.filters import holds

SHOWN = 5  # of each kind of fault


@attrs.frozen
class Published:
    """An event of the log, as it was committed."""

    seq: int
    topics: frozenset[str]
    payload: bytes


@attrs.frozen
class Received:
    """An event frame's payload, as the client got it."""

    seq: int
    payload: bytes


@attrs.frozen
class Change:
    """From now on (every event with seq > `after`) the client holds these topics, behind this filter."""

    after: int
    topics: frozenset[str]
    where: dict[str, Any] | None = None


@attrs.frozen
class Hole:
    """Events with after < seq ≤ upto that the server declared lost (recovered false, resync); a snapshot is theirs."""

    after: int
    upto: int


@attrs.define
class Witness:
    """One client over all its connections. changes: rising in `after`; before the first one nothing is due."""

    changes: list[Change] = attrs.field(factory=list)
    frames: list[Received] = attrs.field(factory=list)
    holes: list[Hole] = attrs.field(factory=list)

    def take(self, item: Item, topics: Iterable[str]) -> None:
        """Note what `follow` handed out. A Gap declares nothing: what it left out is missing."""
        match item:
            case Connected(position=position) if position is not None and not self.changes:
                self.changes.append(Change(position.seq, frozenset(topics)))
            case Snapshot(position=position) if self.changes:
                last = self.frames[-1].seq if self.frames else self.changes[0].after
                self.holes.append(Hole(last, position.seq))
            case Event(seq=seq, text=text) if seq is not None:
                self.frames.append(Received(seq, text.encode()))


@attrs.frozen
class Verdict:
    """Seqs by kind of fault; all empty when the delivery was right."""

    missing: tuple[int, ...] = ()
    doubled: tuple[int, ...] = ()
    out_of_order: tuple[int, ...] = ()
    altered: tuple[int, ...] = ()
    unexpected: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return not any(attrs.astuple(self))

    def __str__(self) -> str:
        faults = {name: seqs for name, seqs in attrs.asdict(self).items() if seqs}
        told = (f"{len(seqs)} {name}: {', '.join(map(str, seqs[:SHOWN]))}" for name, seqs in faults.items())
        return "; ".join(told) or "each once, in order, unaltered"


def read_log(path: Path) -> tuple[Published, ...]:
    """The events of a log database, opened read-only. Raises AssertionError when their seqs are not dense."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT seq, topics, payload FROM events ORDER BY seq").fetchall()
    seqs = [seq for seq, _, _ in rows]
    assert not seqs or seqs == list(range(seqs[0], seqs[0] + len(seqs))), "the log is not dense"
    return tuple(Published(seq, frozenset(topics.split(" ")), payload) for seq, topics, payload in rows)


def check(published: Iterable[Published], witness: Witness, upto: int | None = None) -> None:
    """Raise AssertionError unless the client got all it was due, up to a seq (None: to the log's end)."""
    verdict = judge(published, witness, upto)
    assert verdict, f"delivery is wrong: {verdict}"


def judge(published: Iterable[Published], witness: Witness, upto: int | None = None) -> Verdict:
    """Compare what was due with what came."""
    log = {event.seq: event for event in published}
    due = {event.seq for event in log.values() if _is_due(event, witness) and (upto is None or event.seq <= upto)}
    seen: set[int] = set()
    doubled, out_of_order, altered, unexpected = [], [], [], []
    highest = 0
    for frame in witness.frames:
        if frame.seq in seen:
            doubled.append(frame.seq)
        elif frame.seq < highest:
            out_of_order.append(frame.seq)
        if frame.seq not in log or not _is_due(log[frame.seq], witness):
            unexpected.append(frame.seq)
        elif frame.payload != log[frame.seq].payload:
            altered.append(frame.seq)
        seen.add(frame.seq)
        highest = max(highest, frame.seq)
    missing = sorted(due - seen)
    return Verdict(*map(tuple, (missing, doubled, out_of_order, altered, unexpected)))


def _is_due(event: Published, witness: Witness) -> bool:
    if any(hole.after < event.seq <= hole.upto for hole in witness.holes):
        return False
    change = next((change for change in reversed(witness.changes) if change.after < event.seq), None)
    if change is None or not any(_meets(topic, {*change.topics, EVERYONE}) for topic in event.topics):
        return False
    return change.where is None or holds(change.where, _parsed(event.payload))


@lru_cache(maxsize=4096)
def _parsed(payload: bytes) -> dict[str, Any]:
    """An event; many clients' filters are asked about each."""
    event: dict[str, Any] = orjson.loads(payload)
    return event


def _meets(topic: str, held: set[str]) -> bool:
    """An event's topic that ends in `:*` stands for a family."""
    return topic in held or (topic.endswith(":*") and any(one.startswith(topic[:-1]) for one in held))
