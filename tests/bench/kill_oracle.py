"""What `kill` demands of a run: journals, transcripts and snapshots against the reopened log.

delivery   the union of all a client received over all its lives = what its topics were due, each once, in order, byte
           for byte; a hole only where the server declared it and a snapshot stands for it
snapshots  each equals the fold of all conversation and project events up to its position
sources    message_added of every whole line of the final files once, where it stands; tokens sum up to what was written
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import orjson

from tests.bench.kill_client import OTHER_LOG, digest, read_journal
from tests.oracle import Change, Hole, Published, Received, Witness, judge

MARK = re.compile(rb"kill-(\d+)\.")
RECOGNISED = b'{"uuid"'  # how the writer's lines begin, except for broken ones
SHOWN = 5
State = dict[str, dict[str, Any]]  # rows by id


@attrs.define
class Journal:
    """A client's journal, read. repeated: events seen again by a program that saves its position afterwards."""

    witness: Witness = attrs.field(factory=Witness)
    snapshots: list[tuple[int, dict[str, Any]]] = attrs.field(factory=list)  # position's seq, state
    epochs: set[str] = attrs.field(factory=set)
    faults: list[str] = attrs.field(factory=list)
    lives: int = 0
    connections: int = 0
    repeated: int = 0


def journal_of(lines: Iterable[dict[str, Any]], topics: Iterable[str]) -> Journal:
    """Read a journal as its client's witness."""
    found, asked = Journal(), frozenset(topics)
    witness, may_repeat = found.witness, False
    for line in lines:
        match line:
            case {"begin": _, "store": store}:
                found.lives, may_repeat = found.lives + 1, store
            case {"event": [epoch, seq, text]}:
                found.epochs.add(epoch)
                frame = Received(seq, text.encode())
                if may_repeat and witness.frames and witness.frames[-1] == frame:
                    found.repeated += 1  # in hand when the program was killed
                else:
                    witness.frames.append(frame)
                may_repeat = False
            case {"connected": [epoch, seq], "recovered": _}:
                found.epochs.add(epoch)
                found.connections += 1
                if not witness.changes:
                    witness.changes.append(Change(seq, asked))
            case {"snapshot": [epoch, seq], "state": state}:
                found.epochs.add(epoch)
                found.snapshots.append((seq, state))
                _begin_or_hole(witness, seq, asked)
            case {"fault": fault}:
                found.faults.append(fault)
    return found


def _begin_or_hole(witness: Witness, seq: int, topics: frozenset[str]) -> None:
    if witness.changes:
        last = witness.frames[-1].seq if witness.frames else witness.changes[0].after
        witness.holes.append(Hole(last, seq))
    else:
        witness.changes.append(Change(seq, topics))


def wrong_delivery(log: Sequence[Published], journal: Journal, upto: int | None = None) -> list[str]:
    """What a client did not get as it should, in words."""
    if not journal.witness.changes:
        return ["it never was subscribed"]
    found = list(journal.faults)
    if len(journal.epochs - {OTHER_LOG}) != 1:
        found.append(f"the log changed its epoch: {sorted(journal.epochs)}")
    verdict = judge([attrs.evolve(e, payload=digest(e.payload).encode()) for e in log], journal.witness, upto)
    return found if verdict else [*found, str(verdict)]


def wrong_snapshots(log: Sequence[Published], snapshots: Iterable[tuple[int, dict[str, Any]]]) -> list[str]:
    """Snapshots that differ from the fold of the events up to them."""
    found = []
    folded = Fold()
    events = iter(log)
    event = next(events, None)
    for seq, state in sorted(snapshots, key=lambda pair: pair[0]):
        while event is not None and event.seq <= seq:
            folded.take(event)
            event = next(events, None)
        found += [f"the snapshot at {seq}: {what}" for what in folded.differences(state)]
    return found


@attrs.define
class Fold:
    """The state that conversation and project events make of nothing. Null means cleared."""

    conversations: State = attrs.field(factory=dict)
    projects: State = attrs.field(factory=dict)

    def take(self, event: Published) -> None:
        """Merge shallowly by id."""
        kind = event.payload[9 : event.payload.index(b'"', 9)]
        if kind in (b"conversation_started", b"conversation_update", b"project_update"):
            rows = self.projects if kind == b"project_update" else self.conversations
            data = orjson.loads(event.payload)["data"]
            rows[data["id"]] = rows.get(data["id"], {}) | data

    def differences(self, state: dict[str, Any]) -> Iterator[str]:
        """In which rows a snapshot is another than the fold. A truncated one may leave out conversations."""
        for name, mine in (("projects", self.projects), ("conversations", self.conversations)):
            theirs = {row["id"]: row for row in state[name]}
            strange = sorted(theirs.keys() - mine.keys())
            absent = [] if state["truncated"] and name == "conversations" else sorted(mine.keys() - theirs.keys())
            other = [id for id in theirs.keys() & mine.keys() if _bare(theirs[id]) != _bare(mine[id])]
            for what, ids in (("strange", strange), ("absent", absent), ("other", sorted(other))):
                if ids:
                    yield f"{what} {name}: {', '.join(ids[:SHOWN])}"


def _bare(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value is not None}


# -- the sources -------------------------------------------------------------------------------------------------------


@attrs.frozen
class Line:
    """A whole line of a transcript: its mark, and where it stands."""

    mark: int
    offset: int
    length: int


def files_of(root: Path) -> Iterator[list[tuple[Line, bytes]]]:
    """The slow reference reader: the whole lines of each file, as they stand there in the end."""
    for path in sorted(root.rglob("*.jsonl")):
        lines, offset = [], 0
        for text in path.read_bytes().splitlines(keepends=True):
            if text.endswith(b"\n") and (found := MARK.search(text)):
                lines.append((Line(int(found[1]), offset, len(text) - 1), text))
            offset += len(text)
        yield lines


def due_lines(root: Path) -> list[tuple[Line, bytes]]:
    """What must be published: a file that holds nothing but broken lines is not known for a transcript, and waits."""
    found = []
    for lines in files_of(root):
        if any(text.startswith(RECOGNISED) for _, text in lines):
            found += lines
    return found


def messages_of(log: Iterable[Published]) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Every message_added of the log that is about a line of the writer."""
    for event in log:
        if event.payload.startswith(b'{"type":"message_added"') and (found := MARK.search(event.payload)):
            data = orjson.loads(event.payload)["data"]
            yield Line(int(found[1]), data["record"]["offset"], data["record"]["length"]), data


def tokens_written(text: bytes) -> int:
    """Of one line."""
    try:
        usage = orjson.loads(text)["message"]["usage"]
    except (ValueError, KeyError):
        return 0
    return int(usage["input_tokens"]) + int(usage["output_tokens"])


def wrong_sources(log: Sequence[Published], root: Path, written: int | None = None) -> list[str]:
    """Lines that were not published once each, as they stand; and whether their tokens sum up."""
    due, tokens = Counter[Line](), 0
    for line, text in due_lines(root):
        due[line] += 1
        tokens += tokens_written(text)
    came, grown = Counter[Line](), 0
    for line, data in messages_of(log):
        came[line] += 1
        delta = data.get("usage_delta", {})
        grown += sum(delta.get(key, 0) for key in ("input_tokens", "output_tokens"))
    found = [*_differences("lost", due - came), *_differences("doubled or strange", came - due)]
    if tokens != grown:
        found.append(f"usage_delta sums up to {grown} tokens, {tokens} were written")
    there = sum(map(len, files_of(root)))
    if written is not None and written != there:
        found.append(f"{written} lines were written, {there} are in the files")
    return found


def _differences(what: str, lines: "Counter[Line]") -> list[str]:
    some = ", ".join(f"kill-{line.mark} at {line.offset}+{line.length}" for line in sorted(lines, key=_mark)[:SHOWN])
    return [f"{lines.total()} lines {what}: {some}"] if lines else []


def _mark(line: Line) -> int:
    return line.mark


def read(path: Path, topics: Iterable[str]) -> Journal:
    """A client's journal from its file."""
    return journal_of(read_journal(path), topics)
