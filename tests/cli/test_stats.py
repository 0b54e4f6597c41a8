"""`observatory stats` over an archive that the ingest has filled: right totals, each id once, in any order of files."""

import csv
import io
import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from observatory.cli.main import main
from observatory.core.usage import Usage
from tests import history
from tests.history import AGENT, BLOG, COSTS, FILES, FORK, MAIN, TOTAL
from tests.ingest.stage import Stage
from tests.running import serving

FIELDS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


def stats(directory: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["stats", *arguments, "--data-dir", str(directory)], catch_exceptions=False)


def figures(directory: Path, *arguments: str) -> dict[str, Any]:
    done = stats(directory, *arguments, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def tokens(row: dict[str, Any]) -> Usage:
    return Usage(*(row[name] for name in FIELDS))


def usd(*ids: str) -> float:
    return float(round(sum(Decimal(str(COSTS[name])) for name in ids)) / Decimal(10**6))


@pytest.fixture
async def archive(tmp_path: Path) -> Path:
    stage = Stage(tmp_path)
    stage.root.mkdir()
    for name in FILES:
        history.write(stage, name)
    async with stage.running():
        pass
    return tmp_path


def every_line(lines: list[dict[str, Any]]) -> Usage:
    """A wrong way to count: all lines added."""
    counts = [line["message"]["usage"] for line in lines if "message" in line and line["message"]["id"] != "m0"]
    return Usage(*(sum(found[name] for found in counts) for name in FIELDS))


def first_line_per_id(lines: list[dict[str, Any]]) -> Usage:
    """A wrong way to count: what streaming adds is lost."""
    firsts: dict[str, dict[str, Any]] = {}
    for line in lines:
        if "message" in line and line["message"]["id"] != "m0":
            firsts.setdefault(line["message"]["id"] or line["uuid"], line["message"]["usage"])
    return Usage(*(sum(found[name] for found in firsts.values()) for name in FIELDS))


@pytest.mark.parametrize(
    "count",
    [
        None,
        pytest.param(every_line, marks=pytest.mark.xfail(reason="counts copies and repeats", strict=True)),
        pytest.param(first_line_per_id, marks=pytest.mark.xfail(reason="counts before a reply is done", strict=True)),
    ],
)
async def test_each_message_counts_its_maximum_once(archive: Path, count: Callable[[Any], Usage] | None) -> None:
    lines = [line for lines in FILES.values() for line in lines]
    assert (tokens(figures(archive)["total"]) if count is None else count(lines)) == TOTAL


def test_the_figures_by_hand_add_up() -> None:
    sums = [sum(getattr(counts, name) for counts in history.MESSAGES.values()) for name in FIELDS]
    assert Usage(*sums) == TOTAL


async def test_days_projects_models_and_branches_count_each_id_once_at_its_earliest(archive: Path) -> None:
    found = figures(archive, "day", "--timezone", "UTC")
    assert [(row["day"], row["messages"], row["cost_usd"]) for row in found["rows"]] == [
        ("2026-03-09", 1, usd("m1")),
        ("2026-03-10", 5, usd("m2", "a1", "a2", "l5")),
        ("2026-03-31", 1, usd("m4")),
    ]
    assert found["total"]["unpriced"] == {"model gpt-9": 1}
    assert (found["total"]["legacy_cost_usd"], found["total"]["legacy_messages"]) == (0.25, 1)
    assert found["total"]["web_search_requests"] == 1
    assert found["total"]["cache_creation_1h_input_tokens"] == 40
    projects = figures(archive, "project")["rows"]
    assert [(row["project"], row["messages"], row["conversations"]) for row in projects] == [
        ("shop", 6, 3),
        ("blog", 1, 1),
    ]
    models = figures(archive, "model")["rows"]
    assert {row["model"]: row["cost_usd"] for row in models} == {
        history.OPUS: usd("m1", "m2", "l5", "m4"),
        history.SONNET: usd("a1", "a2"),
        "gpt-9": None,
    }
    branches = figures(archive, "branch")["rows"]
    assert {(row["branch"], row["project"]): row["messages"] for row in branches} == {
        ("main", "shop"): 5,
        ("idea", "shop"): 1,
        (None, "blog"): 1,
    }
    for group in ("day", "week", "month", "project", "model", "branch", "conversation", "block"):
        total = figures(archive, group)["total"]
        assert tokens(total) == TOTAL
        assert total["cost_usd"] == usd(*COSTS)


async def test_a_conversations_total_is_of_its_own_ids(archive: Path) -> None:
    rows = {row["conversation_id"]: row for row in figures(archive, "conversation")["rows"]}
    assert {key: (row["messages"], tokens(row)) for key, row in rows.items()} == {
        MAIN: (5, Usage(3 + 10 + 1 + 2 + 1, 20 + 100 + 1 + 5 + 1, 150, 2970)),
        AGENT: (1, Usage(1, 30, 50, 10)),
        FORK: (4, Usage(3 + 10 + 1 + 5, 20 + 120 + 1 + 50, 100, 2900)),
        BLOG: (1, Usage(7, 70)),
    }
    with closing(sqlite3.connect(archive / "observatory.db")) as db:
        kept = {key: json.loads(body)["tokens"] for key, body in db.execute("SELECT id, body FROM conversations")}
    assert {key: Usage(**counts) for key, counts in kept.items()} == {key: tokens(row) for key, row in rows.items()}


def everywhere(directory: Path) -> list[list[dict[str, Any]]]:
    """All groups' rows, without the ids of projects, which every archive draws for itself."""
    groups = [figures(directory, group)["rows"] for group in ("day", "project", "model", "conversation", "branch")]
    return [[{key: row[key] for key in row if key != "project_id"} for row in rows] for rows in groups]


async def test_the_order_in_which_files_come_changes_nothing(archive: Path, tmp_path: Path) -> None:
    wanted = everywhere(archive)
    for seed in range(3):
        directory = tmp_path / str(seed)
        directory.mkdir()
        stage, names = Stage(directory), list(FILES)
        random.Random(seed).shuffle(names)
        async with stage.running():
            for name in names:
                history.write(stage, name)
                await stage.hint(name)
        assert everywhere(directory) == wanted


async def test_a_day_is_the_zones(archive: Path) -> None:
    berlin = figures(archive, "day", "--timezone", "Europe/Berlin")
    assert berlin["timezone"] == "Europe/Berlin"
    assert [row["day"] for row in berlin["rows"]] == ["2026-03-10", "2026-04-01"]  # … in summer time by then
    assert [row["month"] for row in figures(archive, "month", "--timezone", "UTC")["rows"]] == ["2026-03"]
    assert [row["week"] for row in figures(archive, "weeks", "--timezone", "Asia/Kolkata")["rows"]] == [
        "2026-W11",
        "2026-W14",
    ]


async def test_days_and_a_project_can_be_asked_for(archive: Path) -> None:
    span = ("--timezone", "UTC", "--since", "2026-03-10", "--until", "2026-03-30")
    assert figures(archive, "day", *span)["total"]["messages"] == 5
    assert figures(archive, "day", "--project", "blog")["total"]["messages"] == 1
    assert [row["conversation_id"] for row in figures(archive, "conversation", "--project", "blog")["rows"]] == [BLOG]
    nothing = stats(archive, "--since", "2030-01-01")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert nothing.stderr.startswith("observatory: nothing there in that time")


async def test_blocks_of_five_hours(archive: Path) -> None:
    rows = figures(archive, "blocks")["rows"]
    assert [(row["start"], row["messages"], row["active"]) for row in rows] == [
        ("2026-03-09T23:00:00.000Z", 5, False),
        ("2026-03-10T12:00:00.000Z", 1, False),
        ("2026-03-31T22:00:00.000Z", 1, False),
    ]
    tokens = rows[0]["tokens"]
    assert tokens == sum(FILES_TOKENS)
    assert rows[0]["tokens_per_minute"] == round(tokens / 30, 1)
    assert rows[1]["tokens_per_minute"] is None


FILES_TOKENS = [1023, 2130, 91, 77, 2]  # m1, m2, a1, a2 and the line without id


async def test_csv_has_a_header_and_the_same_rows(archive: Path) -> None:
    done = stats(archive, "branch", "--csv")
    assert done.stdout_bytes.count(b"\r\n") == 4
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["branch"] for row in rows] == ["main", "", "idea"]
    assert rows[0]["project"] == "shop"
    assert rows[2]["cost_usd"] == ""
    assert "unpriced" not in rows[0]


async def test_a_table_for_people(archive: Path) -> None:
    lines = stats(archive, "model").stdout.splitlines()
    assert lines[0].split() == [
        "MODEL",
        "INPUT",
        "OUTPUT",
        "CACHE",
        "WRITE",
        "CACHE",
        "READ",
        "COST",
        "COSTUSD",
        "MESSAGES",
        "CONV",
    ]
    assert "cost is without 1 message that has no price: model gpt-9 (1)" in lines
    assert any(line.startswith("prices: genai-prices ") for line in lines)
    assert "$0.02+" in lines[-4]


async def test_a_budget_is_passed(archive: Path) -> None:
    done = stats(archive, "day", "--timezone", "UTC", "--budget", "0.005", "--json")
    found = json.loads(done.stdout)
    assert [row["over_budget"] for row in found["rows"]] == [False, True, False]
    assert found["budget"]["passed"] == ["2026-03-10"]
    assert done.stderr == "observatory: budget of $0.01 a day: passed in 1 day, last in 2026-03-10\n"
    assert "% over" in stats(archive, "day", "--timezone", "UTC", "--budget", "0.005").stdout


async def test_tools_by_outcome_and_duration(archive: Path) -> None:
    with closing(sqlite3.connect(archive / "observatory.db")) as db, db:
        columns = "conversation_id, tool_use_id, name, record, called_at, status, duration_ms"
        add = f"INSERT INTO tool_calls ({columns}) VALUES (?, ?, ?, '', ?, ?, ?)"
        at = "2026-03-10T00:00:00.000Z"
        db.executemany(add, [(MAIN, f"t{n}", "Bash", at, "success", n * 10) for n in range(1, 21)])
        db.execute(add, (FORK, "t1", "Bash", "2026-03-11T00:00:00.000Z", "orphaned", None))  # a copy
        db.execute(add, (MAIN, "t21", "Read", at, "error", 5))
        db.execute(add, (BLOG, "t22", "Read", None, "pending", None))
    bash, read = figures(archive, "tools")["rows"]
    assert bash == {
        "tool": "Bash", "calls": 20, "errors": 0, "orphaned": 0, "pending": 0, "timed_calls": 20,
        "duration_p50_ms": 100, "duration_p95_ms": 190,
    }  # fmt: skip
    assert (read["calls"], read["errors"], read["pending"], read["duration_p50_ms"]) == (2, 1, 1, 5)
    assert stats(archive, "tools").stdout.splitlines()[1].split() == ["Bash", "20", "0", "0", "100", "ms", "190", "ms"]
    assert figures(archive, "tools", "--project", "blog")["total"]["calls"] == 1
    assert figures(archive, "tools", "--since", "2026-03-01")["total"]["calls"] == 21


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--timezone", "Mars/Phobos"], "'Mars/Phobos' is no time zone that this machine knows"),
        (["--timezone", "America"], "'America' is no time zone"),
        (["--timezone", "../etc/passwd"], "is no time zone"),
        (["--timezone", ""], "'' is no time zone"),
        (["--since", "yesterday"], "--since must be a day such as 2026-11-24, not 'yesterday'"),
        (["--since", "2026-03-02", "--until", "2026-03-01"], "--since 2026-03-02 is after --until 2026-03-01"),
        (["hour"], "'hour' is no group; use one of day, week, month"),
        (["model", "--budget", "5"], "--budget is for day, week or month, not for model"),
        (["--budget", "-1"], "-1.0 is not in the range x>=0"),
        (["--json", "--csv"], "--json and --csv exclude each other"),
        (["--project", "nothing"], "no project or conversation is called so"),
    ],
)
async def test_a_mistake_is_one_line(archive: Path, arguments: list[str], says: str) -> None:
    done = stats(archive, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


async def test_an_empty_archive_says_what_to_do(tmp_path: Path) -> None:
    assert "there is no archive" in stats(tmp_path).stderr
    async with Stage(tmp_path).running():
        pass
    for arguments, what in ((["day"], "API message"), (["tools"], "tool call")):
        done = stats(tmp_path, *arguments)
        assert (done.exit_code, done.stdout) == (0, "")
        assert done.stderr.startswith(f"observatory: no {what} counted yet: `observatory serve`")
        assert stats(tmp_path, *arguments, "--csv").stdout.count(",") > 5
        assert json.loads(stats(tmp_path, *arguments, "--json").stdout)["rows"] == []


async def test_an_archive_of_before_has_to_be_upgraded_first(archive: Path) -> None:
    with closing(sqlite3.connect(archive / "observatory.db")) as db:
        db.execute("PRAGMA user_version=2")
    done = stats(archive)
    assert done.exit_code == 1
    assert "older Observatory (schema 2)" in done.stderr


async def test_beside_a_running_server(archive: Path) -> None:
    async with serving(archive / "projects", archive) as server:
        assert tokens(figures(archive)["total"]) == TOTAL
        await server.terminate()
