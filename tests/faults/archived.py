"""What a world's log and archive hold, read from the disk."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from tests.faults.world import World


def records(world: World, file: str) -> list[dict[str, Any]]:
    """The records of a conversation as published, in order; the bytes are UTF-8."""
    found = []
    for event in world.published():
        if event.payload.startswith(b'{"type":"message_added"'):
            data = orjson.loads(event.payload.decode())["data"]
            if data["conversation_id"] == file:
                found.append(data["record"])
    return found


def uuids(world: World, file: str) -> list[str]:
    """Their uuids."""
    return [record["uuid"] for record in records(world, file)]


def stored(world: World) -> int:
    """Records in the archive."""
    with closing(sqlite3.connect(f"{(world.data_dir / 'observatory.db').as_uri()}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM records").fetchone()[0])


def offsets(world: World) -> dict[str, int]:
    """How far the books are in each file, by the log."""
    with closing(sqlite3.connect(f"{(world.data_dir / 'observatory.db').as_uri()}?mode=ro", uri=True)) as db:
        return {Path(path).stem: int(offset) for path, offset in db.execute("SELECT path, offset FROM sources")}
