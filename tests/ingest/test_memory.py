"""What the ingest keeps in memory is bounded: by numbers of its own, not by how long it runs or how much it has read.

A soak of 30 minutes found the process 4.4 MB larger at its end: uuids met, and where reading stood in every file.
"""

import sys
from typing import Any

import pytest

from observatory.ingest import reader
from observatory.ingest.copies import Copies
from observatory.ingest.ledger import Ledger
from tests.ingest.stage import Stage, prompt, reply, texts
from tests.ingest.test_copies import FRESH, body
from tests.ingest.test_copies import Store as Holders
from tests.ingest.test_ledger import Store, record


def bytes_of(found: Any) -> int:
    """A container with what it holds."""
    inside = list(found) if isinstance(found, set | frozenset | list | dict) else []
    parts = getattr(found, "__slots__", ()) if not inside else ()
    held = [getattr(found, name) for name in parts if hasattr(found, name)]
    return sys.getsizeof(found) + sum(map(bytes_of, [*inside, *held]))


def test_uuids_that_were_met_take_no_more_room_after_many_than_after_one() -> None:
    """They were kept as texts: up to 5 MB, filled within twenty minutes of a busy day."""
    copies = Copies(Holders(), FRESH)
    copies.is_copy("u", FRESH, body("u"), 1)
    before = bytes_of(copies._met) + bytes_of(copies._met_before)
    for number in range(20_000):
        copies.is_copy(f"u{number}", FRESH, body("u"), 1)
        if not number % 100:
            copies.take(FRESH)
    after = bytes_of(copies._met) + bytes_of(copies._met_before)
    assert after <= before + 100 < 200_000


def test_api_messages_that_were_counted_take_no_more_room_after_many_than_after_one() -> None:
    """A hash of every id was kept in a set for ever: some 70 bytes for each API message of the archive."""
    ledger = Ledger(Store())
    ledger.reply("c", "m")
    before = bytes_of(ledger._counted)
    for number in range(20_000):
        ledger.reply("c", f"m{number}")
    assert bytes_of(ledger._counted) <= before + 100


def test_a_message_that_only_seems_counted_counts_all_the_same() -> None:
    """What the filter takes for known is asked for, and the store's "no" is the last word."""
    store = Store()
    ledger = Ledger(store)
    ledger._counted.add("m")
    assert ledger.grow("a", record(reply(1, "m", output=10)))[0].output_tokens == 10
    assert store.asked == 1


async def test_places_are_kept_of_the_files_read_last_and_the_archive_knows_the_others(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where reading stood was kept for every file ever read: 1 KB each, and the whole line of one without a newline."""
    monkeypatch.setattr(reader, "PLACES_KEPT", 3)
    names = [f"f{number}.jsonl" for number in range(8)]
    stage.write("h.jsonl", prompt(0), prompt(1), end=b"")  # history without a last newline
    async with stage.running():
        stage.told()
        for turn in range(3):
            for name in names:
                assert texts(await stage.append(name, prompt(turn, name))) == [f"{name} {turn}"]
        kept = stage.ingest._reader
        assert max(len(kept._places), len(kept._tails), len(kept._known)) <= 3
        told = await stage.replace(names[0], prompt(0, names[0]), prompt(9, "new"))
        assert texts(told) == ["new 9"]  # the content was replaced, and is known by what the archive holds
        for name in names[1:5]:
            await stage.append(name, prompt(3, name))
        assert texts(await stage.append(names[0], prompt(1, names[0]), prompt(8, "new"))) == ["new 8"]
        assert texts(await stage.append("h.jsonl", b"", prompt(2))) == ["do it 2"]
        assert stage.rows("SELECT max(generation) FROM sources") == [(1,)]
        assert stage.rows("SELECT count(*) FROM records WHERE flags & 64") == [(0,)]
