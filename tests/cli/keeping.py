"""What tests of upkeep share: an archive of the samples' shape, and commands on it."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from click.testing import CliRunner, Result

from observatory.cli.main import main
from tests.ingest.stage import prompt, reply

OLD, NEW = "2020-01-01T20:00:00.{:03}Z", "2026-11-22T20:00:00.{:03}Z"


def write(home: Path, name: str, lines: int, stamp: str, project: str = "-w") -> Path:
    folder = home / "root/projects" / project
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.jsonl"
    made = []
    for number in range(lines):
        made.append(prompt(number, f"why {name} {'x' * 200}", sessionId=name, stamp=stamp, uuid=f"{name}u{number}"))
        made.append(reply(number, f"{name}m{number}", sessionId=name, stamp=stamp, uuid=f"{name}a{number}"))
    path.write_bytes(b"\n".join(made) + b"\n")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def ran(home: Path, *words: str, data: str = "data") -> Result:
    environ = {"OBSERVATORY_CONFIG": os.devnull}
    return CliRunner().invoke(main, [*words, "--data-dir", str(home / data)], env=environ)


def imported(home: Path, data: str = "data") -> None:
    done = ran(home, "import", "--root", str(home / "root"), data=data)
    assert done.exit_code == 0, done.output


def accounted(home: Path, data: str = "data") -> Result:
    return ran(home, "doctor", "--account", "--root", str(home / "root"), data=data)


def rows(home: Path, query: str, data: str = "data") -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"{(home / data / 'observatory.db').as_uri()}?mode=ro", uri=True)) as db:
        return db.execute(query).fetchall()
