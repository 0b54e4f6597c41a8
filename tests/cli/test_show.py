"""`observatory show` and `observatory resume`, as a person sees them."""

import os
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from observatory.cli.main import main
from observatory.cli.resume import line
from tests.export.conftest import AGENT, MAIN, home

__all__ = ["home"]


def ran(home: Path, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--data-dir", str(home / "data")])


def test_a_conversation_reads_from_top_to_bottom(home: Path) -> None:
    done = ran(home, "show", MAIN[:8])
    assert done.exit_code == 0, done.output
    text = done.stdout
    text = text[text.index("you  ") :]
    places = [text.index(part) for part in ("why is the total", "claude  ", "→ Bash", "failed", "→ Edit", "→ Task")]
    assert places == sorted(places)
    assert "-x = 1" in text
    assert "+x = 2" in text
    assert "hm <script>" not in text
    assert "⤷ sub-agent" in text
    assert "the agent speaks" not in text
    assert "\x1b" not in text
    assert "interrupted" in text
    assert "unreadable line" in text


def test_all_of_it_with_its_agents(home: Path) -> None:
    text = ran(home, "show", MAIN, "--all", "--agents").stdout
    assert "thinking" in text
    assert "the agent speaks" in text
    assert "note" in text


def test_long_results_are_folded(home: Path) -> None:
    assert "more lines" not in ran(home, "show", MAIN).stdout


def test_it_begins_at_a_record(home: Path) -> None:
    records = [orjson.loads(text) for text in ran(home, "show", MAIN, "--json").stdout.splitlines()]
    assert len(records) == 14
    edit = next(record["record"] for record in records if "cart.py" in record["body"])
    text = ran(home, "show", MAIN, "--at", edit).stdout
    assert "▶ → Edit" in text
    assert "why is the total wrong" in text.split("▶")[0].replace("\n", " ") or "→ Bash" in text.split("▶")[0]
    agents = ran(home, "show", f"{MAIN}.{AGENT}")
    assert "the agent speaks" in agents.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["show", "nothing-such"], "nothing-such"),
        (["show", "it's here"], "'it's here' is a project; name one of its conversations"),
        (["show", MAIN, "--at", "x"], "'x' is no record's id"),
        (["show", MAIN, "--at", "900-0-0"], "no entry of record 900-0-0 is in this conversation"),
        (["resume", "nothing-such"], "nothing-such"),
        (["resume", "it's here"], "is a project"),
    ],
)
def test_a_mistake_is_one_line(home: Path, words: list[str], told: str) -> None:
    done = ran(home, *words)
    assert done.exit_code == 2, done.output
    assert told in done.stderr.splitlines()[-1]


def test_resume_prints_the_line_that_takes_it_up_again(home: Path) -> None:
    for name in (MAIN, f"{MAIN}.{AGENT}"):
        done = ran(home, "resume", name)
        assert done.exit_code == 0, done.output
        assert done.stdout == f"cd -- '/home/ada/it'\"'\"'s here' && claude --resume {MAIN}\n"
        assert "the directory /home/ada/it's here is gone" in done.stderr


def test_resume_says_when_the_transcript_is_gone(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "data", tmp_path / "data")
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(tmp_path / "data/observatory.db")) as db, db:
        db.execute("UPDATE sources SET path = path || '.gone'")
    done = ran(tmp_path, "resume", MAIN)
    assert done.exit_code == 0
    assert f"observatory export {MAIN} --format jsonl" in done.stderr


@pytest.mark.parametrize("cwd", ["/a b", "/$(touch x)", "/`x`", "/it's", '/"', "/-n", "/ü"])
def test_the_line_is_safe_whatever_the_directory_is_called(cwd: str, tmp_path: Path) -> None:
    program = line(cwd, "$(id)").replace("cd --", "printf '%s\\n'").replace("&& claude --resume", "; printf '%s\\n'")
    done = subprocess.run(["sh", "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines() == [cwd, "$(id)"]
    assert shlex.split(line(cwd, "s"))[2] == cwd


@pytest.mark.parametrize(("pager", "colour"), [("cat", False), ("less -R -E -X", True)])
def test_on_a_terminal_it_goes_through_the_pager(home: Path, pager: str, colour: bool) -> None:
    if shutil.which(pager.split()[0]) is None and os.environ.get("CI") != "true":
        pytest.skip(f"{pager.split()[0]} is not installed")
    master, slave = os.openpty()
    words = ["show", MAIN, "--data-dir", str(home / "data")]
    command = [sys.executable, "-c", "from observatory.cli.main import main; main()", *words]
    environ = {**os.environ, "PAGER": pager, "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environ) as process:
        os.close(slave)
        seen = b""
        with suppress(OSError):  # the terminal's end
            while data := os.read(master, 65536):
                seen += data
                if b"(END)" in seen or data.endswith(b":\x1b[K"):
                    os.write(master, b"q")
        process.wait(20)
    os.close(master)
    assert b"why is the total" in seen
    assert (b"\x1b[1;36m" in seen) == colour
