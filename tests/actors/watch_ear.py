"""Listens to a FileWatcher the way a consumer does, and lets a test wait for what it expects to hear."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache, partial
from pathlib import Path

import attrs
import trio

from actors.watch_mounts import MOUNT_TABLE
from actors.watch_poll import PollBackend
from actors.watch_port import Backend
from actors.watcher import (
    Change,
    FileChanged,
    FileGone,
    FileSeen,
    FileWatcher,
    RootScanned,
    WatchHealthy,
    WatchTrouble,
    open_backend,
)

DEADLINE_S = 10.0  # never reached when all is well
NAMES = ["inotify", "watchfiles", "poll"]
OWN_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]  # its mounts and limits are nobody else's


def is_wanted(path: str) -> bool:
    return path.endswith(".jsonl")


def impatient_backend(name: str, poll: PollBackend) -> Backend:
    """The real back-ends, but the one that rescans in between does it more often."""
    if name == "watchfiles":
        from actors.watch_watchfiles import WatchfilesBackend

        return WatchfilesBackend(rescan_s=0.3)
    return open_backend(name, poll)


@attrs.define
class Ear:
    """Everything heard so far, in order."""

    receive: trio.MemoryReceiveChannel[tuple[Change, ...]]
    watcher: FileWatcher
    heard: list[Change] = attrs.Factory(list[Change])
    batches: list[tuple[Change, ...]] = attrs.Factory(list[tuple[Change, ...]])

    async def wait_until(self, done: Callable[[], bool]) -> None:
        """Listen on until it is so."""
        with trio.fail_after(DEADLINE_S):
            while not done():
                self._take(await self.receive.receive())

    def listen_nowait(self) -> None:
        """Hear what has been sent already."""
        with suppress(trio.WouldBlock):
            while True:
                self._take(self.receive.receive_nowait())

    async def wait_changed(self, *paths: Path) -> None:
        """Listen until a change of each path is heard, then forget what was heard."""
        wanted = {str(path) for path in paths}
        await self.wait_until(lambda: wanted <= self.changed())
        self.heard.clear()

    async def wait_gone(self, *paths: Path) -> None:
        """Listen until each path is heard to be gone, then forget what was heard."""
        wanted = {str(path) for path in paths}
        await self.wait_until(lambda: wanted <= self.gone())
        self.heard.clear()

    async def wait_trouble(self, component: str) -> WatchTrouble:
        """Listen until that component is heard to be in trouble."""
        await self.wait_until(lambda: component in self._troubles())
        return self._troubles()[component]

    async def wait_healthy(self, component: str) -> None:
        """Listen until that component is heard to be well again, then forget what was heard."""
        await self.wait_until(lambda: WatchHealthy(component) in self.heard)
        self.heard.clear()

    def _troubles(self) -> dict[str, WatchTrouble]:
        return {change.component: change for change in self.heard if isinstance(change, WatchTrouble)}

    def changed(self) -> set[str]:
        """Paths heard to have changed."""
        return {change.path for change in self.heard if isinstance(change, FileChanged)}

    def gone(self) -> set[str]:
        """Paths heard to be gone."""
        return {change.path for change in self.heard if isinstance(change, FileGone)}

    def _take(self, batch: tuple[Change, ...]) -> None:
        self.batches.append(batch)
        self.heard += batch

    def scans(self) -> dict[str, tuple[FileSeen, ...]]:
        """The first looks heard so far."""
        return {c.root: c.files for c in self.heard if isinstance(c, RootScanned)}


@asynccontextmanager
async def listening(
    *roots: Path | str,
    backend: str,
    size: int = 1000,
    open_backend: Callable[[str, PollBackend], Backend] = impatient_backend,
    sweep_s: float = 0.5,
    directories_s: float = 1.0,
    mount_table: str = MOUNT_TABLE,
) -> AsyncIterator[Ear]:
    """A started watcher and an ear that has heard the first look at each root."""
    send, receive = trio.open_memory_channel[tuple[Change, ...]](size)
    make = partial(FileWatcher, sweep_s=sweep_s, directories_s=directories_s, poll_active_s=0.02, poll_idle_s=0.05)
    make = partial(make, open_backend=open_backend, mount_table=mount_table)
    watcher = make([os.fspath(root) for root in roots], is_wanted, send, backend)
    with send, receive:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(DEADLINE_S):
                await nursery.start(watcher.run)
            ear = Ear(receive, watcher)
            await ear.wait_until(lambda: len(ear.scans()) == len(set(roots)))
            yield ear
            nursery.cancel_scope.cancel()


def append(path: Path, text: str = "x\n") -> None:
    with path.open("a") as file:
        file.write(text)


@cache
def has_own_namespace() -> bool:
    """Whether this machine lets us have mounts and limits of our own."""
    try:
        return (
            subprocess.run([*OWN_NAMESPACE, "mount", "-t", "tmpfs", "x", "/tmp"], capture_output=True).returncode == 0
        )
    except FileNotFoundError:
        return False


async def run_in_own_namespace(scenario: Callable[..., Awaitable[None]], *arguments: str) -> None:
    """Run a scenario as a child with mounts and limits of its own, where it is root."""
    start = f"trio.run(scenario, *{arguments!r})"
    code = f"import trio; from {scenario.__module__} import {scenario.__name__} as scenario; {start}"
    command = [*OWN_NAMESPACE, sys.executable, "-c", code]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
