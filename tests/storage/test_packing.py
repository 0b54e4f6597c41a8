"""Packing in idle time: full blocks, everything in the end, beside live lines and readers; what damage does."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from threading import Thread

import pytest
import trio

from observatory.core.batch import Batch, Flag, split_key
from observatory.core.bodies import BLOCK_BYTES, PACKED, RAW, pack, text_of
from observatory.core.errors import StoreError
from observatory.core.forgetting import Target
from observatory.storage import bodies as module
from observatory.storage import committer as committing
from observatory.storage.accounting import reading
from observatory.storage.bodies import Bodies
from observatory.storage.committer import Committer
from observatory.storage.log import EventLog, Retention
from tests.storage.packing import LONG_AFTER_NS, everything, pack_all
from tests.storage.test_bodies import LINE, NOW, add, lines_at, read, stored
from tests.storage.test_forget import SECRET, body
from tests.storage.test_forget import add as add_conversation
from tests.storage.test_log import drafts

SECRETS = [b'{"secret":"' + SECRET + b'"}', *(LINE % n for n in range(20))]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    made = EventLog(tmp_path, "b")
    yield made
    made.close()


def blocks(log: EventLog) -> dict[int, bytes]:
    return dict(log._db.execute("SELECT id, data FROM blocks ORDER BY id").fetchall())


# -- how blocks are cut ------------------------------------------------------------------------------------------------


def test_idle_time_makes_no_more_blocks_than_reading_a_file_at_once(log: EventLog) -> None:
    random = Random(1)
    bodies = [random.randbytes(5) * random.choice([10, 100, 1000, 5000]) for _ in range(400)]
    add(log, bodies)
    assert pack_all(log) == len(blocks(log)) == len(pack(bodies)[0])


def test_a_giant_body_is_a_block_of_its_own_and_an_empty_one_is_in_none(log: EventLog) -> None:
    bodies = [b"small", b"x" * (3 * BLOCK_BYTES), b"", b"after it" * 1000]
    keys = add(log, bodies)
    pack_all(log)
    assert {key: len(text_of(data)) for key, data in blocks(log).items()} == {
        keys[0]: 5,
        keys[1]: 3 * BLOCK_BYTES,
        keys[3]: 8000,
    }
    assert stored(log)[2] == (keys[2], RAW)
    assert read(log) == bodies


def test_a_step_looks_at_a_bounded_number_of_rows(log: EventLog) -> None:
    add(log, [b""] * (2 * module.PACK_ROWS) + [b"%8d" % n for n in range(module.PACK_ROWS + 1)])
    log._db.execute("UPDATE sources SET offset = offset + ?", (BLOCK_BYTES,))
    held = []
    while log.pack(NOW * 1_000_000):
        held.append(len(blocks(log)))
    assert held == [0, 0, 1, 2]


def test_every_generation_is_packed_by_itself(log: EventLog) -> None:
    bodies = {generation: [LINE % (1000 * generation + n) for n in range(90)] for generation in (0, 1, 4)}
    for generation, lines in bodies.items():
        add(log, lines, generation=generation)
    assert pack_all(log) == 5  # two of them have no records
    assert [split_key(key)[1] for key in blocks(log)] == [0, 1, 4]
    assert read(log) == [line for lines in bodies.values() for line in lines]


def test_an_archive_of_many_sources_is_packed_step_by_step_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    log = EventLog(tmp_path, "b")
    bodies = {source: [LINE % (100 * source + n) for n in range(50)] for source in range(1, 8)}
    for source, lines in bodies.items():
        add(log, lines, source=source)
    assert [log.pack(LONG_AFTER_NS) for _ in range(3)] == [True] * 3
    log._db.close()  # a kill
    log = EventLog(tmp_path, "b")
    assert pack_all(log) == 4
    assert {codec for _, codec in stored(log)} == {PACKED}
    assert all(read(log, source) == lines for source, lines in bodies.items())
    log.close()


def test_packing_gives_back_the_pages_that_the_bodies_took(log: EventLog) -> None:
    """Updating rows in place left each on a page of its own: the archive stayed as large as the transcripts."""
    bodies = [LINE % n * 4 for n in range(2000)]
    add(log, bodies)
    pack_all(log)
    (pages,) = log._db.execute("PRAGMA page_count").fetchone()
    (free,) = log._db.execute("PRAGMA freelist_count").fetchone()
    assert (pages - free) * 4096 < 0.1 * sum(map(len, bodies))


# -- records that change -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alone", [True, False])
def test_a_record_that_is_withdrawn_leaves_nothing_in_its_block_and_another_takes_its_place(
    log: EventLog, tmp_path: Path, alone: bool
) -> None:
    bodies = [b"[1]", SECRET] if not alone else [SECRET]
    keys = add(log, bodies)
    log._db.execute("UPDATE sources SET packed = 0")
    module.pack_next(log._db, module.Due(1, keys[0], keys[-1] + 1))
    assert len(blocks(log)) == 1
    log._db.execute("UPDATE sources SET packed = ?", (split_key(keys[-1])[2],))
    assert read(log) == bodies
    log.append(Batch(withdrawn=[keys[-1]]), NOW)
    assert SECRET not in b"".join(map(text_of, blocks(log).values()))
    more = [b"another line"] * 500
    add(log, more, offset=split_key(keys[-1])[2])
    pack_all(log)
    assert read(log) == bodies[:-1] + more


def test_forgetting_copies_in_the_middle_of_a_fork_leaves_its_own_lines_alone(tmp_path: Path) -> None:
    log = EventLog(tmp_path, "b")
    shared = [body(str(n), b"%d " % n + SECRET) for n in range(3)]
    own = [body(f"own {n}", b"harmless") for n in range(4)]
    between = [own[0], shared[0], own[1], own[2], shared[1], shared[2], own[3]]
    add_conversation(log, 1, "c", *shared)
    add_conversation(log, 2, "fork", *between, flags=Flag.COPY)
    log._db.execute("UPDATE sources SET offset = ?", (BLOCK_BYTES,))
    assert pack_all(log) == 2
    assert len(blocks(log)) == 2
    log.forget(Target("conversation", "c"), NOW)
    assert log.scrub()
    assert SECRET not in everything(tmp_path)
    assert [text for text in read(log, 2) if text] == own
    assert len(blocks(log)) == 1
    log.close()


# -- beside others -----------------------------------------------------------------------------------------------------


async def test_while_live_lines_come_and_others_read_every_body_is_whole_at_any_moment(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "CHECKPOINT_EVERY", 0.001)
    monkeypatch.setattr(committing, "PACK_PAUSE", 0.0)
    monkeypatch.setattr(committing, "PACK_FOR", 0.002)  # several rounds
    committer = Committer(log, Retention(), lambda: LONG_AFTER_NS // 1_000_000)
    packed, done, finished = 0, trio.Event(), trio.Event()
    step = log.pack

    def counted(now_ns: int) -> bool:
        nonlocal packed
        more = step(now_ns)
        packed += more
        return more

    monkeypatch.setattr(log, "pack", counted)

    def read_on() -> int:
        rounds = 0
        with reading(log.path.parent) as archive:
            while not done.is_set():
                for source in archive.sources():
                    for number, claim in enumerate(archive.claims(source)):
                        assert claim.body == LINE % number
                rounds += 1
        return rounds

    rounds: list[int] = []

    async def reader() -> None:
        rounds.append(await trio.to_thread.run_sync(read_on))
        finished.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(committer.keep_up)
        nursery.start_soon(reader)
        offset = number = 0
        with trio.fail_after(30):
            while packed < 8 or number < 1200:
                lines = [LINE % n for n in range(number, number + 10)]
                await committer.append(lines_at(lines, offset))
                offset, number = offset + sum(len(line) + 1 for line in lines), number + 10
                await trio.lowlevel.checkpoint()
        done.set()
        await finished.wait()
        nursery.cancel_scope.cancel()
    assert rounds[0] > 0
    assert [n for n, line in enumerate(read(log)) if line != LINE % n] == []


async def test_packing_without_live_lines_does_not_let_the_write_ahead_file_grow_with_the_archive(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints were made when there had been events, and packing has none: 109 MB packed left 161 MB in the file."""
    monkeypatch.setattr(committing, "CHECKPOINT_EVERY", 0.001)
    monkeypatch.setattr(committing, "PACK_PAUSE", 0.0)
    monkeypatch.setattr(committing, "PACK_FOR", 0.02)
    for source in range(1, 11):
        add(log, [LINE % n * 4 for n in range(500)], source=source)
    log._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    wal, done, step = log.path.with_name(f"{log.path.name}-wal"), trio.Event(), log.pack

    def told(now_ns: int) -> bool:
        more = step(now_ns)
        if not more:
            trio.from_thread.run_sync(done.set)
        return more

    monkeypatch.setattr(log, "pack", told)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Committer(log, Retention(), lambda: LONG_AFTER_NS // 1_000_000).keep_up)
        with trio.fail_after(30):
            await done.wait()
        nursery.cancel_scope.cancel()
    assert len(blocks(log)) > 60
    assert wal.stat().st_size < 0.5 * len(blocks(log)) * BLOCK_BYTES


@pytest.mark.parametrize("live", [False, True])
async def test_while_lines_are_committed_a_round_packs_one_block_only(
    log: EventLog, monkeypatch: pytest.MonkeyPatch, live: bool
) -> None:
    """Forty a second made one line in fourteen wait: the slowest hundredth took 6 ms instead of 2."""
    monkeypatch.setattr(committing, "PACK_PAUSE", 0.0)
    add(log, [LINE % n for n in range(1500)])
    step = log.pack

    def and_a_line(now_ns: int) -> bool:
        more = step(now_ns)
        log.append(drafts(1), NOW)
        return more

    if live:
        monkeypatch.setattr(log, "pack", and_a_line)
    await Committer(log, Retention(), lambda: LONG_AFTER_NS // 1_000_000)._pack()
    assert len(blocks(log)) == (1 if live else 6)


def test_a_look_up_meanwhile_finds_every_record(log: EventLog) -> None:
    """On the writing connection a look-up came between a row's deletion and its return: a file seemed to be new."""
    add(log, [LINE % n for n in range(3000)])
    (source,) = log.sources()
    packer = Thread(target=pack_all, args=(log,))
    packer.start()
    found = set()
    while packer.is_alive():
        found.add(tuple(mark.key for mark in log.marks(source, 4)))
        found |= {log._db.execute("SELECT count(*) FROM records").fetchone()}
    packer.join()
    assert found <= {tuple(mark.key for mark in log.marks(source, 4)), (3000,)}


# -- damage ------------------------------------------------------------------------------------------------------------


def test_a_flipped_bit_anywhere_in_a_block_is_told(log: EventLog) -> None:
    bodies = [LINE % n for n in range(30)]
    add(log, bodies)
    pack_all(log)
    ((key, data),) = blocks(log).items()
    told = 0
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        log._db.execute("UPDATE blocks SET data = ?", (bytes(flipped),))
        log._bodies.forget()
        try:
            assert read(log) == bodies, "a bit that says nothing about the text"
        except StoreError as error:
            told += f"the block of record {key} is damaged" in str(error)
    assert told > 0.95 * len(data)
    log._db.execute("UPDATE blocks SET data = ?", (data,))
    assert read(log) == bodies


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_no_other_block_is_taken_for_one_that_is_gone(log: EventLog, gone: int) -> None:
    keys = [key for source in (1, 2) for key in add(log, [LINE % n for n in range(400)], source=source)]
    pack_all(log)
    missing = list(blocks(log))[gone]
    log._db.execute("DELETE FROM blocks WHERE id = ?", (missing,))
    assert missing in keys
    with pytest.raises(
        StoreError, match=rf"record {missing} is damaged \(it is not there\).*observatory doctor --rebuild"
    ):
        read(log, 1) + read(log, 2)


def test_the_account_of_a_damaged_archive_ends_with_the_reason(log: EventLog) -> None:
    add(log, SECRETS)
    pack_all(log)
    log._db.execute("UPDATE blocks SET data = x'00'")
    with reading(log.path.parent) as archive, pytest.raises(StoreError, match="is damaged"):
        list(archive.claims(next(archive.sources())))


def test_a_look_at_another_connection_sees_blocks_and_rows_together(log: EventLog) -> None:
    add(log, SECRETS)
    with closing(sqlite3.connect(log.path, isolation_level=None)) as db:
        db.execute("BEGIN")
        before = db.execute("SELECT id, codec, body FROM records").fetchall()
        pack_all(log)
        assert [Bodies(db).of(*row) for row in db.execute("SELECT id, codec, body FROM records")] == SECRETS
        assert before == db.execute("SELECT id, codec, body FROM records").fetchall()
        db.execute("COMMIT")
        assert [Bodies(db).of(*row) for row in db.execute("SELECT id, codec, body FROM records")] == SECRETS
