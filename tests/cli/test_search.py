"""`observatory search`, as a person and as a program sees it."""

import io
import os
import re
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from observatory.cli.main import main
from observatory.cli.search import write
from observatory.core.search_page import Search
from observatory.storage.search import searching
from tests.ingest.stage import prompt, reply

SECRET = "\x1b]0;owned\x07"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with two conversations, imported."""
    folder = tmp_path / "root/projects/-w"
    folder.mkdir(parents=True)
    lines = [
        prompt(0, "why is the cart total wrong", sessionId="aaaaaaaa-1"),
        reply(
            1, "m1", sessionId="aaaaaaaa-1", message={"role": "assistant", "content": f"the discount {SECRET} twice"}
        ),
    ]
    (folder / "aaaaaaaa-1.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    (folder / "bbbbbbbb-2.jsonl").write_bytes(prompt(5, "the blog", sessionId="bbbbbbbb-2") + b"\n")
    monkeypatch.setenv("OBSERVATORY_CONFIG", os.devnull)
    done = CliRunner().invoke(main, ["import", "--root", str(tmp_path / "root"), "--data-dir", str(tmp_path / "data")])
    assert done.exit_code == 0, done.output
    return tmp_path


def searched(home: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["search", "--data-dir", str(home / "data"), *words])


def test_a_hit_is_two_lines(home: Path) -> None:
    done = searched(home, "cart", "total")
    assert done.exit_code == 0
    first, second = done.stdout.splitlines()
    assert "w/aaaaaaaa-1"[:10] in first
    assert "  user  1-0-0  " in first or "  user  2-0-0  " in first
    assert first.endswith("  why is the cart total wrong 0")  # its title, whole in a pipe
    assert second == "    why is the cart total wrong 0"
    assert done.stderr == ""


def test_what_was_written_reaches_the_terminal_harmless(home: Path) -> None:
    assert "the discount ␛]0;owned␇ twice" in searched(home, "discount").stdout


def test_json_is_one_object_a_line(home: Path) -> None:
    (line,) = searched(home, "--json", "blog").stdout.splitlines()
    found = orjson.loads(line)
    assert found["conversation_id"] == "bbbbbbbb-2"
    assert found["marks"] == [[4, 8]]


@pytest.mark.parametrize(
    ("words", "hits"),
    [
        (["the"], 3),
        (["the", "--project", "w"], 3),
        (["the", "--conversation", "aaaaaaaa"], 2),
        (["the", "--role", "assistant"], 1),
        (["the", "--role", "assistant", "--role", "user"], 3),
        (["the", "--since", "2026-11-23"], 0),
        (["the", "--until", "2026-11-22"], 3),
        (["the", "-blog"], 2),
        (["the", "--errors"], 0),
        (["cart tot", "--exact"], 1),
        (["CART tot", "--exact", "--case"], 0),
        (["--", "the", "-cart"], 2),
    ],
)
def test_options_narrow_it(home: Path, words: list[str], hits: int) -> None:
    done = searched(home, *words)
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 2 * hits
    assert ("nothing found" in done.stderr) == (hits == 0)


def test_the_next_page_is_named(home: Path) -> None:
    done = searched(home, "the", "-n", "2")
    cursor = done.stderr.split("--cursor ")[1].strip()
    assert done.stderr.startswith("observatory: 3 hits in all; the next page: --cursor ")
    rest = searched(home, "the", "-n", "2", "--cursor", cursor)
    assert len(rest.stdout.splitlines()) == 2
    assert rest.stderr == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["->"], "no letter or digit is in it; to look for signs, use --exact"),
        (["cart", "--role", "robot"], "'robot' is no role; use one of user, assistant"),
        (["cart", "--sort", "best"], "--sort must be relevance or newest, not 'best'"),
        (["cart", "--since", "yesterday"], "--since must be a day such as 2026-11-24, not 'yesterday'"),
        (["cart", "--until", "9999-12-31"], "--until must be a day"),
        (["cart", "--case"], "--case goes with --exact"),
        (["cart", "-n", "500"], "-n may be up to 200"),
        (["cart", "--cursor", "x"], "the cursor is not of this search"),
        (["cart", "--conversation", "cccccc"], "no conversation begins with 'cccccc'"),
        (["cart", "--project", "nope"], "'nope'"),
        ([], "Missing argument 'QUERY...'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(home: Path, words: list[str], told: str) -> None:
    done = searched(home, *words)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert told in line


def test_without_an_archive_it_says_what_to_do(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["search", "--data-dir", str(tmp_path / "none"), "cart"])
    assert done.exit_code == 1
    assert done.stderr.startswith("observatory: there is no archive in ")


def test_an_index_that_lacks_something_is_brought_up_to_date_first(home: Path) -> None:
    (home / "data/search.db").unlink()
    assert len(searched(home, "the").stdout.splitlines()) == 6


def test_on_a_terminal_a_hit_fits_its_width(home: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    with searching(home / "data") as reader:
        page = reader.search(Search("cart"))
    write(page.hits, out := Terminal(), 40)
    lines = out.getvalue().splitlines()
    assert all(len(re.sub("\x1b\\[[0-9;]*m", "", line)) <= 40 for line in lines)
    assert "…" in lines[0]
