"""What /proc and the port tell; from the machine itself, and from made ones."""

import os
import socket
from pathlib import Path

import pytest

from observatory.core.check_host import InotifyFacts, PortFacts
from observatory.doctor import host

inotify_simple = pytest.importorskip("inotify_simple")


def test_watches_of_this_process_are_counted_unless_it_is_left_out(tmp_path: Path) -> None:
    before = host.inotify()
    if before is None:
        pytest.skip("no inotify limits in /proc")
    with inotify_simple.INotify() as watcher:
        watcher.add_watch(str(tmp_path), inotify_simple.flags.CREATE)
        during, without = host.inotify(), host.inotify(without_pid=os.getpid())
    assert during is not None
    assert without is not None
    assert during.instances_taken > without.instances_taken
    assert during.watches_taken > without.watches_taken


def test_limits_are_read_and_a_system_without_them_has_none(tmp_path: Path) -> None:
    assert host.inotify(proc=tmp_path) is None
    limits = tmp_path / host.INOTIFY
    limits.mkdir(parents=True)
    for name, value in {"max_user_watches": 10, "max_user_instances": 20, "max_queued_events": 30}.items():
        (limits / name).write_text(f"{value}\n")
    (tmp_path / "7").mkdir()  # a process that may not be looked into
    assert host.inotify(proc=tmp_path) == InotifyFacts(10, 20, 30)


def test_a_port_is_free_taken_or_ours() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        facts = host.port("127.0.0.1", number, None)
        assert (facts.error, facts.ours) == ("is taken", False)
        if Path("/proc/net/tcp").exists():
            assert facts.owner is not None
            assert f"(pid {os.getpid()})" in facts.owner
        assert host.port("127.0.0.1", number, f"ws://127.0.0.1:{number}/ws").ours
    assert host.port("127.0.0.1", number, None) == PortFacts("127.0.0.1", number)
    assert host.port("127.0.0.1", 0, None) == PortFacts("127.0.0.1", 0)


def test_a_port_that_may_not_be_opened_says_why() -> None:
    facts = host.port("192.0.2.1", 8765, None)  # an address of nobody
    assert facts.error is not None
    assert facts.error.startswith("cannot be opened: ")


def test_an_owner_that_cannot_be_seen_is_not_guessed(tmp_path: Path) -> None:
    assert host.owner(80, proc=tmp_path) is None
