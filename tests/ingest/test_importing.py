"""The import as the ingest sees it: how far it is, who is told of its end, and what an import counts as history."""

from pathlib import Path

import attrs
import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.watcher import FileChanged, RootScanned, WatchTrouble
from observatory.core.batch import SourceRow, split_key
from observatory.core.errors import StoreBusy, StoreError
from observatory.core.forgetting import Target
from observatory.ingest.importing import Importing, Listed, RootListed, WhenImported
from tests.ingest.stage import Stage, prompt, texts, types

LONG = {"padding": "x" * 2000}


def _with(source: SourceRow, offset: int, until: int) -> SourceRow:
    return attrs.evolve(source, offset=offset, backfill_until=until)


async def imported(stage: Stage) -> None:
    """Wait as an import does."""
    asked = WhenImported(trio.Event())
    await stage.ingest.send((asked,))
    with trio.fail_after(10):
        await asked.done.wait()


async def test_the_first_scan_is_an_import_that_is_metered(stage: Stage) -> None:
    stage.write("a.jsonl", prompt(1), b"{broken", prompt(2))
    stage.write("b.jsonl", prompt(3, sessionId="b"))
    stage.write("c.jsonl", b'{"foo":1}')
    async with stage.running(scan=False):
        before = stage.ingest.importing.progress()
        assert (before.running, before.files_total) == (False, 0)
        await stage.tell(stage.look())
        await imported(stage)
        found = stage.ingest.importing.progress()
    size = sum(path.stat().st_size for path in stage.root.rglob("*.jsonl"))
    assert (found.running, found.files_done, found.files_total) == (False, 3, 3)
    assert (found.bytes_done, found.bytes_total) == (size, size)
    assert (found.conversations, found.records, found.errors) == (2, 5, 1)


async def test_a_restart_goes_on_with_what_is_left(stage: Stage) -> None:
    for name in ("a", "b", "c"):
        stage.write(f"{name}.jsonl", *(prompt(n, sessionId=name, **LONG) for n in range(300)))
    async with stage.running(killed=True, room=5):
        first = stage.ingest.importing.progress()
        assert first.running
        assert 0 < first.bytes_done < first.bytes_total
    async with stage.running():
        await imported(stage)
        found = stage.ingest.importing.progress()
        assert 0 < found.records < 900
        assert found.bytes_total < first.bytes_total
    async with stage.running():
        await imported(stage)
        assert stage.ingest.importing.progress().files_total == 0


async def test_what_is_gone_or_unreadable_before_it_is_read_is_left_out(stage: Stage) -> None:
    stage.write("a.jsonl", prompt(1))
    stage.write("b.jsonl", prompt(2, sessionId="b"))
    stage.write("c.jsonl", prompt(3, sessionId="c"))
    async with stage.running(scan=False):
        scanned = stage.look()
        stage.path("a.jsonl").unlink()
        stage.path("b.jsonl").unlink()
        stage.path("b.jsonl").mkdir()
        await stage.tell(scanned)
        await imported(stage)
        found = stage.ingest.importing.progress()
        assert (found.files_done, found.files_total, found.files_left_out) == (1, 1, 2)
        assert stage.ingest.unreadable() == {str(stage.path("b.jsonl")): "not a regular file"}


async def test_a_file_that_is_rewritten_while_its_history_is_read_is_in_once(stage: Stage) -> None:
    stage.write("a.jsonl", *(prompt(n, **LONG) for n in range(300)))
    async with stage.running(killed=True, room=3):
        assert stage.ingest.importing.progress().running
    stage.path("a.jsonl").write_bytes(prompt(1000) + b"\n")
    async with stage.running():
        await imported(stage)
        assert not stage.ingest.importing.progress().running
    keys = [split_key(key) for (key,) in stage.rows("SELECT id FROM records ORDER BY id")]
    assert [key for key in keys if key[1] == 1] == [(1, 1, 0)]
    assert stage.rows("SELECT generation, lines FROM sources") == [(1, len(keys))]


async def test_what_is_forgotten_while_it_waits_is_not_waited_for(stage: Stage) -> None:
    stage.write("b.jsonl", *(prompt(n, sessionId="b", **LONG) for n in range(2000)))
    async with stage.running(scan=False):
        stage.ingest.send_nowait((stage.look(),))
        for _ in range(30):
            await trio.lowlevel.checkpoint()
        assert stage.ingest.importing.running
        await stage.ingest.forget(Target("conversation", "b"))
        await imported(stage)
        assert stage.ingest.importing.progress().files_left_out == 1


async def test_an_import_counts_what_appeared_since_as_history_and_what_grew_as_news(stage: Stage) -> None:
    stage.write("a.jsonl", prompt(1))
    async with stage.running():
        stage.told()
    stage.write("a.jsonl", prompt(2))
    stage.write("b.jsonl", prompt(3, sessionId="b"))
    async with stage.running(scan=False):
        await stage.ingest.send((RootListed(stage.look()),))
        await imported(stage)
        told = stage.told()
    assert texts(told) == ["do it 2"]
    assert "conversation_started" in types(told)
    assert stage.rows("SELECT count(*) FROM records WHERE flags & 16") == [(2,)]


async def test_listing_a_root_again_while_its_history_is_read_counts_nothing_twice(stage: Stage) -> None:
    stage.write("a.jsonl", *(prompt(n, **LONG) for n in range(1000)))
    async with stage.running(scan=False):
        stage.ingest.send_nowait((stage.look(),))
        await stage.ingest.send((RootListed(stage.look()),))
        await imported(stage)
        assert stage.ingest.importing.progress().files_total == 1
        assert stage.ingest.importing.progress().records == 1000


async def test_who_asks_an_idle_ingest_is_told_at_once(stage: Stage) -> None:
    async with stage.running():
        await imported(stage)


async def test_what_a_listing_finds_is_history_and_nothing_else_is_passed_on() -> None:
    sent: list[tuple[object, ...]] = []

    class Inbox:
        async def send(self, changes: tuple[object, ...], /) -> None:
            sent.append(changes)

    listed, scan = Listed(Inbox()), RootScanned("/r", ())
    await listed.send((scan, WatchTrouble("watch.access", "no")))
    listed.send_nowait((FileChanged("/r/a.jsonl", 0), WatchTrouble("watch.limit", "few")))
    assert sent == [(RootListed(scan),)]
    assert listed.troubles == {"watch.access": "no", "watch.limit": "few"}


async def test_a_full_disk_ends_an_impatient_ingest_but_a_lock_is_waited_for(
    stage: Stage, autojump_clock: MockClock
) -> None:
    stage.write("a.jsonl", prompt(1))
    async with stage.running(scan=False):
        stage.commits.errors += [StoreBusy("locked", retryable=True)] * 3
        stage.ingest.outlet.patient = False
        await stage.tell(stage.look())
        await imported(stage)
        assert "conversation_started" in types(stage.told())
    with pytest.raises(ExceptionGroup) as caught:
        await _meet(stage, StoreError("the disk is full", retryable=True))
    assert caught.group_contains(StoreError, match="the disk is full")


async def _meet(stage: Stage, error: StoreError) -> None:
    async with stage.running(scan=False):
        stage.ingest.outlet.patient = False
        stage.commits.errors.append(error)
        await stage.append("a.jsonl", prompt(2))


async def test_the_log_tells_now_and_then_and_at_the_end(autojump_clock: MockClock, tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.write("a.jsonl", prompt(1))
    async with stage.running():
        (source,) = stage.archive.sources()
    importing = Importing(trio.current_time)
    with structlog.testing.capture_logs() as logged:
        importing.tell(quiet=True)
        importing.expect(_with(source, 0, 1000))
        for _ in range(12):
            await trio.sleep(1.0)
            importing.tell(quiet=False)
        importing.finish(source.path, _with(source, 1000, 1000))
        importing.tell(quiet=False)
        importing.tell(quiet=True)
        importing.tell(quiet=True)
    assert [line["event"] for line in logged] == ["import.progress", "import.progress", "import.finished"]
    assert (logged[0]["of_bytes"], logged[0]["seconds_left"]) == (1000, None)
    assert (logged[2]["files"], logged[2]["seconds"]) == (1, 12.0)


async def test_what_comes_long_after_is_another_import(autojump_clock: MockClock, tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.write("a.jsonl", prompt(1))
    async with stage.running():
        (source,) = stage.archive.sources()
        await wait_all_tasks_blocked()
    importing = Importing(trio.current_time)
    for pause, files in ((0.0, 1), (1.0, 2), (60.0, 1)):
        await trio.sleep(pause)
        assert importing.expect(_with(source, 0, 10))
        assert not importing.expect(_with(source, 0, 10))
        importing.finish(source.path, _with(source, 10, 10))
        assert importing.progress().files_total == files
