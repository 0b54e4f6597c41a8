"""`observatory import` as a person meets it: alone, beside a server, on bad input, on a full disk, and interrupted."""

import json
import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result
from trio.to_thread import run_sync

from observatory.cli.main import main
from observatory.storage.errands import IMPORT
from observatory.storage.opening import DirectoryLock
from observatory.telemetry.logs import LibraryLogs
from tests.archives import prepare
from tests.faults.children import MAIN, NOBODY, limited, unmeasured
from tests.running import Server, serving

DEADLINE_SECONDS = 60.0
LINE_BYTES = 2000


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """A command sets the process's logs; here they are those of the tests."""
    yield
    structlog.reset_defaults()
    root = logging.getLogger()
    for handler in [known for known in root.handlers if isinstance(known, LibraryLogs)]:
        root.removeHandler(handler)


def invoked(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["import", *map(str, arguments)])


def imported(root: Path, data_dir: Path) -> Result:
    return invoked("--root", root, "--data-dir", data_dir)


def line(session: str, number: int, size: int = 0) -> bytes:
    found = {
        "type": "user", "uuid": f"{session}-{number}", "sessionId": session, "cwd": "/w", "padding": "x" * size,
        "timestamp": "2026-01-01T00:00:00.000Z", "message": {"role": "user", "content": f"do it {number}"},
    }  # fmt: skip
    return json.dumps(found).encode() + b"\n"


def write(root: Path, session: str, content: bytes | int = 3, size: int = 0) -> Path:
    """A transcript: so many prompts, or these bytes."""
    path = root / "projects/-w" / f"{session}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = content if isinstance(content, bytes) else b"".join(line(session, n, size) for n in range(content))
    path.write_bytes(lines)
    return path


LESS_THAN_IT_TAKES = (
    700  # blocks of a file, of 512 bytes or of a kilobyte: three files of them become an archive of 880 kB
)


def write_much(root: Path, files: int = 15, lines: int = 2000) -> int:
    """Tens of megabytes; how many records."""
    for number in range(files):
        write(root, f"s{number:02}", lines, LINE_BYTES)
    return files * lines


def counted(data_dir: Path, query: str = "SELECT count(*) FROM records") -> int:
    """0 as long as there is no database."""
    with (
        suppress(sqlite3.OperationalError),
        closing(sqlite3.connect(f"{(data_dir / 'observatory.db').as_uri()}?mode=ro", uri=True)) as db,
    ):
        return int(db.execute(query).fetchone()[0])
    return 0


def is_accounted_for(root: Path, data_dir: Path) -> bool:
    words = ["doctor", "--account", "--root", str(root), "--data-dir", str(data_dir)]
    found = CliRunner().invoke(main, words)
    assert found.exit_code == 0, found.output
    return True


@contextmanager
def started(root: Path, data_dir: Path, wrapper: tuple[str, ...] = ()) -> Iterator["subprocess.Popen[str]"]:
    """The command as a process, whose output goes into a pipe; killed at the end. wrapper: sets a limit of files, under
    which measurements could not be written."""
    places = ("--root", str(root), "--data-dir", str(data_dir))
    command = [*wrapper, sys.executable, "-c", MAIN, "import", *places]
    env = unmeasured() if wrapper else None
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0, env=env
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(holds: Callable[[], bool]) -> None:
    """Another process is at it, and only its files tell."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# -- alone -------------------------------------------------------------------------------------------------------------


def test_it_takes_in_all_there_is_and_tells_totals(tmp_path: Path) -> None:
    write(tmp_path, "a", 3)
    write(tmp_path, "b", line("b", 1) + b"{broken\n")
    data = tmp_path / "data"
    result = imported(tmp_path, data)
    assert result.exit_code == 0
    assert result.stdout.startswith("imported 2 conversations, 5 records, 0.0 MB in ")
    assert result.stdout.endswith(" MB/s, 1 error line\n")
    assert counted(data) == 5
    assert is_accounted_for(tmp_path, data)
    again = imported(tmp_path, data)
    assert (again.exit_code, again.stdout) == (0, "nothing to import: all that these roots hold is in the archive\n")


def test_what_appeared_since_is_history_and_what_grew_is_taken_in_too(tmp_path: Path) -> None:
    path, data = write(tmp_path, "a", 3), tmp_path / "data"
    imported(tmp_path, data)
    with path.open("ab") as file:
        file.write(line("a", 4))
    write(tmp_path, "b", 2)
    result = imported(tmp_path, data)
    assert result.stdout.startswith("imported 1 conversation, 2 records, ")
    assert counted(data) == 6
    assert counted(data, "SELECT count(*) FROM records WHERE flags & 16") == 5


@pytest.mark.parametrize("mistake", ["absent", "file", "none"])
def test_a_root_that_is_none_is_told_in_one_line(tmp_path: Path, mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME", "OBSERVATORY_ROOTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "file").write_text("no directory")
    arguments: dict[str, list[object]] = {
        "absent": ["--root", tmp_path / "typo"],
        "file": ["--root", tmp_path / "file"],
        "none": [],
    }
    result = invoked(*arguments[mistake], "--data-dir", tmp_path / "data")
    wanted = {"absent": "there is no directory", "file": "is a file", "none": "nothing to import: there is no"}
    assert result.exit_code == 2
    assert wanted[mistake] in result.stderr
    assert "--root" in result.stderr or "give a Claude config directory" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()


AS_NOBODY = f"""
import os, observatory.app, observatory.cli.importing, observatory.cli.screen, rich.progress
os.setgid({NOBODY}); os.setuid({NOBODY})
{MAIN}
"""  # modules may be out of reach for another user


@pytest.mark.skipif(os.getuid() != 0, reason="only root can run a command as somebody who may not read")
@pytest.mark.parametrize(("what", "code"), [("root", 2), ("folder", 1), ("file", 1)])
def test_what_may_not_be_read_is_told_in_one_line(what: str, code: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        path = write(home, "secret", 2)
        write(home, "open", 2)
        prepare(home / "data")
        for owned in (home / "data", *(home / "data").iterdir()):
            os.chown(owned, NOBODY, NOBODY)
        {"root": home / "projects", "folder": path.parent, "file": path}[what].chmod(0)
        own = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
        command = [sys.executable, "-c", AS_NOBODY, "import", "--root", str(home / "projects"), "--data-dir"]
        environ = {**own, "HOME": name, "XDG_CONFIG_HOME": name}
        done = subprocess.run([*command, str(home / "data")], capture_output=True, text=True, env=environ, timeout=60)
    said = [told for told in done.stderr.splitlines() if told.startswith("observatory: ")]
    assert done.returncode == code, done.stderr
    assert len(said) == 1, done.stderr
    assert "cannot be" in said[0]
    assert what == "root" or "run it again" in said[0]


def test_whatever_files_hold_the_import_ends_and_every_byte_is_accounted_for(tmp_path: Path) -> None:
    dice = random.Random(7)
    write(tmp_path, "broken", line("broken", 1) + b'{"type":\n' + line("broken", 2))
    write(tmp_path, "glued", line("glued", 1).rstrip(b"\n") + line("glued", 2) + line("glued", 3))
    write(tmp_path, "truncated", line("truncated", 1) + line("truncated", 2)[:40])
    write(tmp_path, "foreign", b'{"hello":"world"}\n[1]\n42\n')
    write(tmp_path, "binary", dice.randbytes(200_000))
    write(tmp_path, "giant", line("giant", 1) + line("giant", 2, 5_000_000) + b"x" * 3_000_000 + b"\n")
    write(tmp_path, "nul", b"\0" * 1000 + line("nul", 1) + b"\n" * 1000)
    write(tmp_path, "empty", b"")
    data = tmp_path / "data"
    result = imported(tmp_path, data)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("imported 5 conversations, ")
    assert is_accounted_for(tmp_path, data)
    assert imported(tmp_path, data).stdout.startswith("nothing to import")


def test_what_happens_to_files_meanwhile_loses_nothing(tmp_path: Path) -> None:
    write_much(tmp_path)
    data = tmp_path / "data"
    with started(tmp_path, data) as process:
        wait_until(lambda: counted(data, "SELECT count(*) FROM sources") == 15)
        (tmp_path / "projects/-w/s00.jsonl").unlink()
        write(tmp_path, "s01", line("s01", 7777))
        with (tmp_path / "projects/-w/s02.jsonl").open("ab") as file:
            file.write(line("s02", 8888))
        out, err = process.communicate(timeout=DEADLINE_SECONDS)
        assert process.returncode == 0, err
        assert out.splitlines()[-1].startswith("imported ")
    assert imported(tmp_path, data).exit_code == 0
    assert is_accounted_for(tmp_path, data)


def test_a_full_disk_ends_it_in_one_line_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    records, data = write_much(tmp_path, files=3), tmp_path / "data"
    with started(tmp_path, data, tuple(limited(f"-f {LESS_THAN_IT_TAKES}"))) as process:
        _, err = process.communicate(timeout=DEADLINE_SECONDS)
    said = [told for told in err.splitlines() if told.startswith("observatory: ")]
    assert process.returncode == 1, err
    assert len(said) == 1
    assert "observatory.db" in said[0]
    assert said[0].endswith("then run it again: it goes on where it stopped")
    assert "Traceback" not in err
    result = imported(tmp_path, data)
    assert result.exit_code == 0, result.output
    assert counted(data) == records
    assert is_accounted_for(tmp_path, data)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order_and_it_goes_on_the_next_time(tmp_path: Path, number: signal.Signals) -> None:
    records, data = write_much(tmp_path), tmp_path / "data"
    with started(tmp_path, data) as process:
        wait_until(lambda: counted(data, "SELECT count(*) FROM sources") == 15)
        os.killpg(process.pid, number)  # as a terminal does
        out, err = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 128 + number, err
    assert "imported" not in out
    assert err.endswith("files; run it again: it goes on where it stopped\n")
    assert len(err.splitlines()) == 1, err
    assert counted(data) < records
    assert imported(tmp_path, data).exit_code == 0
    assert counted(data) == records
    assert is_accounted_for(tmp_path, data)


# -- beside a server ---------------------------------------------------------------------------------------------------


async def status(server: Server) -> dict[str, object]:
    found = await run_sync(CliRunner().invoke, main, ["status", "--json", "--data-dir", str(server.data_dir)])
    data: dict[str, object] = json.loads(found.stdout)
    return data


async def test_a_running_server_imports_other_roots_once_and_does_not_watch_them(tmp_path: Path) -> None:
    watched, other, data = tmp_path / "watched", tmp_path / "other", tmp_path / "data"
    write(watched, "a", 3)
    path = write(other, "b", 2)
    async with serving(watched, data) as server:
        result = await run_sync(_as_command, other, data)
        assert result.returncode == 0, result.stderr
        assert result.stdout.splitlines()[-1].startswith("imported ")
        assert counted(data) == 5
        again = await run_sync(_as_command, other, data)
        assert again.stdout == "nothing to import: all that these roots hold is in the archive\n"
        mine = await run_sync(_as_command, watched, data)
        assert mine.returncode == 0
        assert is_accounted_for(other, data)
        with path.open("ab") as file:
            file.write(line("b", 9))
        found = await status(server)
        assert found["roots"] == [str(watched / "projects")]
        assert "import" in found
        assert counted(data) == 5
        await server.terminate()
    assert not IMPORT.is_open(data)


async def test_ctrl_c_only_stops_showing(tmp_path: Path) -> None:
    watched, other, data = tmp_path / "watched", tmp_path / "other", tmp_path / "data"
    write(watched, "a", 3)
    records = write_much(other)
    async with serving(watched, data):
        with started(other, data) as process:
            await run_sync(wait_until, lambda: (data / IMPORT.taken).exists())
            process.send_signal(signal.SIGINT)
            _, err = await run_sync(process.communicate)
        assert process.returncode == 130
        assert err == "observatory: the server goes on with the import; how far it is: observatory status\n"
        await run_sync(wait_until, lambda: not IMPORT.is_open(data))
        assert counted(data) == records + 3


async def test_when_the_server_ends_meanwhile_the_command_goes_on_by_itself(tmp_path: Path) -> None:
    watched, other, data = tmp_path / "watched", tmp_path / "other", tmp_path / "data"
    write(watched, "a", 3)
    records = write_much(other)
    async with serving(watched, data) as server:
        with started(other, data) as process:
            await run_sync(wait_until, lambda: IMPORT.told(data) is not None)
            await server.kill()
            out, err = await run_sync(process.communicate)
        assert process.returncode == 0, err
        assert out.splitlines()[-1].startswith("imported ")
    assert counted(data) == records + 3
    assert not IMPORT.is_open(data)


async def test_a_server_that_was_killed_over_it_does_it_at_its_next_start(tmp_path: Path) -> None:
    watched, other, data = tmp_path / "watched", tmp_path / "other", tmp_path / "data"
    write(watched, "a", 3)
    records = write_much(other)
    async with serving(watched, data) as server:
        IMPORT.ask(data, (str(other / "projects"),))
        await run_sync(wait_until, lambda: IMPORT.told(data) is not None)
        await server.kill()
        await server.start()
        await run_sync(wait_until, lambda: not IMPORT.is_open(data))
        assert counted(data) == records + 3


def test_two_wishes_at_a_time_are_one_too_many(tmp_path: Path) -> None:
    write(tmp_path, "a", 3)
    lock = DirectoryLock(tmp_path / "data")
    try:
        IMPORT.ask(tmp_path / "data", ("/elsewhere",))
        result = imported(tmp_path, tmp_path / "data")
        assert result.exit_code == 1
        assert result.stderr == "observatory: another import waits for the server: try again when it is done\n"
    finally:
        lock.release()


def test_a_server_that_does_not_take_it_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a", 3)
    monkeypatch.setattr("observatory.cli.importing.TAKEN_WITHIN", 0.0)
    lock = DirectoryLock(tmp_path / "data")
    try:
        result = imported(tmp_path, tmp_path / "data")
        assert result.exit_code == 1
        assert result.stderr == "observatory: the server does not take the import: stop the server, and try again\n"
        assert not IMPORT.is_open(tmp_path / "data")
    finally:
        lock.release()


def test_names_that_are_no_text(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    write(root, "a", 3)
    result = imported(root, tmp_path / "data")
    assert result.exit_code == 2
    assert result.stderr.endswith("is no UTF-8; rename it\n")
    write(tmp_path, "b", 3)
    write(tmp_path, os.fsdecode(b"\xfe"), 2)
    result = imported(tmp_path, tmp_path / "data")
    assert result.exit_code == 1
    assert result.stdout.startswith("imported 1 conversation, 3 records")
    assert result.stderr.splitlines()[-1].endswith("its name is no UTF-8: see to that, and run it again")


def _as_command(root: Path, data_dir: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", MAIN, "import", "--root", str(root), "--data-dir", str(data_dir)]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)
