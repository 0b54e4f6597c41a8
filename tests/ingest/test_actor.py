"""The ingest's own life: failing commits, health, hints of many kinds, and a real watcher in front of it."""

from itertools import pairwise
from pathlib import Path

import orjson
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.commands import Decision, Subscribe
from actors.router import Router
from actors.watcher import FileChanged, FileSeen, FileStat, FileWatcher, RootScanned, WatchHealthy, WatchTrouble
from observatory.core.errors import StoreBusy, StoreError
from observatory.core.identity import is_transcript
from observatory.core.topics import EVERYONE
from observatory.ingest import actor
from observatory.ingest.actor import Ingest
from observatory.ingest.storing import BUSY_FOR, RETRY_SECONDS
from observatory.server.websocket import now_ms
from observatory.storage.committer import Committer
from observatory.storage.log import EventLog, Retention
from tests.actors.test_router import FakeClient
from tests.ingest.stage import Stage, Told, of, prompt, reply, texts, types
from tests.oracle import read_log

FULL = StoreError("the disk is full", "free some space", retryable=True)
LOCKED = StoreBusy("the log is locked", "wait", retryable=True)


async def holder_of_system(stage: Stage) -> FakeClient:
    """A live client of the stage's Router."""
    client = FakeClient()
    await stage.ingest._router.post(Subscribe(client, lambda place: Decision(frozenset({"system"}), place.head)))
    return client


def statuses(client: FakeClient) -> list[tuple[str, bool]]:
    """What it was told of the service's health, and whether as an event of the log."""
    told = [orjson.loads(data[data.index(b"{") :]) for data, _ in client.chunks]
    assert [frames for _, frames in client.chunks] == [int("seq" in one) for one in told]  # only events are counted
    return [(one["data"]["service_status"], "seq" in one) for one in told]


async def test_a_commit_that_fails_is_tried_again_and_nothing_is_lost(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        stage.commits.errors = [LOCKED] * 6
        begun = trio.current_time()
        await stage.append("a.jsonl", prompt(2))
        stage.write("a.jsonl", prompt(3))
        await stage.hint("a.jsonl")
        assert texts(stage.told()) == []
        await trio.sleep(60)
        told = stage.told()
        assert texts(told) == ["do it 2", "do it 3"]
        assert of(told, "conversation_update")[-1]["message_count"] == 3
        assert stage.commits.refused == 6
        assert trio.current_time() - begun < 61
        assert of(told, "system_status") == []


async def test_a_full_disk_is_told_at_once_without_a_seq_and_its_end_as_an_event(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        client = await holder_of_system(stage)
        stage.commits.errors = [FULL] * 100
        await stage.append("a.jsonl", prompt(2))
        assert statuses(client) == [("unavailable", False)]
        (part,) = stage.ingest.components()
        assert (part["component_name"], part["status"]) == ("store", "unavailable")
        assert part["details"] == "the disk is full: free some space"
        await trio.sleep(20)
        assert statuses(client) == [("unavailable", False)]  # once
        stage.commits.errors.clear()
        await trio.sleep(5)
        told = stage.told()
        assert texts(told) == ["do it 2"]
        assert [one["service_status"] for one in of(told, "system_status")] == ["ok"]
        assert statuses(client) == [("unavailable", False), ("ok", True)]


async def test_a_lock_of_another_program_is_told_after_a_while(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        client = await holder_of_system(stage)
        stage.commits.errors = [LOCKED] * 100
        await stage.append("a.jsonl", prompt(2))
        await trio.sleep(BUSY_FOR - 1)
        assert (statuses(client), stage.ingest.components()) == ([], [])
        await trio.sleep(1 + 2 * RETRY_SECONDS[1])
        assert statuses(client) == [("unavailable", False)]


async def test_trouble_that_changes_is_told_again(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        client = await holder_of_system(stage)
        stage.commits.errors = [FULL, FULL, StoreError("it is read-only", retryable=True), FULL]
        await stage.append("a.jsonl", prompt(2))
        await trio.sleep(5)
        assert statuses(client) == [("unavailable", False)] * 3 + [("ok", True)]


async def test_the_pauses_between_tries_grow_up_to_a_bound(stage: Stage, autojump_clock: MockClock) -> None:
    async with stage.running():
        stage.commits.errors = [FULL] * 100
        await stage.append("a.jsonl", prompt(1))
        await trio.sleep(30)
        assert 30 <= stage.commits.refused <= 40
        stage.commits.errors.clear()
        await trio.sleep(2)
        assert texts(stage.told()) == ["do it 1"]


async def test_a_store_that_is_lost_for_good_ends_the_ingest(stage: Stage) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(StoreError, match="damaged"), flatten_subgroups=True):
        async with stage.running():
            await stage.append("a.jsonl", prompt(1))
            client = await holder_of_system(stage)
            stage.commits.errors = [StoreError("the file is damaged")] * 2
            await stage.append("a.jsonl", prompt(2))
            await trio.sleep_forever()
    assert statuses(client) == [("unavailable", False)]
    async with stage.running():
        assert texts(stage.told())[-1:] == ["do it 2"]


async def test_trouble_of_the_watcher_is_told_once_and_its_end_too(stage: Stage) -> None:
    async with stage.running():
        told = await stage.tell(WatchTrouble("inotify", "polling instead"), WatchTrouble("inotify", "polling instead"))
        (status,) = of(told, "system_status")
        assert status["service_status"] == "degraded"
        assert status["components"][0]["component_name"] == "watcher:inotify"
        (status,) = of(await stage.tell(WatchHealthy("inotify")), "system_status")
        assert status["service_status"] == "ok"
        assert await stage.tell(WatchHealthy("never ill")) == []


async def test_a_file_that_cannot_be_read_is_told_of_until_it_can(stage: Stage) -> None:
    async with stage.running():
        stage.path("dir.jsonl").mkdir(parents=True)
        told = await stage.hint("dir.jsonl")
        told += await stage.append("a.jsonl", prompt(1))
        (status,) = of(told, "system_status")
        assert "dir.jsonl: not a regular file" in status["components"][0]["details"]
        assert stage.ingest.gauges()["unreadable_files"] == 1
        stage.path("dir.jsonl").rmdir()
        told = await stage.append("dir.jsonl", prompt(2, sessionId="d"))
        assert texts(told) == ["do it 2"]
        assert of(told, "system_status")[0]["service_status"] == "ok"


async def test_a_file_that_cannot_be_read_is_told_of_before_another_one_is_written_to(stage: Stage) -> None:
    """It was told when the books were closed next, which is never while nobody else writes."""
    async with stage.running():
        stage.path("dir.jsonl").mkdir(parents=True)
        (status,) = of(await stage.hint("dir.jsonl"), "system_status")
        assert (status["service_status"], status["components"][0]["component_name"]) == ("degraded", "files")
        stage.path("dir.jsonl").rmdir()
        (status,) = of(await stage.hint("dir.jsonl"), "system_status")
        assert status["service_status"] == "ok"


async def test_a_file_that_cannot_be_read_is_tried_again_by_and_by(stage: Stage, autojump_clock: MockClock) -> None:
    """Only another change of the file brought it back."""
    async with stage.running():
        stage.path("a.jsonl").mkdir(parents=True)
        await stage.hint("a.jsonl")
        reads = [stage.ingest.gauges()["file_reads"]]
        for _ in range(3):
            await trio.sleep(100)
            reads.append(stage.ingest.gauges()["file_reads"])
        assert [after - before for before, after in pairwise(reads)] == [6, 2, 1]  # at 1, 3, 7 … 63, then each minute
        stage.path("a.jsonl").rmdir()
        stage.write("a.jsonl", prompt(1))
        await trio.sleep(61)
        assert texts(stage.told()) == ["do it 1"]
        assert stage.ingest.gauges()["unreadable_files"] == 0


async def test_many_lines_in_one_hint_are_told_of_in_one_update(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(0))
        told = await stage.append("a.jsonl", *(reply(n, f"m{n}") for n in range(1, 50)))
        assert types(told).count("conversation_update") == 1
        assert of(told, "conversation_update")[0]["tokens"]["output_tokens"] == 490


async def test_the_gauges_say_what_waits(stage: Stage) -> None:
    stage.write("a.jsonl", prompt(1))
    async with stage.running():
        gauges = stage.ingest.gauges()
        assert (gauges["sources"], gauges["sources_waiting"], gauges["history_waiting"]) == (1, 0, 0)


async def test_behind_a_real_watcher(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.write("old.jsonl", prompt(1, sessionId="old"))
    log = EventLog(tmp_path, "boot-1")
    router = Router[str](EVERYONE, 0, 16, lambda: 0)
    ingest = Ingest(log, Committer(log, Retention(), now_ms), router, now_ms)
    watcher = FileWatcher([str(stage.root)], is_transcript, ingest)
    told: list[Told] = []

    async def wait_told(text: str) -> None:
        with trio.fail_after(10):
            while text not in texts(told):
                await trio.sleep(0.005)
                told.extend(stage.told())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(router.run)
        nursery.start_soon(ingest.run)
        await nursery.start(watcher.run)
        stage.write("old.jsonl", prompt(2))
        await wait_told("do it 2")
        stage.write("-v/new.jsonl", prompt(3, cwd="/v", sessionId="new"))
        await wait_told("do it 3")
        stage.path("-v/new.jsonl").rename(stage.path("-v/moved.jsonl"))
        stage.write("-v/moved.jsonl", prompt(4, cwd="/v", sessionId="new"))
        await wait_told("do it 4")
        nursery.cancel_scope.cancel()
    log.close()
    assert texts(told) == ["do it 2", "do it 3", "do it 4"]
    assert [event.seq for event in read_log(tmp_path / "observatory.db")] == list(range(1, log.position.head + 1))


async def test_a_scan_that_is_slow_to_store_is_not_cut_off_by_the_time_of_the_books(
    stage: Stage, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait for hints ends when the books are due; a scan taken from the inbox was once thrown away with it."""
    monkeypatch.setattr(actor, "BOOKS_DELAY", 0.005)
    other = stage.directory / "other"
    (other / "-v").mkdir(parents=True)
    path = other / "-v" / "old.jsonl"
    path.write_bytes(prompt(7, cwd="/v", sessionId="old") + b"\n")
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        stage.write("a.jsonl", prompt(2))
        stage.ingest.send_nowait((FileChanged(str(stage.path("a.jsonl")), 0),))  # journalled; its books are due soon
        for _ in range(5):  # the ingest waits for hints again, until the books are due
            await trio.lowlevel.checkpoint()
        stage.commits.errors = [FULL] * 3
        found = FileSeen(str(path), FileStat(*state_of(path)))
        await stage.ingest.send((RootScanned(str(other), (found,)),))
        await trio.sleep(5)
        assert {source.path for source in stage.archive.sources()} == {str(path), str(stage.path("a.jsonl"))}
        assert str(other) in stage.archive.scanned_roots()
        assert stage.conversation("old")["message_count"] == 1


def state_of(path: Path) -> tuple[int, int, int, int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


async def test_an_ingest_that_ends_between_a_commit_and_its_publishing_gives_its_turn_back(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        await trio.sleep(0.02)
        stage.ingest._router._idle = False  # as one that is in the middle of a large audience
        stage.write("a.jsonl", prompt(2))
        stage.ingest.send_nowait((FileChanged(str(stage.path("a.jsonl")), 0),))
        assert not stage.commits.turn.take_nowait()
    assert stage.commits.turn.take_nowait()


async def test_an_ingest_that_finds_the_turn_taken_commits_when_it_is_free(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        await stage.commits.turn.take()
        stage.write("a.jsonl", prompt(2))
        assert await stage.hint("a.jsonl") == []
        stage.commits.turn.give_back()
        await wait_all_tasks_blocked()
        assert texts(stage.told()) == ["do it 2"]
