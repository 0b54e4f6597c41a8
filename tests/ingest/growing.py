"""Real files that grow in steps: the tables at the end must not tell how.

`python -m tests.ingest.growing [FILE…]` reads every sample byte by byte (about ten minutes) and compares.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import trio
from trio.testing import wait_all_tasks_blocked

from actors.watcher import FileChanged
from observatory.ingest import actor
from tests.ingest.stage import NOW, Stage

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = Path(os.environ.get("OBSERVATORY_SAMPLES", ROOT.parent / "shared" / "transcripts")).resolve()
TABLES = {
    "sources": "SELECT id, path, generation, offset, lines, conversation_id, missing FROM sources ORDER BY id",
    "conversations": "SELECT * FROM conversations ORDER BY id",
    "projects": "SELECT id, path, slug, json_remove(body, '$.last_activity') FROM projects ORDER BY id",
    "usage": "SELECT * FROM usage ORDER BY 1, 2",
    "tool_calls": "SELECT * FROM tool_calls ORDER BY 1, 2",
    "copies": "SELECT * FROM copies ORDER BY 1",
    "summaries": "SELECT * FROM summaries ORDER BY 1, 2",
    "leaves": "SELECT * FROM leaves ORDER BY 1, 2",
}
TIDY_EVERY = 20_000  # steps: millions of file events are not what is compared, and would fill the disk
Sizes = Callable[[bytes], Iterable[int]]  # a content → the sizes that its file has one after the other


def samples() -> list[Path]:
    """The sample files, in a fixed order."""
    return sorted(SAMPLES.glob("projects/**/*.jsonl"))


def every_byte(content: bytes) -> Iterator[int]:
    """Each size."""
    return iter(range(1, len(content) + 1))


def at_once(content: bytes) -> list[int]:
    """Only the last."""
    return [len(content)]


def around_newlines(content: bytes, ends: int = 200, near: int = 1) -> list[int]:
    """Each size near the beginning, the end, and every newline."""
    sizes = {*range(1, ends), *range(max(1, len(content) - ends), len(content) + 1)}
    at = content.find(b"\n")
    while at >= 0:
        sizes |= {*range(at + 1 - near, at + 2 + near)}
        at = content.find(b"\n", at + 1)
    return sorted(size for size in sizes if 0 < size <= len(content))


def tables(files: Iterable[Path], sizes: Sizes) -> dict[str, Any]:
    """What is stored and published when the files grow in such steps, one file after the other."""
    with tempfile.TemporaryDirectory() as directory:
        delay, actor.BOOKS_DELAY = actor.BOOKS_DELAY, 0.0
        try:
            found = trio.run(_grow, Path(directory), list(files), sizes)
        finally:
            actor.BOOKS_DELAY = delay
    text = orjson.dumps(found, default=bytes.decode).replace(directory.encode(), b"")
    result: dict[str, Any] = orjson.loads(text)
    return result


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Where two results differ, the first place in each table, shortened."""
    told = []
    for name, rows in wanted.items():
        if found[name] != rows:
            pairs = zip(found[name], rows, strict=False)
            first = next((f"{a!s:.500} ≠ {b!s:.500}" for a, b in pairs if a != b), "more or fewer rows")
            told.append(f"{name} ({len(found[name])}, {len(rows)}): {first}")
    return told


async def _grow(directory: Path, files: list[Path], sizes: Sizes) -> dict[str, Any]:
    stage = Stage(directory)
    async with stage.running():
        stage.archive.machine_id = stage.ingest._books.machine_id = "machine"
        for file in files:
            path = stage.root / file.relative_to(SAMPLES / "projects")
            path.parent.mkdir(parents=True, exist_ok=True)
            await _append(stage, path, file.read_bytes(), sizes)
        await stage.settled()
        lines = stage.rows("SELECT payload FROM events WHERE topics LIKE 'all_conversations%'")
        events = [orjson.loads(payload) for (payload,) in lines]
        added = [event["data"] for event in events if event["type"] == "message_added"]
        found: dict[str, Any] = {name: stage.rows(query) for name, query in TABLES.items()}
        found["records"] = stage.records()
    return found | {"added": sorted(added, key=lambda data: data["record"]["id"])}


async def _append(stage: Stage, path: Path, content: bytes, sizes: Sizes) -> None:
    have = 0
    with path.open("ab", buffering=0) as target:
        for size in sizes(content):
            target.write(content[have:size])
            have = size
            os.utime(target.fileno(), ns=(0, (NOW + 1000) * 1_000_000))
            stage.ingest.send_nowait((FileChanged(str(path), 0),))
            await wait_all_tasks_blocked()
            if size % TIDY_EVERY == 0:
                stage.archive._db.execute("DELETE FROM events WHERE topics LIKE 'file_events%'")
                stage.archive._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def main() -> None:
    """Compare byte by byte with all at once."""
    files = [Path(name).resolve() for name in sys.argv[1:]] or samples()
    fast = tables(files, at_once)
    different = differences(tables(files, every_byte), fast)
    print(f"{sum(file.stat().st_size for file in files)} bytes of {len(files)} files, one byte at a time")
    print(", ".join(f"{len(rows)} {name}" for name, rows in fast.items()))
    print("\n".join(different) or "equal to reading them all at once")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
