"""A root that shows what it holds only later: a disk that is mounted, a home that is restored."""

import os
from collections import Counter

from actors.watcher import RootScanned
from tests.ingest.stage import NOW, Stage, prompt, texts, types


async def test_what_is_older_than_the_first_look_at_an_empty_root_is_history(stage: Stage) -> None:
    stage.write("a.jsonl", prompt(1))
    stage.write("b.jsonl", prompt(2, sessionId="b"))
    async with stage.running(scan=False):
        stage.ingest.send_nowait((RootScanned(str(stage.root), ()),))
        told = await stage.hint("a.jsonl", "b.jsonl")
        assert Counter(types(told)) == {"project_update": 1, "conversation_started": 2, "file_created": 2}
        assert texts(told) == []
        assert stage.rows("SELECT count(*) FROM records WHERE flags & 16") == [(2,)]
        assert texts(await stage.append("a.jsonl", prompt(3))) == ["do it 3"]


async def test_what_is_written_after_it_is_live_also_in_a_later_process(stage: Stage) -> None:
    async with stage.running():
        assert texts(await stage.append("a.jsonl", prompt(1))) == ["do it 1"]
    stage.write("b.jsonl", prompt(2, sessionId="b"))
    async with stage.running():
        assert texts(stage.told()) == ["do it 2"]


async def test_history_may_also_appear_while_the_server_is_down(stage: Stage) -> None:
    async with stage.running():
        pass
    stage.write("a.jsonl", prompt(1))
    os.utime(stage.path("a.jsonl"), ns=(0, (NOW - 7_200_000) * 1_000_000))
    async with stage.running():
        assert texts(stage.told()) == []
        stage.write("b.jsonl", prompt(2, sessionId="b"))
        os.utime(stage.path("b.jsonl"), ns=(0, (NOW - 7_200_000) * 1_000_000))
        assert texts(await stage.hint("b.jsonl")) == []
    stage.write("c.jsonl", prompt(3, sessionId="c"))
    os.utime(stage.path("c.jsonl"), ns=(0, (NOW - 7_200_000) * 1_000_000))
    async with stage.running():  # the root is late no more
        assert texts(stage.told()) == ["do it 3"]
