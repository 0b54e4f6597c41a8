"""`observatory doctor` as a person meets it: lines, cures, JSON, exit codes; beside a server and without one."""

import json
import os
import shutil
import signal
import socket
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from observatory.cli.doctor_report import finding_lines, summary, table, verdict
from observatory.cli.main import main
from observatory.core.finding import Finding
from observatory.doctor.account import FileAccount, Totals
from observatory.storage.log import EventLog
from tests.ingest.stage import Stage, prompt
from tests.running import serving

SAMPLES = Path(os.environ.get("OBSERVATORY_SAMPLES", Path(__file__).resolve().parents[3] / "shared" / "transcripts"))


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("OBSERVATORY_", "CLAUDE_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def doctor(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["doctor", *map(str, arguments)])


def findings(result: Result) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for finding in json.loads(result.stdout)["findings"]:
        found.setdefault(finding["what"], []).append((finding["level"], finding["finding"]))
    return found


def test_before_the_first_start_all_is_well_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "projects" / "-w").mkdir(parents=True)
    done = doctor("--root", tmp_path, "--data-dir", tmp_path / "data", "--port", 0)
    assert done.exit_code == 0, done.output
    assert f"{tmp_path / 'data'} is not there yet" in done.stdout
    assert {line.split()[0] for line in done.stdout.splitlines()[:-2]} <= {"ok", "warn", "cure:"}
    assert {entry.name for entry in tmp_path.iterdir()} == {"projects"}


def test_a_problem_comes_with_its_cure_and_exit_code_1(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = doctor("--data-dir", tmp_path / "data", "--port", port)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    [at] = [number for number, line in enumerate(lines) if line.startswith("fail  port")]
    assert f"port {port} on 127.0.0.1 is taken" in lines[at]
    assert lines[at + 1].strip().startswith("cure: ")
    assert lines[-1].startswith("1 problem")


def test_settings_that_cannot_be_used_are_a_finding_and_flags_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.toml").write_text("prot = 1\n")
    monkeypatch.setenv("OBSERVATORY_CONFIG", str(tmp_path / "c.toml"))
    monkeypatch.setenv("OBSERVATORY_POTR", "1")
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    done = doctor("--data-dir", tmp_path / "data", "--port", 0, "--json")
    assert done.exit_code == 1
    levels = [level for level, _ in findings(done)["config"]]
    assert levels == ["fail", "warn", "ok"]
    assert "unknown settings: prot" in findings(done)["config"][0][1]
    assert doctor("--port", "x").exit_code == 2
    assert doctor("--root", tmp_path / "c.toml").exit_code == 2


def test_settings_in_force_say_where_they_are_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.toml").write_text("max_clients = 5\n")
    monkeypatch.setenv("OBSERVATORY_CONFIG", str(tmp_path / "c.toml"))
    monkeypatch.setenv("OBSERVATORY_WATCHER", "poll")
    done = doctor("--data-dir", tmp_path / "data", "--port", 0, "--json")
    [(level, text)] = findings(done)["config"]
    assert level == "ok"
    assert "max_clients from c.toml" in text
    assert "watcher from OBSERVATORY_WATCHER" in text
    assert "port from the command line" in text


def test_a_default_root_that_is_a_file_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".claude").touch()
    done = doctor("--data-dir", tmp_path / "data", "--port", 0, "--json")
    assert done.exit_code == 1
    assert "is a file" in findings(done)["config"][0][1]


def test_a_damaged_and_an_open_store_are_told(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    (data / "observatory.db").write_bytes(b"nonsense" * 1000)
    done = doctor("--data-dir", data, "--port", 0, "--json")
    assert done.exit_code == 1
    assert "is no database" in findings(done)["log"][0][1]
    assert ("warn", f"{data} is open to others (mode 0755): it holds your transcripts") in findings(done)["data"]


def test_deep_has_sqlite_check_everything(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    EventLog(data, "boot").close()
    shallow, deep = (doctor("--data-dir", data, "--port", 0, "--json", *more) for more in ((), ("--deep",)))
    assert (shallow.exit_code, deep.exit_code) == (0, 0)
    assert ("ok", "SQLite's quick_check finds nothing wrong") in findings(deep)["log"]
    assert len(findings(shallow)["log"]) == len(findings(deep)["log"]) - 1


async def test_beside_a_running_server(tmp_path: Path) -> None:
    root, data = tmp_path / "projects", tmp_path / "data"
    (root / "-w").mkdir(parents=True)
    (root / "-w" / "a.jsonl").write_bytes(prompt(1) + b"\n")
    async with serving(root, data) as server:
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        done = CliRunner().invoke  # in a thread: the command has a trio.run of its own
        arguments = ["doctor", "--root", str(root), "--data-dir", str(data), "--port", str(port), "--json"]
        result = await trio.to_thread.run_sync(done, main, arguments)
        assert result.exit_code == 0, result.output
        assert findings(result)["port"] == [("ok", f"port {port} on 127.0.0.1 is the running server's")]
        [(level, text)] = findings(result)["server"]
        assert (level, server.url in text, str(server.pid) in text) == ("ok", True, True)
        account = await trio.to_thread.run_sync(done, main, [*arguments[:5], "--account"])
        assert account.exit_code == 0, account.output
        os.kill(server.pid, signal.SIGSTOP)  # it holds the directory and says nothing
        try:
            result = await trio.to_thread.run_sync(done, main, arguments)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert result.exit_code == 1
        assert "does not answer: no answer in 3 s" in findings(result)["server"][0][1]


# -- the account -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no sample transcripts at {SAMPLES}")
async def test_the_account_of_the_samples_is_clean(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    shutil.copytree(SAMPLES / "projects", stage.root)
    async with stage.running():
        pass
    done = doctor("--account", "--root", stage.root, "--data-dir", tmp_path)
    assert done.exit_code == 0, done.stdout
    assert done.stdout.splitlines()[-1].startswith("ok    every byte of 35 files is accounted for")
    told = json.loads(doctor("--account", "--root", stage.root, "--data-dir", tmp_path, "--json").stdout)
    assert told["ok"]
    assert sum(told["bytes"].values()) == told["size"] == sum(p.stat().st_size for p in stage.root.rglob("*.jsonl"))


async def test_an_edit_in_the_middle_and_a_file_never_read_are_told_with_exit_code_1(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.write("a.jsonl", *(prompt(n) for n in range(40)))
    async with stage.running():
        pass
    path = stage.path("a.jsonl")
    path.write_bytes(path.read_bytes().replace(b"do it", b"do xx") + b"new\n")
    stage.write("b.jsonl", prompt(1))
    done = doctor("--account", "--root", stage.root, "--data-dir", tmp_path)
    assert done.exit_code == 1
    assert f"fail  {path}\n" in done.stdout
    assert "differs from what was read" in done.stdout
    assert "and 21 more like these" in done.stdout
    assert "b.jsonl was never read" in done.stdout
    assert "cure for “changed”" in done.stdout
    assert done.stdout.splitlines()[-1] == "fail  2 of 2 files not accounted for"


def test_an_account_without_an_archive_is_one_line(tmp_path: Path) -> None:
    done = doctor("--account", "--data-dir", tmp_path / "data")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "start a server first" in done.stderr


# -- lines -------------------------------------------------------------------------------------------------------------


def test_text_is_wrapped_below_itself_and_commands_never() -> None:
    finding = Finding("warn", "watches", "too few " * 9, "raise it " * 9, ("sudo " + "x" * 90,))
    lines = list(finding_lines(finding, 60))
    assert lines[0].startswith("warn  watches   too few")
    assert all(line.startswith(" " * 16) for line in lines[1:])
    assert all(len(line) <= 60 for line in lines[:-1])
    assert lines[-1].strip() == "sudo " + "x" * 90
    assert len(list(finding_lines(finding, None))) == 3


def test_what_could_command_a_terminal_is_made_visible() -> None:
    assert "\x1b" not in "".join(finding_lines(Finding("ok", "root", "/r/\x1b[2J"), None))


@pytest.mark.parametrize(
    ("levels", "text"),
    [([], "all is well"), (["fail", "warn", "warn"], "1 problem and 2 warnings"), (["warn"], "1 warning")],
)
def test_the_last_line_sums_up(levels: list[str], text: str) -> None:
    assert summary([Finding(level, "x", "y", "z") for level in levels]) == text  # type: ignore[arg-type]


def test_an_account_of_nothing() -> None:
    totals = Totals()
    totals.add(FileAccount("/gone", "gone"))
    assert list(table(totals)) == ["all  0 bytes"]
    assert (
        verdict(totals)
        == "ok    every byte of 0 files is accounted for: 0 bytes, 0 records, 1 file gone from the disk and kept"
    )
