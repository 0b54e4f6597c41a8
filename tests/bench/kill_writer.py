"""The writer of `kill`: appends to several transcripts until SIGTERM, then prints how many lines it wrote.

    python -m tests.bench.kill_writer ROOT SEED LINES_PER_SECOND

Lines come whole, several in one write, or torn into two writes; files are created, moved, rotated (moved away, and
begun anew under the old name) and replaced by longer copies of themselves. Every line carries a mark of its own,
`kill-N.`, so that the oracle can tell which line an event is about.

A file that is replaced is never moved: who was away for both sees a copy beside an unknown file, and of a copy the
lines without a uuid (here: the broken ones) are published, as the protocol has it.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import attrs

from tests.bench.transcript import now

MAX_OPEN = 10  # files that are appended to; older ones rest
BIG = 60_000  # characters of a large line
PROJECTS = 4


@attrs.define
class Transcript:
    """One file that grows. moves: it is moved and rotated, else replaced. rest: what is missing of a torn line."""

    path: Path
    session: str
    cwd: str
    moves: bool
    rest: bytes = b""

    def append(self, data: bytes) -> None:
        """One write."""
        with self.path.open("ab", buffering=0) as file:
            file.write(data)

    def complete(self) -> None:
        """Write what is missing of a torn line."""
        rest, self.rest = self.rest, b""
        if rest:
            self.append(rest)


@attrs.define
class Writer:
    """Decides by its dice what happens to which file."""

    root: Path
    dice: random.Random
    lines: int = 0
    named: int = 0
    files: list[Transcript] = attrs.field(factory=list)

    def step(self) -> None:
        """One thing."""
        if not self.files:
            self.begin()
        chosen = self.dice.choice(self.files)
        chosen.complete()
        deeds = self._deeds(chosen)
        (does,) = self.dice.choices([does for does, _ in deeds], [weight for _, weight in deeds])
        does(chosen)

    def end(self) -> None:
        """Leave no torn line behind."""
        for transcript in self.files:
            transcript.complete()

    def _deeds(self, chosen: Transcript) -> list[tuple[Callable[[Transcript], None], int]]:
        names = [(self.rotate, 5), (self.move, 3)] if chosen.moves else [(self.replace, 8)]
        return [(self.whole, 70), (self.torn, 15), (self.begin, 5), (self.big, 2), *names]

    def whole(self, chosen: Transcript) -> None:
        """One to five lines in one write."""
        chosen.append(b"".join(self._line(chosen) for _ in range(self.dice.randint(1, 5))))

    def torn(self, chosen: Transcript) -> None:
        """The first part of a line; the rest comes when the file is next chosen."""
        line = self._line(chosen)
        cut = self.dice.randrange(1, len(line))
        chosen.append(line[:cut])
        chosen.rest = line[cut:]

    def big(self, chosen: Transcript) -> None:
        """A large line."""
        chosen.append(self._line(chosen, "x" * BIG))

    def begin(self, _chosen: Transcript | None = None) -> None:
        """A new conversation; beyond MAX_OPEN the one that has waited longest rests from now on."""
        number = self.dice.randrange(PROJECTS)
        folder = self.root / f"-p{number}"
        folder.mkdir(exist_ok=True)
        made = Transcript(self._fresh(folder), f"session-{self.named}", f"/p{number}", self.dice.random() < 0.6)
        made.append(self._line(made))
        self.files.append(made)
        if len(self.files) > MAX_OPEN:
            self.files.pop(0).complete()

    def move(self, chosen: Transcript) -> None:
        """The same file under another name."""
        chosen.path = chosen.path.rename(self._fresh(chosen.path.parent))

    def rotate(self, chosen: Transcript) -> None:
        """Away, and a new file in its place."""
        chosen.path.rename(self._fresh(chosen.path.parent))
        chosen.append(self._line(chosen))

    def replace(self, chosen: Transcript) -> None:
        """A longer copy of the file takes its name."""
        copy = chosen.path.with_suffix(".tmp")
        copy.write_bytes(chosen.path.read_bytes() + self._line(chosen))
        copy.rename(chosen.path)

    def _fresh(self, folder: Path) -> Path:
        self.named += 1
        return folder / f"c{self.named}.jsonl"

    def _line(self, transcript: Transcript, text: str = "") -> bytes:
        self.lines += 1
        mark = f"kill-{self.lines}."
        if self.dice.random() < 0.02:
            return f'{{"broken": "{mark}\n'.encode()
        return json.dumps({"uuid": mark, **self._body(transcript, mark, text)}).encode() + b"\n"

    def _body(self, transcript: Transcript, mark: str, text: str) -> dict[str, Any]:
        place = {"sessionId": transcript.session, "cwd": transcript.cwd, "timestamp": now(), "parentUuid": None}
        match self.dice.randrange(20):
            case 0:
                return {"type": "ai-title", "aiTitle": f"{mark} a name", "sessionId": transcript.session}
            case 1 | 2:
                return {"type": "user", "message": {"role": "user", "content": f"asks {text}"}, **place}
            case _:
                usage = {"input_tokens": self.dice.randrange(9), "output_tokens": self.dice.randrange(99)}
                content = [{"type": "text", "text": f"says {text}"}]
                message = {"id": f"msg-{mark}", "role": "assistant", "content": content, "usage": usage}
                return {"type": "assistant", "message": message, **place}


def main() -> None:
    """Write until told to stop."""
    root, seed, per_second = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    told: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        told.append(number)

    signal.signal(signal.SIGTERM, stop)
    dice = random.Random(f"{seed}/writer")
    writer = Writer(root, dice)
    parent = os.getppid()
    while not told and os.getppid() == parent:
        before = writer.lines
        writer.step()
        time.sleep(dice.expovariate(per_second) * (writer.lines - before))
    writer.end()
    print(writer.lines)


if __name__ == "__main__":
    main()
