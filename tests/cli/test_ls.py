"""`observatory ls`: from the server or from its database, as a table or as JSON."""

import io
import json
import os
import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len
from trio.to_thread import run_sync

from observatory.cli.ls import Cell, local, project_cells, session_cells, write
from observatory.cli.main import main
from observatory.client.connection import connect
from observatory.client.follow import follow
from observatory.core.events import Position
from tests.running import serving

HOSTILE = "\x1b]52;c;cm0gLXJm\x07\x1b[2J\r\n\u202eevil"
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
ROW = {
    "id": "5e1f0123-4567.a1b2c3d4e5",
    "project_id": "p",
    "message_count": 3,
    "updated_at": "2026-01-01T00:00:00.000Z",
}


def invoked(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["ls", *arguments])


def transcript(root: Path, session: str, cwd: str, second: int, agent: str = "") -> None:
    folder = root / "projects" / cwd.replace("/", "-")
    path = folder / f"{session}.jsonl" if not agent else folder / session / "subagents" / f"agent-{agent}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    line = {
        "type": "user", "uuid": f"{session}{agent}", "parentUuid": None, "sessionId": session, "cwd": cwd,
        "timestamp": f"2026-01-01T00:00:{second:02}.000Z", "isSidechain": bool(agent),
        "message": {"role": "user", "content": f"I am {session} {agent}".strip()},
    }  # fmt: skip
    path.write_text(json.dumps(line) + "\n")
    os.utime(path, (NEW_YEAR + second, NEW_YEAR + second))  # a project was active when a file of it was


async def ended_server(tmp_path: Path) -> None:
    """A data directory that a server has filled: two projects, three sessions, one sub-agent."""
    for session, cwd, second in (("one", "/home/ada/shop", 1), ("two", "/home/ada/blog", 3), ("three", "/x/shop", 2)):
        transcript(tmp_path / "root", session, cwd, second)
    transcript(tmp_path / "root", "one", "/home/ada/shop", 4, agent="a1")
    async with serving(tmp_path / "root", tmp_path / "data") as server:
        await until_known(server.url, 4)
        await server.terminate()


async def until_known(url: str, conversations: int) -> None:
    """Follow the server until it has told of so many."""
    async with connect(url) as connection:
        epoch = connection.hello.data["position"]["epoch"]
    known = set()
    async with follow(url, ["all_conversations"], since=Position(epoch, 0)) as items:
        async for item in items:
            data: Any = getattr(item, "data", {})
            known |= {data["id"]} if getattr(item, "type", "") == "conversation_started" else set()
            if len(known) == conversations:
                return


async def test_while_no_server_runs_the_database_is_read(tmp_path: Path) -> None:
    await ended_server(tmp_path)
    data = ("--data-dir", str(tmp_path / "data"))
    lines = invoked(*data).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "shop", "blog", "shop"]
    assert lines[1].endswith("/home/ada/shop")  # its sub-agent was active last
    assert [line.split()[-1] for line in invoked("sessions", *data).stdout.splitlines()] == [
        "TITLE", "two", "three", "one",
    ]  # fmt: skip
    assert len(invoked("sessions", "--agents", *data).stdout.splitlines()) == 5
    newest, blog = invoked("sessions", "-n", "1", *data), invoked("sessions", "--project", "blog", *data)
    assert newest.stdout == blog.stdout
    assert "I am two" in blog.stdout.splitlines()[1]
    done = invoked("sessions", "--project", "shop", *data)
    assert done.exit_code == 2
    assert "more than one project 'shop'" in done.stderr
    [row] = map(json.loads, invoked("projects", "--project", "blog", "--json", *data).stdout.splitlines())
    assert (row["name"], row["path"], row["conversation_count"]) == ("blog", "/home/ada/blog", 1)


async def test_a_running_server_is_asked(tmp_path: Path) -> None:
    transcript(tmp_path / "root", "one", "/home/ada/shop", 1)
    async with serving(tmp_path / "root", tmp_path / "data") as server:
        await until_known(server.url, 1)
        for place in (("--data-dir", str(tmp_path / "data")), ("--url", server.url)):
            done = await run_sync(invoked, "sessions", *place)
            assert done.exit_code == 0, done.output
            assert "I am one" in done.stdout


async def test_a_server_that_knows_nothing_yet_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path / "root", tmp_path / "data") as server:
        done = await run_sync(invoked, "--url", server.url)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "observatory: no projects yet: they appear as soon as Claude Code has written a transcript\n"


def test_without_server_and_database_one_line_says_what_to_do(tmp_path: Path) -> None:
    done = invoked("--data-dir", str(tmp_path))
    assert done.exit_code == 1
    what = f"no server runs on {tmp_path}, and none has kept anything there"
    assert done.stderr == f"observatory: {what}: start one with: observatory serve\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "line"), [(b"nonsense" * 1000, "is no database"), (b"", "none has kept anything there")]
)
def test_a_database_that_is_none_is_one_line(tmp_path: Path, content: bytes, line: str) -> None:
    (tmp_path / "observatory.db").write_bytes(content)
    done = invoked("--data-dir", str(tmp_path))
    assert done.exit_code == 1
    assert line in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_newer_database_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "observatory.db") as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    done = invoked("--data-dir", str(tmp_path))
    assert done.exit_code == 1
    assert "was written by a newer Observatory" in done.stderr


def test_more_conversations_than_a_snapshot_holds_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{**ROW, "agent_id": "a"}]
    known = {"projects": [], "conversations": rows, "truncated": True}
    monkeypatch.setattr("observatory.cli.ls._known", lambda *_: known)
    assert "only the newest 1 conversations were looked at" in invoked("sessions", "--agents").stderr
    assert invoked("sessions", "--agents", "-n", "1").stderr == ""


# -- the table ---------------------------------------------------------------------------------------------------------


def written(*rows: list[Cell], width: int = 0) -> list[str]:
    out = io.StringIO()
    if width:
        out.isatty = lambda: True  # type: ignore[method-assign]
    write(rows, out, width or None)
    return out.getvalue().splitlines()


def test_a_pipe_gets_aligned_whole_rows() -> None:
    rows = ([Cell("A"), Cell("B"), Cell("C")], [Cell("日本"), Cell("5e1f0123-4567", short="5e1f0123"), Cell("x" * 300)])
    assert written(*rows) == ["A     B              C", f"日本  5e1f0123-4567  {'x' * 300}"]


def test_a_terminal_gets_rows_of_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    rows = ([Cell("A"), Cell("5e1f0123-4567", short="5e1f0123"), Cell("word " * 30)],)
    [line] = written(*rows, width=40)
    assert "5e1f0123  word word" in line
    assert "…" in line
    assert cell_len(line) <= 40


def test_no_text_of_a_transcript_reaches_the_terminal_as_a_command() -> None:
    project = {"id": HOSTILE, "name": HOSTILE, "path": HOSTILE, "last_activity": ROW["updated_at"]}
    session = {**ROW, "id": HOSTILE, "project_id": HOSTILE, "title": HOSTILE, "activity": HOSTILE}
    for row in (project_cells(project), session_cells(session, {})):
        [line] = written(row)
        assert not set(line) & {"\x1b", "\x07", "\r", "\u202e"}


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"status": "active", "activity": "waiting"}, "waiting"),
        ({"status": "error", "activity": "idle"}, "error"),
        ({"status": "completed", "activity": "idle"}, "completed"),
        ({}, "active"),
    ],
)
def test_the_status_is_what_a_person_wants_to_know(fields: dict[str, str], status: str) -> None:
    cells = session_cells({**ROW, **fields}, {"p": "shop"})
    assert [cell.text for cell in cells[1:]] == ["shop", "5e1f0123-4567.a1b2c3d4e5", status, "3", "-"]
    assert cells[2].short == "5e1f0123.a1b2c3d4"


def test_times_are_those_of_the_place() -> None:
    assert local("2026-01-01T23:30:00.000Z", UTC) == "2026-01-01 23:30"
    assert local("2026-01-01T23:30:00.000Z", timezone(timedelta(hours=1))) == "2026-01-02 00:30"
