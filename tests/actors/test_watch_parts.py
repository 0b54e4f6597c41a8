"""The watcher's smaller parts: sweep, choice of a back-end, outlet, polling pace, lost watchfiles streams."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import trio
from watchfiles import Change, awatch

from actors.watch_cover import BACKEND
from actors.watch_outlet import Outlet
from actors.watch_poll import PollBackend
from actors.watch_port import Backend, Hints
from actors.watch_watchfiles import WatchfilesBackend
from actors.watcher import WatchTrouble, open_backend
from tests.actors.watch_ear import append, impatient_backend, listening


class Mute(PollBackend):
    """A back-end that promises everything and never says a word."""

    name = "mute"

    async def next_hints(self) -> Hints:
        await trio.sleep_forever()
        raise AssertionError


async def test_the_sweep_finds_what_the_system_never_told(tmp_path: Path) -> None:
    async with listening(
        tmp_path,
        backend="x",
        open_backend=lambda name, poll: Mute(lambda: 0),
        sweep_s=0.02,
        directories_s=0.05,
    ) as ear:
        append(file := tmp_path / "f.jsonl")
        await ear.wait_changed(file)  # its directory moved
        append(file)
        await ear.wait_changed(file)  # it was active lately
        file.unlink()
        await ear.wait_gone(file)


def test_the_choice_follows_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    poll = PollBackend(lambda: 0)
    assert open_backend("poll", poll) is poll
    monkeypatch.setattr("sys.platform", "darwin")
    assert open_backend("auto", poll).name == "watchfiles"
    with pytest.raises(ValueError, match="no watcher back-end is called 'x'"):
        open_backend("x", poll)


async def test_on_linux_the_choice_is_inotify() -> None:
    backend = open_backend("auto", PollBackend(lambda: 0))
    assert backend.name == "inotify"
    backend.close()


async def test_an_outlet_keeps_the_first_of_a_kind_and_the_last_of_two_kinds() -> None:
    send, receive = trio.open_memory_channel[tuple[int | str, ...]](0)
    outlet = Outlet[int | str](send)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outlet.run)
        outlet.put("a", 1)
        outlet.flush_nowait()  # nobody receives: left to run
        await trio.testing.wait_all_tasks_blocked()
        for key, item in (("a", 2), ("a", 3), ("b", 4), ("b", "gone"), ("c", 5)):
            outlet.put(key, item)
            outlet.flush_nowait()
        assert [await receive.receive(), await receive.receive()] == [(1,), (2, "gone", 5)]
        await trio.testing.wait_all_tasks_blocked()
        outlet.put("a", 6)
        nursery.start_soon(receive.receive)
        await trio.testing.wait_all_tasks_blocked()
        outlet.flush_nowait()  # somebody receives: sent at once
        assert send.statistics().tasks_waiting_receive == 0
        nursery.cancel_scope.cancel()


async def test_polling_slows_down_in_quiet_times_and_costs_nothing_without_work(
    autojump_clock: trio.testing.MockClock,
) -> None:
    changes = 0
    poll = PollBackend(lambda: changes, active_s=0.2, idle_s=2.0)

    async def next_pause() -> float:
        start = trio.current_time()
        await poll.next_hints()
        return round(trio.current_time() - start, 3)

    with trio.move_on_after(100) as scope:
        await poll.next_hints()
    assert scope.cancelled_caught
    poll.watch("/d")
    poll.seek("/r")
    assert [await next_pause() for _ in range(5)] == [0.4, 0.8, 1.6, 2.0, 2.0]
    changes += 1
    assert [await next_pause() for _ in range(2)] == [0.2, 0.4]
    assert list((await poll.next_hints()).suspects) == ["/r", "/d"]


async def test_a_failing_watchfiles_is_replaced_by_polling(tmp_path: Path) -> None:
    async def stream(*paths: str, **options: object) -> AsyncGenerator[set[tuple[Change, str]], None]:
        await trio.lowlevel.checkpoint()
        if paths:
            raise OSError("the disk is on fire")
        yield set()

    async with listening(
        tmp_path, backend="watchfiles", open_backend=lambda name, poll: WatchfilesBackend(stream=stream)
    ) as ear:
        trouble = WatchTrouble(BACKEND, "the disk is on fire; everything is polled, until a new try succeeds")
        await ear.wait_until(lambda: trouble in ear.heard)
        append(file := tmp_path / "f.jsonl")
        await ear.wait_changed(file)


async def test_watchfiles_tries_again_when_a_root_vanishes_before_it_is_watched(tmp_path: Path) -> None:
    failures = 2

    def stream(*paths: str, **options: object) -> AsyncGenerator[set[tuple[Change, str]], None]:
        nonlocal failures
        failures -= 1
        return awatch(*(paths if failures < 0 else ["/nowhere/at/all"]), **options)  # type: ignore[arg-type]

    def backend(name: str, poll: PollBackend) -> Backend:
        return WatchfilesBackend(stream=stream)

    async with listening(tmp_path, backend="watchfiles", open_backend=backend) as ear:
        append(file := tmp_path / "f.jsonl")
        await ear.wait_changed(file)


async def leave(root: Path) -> None:
    async with listening(root, backend="inotify", open_backend=impatient_backend) as ear:
        ear.receive.close()
        append(root / "f.jsonl")
        await trio.sleep(5)


async def test_a_consumer_that_left_ends_the_watcher(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await leave(tmp_path)
    assert caught.group_contains(trio.BrokenResourceError)
