"""The documentation agrees with the code: settings, messages, codes, log lines, commands, links."""

import ast
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from observatory.cli.main import main
from observatory.cli.terminal import ROWS
from observatory.config import SETTINGS, Setting
from observatory.core.closing import CloseCode
from observatory.core.credentials import AUTH, authenticate
from observatory.core.errors import RequestError
from observatory.core.requests import Envelope, parse_envelope, parse_request
from observatory.storage.opening import _CURES as CURES
from tests.test_architecture import modules

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT_FILES = {".md", ".py", ".sh", ".toml", ".sql", ".c", ".json", ".txt", ""}
RUN_COMMAND = "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/observatory serve"
TEST_COMMAND = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/python -m pytest"
LOG_LEVELS = {"debug", "info", "warning", "error", "exception"}
EVENT_NAME = re.compile(r"[a-z]+\.[a-z_]+")


@cache
def text(name: str) -> str:
    return (ROOT / name).read_text()


def fences(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text(name), re.DOTALL | re.MULTILINE)


@cache
def calls() -> tuple[ast.Call, ...]:
    """Every call in the code."""
    trees = [ast.parse(path.read_text()) for package in ("observatory", "actors") for _, path in modules(package)]
    return tuple(node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call))


def first_text(call: ast.Call) -> str | None:
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def named(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


# -- operations --------------------------------------------------------------------------------------------------------


def setting_row(setting: Setting, flags: dict[str, str]) -> str:
    flag = f"`{flags[setting.name]}`" if setting.name in flags else ""
    special = {
        "data_dir": "the platform's",
        "log_format": "by the stream",
        "token_file": "`token` in the data directory",
    }
    default = special.get(setting.name, "none" if setting.default in ((), None) else f"`{setting.default}`")
    variables = f"`{setting.variable}`" + (f", `{setting.also}`" if setting.also else "")
    return f"| `{setting.name}` | {variables} | {flag} | {default} | {setting.help} |"


def test_the_table_of_settings_is_the_one_in_the_code() -> None:
    flags = {parameter.name: parameter.opts[0] for parameter in main.commands["serve"].params}
    rows = "\n".join(setting_row(setting, flags) for setting in SETTINGS)
    assert rows in text("docs/operations.md"), f"docs/operations.md, Settings, should be:\n{rows}"


def test_every_error_of_the_store_is_documented_with_its_cure() -> None:
    for what, cure in CURES.values():
        assert f"| {what} | {cure} |" in text("docs/operations.md"), what


def log_lines() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"log.dropped": {"count", "total"}}  # the sink writes this one itself
    for call in calls():
        event = first_text(call)
        if named(call) in LOG_LEVELS and event is not None and EVENT_NAME.fullmatch(event):
            fields = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
            found.setdefault(event, set()).update(fields)
    return found


def test_every_log_line_is_documented_with_its_fields() -> None:
    rows = {row.split("`")[1]: row for row in text("docs/operations.md").splitlines() if row.startswith("| `")}
    lines = log_lines()
    assert len(lines) > 10
    for event, fields in lines.items():
        assert event in rows, f"{event} is missing in docs/operations.md, Log lines"
        for field in fields:
            assert f"`{field}`" in rows[event], f"{event} has a field {field}"


def test_no_log_line_is_documented_that_does_not_exist() -> None:
    section = text("docs/operations.md").partition("## Log lines")[2].partition("\n## ")[0]
    documented = {row.split("`")[1] for row in section.splitlines() if row.startswith("| `")}
    assert documented == set(log_lines())


def test_every_command_is_documented() -> None:
    for name in main.commands:
        assert f"`observatory {name}" in text("docs/operations.md")


# -- protocol ----------------------------------------------------------------------------------------------------------


def test_every_close_code_is_documented() -> None:
    for code in CloseCode:
        assert f"| {code.value} | {code.name} |" in text("docs/protocol.md")


def test_every_error_code_is_documented() -> None:
    codes = {code for call in calls() if named(call) == "RequestError" and (code := first_text(call))}
    assert {"INVALID_MESSAGE", "POSITION_SET", "NOT_AVAILABLE"} <= codes
    for code in codes:
        assert f"| `{code}` |" in text("docs/protocol.md")


def refusals() -> Iterator[tuple[int, str]]:
    """Status and code of every refused handshake: Refused(status, code, …)."""
    for call in calls():
        values = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
        match (named(call), values):
            case ("Refused", [int(status), str(code), *_]):
                yield status, code


def test_every_refused_handshake_is_documented() -> None:
    assert (403, "ORIGIN_NOT_ALLOWED") in set(refusals())
    for status, code in refusals():
        rows = [row for row in text("docs/protocol.md").splitlines() if row.startswith(f"| {status} |")]
        assert any(f"`{code}`" in row for row in rows), f"{status} {code}"


def request_types() -> set[str]:
    with pytest.raises(RequestError) as caught:
        parse_request(Envelope("?", {}, None))
    return set(caught.value.message.partition(": ")[2].split(", "))


def test_every_message_type_is_documented() -> None:
    sayers = ("message", "standing", "_standing")
    sent = {name for call in calls() if named(call) in sayers and (name := first_text(call))}
    drafted = {name for call in calls() if named(call) == "Draft" and (name := first_text(call))}
    assert {"ping", "subscription_status"} <= sent
    assert "message_added" in drafted
    for kind in sent | drafted | set(ROWS) | request_types():
        assert re.search(rf"`{kind}`|^### .*\b{kind}\b", text("docs/protocol.md"), re.MULTILINE), kind


JSON_EXAMPLES = [example for name in ("docs/protocol.md", "README.md") for example in fences(name, "json")]


@pytest.mark.parametrize("example", JSON_EXAMPLES)
def test_examples_of_messages_are_valid(example: str) -> None:
    message: dict[str, Any] = json.loads(example)
    assert isinstance(message["type"], str)
    if "timestamp" in message:  # the server's
        assert message.keys() <= {"type", "data", "timestamp", "seq", "epoch", "re"}
        assert ("seq" in message) == ("epoch" in message) == (message["type"] in ROWS)
    elif message["type"] == AUTH:
        assert authenticate(example, message["data"]["token"]) == message["id"]
    else:
        parse_request(parse_envelope(example))


def test_there_is_an_example_of_every_request_and_of_most_answers() -> None:
    shown = {(json.loads(example)["type"], "timestamp" in json.loads(example)) for example in JSON_EXAMPLES}
    assert {(kind, False) for kind in request_types()} <= shown
    answers = ("connection_established", "subscription_confirmed", "snapshot", "error", "ping", "pong")
    assert {(kind, True) for kind in (*answers, "server_shutdown", "message_added")} <= shown


# -- the README and the gate -------------------------------------------------------------------------------------------


def test_the_readme_has_exactly_two_set_up_commands() -> None:
    lines = [line for line in text("README.md").splitlines() if "pip install" in line]
    assert lines == [RUN_COMMAND, TEST_COMMAND]
    assert f"```sh\n{RUN_COMMAND}\n```" in text("README.md")
    assert f"```sh\n{TEST_COMMAND}\n```" in text("README.md")
    assert TEST_COMMAND in text("docs/testing.md")


@pytest.mark.parametrize(
    ("script", "variable", "command"),
    [(".ci/run", "TEST_COMMAND", TEST_COMMAND), ("tests/acceptance/main_line.sh", "RUN_COMMAND", RUN_COMMAND)],
)
def test_the_scripts_take_their_command_from_the_readme(script: str, variable: str, command: str) -> None:
    assert command not in text(script)
    (taken,) = re.findall(rf"^{variable}=\$\((.*)\)$", text(script), re.MULTILINE)
    done = subprocess.run(["bash", "-c", taken], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == command


@pytest.mark.parametrize("script", [".ci/run", "tests/acceptance/main_line.sh"])
def test_the_scripts_are_executable_and_sound(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    assert "set -euo pipefail" in text(script)
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(ROOT / script)], check=True)


# -- links and places --------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), target


def test_what_the_code_says_of_the_docs_is_there() -> None:
    for package in ("observatory", "actors"):
        for module, path in modules(package):
            for page, section in re.findall(r"docs/(\w+\.md), ([A-Z][\w ]*?\w)[.;\"]", path.read_text()):
                assert f"## {section}\n" in text(f"docs/{page}"), f"{module} points to docs/{page}, {section}"


def committed() -> list[Path]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        return [path for folder in ("observatory", "actors", "tests", "docs") for path in (ROOT / folder).rglob("*.*")]
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_place_of_one_machine_or_a_registry() -> None:
    hosts = ["pypi." + "org", "python" + "hosted.org", "registry." + "npmjs", "deb.debian" + ".org"]
    places = [
        "/work" + "/main",
        "/opt" + "/venv",
        "/opt" + "/pypi",
        "/opt" + "/wheels",
        "/work" + "/shared",
        "/root" + "/",
    ]
    for path in committed():
        if path.suffix in TEXT_FILES and "__pycache__" not in path.parts:
            content = path.read_text(errors="replace")
            found = [name for name in (*hosts, *places) if name in content]
            assert not found, f"{path.relative_to(ROOT)}: {found}"
