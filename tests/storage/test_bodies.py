"""Bodies in blocks: every byte comes back, and what was forgotten is in none of them."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.batch import Batch, FileState, Flag, RecordRow, SourceRow, record_key
from observatory.core.bodies import BLOCK_BYTES, PACKED, RAW, body_in, pack, text_of
from observatory.core.errors import StoreError
from observatory.core.forgetting import Target
from observatory.storage.bodies import QUIET_NS, Bodies
from observatory.storage.log import EventLog
from tests.storage.packing import everything
from tests.storage.test_forget import SECRET, filled

NOW, LATER = 1_795_381_200_000, 1_795_381_200_000 * 1_000_000 + QUIET_NS
LINE = b'{"type":"user","uuid":"%d","message":{"content":"' + b"the quick brown fox " * 20 + b'"}}'


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    made = EventLog(tmp_path, "b")
    yield made
    made.close()


def add(log: EventLog, bodies: list[bytes], *, source: int = 1, generation: int = 0, offset: int = 0) -> list[int]:
    """Records of a source, with its books; returns their keys."""
    batch = lines_at(bodies, offset, source=source, generation=generation)
    log.append(batch, NOW)
    return [row.key for row in batch.records]


def lines_at(bodies: list[bytes], offset: int, *, source: int = 1, generation: int = 0) -> Batch:
    """A batch with records of a source from an offset on, and its books."""
    batch = Batch()
    for body in bodies:
        place = (source, generation, offset, len(body), len(body) + 1, 0, "c")
        batch.records.append(RecordRow(*place, "user", "prompt", None, None, None, 0, None, body))
        offset += len(body) + 1
    state = FileState(1, 2, offset, NOW * 1_000_000, 0)
    batch.sources[source] = SourceRow(source, f"/f{source}", "/r", state, generation, offset, 0, len(bodies), "c")
    return batch


def stored(log: EventLog) -> list[tuple[int, int]]:
    return log._db.execute("SELECT id, codec FROM records ORDER BY id").fetchall()


def read(log: EventLog, source: int = 1) -> list[bytes]:
    return [body for _, _, body in log.lines(source)]


@given(st.lists(st.binary(max_size=300) | st.just(b"x" * BLOCK_BYTES), max_size=40))
def test_each_body_comes_back_out_of_its_block(bodies: list[bytes]) -> None:
    blocks, places = pack(bodies)
    text, back = b"", []
    for number, (codec, place) in enumerate(places):
        text = text_of(blocks[number][1]) if number in blocks else text
        back.append(body_in(text, place) if codec == PACKED else place)
    assert back == bodies
    assert all(codec == (PACKED if body else RAW) for (codec, _), body in zip(places, bodies, strict=True))
    assert all(len(text_of(block)) <= BLOCK_BYTES for _, block in blocks.values())
    held = [number for first, (last, _) in blocks.items() for number in range(first, last + 1)]
    assert held == list(range(len(bodies)))


def test_full_blocks_are_packed_at_once_and_the_rest_when_the_file_is_quiet(log: EventLog) -> None:
    bodies = [LINE % n for n in range(800)]
    keys = add(log, bodies)
    assert read(log) == bodies
    assert log.pack(NOW * 1_000_000)
    assert log.pack(NOW * 1_000_000)
    assert not log.pack(NOW * 1_000_000)  # 100 KB are left, and more may come
    raw = [key for key, codec in stored(log) if codec == RAW]
    assert raw == keys[-len(raw) :]
    assert 0 < len(raw) < 300
    more = [LINE % n for n in range(800, 1000)]
    add(log, more, offset=sum(len(body) + 1 for body in bodies))
    assert log.pack(NOW * 1_000_000)
    assert not log.pack(NOW * 1_000_000)
    assert log.pack(LATER + 1)
    assert not log.pack(LATER + 1)
    assert {codec for _, codec in stored(log)} == {PACKED}
    assert read(log) == bodies + more
    (size,) = log._db.execute("SELECT sum(length(data)) FROM blocks").fetchone()
    assert size < 0.2 * sum(map(len, bodies + more))


def test_a_block_does_not_reach_over_another_ones_rows(log: EventLog) -> None:
    bodies = [LINE % n for n in range(60)]
    keys = add(log, bodies)
    blocks, places = pack(bodies[20:25])
    log._db.execute("INSERT INTO blocks VALUES (?, ?, ?)", (keys[20], keys[24], blocks[0][1]))
    for key, (codec, place) in zip(keys[20:25], places, strict=True):
        log._db.execute("UPDATE records SET codec = ?, body = ? WHERE id = ?", (codec, place, key))
    while log.pack(LATER + 1):
        assert read(log) == bodies
    assert {codec for _, codec in stored(log)} == {PACKED}


def test_a_new_generation_is_packed_from_its_beginning(log: EventLog) -> None:
    add(log, [LINE % n for n in range(300)])
    while log.pack(LATER + 1):
        pass
    new = [LINE % n for n in range(1000, 1300)]
    add(log, new, generation=1)
    while log.pack(LATER + 1):
        pass
    assert {codec for _, codec in stored(log)} == {PACKED}
    assert read(log)[300:] == new


def test_records_beyond_the_books_stay_as_they_are(log: EventLog) -> None:
    keys = add(log, [LINE % n for n in range(300)])
    log._db.execute("UPDATE sources SET offset = ?", (keys[10] - record_key(1, 0, 0),))
    while log.pack(LATER + 1):
        pass
    assert [codec for _, codec in stored(log)] == [PACKED] * 10 + [RAW] * 290


def test_what_other_parts_ask_of_packed_records(log: EventLog) -> None:
    bodies = [b"first", *(LINE % n for n in range(200)), b"last one"]
    keys = add(log, bodies)
    while log.pack(LATER + 1):
        pass
    (source,) = log.sources()
    first, last = log.marks(source, 4)
    assert (first.key, first.size, first.head, first.tail) == (keys[0], 5, b"firs", b"irst")
    assert (last.key, last.size, last.head, last.tail) == (keys[-1], 8, b"last", b" one")
    log._db.execute("UPDATE records SET conversation_id = NULL, flags = ?", (Flag.TAIL,))
    assert [record.body for record in log.waiting(1)] == bodies
    log._db.execute("UPDATE sources SET offset = 0")
    assert log.tail(log.sources()[0]) == b"first"


@pytest.mark.parametrize(
    "damage", ["DELETE FROM blocks", "UPDATE blocks SET data = x'00'", "UPDATE records SET body = x'01'"]
)
def test_a_damaged_block_is_told(log: EventLog, damage: str) -> None:
    add(log, [LINE % n for n in range(300)])
    while log.pack(LATER + 1):
        pass
    log._db.execute(damage)
    with pytest.raises(StoreError, match=r"the block of record \d+ is damaged"):
        read(log)


def test_a_place_beyond_its_block_is_told() -> None:
    blocks, places = pack([b"abc"])
    with pytest.raises(ValueError, match="shorter"):
        body_in(text_of(blocks[0][1])[:2], places[0][1])


def test_an_unknown_codec_is_told() -> None:
    with pytest.raises(StoreError, match="codec 9"):
        Bodies(sqlite3.connect(":memory:")).of(1, 9, b"")


def test_packing_that_fails_changes_nothing(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [LINE % n for n in range(300)]
    add(log, bodies)
    log._db.execute("CREATE TRIGGER full BEFORE UPDATE OF packed ON sources BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(StoreError):
        log.pack(LATER + 1)
    assert {codec for _, codec in stored(log)} == {RAW}
    assert read(log) == bodies


def test_forgetting_leaves_nothing_in_blocks(tmp_path: Path) -> None:
    """The lines of the conversation, and those that a fork copied from it, which lie between its own in one block."""
    log = filled(tmp_path)
    log._db.execute("UPDATE sources SET offset = 1 << 30, mtime_ns = 0, packed = 0")
    while log.pack(LATER + 1):
        pass
    assert {codec for _, codec in stored(log)} == {PACKED}
    assert any(SECRET in text_of(data) for (data,) in log._db.execute("SELECT data FROM blocks"))
    kept = {
        key: Bodies(log._db).of(key, codec, body)
        for key, codec, body in log._db.execute("SELECT id, codec, body FROM records")
    }
    log.forget(Target("conversation", "c"), NOW)
    assert log.scrub()
    texts = [text_of(data) for (data,) in log._db.execute("SELECT data FROM blocks")]
    assert not any(SECRET in text for text in texts)
    assert SECRET not in everything(tmp_path)
    left = log._db.execute("SELECT id, codec, body FROM records WHERE error IS NULL").fetchall()
    assert left
    assert all(Bodies(log._db).of(key, codec, body) == kept[key] for key, codec, body in left)
    log.close()
