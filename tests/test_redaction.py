"""Redaction as clients meet it: live, replayed, in snapshots and broadcasts, the same bytes every time."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.original.stage import embedded, line
from tests.traces import holding

KEY = "AK" + "IA" + "ABCDEFGHIJKLMNOP"
CLEAN = "[redacted:aws-key-id]"


def stored(tmp_path: Path, query: str) -> list[bytes]:
    path = tmp_path / "data" / "observatory.db"
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        return [value for (value,) in db.execute(query)]


async def test_what_leaves_is_redacted_live_and_replayed_alike_and_the_archive_keeps_it(tmp_path: Path) -> None:
    async with embedded(tmp_path, redact=True) as on:
        live = await on.client("all_conversations")
        on.write("-w/s.jsonl", line(1, KEY))
        await live.until("message_added")
        assert (await on.say("note", key=KEY)).seq
        await live.until("note")
        replayed = await on.client("all_conversations", since=0)
        await replayed.until("note")
        assert replayed.seen == live.seen
        assert KEY not in str(live.seen)
        assert f"{CLEAN} 1" in str(live.seen)
        assert live.seen[-1]["data"] == {"key": CLEAN}
        snapshot = (await (await on.stranger()).ask("get_snapshot"))["data"]
        assert snapshot["conversations"][0]["title"] == f"{CLEAN} 1"
        assert KEY.encode() in stored(tmp_path, "SELECT body FROM records")[0]


async def test_events_that_were_stored_before_are_redacted_when_they_leave(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        client = await on.client("all_conversations")
        on.write("-w/s.jsonl", line(1, KEY))
        await client.until("message_added")
        assert KEY in str(client.seen)
    async with embedded(tmp_path, redact=True) as on:
        again = await on.client("all_conversations", since=0)
        await again.until("message_added")
        assert KEY not in str(again.seen)
        assert CLEAN in str(again.seen)
        assert [event["seq"] for event in again.seen] == [event["seq"] for event in client.seen]


@pytest.mark.parametrize("kind", ["record", "note"])
async def test_what_is_stored_is_redacted_and_marked_when_that_is_wanted(tmp_path: Path, kind: str) -> None:
    async with embedded(tmp_path, redact_stored=True) as on:
        client = await on.client("all_conversations")
        if kind == "note":
            await on.say("note", key=KEY)
        else:
            on.write("-w/s.jsonl", line(1, KEY), line(2, "harmless"))
            await client.until("message_added")
        await on.received()
    records: list[dict[str, Any]] = [
        event["data"]["record"] for event in client.seen if event["type"] == "message_added"
    ]
    assert [record.get("redacted") for record in records] == ([True, None] if kind == "record" else [])
    assert CLEAN in str(client.seen)
    assert KEY not in str(client.seen)
    assert holding(tmp_path / "data", KEY.encode()) == []
    assert all(orjson.loads(body) for body in stored(tmp_path, "SELECT body FROM records"))
