import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from observatory.storage import disk
from observatory.storage.disk import Disk, Room, Sizes, sizes, trouble
from tests.reports import Reports


def test_every_file_counts_once(tmp_path: Path) -> None:
    for name, many in (
        ("observatory.db", 10),
        ("observatory.db-wal", 5),
        ("search.db", 3),
        ("search.db-wal", 2),
        ("token", 1),
    ):
        (tmp_path / name).write_bytes(b"x" * many)
    found = sizes(tmp_path)
    assert (found.database, found.wal, found.search, found.directory) == (10, 5, 5, 21)
    assert found.free > 0


@pytest.mark.parametrize(
    ("found", "room", "told"),
    [
        (Sizes(free=10), Room(11), "10 bytes are free on the disk of the data directory, less than 11 bytes"),
        (Sizes(free=10, directory=10), Room(10, 9), "the data directory takes 10 bytes, more than 9 bytes"),
        (Sizes(free=10, directory=10), Room(10, 10), None),
        (Sizes(), Room(None, None), None),
    ],
)
def test_what_is_wrong_is_said_in_words(found: Sizes, room: Room, told: str | None) -> None:
    assert trouble(found, room) == told


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - a thread does it
        await trio.sleep(0.01)


async def test_it_is_told_when_it_begins_and_when_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "LOOK_EVERY", 0.01)
    (tmp_path / "observatory.db").write_bytes(b"x" * 100)
    made = Disk(tmp_path, Room(None, 50), reports := Reports())
    with capture_logs() as logged, trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.run)
            await until(lambda: bool(reports.components()))
            (part,) = reports.components()
            assert (part["component_name"], part["status"]) == ("disk", "degraded")
            assert made.gauges()["database_bytes"] == 100
            (tmp_path / "observatory.db").write_bytes(b"x" * 60)
            await trio.sleep(0.05)
            (tmp_path / "observatory.db").write_bytes(b"x")
            await until(lambda: reports.components()[0]["status"] == "ok")
            shutil.rmtree(tmp_path)
            await until(lambda: reports.components()[0]["status"] != "ok")
            nursery.cancel_scope.cancel()
    assert [line["event"] for line in logged] == ["disk.short", "disk.has_room", "disk.short"]
