"""Kill: `kill -9` of an import at random moments, and on again: the archive ends as that of an undisturbed one."""

import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.archives import differences, holdings, prepare
from tests.bench.facts import told
from tests.bench.history_corpus import Corpus, make
from tests.bench.history_runs import import_command
from tests.bench.processes import ROOT, environment

SIZE = 30e6  # bytes of history: an import of seconds
MOST_IN_A_ROW = 6  # kills of one import
PATIENCE = 600.0


def run(samples: Path, folder: Path, kills: int, seed: int, size: float = SIZE) -> dict[str, Any]:
    """Kill so many times. different: what is not as in an undisturbed import, if anything."""
    corpus, dice = make(samples, folder / "killed", size), random.Random(seed)
    prepare(folder / "fresh")
    begun = time.monotonic()
    wanted = _import(corpus, folder, "undisturbed")
    seconds = time.monotonic() - begun
    done, imports, different = 0, 0, list[str]()
    while done < kills and not different:
        planned = min(kills - done, dice.randint(1, MOST_IN_A_ROW))
        moments = [dice.uniform(0.0, seconds * 1.5 / planned) for _ in range(planned)]
        found = _import(corpus, folder, f"killed-{imports}", moments)
        done, imports = done + planned, imports + 1
        different = [f"seed {seed}, import {imports}: {line}" for line in differences(found, wanted)]
        told(f"killed {done}/{kills}: {len(different)} tables differ")
    return {"kills": done, "imports": imports, "bytes": corpus.size, "different": different}


def _import(corpus: Corpus, folder: Path, name: str, moments: list[float] | None = None) -> dict[str, list[str]]:
    """What one archive holds in the end."""
    directory = folder / name
    shutil.copytree(folder / "fresh", directory)
    for seconds in moments or ():
        with _started(corpus, directory, folder) as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
    with _started(corpus, directory, folder) as process:
        if process.wait(PATIENCE):
            return {"exit code": [str(process.returncode)]}
    found = holdings(directory)
    shutil.rmtree(directory)
    return found


def _started(corpus: Corpus, directory: Path, home: Path) -> "subprocess.Popen[bytes]":
    command = import_command(corpus.projects, directory)
    return subprocess.Popen(command, cwd=ROOT, env=environment(home), stdout=subprocess.DEVNULL)
