"""`observatory export`: what is written, where it goes, and what is told of it."""

import errno
import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from observatory.cli.export import Export
from observatory.cli.main import main
from observatory.core.errors import StoreError
from observatory.export.markdown import code, fenced, harmless, plain
from observatory.export.page import POLICY, rendered
from observatory.storage.conversations import conversations
from tests.export.conftest import AGENT, EVIL_MARKDOWN, MAIN, PNG

LINKS = {"https://example.org/a", "https://evil.example", "https://evil.example/p.png"}  # to follow, not to load


def exported(home: Path, *words: str, data: str = "data") -> Result:
    return CliRunner().invoke(main, ["export", "--data-dir", str(home / data), *words])


def source(home: Path) -> Path:
    (path,) = (home / "root/projects").glob(f"*/{MAIN}.jsonl")
    return path


# -- lines -------------------------------------------------------------------------------------------------------------


def test_lines_are_byte_for_byte_those_of_the_transcript(home: Path) -> None:
    done = exported(home, MAIN)
    assert done.exit_code == 0
    assert done.stdout_bytes == source(home).read_bytes()
    assert done.stderr.startswith("observatory: without 1 sub-agent, whose lines are in files of their own")
    assert exported(home, MAIN, "--no-agents").stderr == ""


def test_into_a_directory_they_lie_as_claude_code_has_them(home: Path, tmp_path: Path) -> None:
    done = exported(home, MAIN[:8], "-o", f"{tmp_path}/out/")
    assert done.exit_code == 0, done.output
    assert done.stderr == "observatory: wrote 2 files\n"
    assert (tmp_path / f"out/{MAIN}.jsonl").read_bytes() == source(home).read_bytes()
    agent = f"{MAIN}/subagents/agent-{AGENT}.jsonl"
    assert (tmp_path / "out" / agent).read_bytes() == (source(home).parent / agent).read_bytes()
    assert (tmp_path / f"out/{MAIN}.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_project_goes_into_a_directory(home: Path, tmp_path: Path) -> None:
    done = exported(home, "it's here", "-o", str(tmp_path / "out"), "--no-agents")
    assert done.exit_code == 0, done.output
    assert [path.name for path in (tmp_path / "out").rglob("*")] == [f"{MAIN}.jsonl"]
    refused = exported(home, "it's here")
    assert refused.exit_code == 2
    assert "name one with -o DIR" in refused.stderr


def test_keys_are_replaced_when_asked_for(tmp_path: Path, home: Path) -> None:
    key = "ghp_" + "a1B2" * 9
    folder = tmp_path / "root/projects/-w"
    folder.mkdir(parents=True)
    text = f'{{"type":"user","uuid":"u","sessionId":"s","message":{{"role":"user","content":"{key}"}}}}\n'
    (folder / "sssssssss.jsonl").write_text(text)
    words = ["import", "--root", str(tmp_path / "root"), "--data-dir", str(tmp_path / "data")]
    assert CliRunner().invoke(main, words, env={"OBSERVATORY_CONFIG": os.devnull}).exit_code == 0
    for format in ("jsonl", "markdown", "html"):
        assert key in exported(tmp_path, "ssssss", "--format", format).stdout
        assert key not in exported(tmp_path, "ssssss", "--format", format, "--redact").stdout


# -- Markdown and pages ------------------------------------------------------------------------------------------------


def test_markdown_says_it_all_and_none_of_it_can_end_its_fence(home: Path) -> None:
    text = exported(home, MAIN, "--format", "markdown").stdout
    assert "## User" in text
    assert "the agent speaks" in text
    assert "**Edit** `/a/cart.py`" in text
    assert "```diff\n" in text
    assert "the agent speaks" not in exported(home, MAIN, "--format", "markdown", "--no-agents").stdout
    outside = re.sub(r"^(`{3,})[a-z]*\n.*?\n\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert re.search(r"(?<!\\)<(script|img)", outside) is None


def test_what_is_no_markdown_stays_what_it_is() -> None:
    assert plain("a *b* [c](d) <e>\n# f") == "a \\*b\\* \\[c\\]\\(d\\) \\<e\\> \\# f"
    assert code("a ` b") == "`` a ` b ``"
    assert code("a\nb") == "`a b`"
    assert fenced("a\n````\nb", "x") == "`````x\na\n````\nb\n`````"
    assert harmless("```\n<b>\nopen") == "```\n<b>\nopen\n```"
    assert harmless("<b> ```x") == "&lt;b> ```x"


class Parsed(HTMLParser):
    """Tags, attributes and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.handlers: set[str] = set()
        self.addresses: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name.startswith("on") or name in ("style", "srcdoc", "action", "formaction"):
                self.handlers.add(name)
            if name in ("href", "src", "data", "xlink:href"):
                self.addresses.add(value or "")


def test_a_page_has_no_script_no_handler_and_loads_nothing(home: Path) -> None:
    text = exported(home, MAIN, "--format", "html").stdout
    page = Parsed(text)
    assert page.tags.isdisjoint({"script", "iframe", "svg", "object", "embed", "form", "link", "base", "input"})
    assert page.handlers == set()
    assert text.count("<style>") == 1
    assert f'content="{POLICY}"' in text
    outward = {address for address in page.addresses if not address.startswith("#r")}
    assert outward == LINKS | {f"data:image/png;base64,{PNG}"}
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "the agent speaks" in text
    assert "the agent speaks" not in exported(home, MAIN, "--format", "html", "--no-agents").stdout


def test_answers_are_rendered_and_cleaned() -> None:
    assert rendered("**a** `b`\n\n| c |\n|---|\n| d |").startswith("<p><strong>a</strong> <code>b</code></p>\n<table>")
    page = Parsed(rendered(EVIL_MARKDOWN))
    assert page.addresses == LINKS
    assert page.tags <= {"p", "a", "pre", "code"}


def test_records_have_places_to_link_to(home: Path) -> None:
    text = exported(home, MAIN, "--format", "html").stdout
    anchors = re.findall(r' id="(r[0-9-]+)"', text)
    assert len(anchors) == len(set(anchors)) > 8
    assert set(re.findall(r'href="#(r[0-9-]+)"', text)) <= set(anchors)


# -- where it goes -----------------------------------------------------------------------------------------------------


def test_a_file_that_is_there_is_kept_unless_told_otherwise(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    out.write_text("mine")
    done = exported(home, MAIN, "--format", "html", "-o", str(out))
    assert done.exit_code == 2
    assert "overwrite it with --force" in done.stderr
    assert out.read_text() == "mine"
    assert exported(home, MAIN, "--format", "html", "-o", str(out), "--force").exit_code == 0
    assert out.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([MAIN, "--format", "pdf"], 2, "--format must be one of jsonl, markdown, html, not 'pdf'"),
        (["nothing-such"], 2, "nothing-such"),
        ([MAIN, "-o", "/proc/nowhere/x.jsonl"], 1, "cannot be written"),
        ([MAIN, "-o", "/dev/full/x"], 1, "cannot be written"),
    ],
)
def test_what_cannot_be_is_one_line(home: Path, words: list[str], code: int, told: str) -> None:
    done = exported(home, *words)
    assert done.exit_code == code
    (line,) = done.stderr.splitlines()
    assert told in line


def test_nothing_half_is_left_when_writing_fails(home: Path, tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b"the beginning"
        raise OSError(errno.ENOSPC, "No space left on device")

    with conversations(home / "data") as reader:
        export = Export(reader, "jsonl", True, False)
        with pytest.raises(StoreError, match=r"x.jsonl cannot be written \(No space left on device\)"):
            export._write(tmp_path / "x.jsonl", parts())
    assert list(tmp_path.iterdir()) == []
