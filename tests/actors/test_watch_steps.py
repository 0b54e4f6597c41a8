"""How much the watcher does at once: listings and reports in pieces, hints of the others during a burst, idle cost."""

import time
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from actors.watch_tree import ENTRIES, Look, Tree
from actors.watcher import BATCH_LENGTH, FileChanged
from tests.actors.watch_ear import NAMES, append, is_wanted, listening

MANY = 3 * ENTRIES + 7


def make_many(directory: Path, count: int = MANY) -> set[str]:
    directory.mkdir(parents=True, exist_ok=True)
    files = [directory / f"{number}.jsonl" for number in range(count)]
    for file in files:
        file.touch()
    return {str(file) for file in files}


def enter(directory: Path) -> tuple[Tree, str]:
    tree = Tree(is_wanted)
    assert tree.enter(str(directory)).entered
    return tree, str(directory)


def test_a_long_listing_is_cut_into_looks(tmp_path: Path) -> None:
    files = make_many(tmp_path)
    tree, path = enter(tmp_path)
    looks = list(tree.compare(path))
    assert [len(look.changed) for look in looks] == [ENTRIES, ENTRIES, ENTRIES, 7]
    assert {file for look in looks for file in look.changed} == files == set(tree.files)
    for file in files:
        Path(file).unlink()
    looks = list(tree.compare(path))
    assert max(len(look.gone) for look in looks) <= ENTRIES
    assert {file for look in looks for file in look.gone} == files
    assert not tree.files


def test_what_came_between_two_looks_is_not_gone_because_it_was_not_listed(tmp_path: Path) -> None:
    make_many(tmp_path)
    tree, path = enter(tmp_path)
    listing = tree.compare(path)
    next(listing)
    append(new := tmp_path / "new.jsonl")
    (tmp_path / "p").mkdir()
    tree.examine(str(new))
    tree.enter(str(tmp_path / "p"))
    assert not any(look.gone or look.dropped for look in listing)
    assert str(new) in tree.files
    assert str(tmp_path / "p") in tree.directories


def test_a_directory_that_leaves_the_tree_between_two_looks_is_left_alone(tmp_path: Path) -> None:
    make_many(tmp_path / "d")
    tree, path = enter(tmp_path / "d")
    listing = tree.compare(path)
    assert len(next(listing).changed) == ENTRIES
    assert len(tree.drop(path).gone) == ENTRIES
    assert list(listing) == []
    assert not tree.files


@pytest.mark.parametrize("backend", NAMES)
async def test_thousands_of_files_come_and_go_in_bounded_batches(tmp_path: Path, backend: str) -> None:
    (root := tmp_path / "root").mkdir()
    draft, place = tmp_path / "draft", root / "d"
    files = {file.replace(str(draft), str(place)) for file in make_many(draft, 2 * BATCH_LENGTH + 7)}
    async with listening(root, backend=backend, sweep_s=60) as ear:
        draft.rename(place)
        await ear.wait_until(lambda: files <= ear.changed())
        place.rename(draft)
        await ear.wait_until(lambda: files <= ear.gone())
        assert max(len(batch) for batch in ear.batches) <= BATCH_LENGTH


@pytest.mark.parametrize("backend", NAMES)
async def test_a_burst_in_one_file_does_not_hold_back_the_hints_of_others(tmp_path: Path, backend: str) -> None:
    append(busy := tmp_path / "busy.jsonl")
    quiet = [tmp_path / f"{number}.jsonl" for number in range(10)]
    for file in quiet:
        append(file)
    burst = ["sh", "-c", 'while :; do echo x; done >> "$0"', str(busy)]
    async with listening(tmp_path, backend=backend) as ear, trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.run_process, burst, check=False))
        await ear.wait_changed(busy)
        for file in quiet:
            ear.listen_nowait()
            ear.batches.clear()
            append(file)
            await ear.wait_changed(file)
            heard = [change for batch in ear.batches for change in batch]
            assert sum(change.path == str(busy) for change in heard if isinstance(change, FileChanged)) <= 5
        await ear.wait_changed(busy)
        nursery.cancel_scope.cancel()


async def test_an_hour_of_silence_over_a_thousand_files_costs_less_than_a_thousandth_of_it(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    for number in range(20):
        make_many(tmp_path / str(number), 50)
    async with listening(tmp_path, backend="inotify", sweep_s=5, directories_s=60) as ear:
        began = time.process_time()
        await trio.sleep(3600)
        assert time.process_time() - began < 3.6
        assert ear.watcher.statistics().files == 1000
        ear.listen_nowait()
        assert not ear.changed()


def test_a_look_takes_over_what_another_found() -> None:
    look, error = Look(changed=["a"]), OSError()
    look.add(Look(changed=["b"], gone=["c"], linked=True, error=error))
    assert look == Look(changed=["a", "b"], gone=["c"], linked=True, error=error)
