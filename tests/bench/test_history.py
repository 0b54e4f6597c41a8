"""The history that the bench of imports makes, and what it holds against an archive."""

from pathlib import Path

import pytest

from tests.bench import history_kill
from tests.bench.history import failures, faults
from tests.bench.history_corpus import ids_of, make, pieces_of, place, renamed
from tests.bench.history_runs import Stored, complete, tree
from tests.ingest.growing import SAMPLES

SESSION = "0fae0449-64d3-4788-8622-d3a47d82c14b"
LINE = (
    f'{{"uuid":"a1","sessionId":"{SESSION}","cwd":"/w/app","message":{{"id":"msg_01ABCDEFGHIJ","content":'
    '[{"type":"tool_use","id":"toolu_01ABCDEFGHIJ","name":"Bash","input":{"path":"/w/app"}}]},"type":"user"}\n'
).encode()


def rebuilt(content: bytes, copy: int) -> bytes:
    pieces = pieces_of(content, frozenset(ids_of(content)))
    return b"".join(renamed(piece.decode(), copy).encode() if odd % 2 else piece for odd, piece in enumerate(pieces))


def test_ids_are_found_by_their_keys_and_words_are_not() -> None:
    assert set(ids_of(LINE)) == {"a1", SESSION, "msg_01ABCDEFGHIJ", "toolu_01ABCDEFGHIJ"}


@pytest.mark.parametrize("name", [SESSION, "msg_01ABCDEFGHIJ", "req_vrtx_01ABCDEFGHIJ", "a0ad4f44468bdf20d", "a1", "x"])
def test_a_copy_has_ids_of_its_own_of_the_same_shape(name: str) -> None:
    made = {renamed(name, copy) for copy in range(100)}
    assert len(made) == 100
    assert name not in made
    assert renamed(name, 1) == renamed(name, 1)
    assert all(new.split("_")[0] == name.split("_")[0] for new in made if "_" in name)
    assert not name.count("-") or all(len(new) == len(name) for new in made)


def test_all_else_stays_as_it_is() -> None:
    again = rebuilt(LINE, 3)
    assert again.count(renamed(SESSION, 3).encode()) == 1
    assert SESSION.encode() not in again
    assert b'"name":"Bash","input":{"path":"/w/app"}' in again


def test_file_names_follow_the_ids_in_the_files() -> None:
    path = Path("-w") / SESSION / "subagents/agent-afc096d.jsonl"
    found = place(path, 2, frozenset({SESSION, "afc096d"}))
    assert found == Path("-w-r2") / renamed(SESSION, 2) / "subagents" / f"agent-{renamed('afc096d', 2)}.jsonl"
    assert place(Path("-w/notes.jsonl"), 2, frozenset()) == Path("-w-r2/notes-r2.jsonl")


def test_what_an_archive_lacks_is_told() -> None:
    samples = {"conversations": 2, "records": 5, "tokens": (1, 2, 3, 4)}
    assert complete(Stored(4, 10, (2, 4, 6, 8), 99), samples, 2) == []
    assert complete(Stored(4, 9, (2, 4, 6, 8), 99), samples, 2) == ["records: 9 and not 10"]


def test_each_floor_that_does_not_hold_is_told() -> None:
    well = {"ratio": 2.0, "memory": 1, "size": 0.5, "start": 1.0, "live": {"during": {"p99_ms": 5.0}}, "kill": None}
    ill = {"ratio": 1.9, "memory": 201e6, "size": 0.51, "start": 1.1, "live": {"during": {"p99_ms": 5.1}},
           "kill": {"different": ["records"]}}  # fmt: skip
    assert [*failures(well), *faults(well, [])] == []
    assert len([*failures(ill), *faults(ill, ["tokens"])]) == 7
    assert [*failures(well | {"ratio": None, "live": None, "start": None})] == []


def test_a_process_counts_with_its_children() -> None:
    assert 1 in tree(1)
    assert len(tree(1)) >= 1


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no sample transcripts at {SAMPLES}")
def test_a_killed_import_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    found = history_kill.run(SAMPLES, tmp_path, kills=4, seed=11, size=1)
    assert found["different"] == []
    assert found["kills"] == 4


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no sample transcripts at {SAMPLES}")
def test_a_history_is_as_large_as_wanted(tmp_path: Path) -> None:
    corpus = make(SAMPLES, tmp_path, 10e6)
    paths = list(corpus.projects.rglob("*.jsonl"))
    assert (corpus.copies, corpus.files, len(paths)) == (2, 70, 70)
    assert corpus.size == sum(path.stat().st_size for path in paths) > 10e6
    assert len({path.stat().st_mtime for path in paths}) == 70
