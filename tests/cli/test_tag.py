"""`observatory tag`, by itself and through a server."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from observatory.cli.main import main
from tests.ingest.stage import prompt
from tests.storage.packing import everything

SERVE = [sys.executable, "-c", "from observatory.cli.main import main; main()", "serve"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "root/projects/-w"
    folder.mkdir(parents=True)
    for name in ("aaaaaaaa-1", "bbbbbbbb-2"):
        (folder / f"{name}.jsonl").write_bytes(prompt(1, sessionId=name) + b"\n")
    words = ["import", "--root", str(tmp_path / "root"), "--data-dir", str(tmp_path / "data")]
    assert CliRunner().invoke(main, words, env={"OBSERVATORY_CONFIG": os.devnull}).exit_code == 0
    return tmp_path


def ran(home: Path, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--data-dir", str(home / "data")])


@contextmanager
def serving(home: Path) -> Iterator[subprocess.Popen[str]]:
    words = ["--root", str(home / "root"), "--data-dir", str(home / "data"), "--port", "0"]
    environ = {**os.environ, "OBSERVATORY_CONFIG": os.devnull}
    with subprocess.Popen([*SERVE, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          env=environ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.terminate()


def test_what_is_said_stays_and_is_listed(home: Path) -> None:
    done = ran(home, "tag", "aaaaaaaa", "bug", "cart total", "--star", "--note", "look\nhere")
    assert done.exit_code == 0, done.output
    assert done.stdout == "aaaaaaaa-1  ★  bug, cart total  look here\n"
    assert ran(home, "tag", "bbbbbbbb", "bug").exit_code == 0
    assert ran(home, "tag", "aaaaaaaa").stdout == done.stdout
    assert ran(home, "tag").stdout.split("\n")[:3] == ["1  ★ starred", "2  bug", "1  cart total"]
    assert orjson.loads(ran(home, "tag", "--json").stdout) == {"starred": 1, "tags": {"bug": 2, "cart total": 1}}
    listed = ran(home, "ls", "sessions", "--starred").stdout
    assert "★ [bug] [cart total] do it 1" in listed
    assert "bbbbbbbb" not in listed
    assert "bbbbbbbb" in ran(home, "ls", "sessions", "--tag", "BUG").stdout
    assert "bbbbbbbb" not in ran(home, "ls", "sessions", "--tag", "bug", "--tag", "cart total").stdout
    row = orjson.loads(ran(home, "ls", "sessions", "--starred", "--json").stdout)
    assert (row["starred"], row["tags"], row["note"]) == (True, ["bug", "cart total"], "look\nhere")
    gone = ran(home, "tag", "aaaaaaaa", "--remove", "bug", "--remove", "cart total", "--unstar", "--note", "", "--json")
    assert orjson.loads(gone.stdout) == {"conversation_id": "aaaaaaaa-1", "starred": False, "tags": [], "note": ""}
    assert ran(home, "ls", "sessions", "--starred").stderr.startswith("observatory: no session has these marks")


def test_a_server_writes_it_and_tells_its_followers(home: Path) -> None:
    with serving(home):
        assert ran(home, "tag", "aaaaaaaa", "first").stdout == "aaaaaaaa-1  first\n"
        done = ran(home, "tag", "aaaaaaaa", "bug", "--star")
        assert done.stdout == "aaaaaaaa-1  ★  bug, first\n", done.output
        assert ran(home, "tag", "aaaaaaaa", "--remove", "first").stdout == "aaaaaaaa-1  ★  bug\n"
        assert ran(home, "tag", "aaaaaaaa", "bug").stdout == "aaaaaaaa-1  ★  bug\n"
    with closing(sqlite3.connect(home / "data/observatory.db")) as db:
        rows = db.execute("SELECT topics, payload FROM events WHERE json_extract(payload, '$.data.tags') NOT NULL")
        told = [(topics, orjson.loads(payload)["data"]) for topics, payload in rows]
    assert [(data["tags"], data.get("starred")) for _, data in told] == [
        (["first"], None),
        (["bug", "first"], True),
        (["bug"], None),
    ]
    assert "conversation:aaaaaaaa-1" in told[0][0].split(" ")
    assert ran(home, "tag", "aaaaaaaa").stdout == "aaaaaaaa-1  ★  bug\n"


def test_many_at_once_are_all_said(home: Path) -> None:
    with serving(home):
        program = [*SERVE[:-1], "tag", "aaaaaaaa"]
        commands = [
            subprocess.Popen([*program, f"t{number}", "--data-dir", str(home / "data")], stdout=subprocess.DEVNULL)
            for number in range(4)
        ]
        assert [command.wait(30) for command in commands] == [0] * 4
    assert ran(home, "tag", "aaaaaaaa").stdout == "aaaaaaaa-1  t0, t1, t2, t3\n"


def test_it_goes_with_the_conversation_and_leaves_nothing(home: Path) -> None:
    assert ran(home, "tag", "aaaaaaaa", "verysecrettag", "--note", "verysecretnote").exit_code == 0
    assert b"verysecretnote" in everything(home / "data")
    assert ran(home, "forget", "aaaaaaaa", "--yes").exit_code == 0
    assert b"verysecret" not in everything(home / "data")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tag", "cccccc", "x"], "cccccc"),
        (["tag", "aaaaaaaa", "a,b"], "'a,b' is no tag"),
        (["tag", "--star"], "name the conversation that it is about"),
        (["tag", "w", "x"], "'w' is a project"),
        (["ls", "projects", "--starred"], "stars and tags are of sessions"),
    ],
)
def test_a_mistake_is_one_line(home: Path, words: list[str], told: str) -> None:
    done = ran(home, *words)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert told in line


def test_nothing_is_tagged_in_an_empty_place(tmp_path: Path) -> None:
    done = ran(tmp_path, "tag")
    assert done.exit_code == 0
    assert "nothing is tagged yet" in done.stderr
