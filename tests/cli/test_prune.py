"""`observatory prune` and `--record-retention`: what goes, what stays, and that it stays gone."""

from pathlib import Path

import orjson
import pytest

from tests.cli.keeping import NEW, OLD, accounted, imported, ran, rows, write
from tests.cli.test_tag import serving
from tests.ingest.stage import prompt
from tests.storage.packing import everything


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write(tmp_path, "oldaaaaa-1", 300, OLD)
    write(tmp_path, "oldbbbbb-2", 5, OLD, "-blog")
    write(tmp_path, "newccccc-3", 5, NEW)
    imported(tmp_path)
    return tmp_path


def kept(home: Path) -> set[object]:
    return {id for (id,) in rows(home, "SELECT DISTINCT conversation_id FROM records")}


def test_it_shows_what_would_go_and_changes_nothing(home: Path) -> None:
    done = ran(home, "prune", "--older-than", "1y", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "  2 conversations with sub-agents, 610 records, " in done.stdout
    assert len(kept(home)) == 3
    refused = ran(home, "prune", "--older-than", "1y")
    assert refused.exit_code == 2
    assert "say it with --yes" in refused.stderr


def test_old_records_go_and_what_was_counted_stays(home: Path) -> None:
    before = ran(home, "stats", "--json").stdout
    done = ran(home, "prune", "--older-than", "1y", "--yes")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1].startswith("pruned, and gave ")
    assert kept(home) == {"newccccc-3"}
    assert rows(home, "SELECT count(*) FROM conversations") == [(3,)]
    assert orjson.loads(ran(home, "stats", "--json").stdout)["total"] == orjson.loads(before)["total"]
    assert b"x 7" not in everything(home / "data")  # the first prompt and the last are the conversation's own
    account = accounted(home)
    assert account.exit_code == 0, account.output
    assert "pruned" in account.output
    assert "nothing to prune" in ran(home, "prune", "--older-than", "1y", "--yes").stdout
    assert ran(home, "search", "oldaaaaa").stdout == ""


def test_what_was_pruned_is_not_read_again_but_what_follows_is(home: Path) -> None:
    assert ran(home, "prune", "--older-than", "1y", "--yes").exit_code == 0
    imported(home)
    assert kept(home) == {"newccccc-3"}
    path = home / "root/projects/-w/oldaaaaa-1.jsonl"
    with path.open("ab") as file:
        file.write(prompt(900, "again", sessionId="oldaaaaa-1", stamp=NEW) + b"\n")
    imported(home)
    assert rows(home, "SELECT count(*) FROM records WHERE conversation_id = 'oldaaaaa-1'") == [(1,)]
    assert accounted(home).exit_code == 0
    shown = ran(home, "show", "oldaaaaa").stdout
    assert "again 900" in shown
    exported = ran(home, "export", "oldaaaaa")
    assert "were pruned" in exported.stderr


def test_only_a_project_and_not_what_is_marked(home: Path) -> None:
    assert ran(home, "tag", "oldaaaaa", "--star").exit_code == 0
    done = ran(home, "prune", "--older-than", "1y", "--yes")
    assert "1 more conversation as old, with a star or a tag, will stay" in done.stdout
    assert kept(home) == {"oldaaaaa-1", "newccccc-3"}
    assert "nothing to prune" in ran(home, "prune", "--older-than", "1y", "--project", "w", "--yes").stdout
    assert ran(home, "prune", "--older-than", "1y", "--project", "w", "--also-marked", "--yes").exit_code == 0
    assert kept(home) == {"newccccc-3"}
    assert "★" in ran(home, "tag", "oldaaaaa").stdout


def test_a_server_prunes_for_the_command(home: Path) -> None:
    with serving(home):
        done = ran(home, "prune", "--older-than", "1y", "--yes")
        assert done.exit_code == 0, done.output
        assert done.stdout.splitlines()[-1] == "pruned"
        assert kept(home) == {"newccccc-3"}
    assert accounted(home).exit_code == 0


def test_a_vanished_transcript_deletes_nothing(home: Path) -> None:
    for path in (home / "root/projects").rglob("*.jsonl"):
        path.unlink()
    imported_again = ran(home, "import", "--root", str(home / "root"))
    assert imported_again.exit_code == 0
    assert len(kept(home)) == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--older-than", "soon"], "'soon' is no age"),
        ([], "Missing option '--older-than'"),
        (["--older-than", "1y", "--project", "nope"], "'nope'"),
    ],
)
def test_a_mistake_is_one_line(home: Path, words: list[str], told: str) -> None:
    done = ran(home, "prune", *words)
    assert done.exit_code == 2
    assert told in done.stderr.splitlines()[-1]
