"""Titles by summaries, live: in either order, after restarts and kills, and back again."""

from collections.abc import Callable, Collection
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from observatory.core.errors import StoreError
from observatory.core.forgetting import Target
from observatory.ingest import leaves as module
from observatory.ingest import search
from observatory.ingest.search import Search
from tests.ingest.growing import SAMPLES, samples
from tests.ingest.stage import Stage, Told, of, prompt, summary


def titles(stage: Stage) -> dict[str, tuple[str | None, str | None]]:
    found = [stage.conversation(key) for (key,) in stage.rows("SELECT id FROM conversations")]
    return {row["id"]: (row["title"], row["title_source"]) for row in found}


async def told(stage: Stage) -> list[Told]:
    await stage.settled()
    await trio.sleep(0.01)  # the books' delay
    await stage.settled()
    return stage.told()


async def append(stage: Stage, name: str, *lines: bytes) -> list[Told]:
    return [*await stage.append(name, *lines), *await told(stage)]


async def test_a_summary_names_a_conversation_whichever_comes_first(stage: Stage) -> None:
    async with stage.running():
        await append(stage, "a.jsonl", prompt(1), prompt(2))
        events = await append(stage, "b.jsonl", summary("u2", "of a"), summary("u9", "of c"), prompt(3))
        assert [data["title"] for data in of(events, "conversation_update") if "title" in data] == ["of a"]
        events = await append(stage, "c.jsonl", prompt(9))
        assert [data["title"] for data in of(events, "conversation_started")] == ["of c"]
        assert titles(stage) == {"a": ("of a", "summary"), "b": ("do it 3", "prompt"), "c": ("of c", "summary")}


async def test_a_stronger_title_stays(stage: Stage) -> None:
    async with stage.running():
        await append(stage, "a.jsonl", prompt(1), b'{"type":"ai-title","aiTitle":"ai","sessionId":"s"}')
        assert of(await append(stage, "b.jsonl", summary("u1", "of a")), "conversation_update") == []
        assert titles(stage)["a"] == ("ai", "ai-title")


async def test_a_fork_that_goes_on_leaves_the_name_to_the_file_that_ends_there(stage: Stage) -> None:
    async with stage.running():
        await append(stage, "a.jsonl", prompt(1), prompt(2))
        await append(stage, "z.jsonl", summary("u2", "of a"))
        assert titles(stage)["a"] == ("of a", "summary")
        await append(stage, "fork.jsonl", prompt(1), prompt(2))
        assert titles(stage)["a"] == ("do it 1", "prompt"), "both end with it"
        await append(stage, "fork.jsonl", prompt(3))
        assert titles(stage)["a"] == ("of a", "summary")
        await append(stage, "a.jsonl", prompt(4))
        assert titles(stage)["a"] == ("do it 1", "prompt"), "nobody ends with it any more"


@pytest.mark.parametrize("killed", [False, True])
async def test_what_is_known_survives_a_restart(stage: Stage, killed: bool) -> None:
    async with stage.running(killed=killed):
        await append(stage, "a.jsonl", prompt(1), prompt(2))
        await append(stage, "b.jsonl", summary("u2", "of a"), summary("u5", "of c"), summary("u1", "of both"))
    async with stage.running():
        await append(stage, "c.jsonl", prompt(5))
        await append(stage, "fork.jsonl", prompt(1), prompt(2), prompt(3))
        await append(stage, "d.jsonl", summary("u3", "of the fork"))
        wanted = {"a": "of a", "c": "of c", "fork": "of the fork", "b": None, "d": None}
        assert {key: title for key, (title, _) in titles(stage).items()} == wanted
    async with stage.running():
        await append(stage, "a.jsonl", prompt(7))
        assert titles(stage)["a"] == ("do it 1", "prompt")


async def test_a_kill_before_the_search_only_puts_it_off(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage.running(killed=True):
        await append(stage, "a.jsonl", prompt(1))
        monkeypatch.setattr(Search, "begin", lambda self: None)
        await append(stage, "b.jsonl", summary("u1", "of a"))
        assert titles(stage)["a"] == ("do it 1", "prompt")
    monkeypatch.undo()
    async with stage.running():
        await told(stage)
        assert titles(stage)["a"] == ("of a", "summary")


async def test_a_search_that_fails_is_made_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(uuids: Collection[str], stopped: Callable[[], bool]) -> list[Any]:
        raise StoreError("locked", "close the other one")

    async with stage.running():
        await append(stage, "a.jsonl", prompt(1))
        with monkeypatch.context() as patch, capture_logs() as logs:
            patch.setattr(stage.archive, "holders_of", fail)
            patch.setattr(search, "RETRY_SECONDS", 0.2)
            await stage.append("b.jsonl", summary("u1", "of a"))
            await trio.sleep(0.1)
        assert [entry["event"] for entry in logs] == ["summaries.not_searched"]
        assert titles(stage)["a"] == ("do it 1", "prompt")
        await told(stage)
        assert titles(stage)["a"] == ("of a", "summary")


async def test_leaves_are_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LEAVES", 2)
    with capture_logs() as logs:
        async with stage.running():
            await append(stage, "b.jsonl", *(summary(f"u{n}", f"of {n}") for n in range(5)))
            await append(stage, "a.jsonl", prompt(1))
            await append(stage, "c.jsonl", prompt(4))
            assert titles(stage) == {"b": (None, None), "a": ("of 1", "summary"), "c": ("do it 4", "prompt")}
    assert [entry["event"] for entry in logs].count("summaries.too_many") == 1


async def test_a_forgotten_file_takes_its_summaries_with_it(stage: Stage) -> None:
    async with stage.running():
        await append(stage, "a.jsonl", prompt(1), prompt(2))
        await append(stage, "b.jsonl", summary("u1", "of a by b"), prompt(8))
        await append(stage, "c.jsonl", summary("u2", "of a by c"), prompt(9))
        assert titles(stage)["a"] == ("of a by c", "summary")
        await stage.ingest.forget(Target("conversation", "c"))
        await append(stage, "b.jsonl", prompt(10))
        assert titles(stage)["a"] == ("of a by b", "summary")
        await stage.ingest.forget(Target("conversation", "b"))
        await told(stage)
        assert titles(stage) == {"a": ("do it 1", "prompt")}
        assert stage.rows("SELECT count(*) FROM summaries") == [(0,)]


async def test_a_forgotten_fork_leaves_the_name_to_the_other(stage: Stage) -> None:
    async with stage.running():
        await append(stage, "a.jsonl", prompt(1), prompt(2))
        await append(stage, "fork.jsonl", prompt(1), prompt(2))
        await append(stage, "z.jsonl", summary("u2", "of one of them"))
        assert titles(stage)["a"] == ("do it 1", "prompt")
        await stage.ingest.forget(Target("conversation", "fork"))
        await append(stage, "z.jsonl", prompt(5))
        assert titles(stage)["a"] == ("of one of them", "summary")


@pytest.mark.skipif(not samples(), reason="the sample transcripts are not here")
async def test_the_samples_summaries_find_their_owners(stage: Stage) -> None:
    for file in samples():
        stage.write("/".join(file.relative_to(SAMPLES / "projects").parts), file.read_bytes(), end=b"")
    async with stage.running():
        await told(stage)
        names = stage.rows(
            "SELECT DISTINCT s.conversation_id, l.conversation_id FROM summaries AS s JOIN leaves AS l"
            " USING (leaf_uuid) WHERE l.conversation_id != '' AND l.conversation_id != s.conversation_id"
        )
        assert {(one[:8], other[:8]) for one, other in names} == {
            ("ff71dbed", "ba79134d"),
            ("d3ad4cdc", "ba79134d"),
            ("fed8ce56", "d3ad4cdc"),
            ("fe5e1c67", "1af7fc5e"),
            ("0fae0449", "67a8478e"),
        }
        named = {key[:8] for key, (_, source) in titles(stage).items() if source == "summary"}
        assert {"ba79134d", "d3ad4cdc", "1af7fc5e", "67a8478e"} <= named
