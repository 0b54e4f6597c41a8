"""The command as a user meets it: a child process, its exit code, and one line when something is wrong."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest
from click.testing import CliRunner

from observatory.cli.command import one_line_errors
from observatory.cli.main import main
from observatory.core.errors import Unreachable, UsageError

DEADLINE = 30.0
COMMAND = [sys.executable, "-c", "from observatory.cli.main import main; main()"]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A home of its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OBSERVATORY_", "XDG_", "CLAUDE_"))}
    return {**kept, "HOME": str(tmp_path / "home"), "OBSERVATORY_DATA_DIR": str(tmp_path / "data")}


def ran(environ: dict[str, str], *arguments: str) -> tuple[int, str, list[str]]:
    """Exit code, standard output, and the lines of standard error."""
    done = subprocess.run(
        [*COMMAND, *arguments], env=environ, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    return done.returncode, done.stdout, done.stderr.splitlines()


@contextmanager
def started(environ: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*COMMAND, *arguments], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def a_server(environ: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with started(environ, "serve", "--port", "0") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("observatory is ready at ws://127.0.0.1:"), process.stderr and process.stderr.read()
        yield process, line.split()[4]


def test_help_lists_the_commands(environ: dict[str, str]) -> None:
    code, out, err = ran(environ, "--help")
    assert (code, err) == (0, [])
    assert all(f"\n  {command} " in out for command in ("serve", "status", "tail", "trace"))


def test_importing_the_command_line_imports_nothing_heavy() -> None:
    heavy = ("trio", "orjson", "rich", "structlog", "trio_websocket", "msgspec")  # coverage itself imports sqlite3
    code = f"import sys, observatory.cli.main\nprint([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["--bogus"], "No such option '--bogus'"),
        (["serve", "--bogus"], "No such option '--bogus'"),
        (["serve", "--port"], "requires an argument"),
        (["serve", "--port", "x"], "--port must be a whole number"),
        (["serve", "--host", "0.0.0.0"], "--host 0.0.0.0 would let others read"),
        (["serve", "--root", __file__], "is a file"),
        (["tail", "-n", "0"], "Invalid value for '-n'"),
        (["tail", "--url", "nonsense"], "nonsense"),
        (["tail", "--where", "weather=rain"], "--where 'weather=rain': there is no key 'weather'; keys are agent_id,"),
        (["tail", "--where", "role=user", "--where", '{"op":'], """--where '{"op":' is no JSON"""),
        (["tail", "--where"], "requires an argument"),
        (["trace"], "Missing argument"),
        (["trace", "/nowhere/at/all"], "/nowhere/at/all cannot be read"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(arguments: list[str], line: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("observatory: ")
    assert line in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["tail", "status"])
def test_without_a_server_other_commands_say_so_in_one_line(command: str, tmp_path: Path) -> None:
    for option in (["--data-dir", str(tmp_path)], ["--url", "ws://127.0.0.1:1/ws"]):
        done = CliRunner().invoke(main, [command, *option])
        assert done.exit_code == 1
        assert done.stderr.count("\n") == 1
        assert "observatory serve" in done.stderr


def test_a_port_in_use_is_one_line(environ: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = ran(environ, "serve", "--port", str(port))
    assert (code, err) == (
        1, [f"observatory: port {port} on 127.0.0.1 is in use: choose another with --port, or --port 0"],
    )  # fmt: skip


def test_a_file_in_the_place_of_the_data_directory_is_one_line(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    code, _, [line] = ran(environ, "serve", "--port", "0")
    assert code == 1
    assert "cannot be written" in line


def test_a_damaged_database_is_one_line(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "observatory.db").write_bytes(b"nonsense" * 1000)
    code, _, [line] = ran(environ, "serve", "--port", "0")
    assert code == 1
    assert "is no database: move it aside" in line


def test_a_running_server_is_found_by_all_others(environ: dict[str, str]) -> None:
    with a_server(environ) as (_, url):
        code, _, [line] = ran(environ, "serve", "--port", "0")
        assert code == 1
        assert f"already running at {url}" in line
        code, out, err = ran(environ, "status", "--json")
        assert (code, err) == (0, [])
        assert json.loads(out)["data_dir"] == environ["OBSERVATORY_DATA_DIR"]
        assert url in ran(environ, "status")[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_with_exit_code_0_within_5_seconds(environ: dict[str, str], number: int) -> None:
    with a_server(environ) as (process, url), started(environ, "tail", "--url", url, "--json") as tail:
        process.send_signal(number)
        assert process.wait(5) == 0
        tail.send_signal(signal.SIGINT)


def test_ctrl_c_ends_tail_with_exit_code_0_and_no_word(environ: dict[str, str]) -> None:
    with a_server(environ) as (server, url), started(environ, "tail", "--url", url) as tail:
        while json.loads(ran(environ, "status", "--json")[1])["clients"]["live"] == 0:
            assert tail.poll() is None
        tail.send_signal(signal.SIGINT)
        out, err = tail.communicate(timeout=DEADLINE)
        assert (tail.returncode, out, err) == (0, "", "")
        assert server.poll() is None


# -- the ends of a command, in this process ----------------------------------------------------------------------------


def ended(error: BaseException) -> tuple[object, str]:
    """Exit code and standard error of a command that raises."""

    @click.command(cls=click.Command)
    @one_line_errors
    def command() -> NoReturn:
        raise error

    done = CliRunner().invoke(command)
    return (done.exit_code if isinstance(done.exception, SystemExit | None) else done.exception), done.stderr


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("no"), 2, "observatory: no\n"),
        (Unreachable("no", "yes"), 1, "observatory: no: yes\n"),
        (KeyboardInterrupt(), 0, ""),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), 0, ""),
        (BaseExceptionGroup("", [ExceptionGroup("", [UsageError("no")]), KeyboardInterrupt()]), 2, "observatory: no\n"),
    ],
)
def test_an_expected_end_is_one_line_or_none_also_out_of_a_nursery(error: BaseException, code: int, line: str) -> None:
    assert ended(error) == (code, line)


def test_a_defect_keeps_its_traceback() -> None:
    group = ExceptionGroup("", [UsageError("no"), ValueError("a defect")])
    assert ended(group)[0] is group


def test_a_reader_that_has_seen_enough_ends_it_without_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(sys, "stderr", type("Stderr", (), {"close": lambda _: closed.append(True)})())
    call: Callable[..., Any] = one_line_errors(lambda: (_ for _ in ()).throw(BrokenPipeError()))
    with pytest.raises(SystemExit) as caught:
        call()
    assert (caught.value.code, closed) == (0, [True])


def test_ctrl_c_while_a_command_is_still_imported_is_no_traceback() -> None:
    @main.command("abort-test")
    def abort() -> NoReturn:
        raise click.Abort

    try:
        assert CliRunner().invoke(main, ["abort-test"]).exit_code == 0
    finally:
        del main.commands["abort-test"]
