"""Files that are cut, rewritten, replaced, moved, deleted and made anew, with restarts: each line is news once."""

import os
import tempfile
from collections import Counter
from pathlib import Path

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ingest.stage import Stage, Told, prompt, uuids

NAMES = ("a.jsonl", "b.jsonl")
ACTS = ("append", "tear", "cut", "rewrite", "replace", "move", "swap", "delete", "touch", "restart", "kill")
Act = tuple[str, int, int]  # what, which file, how far


class Shaken:
    """Two files, what their lines were at each look, and what was told."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.count = 0
        self.seen: set[str] = set()
        self.told: list[Told] = []

    def lines(self, many: int) -> bytes:
        """New lines, of different lengths."""
        self.count += many
        numbers = range(self.count - many, self.count)
        return b"".join(prompt(n % 1000, "x" * (n * 37 % 400), uuid=f"u{n}") + b"\n" for n in numbers)

    def act(self, what: str, path: Path, other: Path, size: int) -> None:
        """One change of the disk."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.exists() else b""
        match what:
            case "append":
                self.write(path, content + self.lines(size % 4 + 1))
            case "tear":
                whole = self.lines(1)
                self.write(path, content + whole[: size * len(whole) // 100])
            case "cut" if content:
                os.truncate(path, size * len(content) // 100)
            case "rewrite":
                kept = content.splitlines(keepends=True)[size % 3 :: 2]
                self.write(path, b"".join(kept) + self.lines(size % 3))
            case "replace":
                draft = path.with_suffix(".draft")
                draft.write_bytes(content[: size * len(content) // 100].rpartition(b"\n")[0] + b"\n" + self.lines(1))
                draft.replace(path)
            case "move" if content:
                path.rename(other)
            case "swap" if content and other.exists():
                path.rename(path.with_suffix(".swap"))
                other.rename(path)
                path.with_suffix(".swap").rename(other)
            case "delete":
                path.unlink(missing_ok=True)
            case "touch" if content:
                os.utime(path)

    def write(self, path: Path, content: bytes) -> None:
        """In place, as an editor or a program that truncates does."""
        with path.open("r+b" if path.exists() else "wb") as file:
            file.write(content)
            file.truncate()

    async def look(self) -> None:
        """Hint at both files; whatever line is whole now must be told of some time, once."""
        for name in NAMES:
            path = self.stage.path(name)
            if path.exists():
                for line in path.read_bytes().split(b"\n")[:-1]:
                    if line.startswith(b"{") and line.endswith(b"}") and line.count(b'"uuid"') == 1:
                        self.seen.add(line.partition(b'"uuid":"')[2].partition(b'"')[0].decode())
        self.told += await self.stage.hint(*NAMES)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 1), st.integers(0, 100)), max_size=14))
def test_each_line_that_was_whole_at_a_look_is_told_of_once(acts: list[Act]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        shaken = Shaken(Stage(Path(directory)))
        trio.run(shake, shaken, acts)
        told = Counter(uuid for uuid in uuids(shaken.told) if uuid is not None)
        assert {uuid: count for uuid, count in told.items() if count > 1} == {}
        assert shaken.seen - told.keys() == set()
        compare(shaken.stage)


async def shake(shaken: Shaken, acts: list[Act]) -> None:
    """Act and look in turn; restarts come between."""
    stage, todo = shaken.stage, [*acts, ("append", 0, 1), ("append", 1, 1)]
    while todo:
        kill = next((what == "kill" for what, _, _ in todo if what in ("restart", "kill")), False)
        async with stage.running(killed=kill):
            shaken.told += stage.told()
            while todo:
                what, which, size = todo.pop(0)
                if what in ("restart", "kill"):
                    break
                shaken.act(what, stage.path(NAMES[which]), stage.path(NAMES[1 - which]), size)
                await shaken.look()


def compare(stage: Stage) -> None:
    """The records of each source's generation are what stands in its file, each in its place."""
    query = (
        "SELECT s.path, r.id & 0x1FFFFFFFFF, body_of(r.id, r.codec, r.body) FROM records AS r JOIN sources AS s"
        " ON s.id = r.id >> 43 AND s.generation = (r.id >> 37) & 63 WHERE s.missing = 0"
    )
    for path, offset, body in stage.rows(query):
        content = Path(path).read_bytes()
        assert content[offset : offset + len(body)] == body
    for path, offset in stage.rows("SELECT path, offset FROM sources WHERE missing = 0"):
        assert Path(path).read_bytes().rfind(b"\n") + 1 == offset
