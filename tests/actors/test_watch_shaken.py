"""A reader that trusts the watcher's hints, on a tree that is shaken at random."""

import os
import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from actors.watcher import FileChanged, FileGone
from tests.actors.watch_ear import NAMES, append, listening


def shake(roots: list[Path], dice: random.Random) -> None:
    """One random act of a busy tree; one that cannot be done is skipped."""
    folder, other = (dice.choice(roots).joinpath(*dice.choices("abc", k=dice.randrange(4))) for _ in range(2))
    file = folder / f"{dice.choice('xyz')}.jsonl"
    with suppress(OSError):
        match dice.choices(range(7), [5, 5, 2, 2, 2, 2, 1])[0]:
            case 0:
                folder.mkdir(parents=True, exist_ok=True)
                append(file)
            case 1:
                append(file, "more\n")
            case 2:
                append(folder / "draft", "z" * dice.randrange(9))
                os.replace(folder / "draft", file)
            case 3:
                file.unlink()
            case 4:
                folder.rename(other)
            case 5:
                shutil.rmtree(folder)
            case 6:
                shutil.rmtree(roots[1].parent)


def sizes(roots: list[Path]) -> dict[str, int]:
    return {str(f): f.stat().st_size for root in roots for f in root.rglob("*.jsonl") if f.is_file()}


@pytest.mark.parametrize("backend", NAMES)
@pytest.mark.parametrize("seed", range(4))
async def test_a_reader_that_trusts_the_hints_ends_with_what_is_there(tmp_path: Path, backend: str, seed: int) -> None:
    """400 rounds of this found a missing root that came, went and came again unheard."""
    dice, roots = random.Random(seed), [tmp_path / "r", tmp_path / "q" / "s"]
    view: dict[str, int] = {}
    async with listening(*roots, backend=backend, size=dice.choice([2, 100]), sweep_s=60) as ear:

        def is_up_to_date() -> bool:
            for change in ear.heard:
                if isinstance(change, FileChanged) and os.path.isfile(change.path):
                    view[change.path] = os.path.getsize(change.path)
                elif isinstance(change, FileChanged | FileGone):
                    view.pop(change.path, None)
            ear.heard.clear()
            return view == sizes(roots)

        for _ in range(120):
            shake(roots, dice)
            if dice.random() < 0.3:
                await trio.sleep(dice.choice([0, 0.001, 0.005]))
                ear.listen_nowait()
                is_up_to_date()
        await ear.wait_until(is_up_to_date)
