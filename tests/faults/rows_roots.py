"""R12: roots and directories out of reach, behind the real watcher."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import trio

from tests.actors.watch_ear import has_own_namespace, run_in_own_namespace
from tests.actors.watch_scenarios import set_limit
from tests.faults.rows import scenario
from tests.faults.rows_watched import add, begun
from tests.faults.sockets import SocketWorld
from tests.faults.transcripts import prompt

NOBODY = 65534


@scenario("R12", level=1, sweep=("missing", "removed", "renamed", "replaced"))
async def a_root_that_goes_and_comes_is_followed_again(world: SocketWorld, how: str) -> None:
    aside = world.directory / "aside"
    if how == "missing":
        world.root.rmdir()
        await world.start()
        await world.client("c")
    else:
        await begun(world)
        if how == "removed":
            shutil.rmtree(world.root)
        else:
            world.root.rename(aside)
    manager = world.manager
    if how != "replaced":
        await world.until(lambda: manager.status()["watcher"]["missing_roots"] == 1, 20)
    if how == "renamed":
        aside.rename(world.root)
    else:
        world.root.mkdir()
    world.write("s2", 3)
    await world.until(lambda: manager.status()["watcher"]["missing_roots"] == 0, 20)
    world.write("s3", 3)
    await world.settle()


async def degraded_and_well_again(directory: str, harm: Callable[[], Any], cure: Callable[[], Any]) -> None:
    """A node of its own that something is kept from: it says so, finds what it can, and recovers by itself."""
    async with trio.open_nursery() as nursery:
        world = SocketWorld(Path(directory), 0, nursery)
        harm()
        await begun(world)
        for n in range(8):
            add(world, _made(world.root / f"-p{n}" / f"d{n}.jsonl"), f"d{n}", 0)
        await world.until(lambda: _statuses(world) == {"degraded"}, 30)
        told = [orjson.loads(event.payload) for event in world.published()]
        assert "degraded" in {one["data"]["service_status"] for one in told if one["type"] == "system_status"}
        for n in range(8):
            add(world, world.root / f"-p{n}" / f"d{n}.jsonl", f"d{n}", 1)
        await world.settle()
        cure()
        await world.until(lambda: _statuses(world) == {"ok"}, 20)
        await world.finish(frozenset())
        nursery.cancel_scope.cancel()


def _made(path: Path) -> Path:
    path.parent.mkdir()
    return path


def _statuses(world: SocketWorld) -> set[str]:
    return {part["status"] for part in world.manager.status()["components"]}


async def reach_the_watch_limit(directory: str) -> None:
    """In a namespace of its own."""
    limit = partial(set_limit, "watches")
    await degraded_and_well_again(directory, partial(limit, 4), partial(limit, 1000))


async def _import_all(directory: str) -> None:
    async with trio.open_nursery() as nursery:
        world = SocketWorld(Path(directory), 0, nursery)
        await begun(world)
        await world.finish(frozenset())
        nursery.cancel_scope.cancel()


def be_kept_out(directory: str) -> None:
    """As somebody who may not read everything."""
    closed = Path(directory, "projects", "-closed")
    closed.mkdir(parents=True)
    closed.joinpath("hidden.jsonl").write_bytes(prompt("hidden", 0))
    closed.chmod(0)
    if os.geteuid() == 0:  # once as root, so that all is imported: not everybody may read the code
        with tempfile.TemporaryDirectory() as other:
            trio.run(_import_all, other)
        for path in (closed, closed.parent, Path(directory)):
            os.chown(path, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)

    def cure() -> None:  # without the new name it would be met by the look at all directories, once a minute
        closed.chmod(0o700)
        closed.rename(closed.with_name("-open"))

    trio.run(degraded_and_well_again, directory, lambda: None, cure)


@scenario("R12", level=1)
async def a_node_at_the_watch_limit_polls_and_says_so(world: SocketWorld) -> None:
    await world.start()
    if not has_own_namespace():
        print("skipped: needs namespaces of its own: unshare -Urm is denied")
        return
    (apart := world.directory / "apart").mkdir()
    await run_in_own_namespace(reach_the_watch_limit, str(apart))


@scenario("R12", level=1)
async def a_node_that_may_not_read_a_directory_says_so(world: SocketWorld) -> None:
    await world.start()
    (apart := world.directory / "apart").mkdir()
    for path in (world.directory, apart):
        path.chmod(0o755)
    code = f"from {__name__} import be_kept_out; be_kept_out({str(apart)!r})"
    done = await trio.run_process([sys.executable, "-c", code], capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
