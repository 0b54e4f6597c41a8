"""The event log: dense seq, one transaction, epochs, retention, lookups."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import attrs
import orjson
import pytest

from observatory.core.batch import (
    Batch,
    ConversationUsage,
    FileState,
    RecordRow,
    SourceRow,
    StoredRecord,
    ToolCallRow,
    record_key,
    split_key,
)
from observatory.core.conversation import Conversation
from observatory.core.detail import Detail
from observatory.core.errors import StoreError
from observatory.core.events import Draft
from observatory.core.project import Project
from observatory.core.usage import Usage
from observatory.storage.log import EventLog, Retention

NOW = 1_795_381_200_000
STATE = FileState(1, 2, 3, 4, 5)
DETAIL = Detail("2026-01-01T00:00:00.000Z", "claude-x", "main", "standard", "fast", "us", 2, 1, 5, 0.25)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    made = EventLog(tmp_path, "boot-1")
    yield made
    made.close()


def drafts(count: int) -> Batch:
    return Batch(drafts=[Draft("message_added", {"n": n}, ("all_conversations", "project:p")) for n in range(count)])


def record(offset: int, source: int = 1, **changes: object) -> RecordRow:
    row = RecordRow(source, 0, offset, 10, 11, 0, "c", "user", "prompt", "u", None, None, 0, None, b"{}")
    return attrs.evolve(row, **changes)  # type: ignore[arg-type]


def conversation(key: str = "c") -> Conversation:
    return Conversation(key, "p", "s", "/f.jsonl", "2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.000Z")


def project(key: str = "p", path: str = "/w", slug: str = "-w") -> Project:
    at = "2026-01-01T00:00:00.000Z"
    return Project(key, "w", path, slug, True, at, at, at)


def test_seq_is_dense_from_one_and_the_payload_is_the_envelope(log: EventLog) -> None:
    first = log.append(drafts(2), NOW)
    second = log.append(drafts(1), NOW + 5)
    assert [event.seq for event in (*first, *second)] == [1, 2, 3]
    envelope = orjson.loads(second[0].payload)
    assert envelope == {
        "type": "message_added",
        "data": {"n": 0},
        "timestamp": NOW + 5,
        "seq": 3,
        "epoch": log.position.epoch,
    }
    assert (log.position.head, log.position.oldest) == (3, 1)


def test_an_empty_log_says_where_it_is(log: EventLog) -> None:
    assert (log.position.head, log.position.oldest) == (0, 1)


def test_a_batch_that_cannot_be_encoded_stores_nothing(log: EventLog) -> None:
    bad = Batch(records=[record(0)], drafts=[Draft("x", {"bad": object()}, ("system",))])
    with pytest.raises(TypeError):
        log.append(bad, NOW)
    assert log.position.head == 0
    assert log.append(drafts(1), NOW)[0].seq == 1


def test_records_and_rows_are_stored_with_the_events(log: EventLog, tmp_path: Path) -> None:
    source = SourceRow(log.new_source_id(), "/f.jsonl", "/r", STATE, 0, 22, 0, 2, "c")
    batch = Batch(
        sources={1: source},
        records=[record(0), record(11, error="not JSON", conversation_id=None)],
        conversations={"c": conversation()},
        projects={"p": project()},
        usage={("m", "c"): ConversationUsage(True, Usage(1, 2, 3, 4), DETAIL)},
        copies={-7: 1},
        tool_calls={("c", "t"): ToolCallRow("c", "t", "Bash", "1-0-0")},
        scanned_roots=["/r"],
    )
    log.append(batch, NOW)
    assert log.sources() == [source]
    assert log.scanned_roots() == {"/r": NOW}
    assert log.conversation("c") == conversation()
    assert log.project("p") == project()
    assert log.project_at("/w") == project()
    assert log.project_in("-w") == project()
    assert log.project_ids() == {"p"}
    assert log.usage("m") == {"c": ConversationUsage(True, Usage(1, 2, 3, 4), DETAIL)}
    assert log.has_tool_call("c", "t")
    assert log.waiting(1) == [StoredRecord(11, 11, 0, 0, b"{}")]
    assert [(key, body) for key, _, body in log.lines(1)] == [
        (record_key(1, 0, 0), b"{}"),
        (record_key(1, 0, 11), b"{}"),
    ]
    assert [log.conversation("x"), log.project("x"), log.project_at("x"), log.project_in("x")] == [None] * 4


def test_a_row_with_a_known_key_is_updated(log: EventLog) -> None:
    source = SourceRow(1, "/f.jsonl", "/r", STATE)
    log.append(Batch(sources={1: source}, conversations={"c": conversation()}, projects={"p": project()}), NOW)
    later = attrs.evolve(source, offset=99, missing=True)
    titled = attrs.evolve(conversation(), title="t")
    moved = attrs.evolve(project(), path="/v")
    log.append(Batch(sources={1: later}, conversations={"c": titled}, projects={"p": moved}), NOW)
    assert log.sources() == [later]
    assert log.conversation("c") == titled
    assert log.project_at("/v") == moved
    assert log.project_at("/w") is None


def test_the_same_line_twice_is_one_record(log: EventLog) -> None:
    log.append(Batch(records=[record(0), record(0)]), NOW)
    log.append(Batch(records=[record(0)]), NOW)
    assert [body for _, _, body in log.lines(1)] == [b"{}"]


def test_waiting_records_are_adopted(log: EventLog) -> None:
    log.append(Batch(records=[record(0, conversation_id=None), record(5, source=2, conversation_id=None)]), NOW)
    log.append(Batch(adopted=[(1, "c")]), NOW)
    assert log.waiting(1) == []
    assert len(log.waiting(2)) == 1


def test_the_first_holder_of_a_line_stays(log: EventLog) -> None:
    log.append(Batch(copies={-7: 1, 8: 2}), NOW)
    log.append(Batch(copies={-7: 3}), NOW)
    assert [log.first_holder(key) for key in (-7, 8, 9)] == [1, 2, None]


def test_records_ahead_of_the_books_are_found(log: EventLog) -> None:
    source = SourceRow(1, "/f.jsonl", "/r", STATE, offset=11)
    log.append(Batch(sources={1: source}, records=[record(n * 11) for n in range(4)]), NOW)
    log.append(Batch(records=[record(33, source=2)]), NOW)
    assert [ahead.offset for ahead in log.ahead(source)] == [11, 22, 33]
    assert log.behind() == {1}
    log.append(Batch(sources={1: attrs.evolve(source, offset=44)}), NOW)
    assert log.behind() == set()


def test_a_record_key_is_one_number_that_orders_by_source_generation_and_offset() -> None:
    places = [(1, 0, 0), (1, 0, 2**37 - 1), (1, 1, 0), (2, 0, 0), (2**20 - 1, 63, 2**37 - 1)]
    keys = [record_key(*place) for place in places]
    assert keys == sorted(keys)
    assert max(keys) < 2**63
    assert [split_key(key) for key in keys] == places


def test_a_restart_keeps_epoch_and_head(tmp_path: Path) -> None:
    log = EventLog(tmp_path, "boot-1")
    log.append(drafts(3), NOW)
    before, machine = log.position, log.machine_id
    log.close()
    again = EventLog(tmp_path, "boot-2")
    assert again.position == before
    assert again.machine_id == machine
    assert again.append(drafts(1), NOW)[0].seq == 4
    again.close()


def test_a_killed_process_keeps_the_epoch_on_the_same_boot(tmp_path: Path) -> None:
    killed = EventLog(tmp_path, "boot-1")
    killed.append(drafts(3), NOW)
    again = EventLog(tmp_path, "boot-1")  # `killed` was never closed
    assert again.position == killed.position
    again.close()
    killed._db.close()


@pytest.mark.parametrize("boot_id", ["boot-2", None])
def test_after_a_power_loss_the_epoch_is_new_and_no_seq_comes_back(tmp_path: Path, boot_id: str | None) -> None:
    killed = EventLog(tmp_path, "boot-1")
    killed.append(drafts(3), NOW)
    again = EventLog(tmp_path, boot_id)
    assert again.position.epoch != killed.position.epoch
    assert (again.position.head, again.position.oldest) == (3, 4)
    assert again.append(drafts(1), NOW)[0].seq == 4
    again.close()
    killed._db.close()


def test_a_killed_process_that_lost_its_write_ahead_file_has_a_new_epoch(tmp_path: Path) -> None:
    killed = EventLog(tmp_path, "boot-1")
    killed.append(drafts(3), NOW)
    killed._db.close()  # SQLite takes the file away, as a careless hand would
    again = EventLog(tmp_path, "boot-1")
    assert again.position.epoch != killed.position.epoch
    assert again.append(drafts(1), NOW)[0].seq == 4
    again.close()


def test_retention_by_count_age_and_bytes(log: EventLog) -> None:
    for n in range(10):
        log.append(drafts(10), NOW + n * 1000)
    generous = Retention(seconds=1e6, events=1000, bytes=10**9)
    assert log.trim(generous, NOW + 10_000) == 0
    assert log.trim(attrs.evolve(generous, events=95), NOW) == 5
    assert log.trim(attrs.evolve(generous, seconds=7.5), NOW + 10_000) == 25
    assert log.position.oldest == 31
    size = len(log.append(drafts(1), NOW)[0].payload)
    assert log.trim(attrs.evolve(generous, bytes=size * 20), NOW) >= 49
    kept = log.position.head - log.position.oldest + 1
    assert 19 <= kept <= 21


def test_a_log_trimmed_to_nothing_remembers_its_head(tmp_path: Path) -> None:
    log = EventLog(tmp_path, "boot-1")
    log.append(drafts(5), NOW)
    assert log.trim(Retention(seconds=1), NOW + 10_000) == 5
    assert (log.position.head, log.position.oldest) == (5, 6)
    log.close()
    again = EventLog(tmp_path, "boot-1")
    assert again.append(drafts(1), NOW)[0].seq == 6
    again.close()


def test_a_full_disk_stores_nothing_and_heals(log: EventLog) -> None:
    log.append(drafts(1), NOW)
    (pages,) = log._db.execute("PRAGMA page_count").fetchone()
    log._db.execute(f"PRAGMA max_page_count={pages + 2}")
    big = Batch(drafts=[Draft("x", {"text": "y" * 100_000}, ("system",))])
    with pytest.raises(StoreError, match="disk is full") as caught:
        log.append(big, NOW)
    assert caught.value.retryable
    assert log.position.head == 1
    log._db.execute("PRAGMA max_page_count=1000000")
    assert log.append(big, NOW)[0].seq == 2


def test_a_lock_of_another_program_is_told_at_once(log: EventLog) -> None:
    other = sqlite3.connect(log.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked") as caught:
        log.append(drafts(1), NOW)
    assert caught.value.retryable
    other.execute("ROLLBACK")
    other.close()
    assert log.append(drafts(1), NOW)[0].seq == 1
