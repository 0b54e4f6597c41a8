"""The kill harness: its oracle catches what it is there for, its plan is the seed's, and twenty rounds pass."""

import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from tests.bench import kill_oracle
from tests.bench.kill import errors_of
from tests.bench.kill_client import digest, position_after, read_journal
from tests.bench.kill_oracle import Journal, journal_of, wrong_delivery, wrong_snapshots, wrong_sources
from tests.bench.kill_stage import last_due, plan
from tests.bench.kill_writer import Writer
from tests.bench.processes import ROOT
from tests.oracle import Change, Hole, Published

TOPICS = ("all_conversations",)
ROUNDS, SEED, DEADLINE_SECONDS = 20, 20261122, 240.0


def published(seq: int, kind: str, data: dict[str, Any], *topics: str) -> Published:
    payload = orjson.dumps({"type": kind, "data": data, "timestamp": 1, "seq": seq, "epoch": "epoch1"})
    return Published(seq, frozenset(topics or TOPICS), payload)


def message(seq: int, mark: int, offset: int = 0, length: int = 20, **fields: object) -> Published:
    record = {"uuid": f"kill-{mark}.", "offset": offset, "length": length}
    return published(seq, "message_added", {"record": record, **fields})


def came(event: Published) -> dict[str, Any]:
    return {"event": ["epoch1", event.seq, digest(event.payload)]}


BEGIN = {"begin": 1, "forget": False, "store": False}
STORING = BEGIN | {"store": True}
CONNECTED = {"connected": ["epoch1", 0], "recovered": None}
LOG = [message(seq, seq) for seq in range(1, 6)]
ALL = [came(event) for event in LOG]
EMPTY = {"projects": [], "conversations": [], "truncated": False}


def faults(*lines: dict[str, Any]) -> list[str]:
    return wrong_delivery(LOG, journal_of(lines, TOPICS))


# -- the oracle --------------------------------------------------------------------------------------------------------


def test_what_came_once_in_order_over_several_lives_is_right() -> None:
    assert faults(BEGIN, CONNECTED, *ALL[:2], BEGIN, CONNECTED, *ALL[2:]) == []


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ((BEGIN, CONNECTED, *ALL[:2], *ALL[3:]), "1 missing: 3"),
        ((BEGIN, CONNECTED, *ALL[:2], BEGIN, *ALL[1:]), "1 doubled: 2"),
        ((BEGIN, CONNECTED, *ALL, ALL[0]), "1 doubled: 1"),
        ((BEGIN, CONNECTED, ALL[1], ALL[0], *ALL[2:]), "1 out_of_order: 1"),
        ((BEGIN, CONNECTED, *ALL[:4], {"event": ["epoch1", 5, digest(b"other")]}), "1 altered: 5"),
        ((BEGIN, CONNECTED, *ALL, {"event": ["epoch2", 6, ""]}), "the log changed its epoch"),
        ((BEGIN, CONNECTED, *ALL, {"fault": "Gap(…)"}), r"Gap\(…\)"),
        ((BEGIN,), "it never was subscribed"),
    ],
    ids=["lost", "doubled after a kill", "doubled", "swapped", "altered", "epoch", "gap", "never there"],
)
def test_what_is_wrong_with_a_delivery_is_found(lines: tuple[dict[str, Any], ...], fault: str) -> None:
    with pytest.raises(AssertionError, match=fault):
        assert not (found := faults(*lines)), "; ".join(found)


def test_a_program_that_saves_afterwards_may_repeat_the_event_in_hand_and_no_other() -> None:
    journal = journal_of([STORING, CONNECTED, *ALL[:3], STORING, CONNECTED, *ALL[2:]], TOPICS)
    assert (wrong_delivery(LOG, journal), journal.repeated, journal.lives) == ([], 1, 2)
    assert faults(STORING, CONNECTED, *ALL[:3], STORING, CONNECTED, *ALL[1:]) == ["2 doubled: 2, 3"]
    assert faults(STORING, CONNECTED, *ALL[:3], *ALL[2:]) == ["1 doubled: 3"]


def test_a_snapshot_declares_a_hole_and_is_held_to_the_fold() -> None:
    hole = {"snapshot": ["epoch1", 4], "state": EMPTY}
    journal = journal_of([BEGIN, CONNECTED, ALL[0], hole, ALL[4]], TOPICS)
    assert journal.witness.holes == [Hole(1, 4)]
    assert wrong_delivery(LOG, journal) == []
    assert journal_of([BEGIN, hole], TOPICS).witness.changes == [Change(4, frozenset(TOPICS))]


def test_snapshots_are_compared_with_the_fold_of_the_events_before_them() -> None:
    log = [
        published(1, "conversation_started", {"id": "c1", "title": None, "message_count": 1}),
        published(2, "project_update", {"id": "p1", "name": "shop"}),
        published(3, "conversation_update", {"id": "c1", "title": "Bugs", "message_count": 1}),
    ]
    rows = [{"id": "c1", "message_count": 1}], [{"id": "c1", "title": "Bugs", "message_count": 1}]
    at_2 = {"projects": [{"id": "p1", "name": "shop"}], "conversations": rows[0], "truncated": False}
    at_3 = at_2 | {"conversations": rows[1]}
    assert wrong_snapshots(log, [(3, at_3), (2, at_2)]) == []
    assert wrong_snapshots(log, [(2, at_3)]) == ["the snapshot at 2: other conversations: c1"]
    assert wrong_snapshots(log, [(1, at_2)]) == ["the snapshot at 1: strange projects: p1"]
    assert wrong_snapshots(log, [(3, at_3 | {"conversations": []})]) == ["the snapshot at 3: absent conversations: c1"]
    assert wrong_snapshots(log, [(3, at_3 | {"conversations": [], "truncated": True})]) == []


def test_lines_are_compared_with_what_was_published_of_them(tmp_path: Path) -> None:
    usage = '"message":{"usage":{"input_tokens":1,"output_tokens":2}}'
    text = [f'{{"uuid":"kill-1.",{usage}}}', '{"broken": "kill-2.', '{"uuid":"kill-3."}']
    (tmp_path / "c1.jsonl").write_text("\n".join([*text, '{"uuid":"kill-4.", "torn']))
    (one, two, three), delta = text, {"input_tokens": 1, "output_tokens": 2}
    log = [
        message(1, 1, 0, len(one), usage_delta=delta),
        message(2, 2, len(one) + 1, len(two)),
        message(3, 3, len(one) + len(two) + 2, len(three)),
    ]
    assert wrong_sources(log, tmp_path, 3) == []
    assert wrong_sources(log[:2], tmp_path)[0].startswith("1 lines lost: kill-3 at")
    assert wrong_sources([*log, log[1]], tmp_path)[0].startswith("1 lines doubled or strange: kill-2 at")
    assert wrong_sources([log[0], log[0], *log[1:]], tmp_path)[1] == "usage_delta sums up to 6 tokens, 3 were written"
    assert wrong_sources(log, tmp_path, 4) == ["4 lines were written, 3 are in the files"]


def test_a_file_of_broken_lines_only_is_not_known_for_a_transcript(tmp_path: Path) -> None:
    (tmp_path / "c1.jsonl").write_text('{"broken": "kill-1.\n')
    assert wrong_sources([], tmp_path, 1) == []


def test_errors_in_the_servers_log_are_faults() -> None:
    lines = ['{"level":"info","event":"x"}', '{"level":"error","event":"client.failed"}', "Traceback", "7"]
    assert errors_of("\n".join(lines)) == lines[1:]


# -- the parts ---------------------------------------------------------------------------------------------------------


def test_a_client_resumes_from_the_last_whole_line_of_its_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert position_after(read_journal(path)) is None
    lines = [BEGIN, {"connected": ["epoch1", 3], "recovered": None}, {"event": ["epoch1", 5, "x"]}]
    lines.append({"connected": ["epoch1", 9], "recovered": True})
    path.write_bytes(b"\n".join(map(orjson.dumps, lines)) + b'\n{"event": ["epoch1", 6')
    assert (found := position_after(read_journal(path))) is not None
    assert found.seq == 5


def test_the_same_seed_is_the_same_plan_and_every_kind_comes() -> None:
    first, again, other = (list(plan(seed, 200, 6)) for seed in (1, 1, 2))
    assert first == again != other
    assert {one.kind for one in first} == {"server", "clients", "both", "start", "terminate"}
    assert all(bool(one.clients) == (one.kind in ("clients", "both")) for one in first)


def test_the_writer_does_everything_and_counts_its_lines(tmp_path: Path) -> None:
    writer = Writer(tmp_path, Random("1"))
    while writer.lines < 2000:
        writer.step()
    writer.end()
    found = [line for lines in kill_oracle.files_of(tmp_path) for line, _ in lines]
    assert sorted(line.mark for line in found) == [*range(1, writer.lines + 1)]
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_last_event_that_is_due_is_of_the_topics() -> None:
    log = [published(1, "x", {}, "a"), published(2, "x", {}, "b")]
    assert [last_due(log, topics) for topics in (["a"], ["a", "b"], ["c"])] == [1, 2, 0]


def test_an_empty_journal_is_no_client() -> None:
    assert journal_of([], TOPICS) == Journal()


def test_twenty_rounds_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench.kill", "--rounds", str(ROUNDS), "--seed", str(SEED), "--clients", "4"]
    done = subprocess.run(
        [*command, "--directory", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_SECONDS
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.endswith("0 lost, 0 doubled\n")
    assert list(tmp_path.iterdir()) == []  # a run that passed leaves nothing behind
