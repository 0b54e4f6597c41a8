"""Replay pages and snapshots."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from observatory.core.batch import Batch
from observatory.core.errors import StoreError
from observatory.core.events import Draft
from observatory.storage.log import EventLog, Retention
from observatory.storage.reader import PAGE_BYTES, PAGE_EVENTS, LogReader
from tests.storage.damage import damage
from tests.storage.test_log import NOW, conversation, drafts, project


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    made = EventLog(tmp_path, "boot-1")
    yield made
    made.close()


@pytest.fixture
def reader(log: EventLog) -> Iterator[LogReader]:
    made = LogReader(log)
    yield made
    made.close()


async def test_a_page_holds_what_follows_up_to_a_bound(log: EventLog, reader: LogReader) -> None:
    events = log.append(drafts(10), NOW)
    page = await reader.read(3, 7)
    assert [row.seq for row in page] == [4, 5, 6, 7]
    assert page[0].payload == events[3].payload
    assert page[0].topics == {"all_conversations", "project:p"}
    assert await reader.read(10, 10) == []


async def test_a_page_is_bounded_by_events_and_bytes(log: EventLog, reader: LogReader) -> None:
    log.append(drafts(PAGE_EVENTS + 5), NOW)
    assert len(await reader.read(0, 10_000)) == PAGE_EVENTS
    head = log.position.head
    log.append(Batch(drafts=[Draft("x", {"t": "y" * (PAGE_BYTES // 3)}, ("system",)) for _ in range(5)]), NOW)
    assert [row.seq for row in await reader.read(head, 10_000)] == [head + 1, head + 2]


async def test_one_event_of_any_size_fits_a_page(log: EventLog, reader: LogReader) -> None:
    log.append(Batch(drafts=[Draft("x", {"t": "y" * PAGE_BYTES * 2}, ("system",))]), NOW)
    assert len(await reader.read(0, 1)) == 1


async def test_a_page_never_skips_what_was_trimmed(log: EventLog, reader: LogReader) -> None:
    log.append(drafts(10), NOW)
    log.trim(Retention(events=5), NOW)
    assert await reader.read(2, 10) == []
    assert len(await reader.read(5, 10)) == 5


async def test_what_the_log_has_lost_is_an_error_and_what_stands_before_it_is_given(
    log: EventLog, reader: LogReader
) -> None:
    """A reader that was fed from there once asked for the same page for ever."""
    log.append(drafts(10), NOW)
    log._db.execute("DELETE FROM events WHERE seq IN (4, 5, 10)")
    assert [row.seq for row in await reader.read(0, 10)] == [1, 2, 3]
    with pytest.raises(StoreError, match="has lost the events after seq 3") as caught:
        await reader.read(3, 10)
    assert not caught.value.retryable
    assert [row.seq for row in await reader.read(5, 10)] == [6, 7, 8, 9]
    with pytest.raises(StoreError, match="after seq 9"):
        await reader.read(9, 10)


async def test_a_damaged_page_is_an_error_and_what_stands_before_it_is_given(log: EventLog, reader: LogReader) -> None:
    log.append(Batch(drafts=[Draft("x", {"t": f"needle-{n:03}" * 30}, ("system",)) for n in range(1, 101)]), NOW)
    damage(log, b"needle-050")
    last = (await reader.read(0, 100))[-1].seq
    assert 30 < last < 50
    with pytest.raises(StoreError, match="is damaged") as caught:
        await reader.read(last, 100)
    assert not caught.value.retryable
    assert log.append(drafts(1), NOW)[0].seq == 101
    assert [row.seq for row in await reader.read(100, 101)] == [101]


async def test_a_snapshot_is_one_moment_with_its_position(log: EventLog, reader: LogReader) -> None:
    rows = {key: conversation(key) for key in ("a", "b", "c")}
    log.append(Batch(conversations=rows, projects={"p": project()}, drafts=drafts(2).drafts), NOW)
    found = await reader.snapshot(2)
    assert found["position"] == {"epoch": log.position.epoch, "seq": 2}
    assert found["truncated"] is True
    assert len(found["conversations"]) == 2
    assert found["conversations"][0]["file_path"] == "/f.jsonl"
    assert found["projects"][0]["path"] == "/w"
    whole = await reader.snapshot(10)
    assert whole["truncated"] is False


async def test_the_snapshot_of_an_emptied_log_knows_its_head(log: EventLog, reader: LogReader) -> None:
    assert (await reader.snapshot(1))["position"]["seq"] == 0
    log.append(drafts(3), NOW)
    log.trim(Retention(seconds=1), NOW + 10_000)
    assert (await reader.snapshot(1))["position"]["seq"] == 3
