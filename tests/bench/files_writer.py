"""The writer of tests.bench.files, a process of its own: many transcripts that grow on a steady beat.

Prints one JSON object when it is done: lines written, and by how much its own beat was late.
"""

import argparse
import gc
import json
import os
import random
import time
from pathlib import Path
from uuid import UUID

import attrs

from tests.bench.arrivals import mark
from tests.bench.figures import quantile
from tests.bench.transcript import Conversation, now, project_of

TICK = 0.001  # seconds between two looks at what is due


@attrs.define
class Template:
    """An answer with blanks for what differs from line to line: making the JSON each time is too slow."""

    text: bytes

    def line(self, uuid: str, message_id: str, stamp: str, first_word: str) -> bytes:
        """A line as its own answer."""
        return self.text % {
            b"uuid": uuid.encode(),
            b"message": message_id.encode(),
            b"stamp": stamp.encode(),
            b"mark": first_word.encode(),
        }


def template(conversation: Conversation) -> Template:
    """Cut from a real answer of the conversation."""
    line = conversation.answer("MARK").replace(b"%", b"%%")
    found = json.loads(line)
    blanks = {found["uuid"]: "uuid", found["message"]["id"]: "message", found["timestamp"]: "stamp", "MARK": "mark"}
    for value, name in blanks.items():
        assert line.count(value.encode()) == 1, value
        line = line.replace(value.encode(), b"%%(%s)b" % name.encode())
    return Template(line)


def order(files: int, draw: random.Random) -> list[int]:
    """The files in the order in which they write, again and again: spread evenly over each round."""
    return draw.sample(range(files), files)


def write(opts: argparse.Namespace) -> dict[str, float]:
    """Each file gets `rate` lines a second; the lines of all files are spread evenly over time."""
    draw = random.Random(opts.seed)
    conversations = [Conversation(number, cwd=project_of(number)) for number in range(opts.files)]
    templates = [template(one) for one in conversations]
    flags = os.O_WRONLY | os.O_APPEND
    opened = [os.open(opts.projects / one.folder / f"{one.session_id}.jsonl", flags) for one in conversations]
    turns, total = order(opts.files, draw), round(opts.files * opts.rate * opts.seconds)
    gc.disable()
    late, done, start = list[float](), 0, time.monotonic()
    while done < total:
        due = min(total, int((time.monotonic() - start) * opts.files * opts.rate) + 1)
        stamp = now()
        for number in range(done, due):
            file, message_id = turns[number % opts.files], f"msg_{draw.getrandbits(96):024x}"
            uuid, at = str(UUID(int=draw.getrandbits(128), version=4)), time.monotonic_ns()
            os.write(opened[file], templates[file].line(uuid, message_id, stamp, mark(file, number // opts.files, at)))
            late.append(at / 1e9 - start - number / (opts.files * opts.rate))
        done = due
        time.sleep(TICK)
    return {
        "written": done,
        "seconds": round(time.monotonic() - start, 2),
        "late_p99_ms": round(quantile(late, 0.99) * 1e3, 2),
        "late_max_ms": round(max(late) * 1e3, 2),
    }


def main() -> None:
    """Write, then tell."""
    made = argparse.ArgumentParser()
    made.add_argument("--projects", type=Path, required=True)
    for name, kind in (("files", int), ("rate", float), ("seconds", float), ("seed", int)):
        made.add_argument(f"--{name}", type=kind, required=True)
    print(json.dumps(write(made.parse_args())))


if __name__ == "__main__":
    main()
