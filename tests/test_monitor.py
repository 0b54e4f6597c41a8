"""FileMonitor as an embedder sees it: what it needs, what it tells, and how it ends."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from observatory.core.errors import StoreError, UsageError, WorldError
from observatory.monitor import FileMonitor, alone, first_of
from observatory.server.connections import ConnectionManager
from observatory.storage.opening import AlreadyServed, DirectoryLock, running
from tests.original.stage import embedded, line
from tests.server.serving import DEADLINE


async def test_it_follows_its_roots_while_the_block_runs_and_tells_what_it_sees(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        client = await on.client("all_conversations")
        on.write("-w/s.jsonl", line(1))
        await client.until("message_added")
        found = on.monitor.stats()
        assert found["roots"] == [str(on.root)]
        assert found["gauges"]["sources"] == 1
        assert found["watcher"]["files"] == 1
        assert found["position"]["head"] >= 2
        health = on.monitor.health()
        assert (health.service_status, health.components) == ("ok", ())


async def test_a_sick_part_is_told_by_its_health(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        on.monitor._ingest.health.set("store", "unavailable", "disk full")
        health = on.monitor.health()
        assert health.service_status == "unavailable"
        assert [(part.component_name, part.details) for part in health.components] == [("store", "disk full")]


async def test_what_a_part_reports_is_told_to_those_who_follow_the_health(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        client = await on.client("system")
        await on.monitor.report("search", "degraded", "no room")
        told = await client.next()
        assert told["data"]["service_status"] == "degraded"
        assert told["data"]["components"][0]["component_name"] == "search"
        await on.monitor.report("search", "ok", None)
        told = await client.next()
        assert told["data"]["service_status"] == "ok"


async def test_the_status_that_clients_ask_for_is_that_of_all_parts(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        client = await on.client("system")
        status = (await client.raw.ask("get_status"))["data"]
        same = on.monitor.stats().keys() - {"gauges", "counters", "uptime_seconds"}
        assert {key: status[key] for key in same} == {key: on.monitor.stats()[key] for key in same}
        assert status["clients"] == {"live": 1, "behind": 0, "idle": 0}
        assert {"topics_held", "outbox_bytes", "sources"} <= status["gauges"].keys()
        assert {"accepted", "broadcasts", "bad_lines"} <= status["counters"].keys()


async def test_paths_may_be_given_as_people_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    async with FileMonitor(["~/.claude/projects", Path("here")], "~/data", watcher="poll") as monitor:
        assert monitor.stats()["roots"] == [f"{tmp_path}/.claude/projects", f"{tmp_path}/here"]
        assert (tmp_path / "data" / "observatory.db").exists()
        assert monitor.stats()["watcher"]["backend"] == "poll"


async def test_one_monitor_at_a_time_writes_a_data_directory(tmp_path: Path) -> None:
    async with FileMonitor([], tmp_path):
        with pytest.raises(AlreadyServed, match="already running"):
            async with FileMonitor([], tmp_path):
                raise AssertionError
    async with FileMonitor([], tmp_path) as monitor, ConnectionManager(monitor).serving(port=0) as url:
        found = running(tmp_path)
        assert found is not None
        assert found.url == url
    assert running(tmp_path) is None


async def test_a_lock_that_was_given_stays_its_owners(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    async with FileMonitor([], tmp_path, lock=lock):
        pass
    assert running(tmp_path) is not None
    lock.release()


async def test_an_error_in_the_block_leaves_it_as_itself_and_everything_is_closed(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(KeyError, match="mine"):
            async with FileMonitor([], tmp_path) as monitor, ConnectionManager(monitor).serving(port=0):
                raise KeyError("mine")
    assert running(tmp_path) is None


async def test_a_part_that_fails_ends_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for error, expected, words in (
        (StoreError("the log is lost"), StoreError, "the log is lost"),
        (sqlite3.OperationalError("a look-up failed"), StoreError, "a look-up failed"),
        (RuntimeError("a defect"), RuntimeError, "a defect"),
    ):
        with pytest.raises(expected, match=words), trio.fail_after(DEADLINE):  # noqa: PT012 - it fails inside
            async with FileMonitor([], tmp_path) as monitor:
                monkeypatch.setattr(monitor._ingest, "_wait_for_work", raiser(error))
                monitor._ingest._hints.send_nowait(())
                await trio.sleep_forever()
    assert running(tmp_path) is None


def raiser(error: Exception) -> Callable[[], Any]:
    async def fail() -> None:
        raise error

    return fail


async def test_a_data_directory_that_cannot_be_had_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorldError, match="cannot be written"):
        async with FileMonitor([], tmp_path / "file" / "data"):
            raise AssertionError
    (tmp_path / "observatory.db").write_text("no database" * 100)
    with pytest.raises(StoreError, match="is no database"):
        async with FileMonitor([], tmp_path):
            raise AssertionError
    assert running(tmp_path) is None


async def test_only_addresses_of_this_machine_are_served(tmp_path: Path) -> None:
    async with FileMonitor([], tmp_path) as monitor:
        with pytest.raises(UsageError, match=r"without a token; use 127\.0\.0\.1"):
            async with ConnectionManager(monitor).serving("0.0.0.0", 0):
                raise AssertionError


async def test_after_the_block_a_broadcast_says_that_it_cannot_be_stored(tmp_path: Path) -> None:
    async with FileMonitor([], tmp_path) as monitor:
        manager = ConnectionManager(monitor)
        assert (await manager.broadcast({"type": "message"})).seq == 1
    with trio.fail_after(5):
        result = await manager.broadcast({"type": "message"})
    assert (result, result.error) == ([], "not_persisted")


def test_an_error_comes_alone_out_of_groups_of_one() -> None:
    error = ValueError("alone")
    with pytest.raises(ValueError, match="alone"), alone():
        raise BaseExceptionGroup("outer", [BaseExceptionGroup("inner", [error])])
    with pytest.raises(ExceptionGroup, match="two"), alone():
        raise ExceptionGroup("outer", [ExceptionGroup("two", [error, KeyError()])])


def test_the_error_of_the_store_is_found_in_nested_groups() -> None:
    error = sqlite3.OperationalError("disk I/O error")
    group: BaseExceptionGroup[Any] = BaseExceptionGroup("outer", [BaseExceptionGroup("inner", [error])])
    assert first_of(group) is error
