"""However history comes in, in any order, at once or grown byte by byte, the archive holds the same."""

import os
import random
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.watcher import FileChanged
from observatory.ingest import actor
from tests.archives import differences, holdings, prepare
from tests.ingest.growing import SAMPLES, every_byte, samples
from tests.ingest.stage import NOW, Stage

SMALL = 4_000  # bytes of the samples that are grown byte by byte

if not SAMPLES.is_dir():
    pytest.skip(f"no sample transcripts at {SAMPLES}", allow_module_level=True)

Told = dict[str, list[str]]


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """All samples in the order of their names."""
    return told(by_import, tmp_path_factory.mktemp("at-once"), samples())


def told(how: Callable[[Stage, list[Path]], Awaitable[None]], directory: Path, files: Iterable[Path]) -> Told:
    """What the archive holds in the end; paths as if the directory were the root of all."""
    prepare(directory)
    delay, actor.BOOKS_DELAY = actor.BOOKS_DELAY, 0.0
    try:
        trio.run(how, Stage(directory), list(files))
    finally:
        actor.BOOKS_DELAY = delay
    return {name: [row.replace(str(directory), "") for row in rows] for name, rows in holdings(directory).items()}


def content_of(file: Path) -> bytes:
    """A sample with the newline at its end that some lack: more of them could come otherwise."""
    return file.read_bytes().rstrip(b"\n") + b"\n"


async def by_import(stage: Stage, files: list[Path]) -> None:
    """They are there at the first scan; the first one is the newest."""
    for number, file in enumerate(files):
        path = place(stage, file)
        path.write_bytes(content_of(file))
        os.utime(path, ns=(0, (NOW - 7_200_000 - number) * 1_000_000))
    async with stage.running():
        pass


async def by_import_of_two_parts(stage: Stage, files: list[Path]) -> None:
    """The process is killed, and a second one goes on."""
    for number, file in enumerate(files):
        path = place(stage, file)
        path.write_bytes(content_of(file))
        os.utime(path, ns=(0, (NOW - 7_200_000 - number) * 1_000_000))
    async with stage.running(killed=True, room=7):
        pass
    async with stage.running():
        pass


async def grown_in_chunks(stage: Stage, files: list[Path]) -> None:
    dice = random.Random(len(files))
    await grow(stage, files, lambda content: [*sorted(dice.choices(range(1, len(content)), k=3)), len(content)])


async def grown_byte_by_byte(stage: Stage, files: list[Path]) -> None:
    await grow(stage, files, every_byte)


async def grow(stage: Stage, files: list[Path], sizes: Callable[[bytes], Iterable[int]]) -> None:
    """They appear after the first scan, and grow one after the other."""
    async with stage.running():
        for file in files:
            path, content, have = place(stage, file), content_of(file), 0
            with path.open("ab", buffering=0) as target:
                for size in sizes(content):
                    target.write(content[have:size])
                    have = size
                    stage.ingest.send_nowait((FileChanged(str(path), 0),))
                    await wait_all_tasks_blocked()
        await stage.settled()


def place(stage: Stage, file: Path) -> Path:
    path = stage.root / file.relative_to(SAMPLES / "projects")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def shuffled(seed: int) -> list[Path]:
    files = samples()
    random.Random(seed).shuffle(files)
    return files


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_order_of_an_import_does_not_matter(tmp_path: Path, at_once: Told, seed: int) -> None:
    assert len(at_once["records"]) == 3503
    assert len(at_once["conversations"]) == 35
    assert differences(told(by_import, tmp_path, shuffled(seed)), at_once) == []


def test_an_import_that_was_killed_gives_the_same(tmp_path: Path, at_once: Told) -> None:
    assert differences(told(by_import_of_two_parts, tmp_path, samples()), at_once) == []


@pytest.mark.parametrize("seed", [4, 5])
def test_files_that_grew_in_any_order_are_as_imported_ones(tmp_path: Path, at_once: Told, seed: int) -> None:
    assert differences(told(grown_in_chunks, tmp_path, shuffled(seed)), at_once) == []


def test_files_that_grew_byte_by_byte_are_as_imported_ones(tmp_path: Path) -> None:
    small = [file for file in samples() if file.stat().st_size <= SMALL]
    wanted = told(by_import, tmp_path / "import", small)
    assert len(small) >= 10
    assert differences(told(grown_byte_by_byte, tmp_path / "bytes", reversed(small)), wanted) == []
