"""Copies that forks and resumes make: archived and marked, not published; unrelated lines under one uuid are."""

import pytest

from observatory.core.batch import record_key
from observatory.core.copy_key import copy_key
from observatory.ingest import copies as module
from observatory.ingest.copies import Copies
from tests.ingest.stage import AFTER, BEFORE, Stage, of, prompt, reply, texts, types

FRESH = "2026-11-22T21:00:02.000Z"


@pytest.mark.parametrize("stamp", [BEFORE, AFTER], ids=["old lines", "fresh lines"])
async def test_a_fork_publishes_only_what_is_new_in_it(stage: Stage, stamp: str) -> None:
    history = [prompt(1, stamp=stamp), reply(2, "m2", stamp=stamp)]
    copied = [prompt(1, stamp=stamp, sessionId="f", cwd="/v", version="9"), reply(2, "m2", stamp=stamp, sessionId="f")]
    async with stage.running():
        await stage.append("a.jsonl", *history)
        told = await stage.append("f.jsonl", *copied, prompt(3, stamp=stamp, sessionId="f"))
        assert texts(told) == ["do it 3"]
        assert stage.rows("SELECT line FROM records WHERE flags & 1 ORDER BY id") == [(0,), (1,)]
        assert stage.conversation("f")["message_count"] == 3
        assert stage.conversation("f")["tokens"]["output_tokens"] == 10


async def test_a_fork_of_history_is_known_too(stage: Stage) -> None:
    stage.write("a.jsonl", prompt(1), prompt(2))
    async with stage.running():
        stage.told()
        assert texts(await stage.append("f.jsonl", prompt(1), prompt(2), prompt(3))) == ["do it 3"]


async def test_a_fork_made_of_copies_only_is_told_of_with_its_project(stage: Stage) -> None:
    """The project's count changed without a live line: nobody was told, and the snapshot did not fit the events."""
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        told = await stage.append("f.jsonl", prompt(1))
        assert types(told) == ["file_created", "conversation_started", "project_update"]
        assert of(told, "project_update")[0]["conversation_count"] == 2


async def test_a_fork_made_after_a_restart_is_known(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1, stamp=BEFORE), prompt(2, stamp=BEFORE))
    async with stage.running():
        assert texts(await stage.append("f.jsonl", prompt(1), prompt(2), prompt(3))) == ["do it 3"]


async def test_unrelated_lines_under_one_uuid_are_all_published(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1, uuid="same"))
        told = await stage.append("b.jsonl", prompt(2, uuid="same"), prompt(1, uuid="same", stamp=AFTER))
        assert texts(told) == ["do it 2", "do it 1"]


async def test_a_line_repeated_in_its_own_file_is_no_copy(stage: Stage) -> None:
    async with stage.running():
        told = await stage.append("a.jsonl", prompt(1), prompt(1))
        assert texts(told) == ["do it 1", "do it 1"]


class Store:
    """Remembers what was asked."""

    def __init__(self, **holders: int) -> None:
        self.holders = {key(uuid): at(source) for uuid, source in holders.items()}
        self.asked = 0

    def first_holder(self, copy_key: int) -> int | None:
        self.asked += 1
        return self.holders.get(copy_key)


def body(uuid: str) -> bytes:
    return b'{"type":"user","uuid":"%s","message":{}}' % uuid.encode()


def at(source: int) -> int:
    return record_key(source, 0, 0)


def key(uuid: str) -> int:
    found = copy_key(body(uuid))
    assert found is not None
    return found


def test_fresh_lines_under_new_uuids_are_not_even_hashed() -> None:
    store = Store()
    copies = Copies(store, FRESH)
    assert not copies.is_copy("u", FRESH, body("u"), at(1))
    assert store.asked == 0
    assert copies.is_copy("u", FRESH, body("u"), at(2))
    assert copies.take(FRESH) == {key("u"): at(1)}
    assert copies.take(FRESH) == {}


def test_old_lines_are_looked_up_in_the_store() -> None:
    store = Store(u=7)
    copies = Copies(store, FRESH)
    assert copies.is_copy("u", "2026-11-22T21:00:01.999Z", body("u"), at(8))
    assert not copies.is_copy("u", None, body("u"), at(7))
    assert copies.take(FRESH) == {}


def test_what_has_no_key_is_no_copy() -> None:
    copies = Copies(Store(), FRESH)
    assert not copies.is_copy("u", None, b"{", at(1))
    assert not copies.is_copy("u", None, b"{", at(2))


def test_memory_is_bounded_and_the_store_answers_for_what_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 10)
    store = Store()
    copies = Copies(store, FRESH)
    moments = ["2026-11-22T21:05:00.000Z", "2026-11-22T21:06:00.000Z"]
    for number in range(12):
        copies.is_copy(f"u{number}", FRESH, body(f"u{number}"), at(1))
        if number % 6 == 5:
            store.holders |= copies.take(moments[number // 6])
    assert copies.covered_from == moments[0]  # when the first of those that are remembered was met
    asked = store.asked
    assert not copies.is_copy("u20", moments[0], body("u20"), at(2))
    assert store.asked == asked
    assert copies.is_copy("u0", FRESH, body("u0"), at(2))
    assert copies.is_copy("u10", FRESH, body("u10"), at(2))
