"""The made-up stream: every line is a sound record of its kind, ids fit together, and it never ends."""

import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson
import pytest

from observatory.core.identity import is_slug_of, is_transcript, locate
from observatory.core.lines import split
from observatory.core.transcript import Record, parse
from observatory.demo.stream import Write, stream

LINES = 6000


def stamp(at: float) -> str:
    minutes, seconds = divmod(at, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"2026-01-01T{hours % 24:02}:{minutes:02}:{seconds:06.3f}Z"


@pytest.fixture(scope="module")
def writes() -> list[Write]:
    return list(islice(stream(7, stamp), LINES))


@pytest.fixture(scope="module")
def files(writes: list[Write]) -> dict[str, list[tuple[Record, dict[str, Any]]]]:
    """Each transcript's records, with the lines they were read from."""
    found: dict[str, list[tuple[Record, dict[str, Any]]]] = defaultdict(list)
    for write in writes:
        if is_transcript(f"/projects/{write.path}"):
            [line], rest = split(write.data, 0)
            assert rest == len(write.data)
            [record] = parse(line)
            assert isinstance(record, Record), write.data
            found[write.path].append((record, orjson.loads(write.data)))
    return found


def records(files: dict[str, list[tuple[Record, dict[str, Any]]]]) -> Iterator[tuple[str, Record]]:
    for path, lines in files.items():
        yield from ((path, record) for record, _ in lines)


def test_every_line_is_a_recognised_record_without_anomalies(files: Any) -> None:
    for _, record in records(files):
        assert record.anomalies == ()
        assert record.recognised


def test_every_kind_of_line_occurs(files: Any) -> None:
    kinds = Counter(record.kind for _, record in records(files))
    assert set(kinds) == {"prompt", "command", "tool_result", "note", "interruption", "assistant", "error", "other"}
    found = {(record.type, record.subtype) for _, record in records(files)}
    assert found >= {
        ("ai-title", None), ("system", "turn_duration"), ("system", "api_error"), ("system", "compact_boundary"),
        ("progress", "bash_progress"), ("progress", "agent_progress"), ("attachment", "hook_success"),
        ("file-history-snapshot", None), ("permission-mode", None), ("last-prompt", None),
    }  # fmt: skip
    results = [result for _, record in records(files) if record.message for result in record.message.tool_results]
    assert {result.is_error for result in results} == {True, False}
    assert any(line.get("isApiErrorMessage") for lines in files.values() for _, line in lines)


def test_the_first_minute_shows_a_failure_a_sub_agent_and_a_slow_tool() -> None:
    at, seen = 0.0, set()
    for write in stream(0, stamp):
        at += write.delay
        if at > 60:
            break
        seen |= {word for word in (b'"is_error":true', b"/subagents/", b"bash_progress", b"ai-title")
                 if word in write.data or word in write.path.encode()}  # fmt: skip
    assert len(seen) == 4


def test_every_result_answers_a_call_made_before_in_its_file(files: Any) -> None:
    for lines in files.values():
        called: set[str] = set()
        for record, _ in lines:
            if record.message is not None:
                assert {result.tool_use_id for result in record.message.tool_results} <= called
                called |= {call.id for call in record.message.tool_calls}


def test_every_parent_stands_before_its_child_in_the_file(files: Any) -> None:
    for lines in files.values():
        known: set[str] = set()
        roots = 0
        for record, line in lines:
            if record.uuid is not None:
                assert record.parent_uuid is None or record.parent_uuid in known
                roots += record.parent_uuid is None and record.subtype != "compact_boundary"
                assert line.get("logicalParentUuid") is None or line["logicalParentUuid"] in known
                known.add(record.uuid)
        assert roots == 1


def test_a_sub_agent_lies_below_its_parent_and_is_told_of_beside_it(files: Any, writes: list[Write]) -> None:
    agents = [path for path in files if "/subagents/" in path]
    assert agents
    told = {write.path: orjson.loads(write.data) for write in writes if write.path.endswith(".meta.json")}
    for path in agents:
        location = locate(f"/projects/{path}", "/projects")
        assert f"{location.slug}/{location.parent_session}.jsonl" in files
        assert told[f"{path.removesuffix('.jsonl')}.meta.json"]["agentType"] == "Explore"
        for record, _ in files[path]:
            assert record.is_sidechain
            assert (record.agent_id, record.session_id) == (location.agent_id, location.parent_session)


def test_one_reply_is_several_lines_whose_counts_grow(files: Any) -> None:
    outputs: dict[tuple[str, str], list[int]] = defaultdict(list)
    for path, record in records(files):
        for message_id, usage, _ in record.usage:
            if record.type == "assistant":
                assert message_id is not None
                outputs[path, message_id].append(usage.output_tokens)
    assert Counter(map(len, outputs.values())).keys() >= {1, 2, 3}
    assert all(counts == sorted(set(counts)) for counts in outputs.values())


def test_a_fork_repeats_its_history_and_goes_on(files: Any) -> None:
    owners: dict[str, list[str]] = defaultdict(list)
    for path, record in records(files):
        if record.uuid is not None:
            owners[record.uuid].append(path)
    assert all(len(paths) == len(set(paths)) for paths in owners.values())
    forks = {path for path, lines in files.items() if any("forkedFrom" in line for _, line in lines)}
    assert forks
    for path in forks:
        origins = {line["forkedFrom"]["sessionId"] for _, line in files[path] if "forkedFrom" in line}
        assert len(origins) == 1
        copied = [len(owners[record.uuid]) > 1 for record, _ in files[path] if record.uuid is not None]
        assert copied == sorted(copied, reverse=True)
        assert not copied[-1]


def test_nobody_can_take_it_for_real(files: Any) -> None:
    for path, lines in files.items():
        assert path.startswith("-demo-demo-")
        for record, line in lines:
            assert record.cwd is None or (record.cwd.startswith("/demo/demo-") and record.git_branch == "demo")
            assert record.cwd is None or is_slug_of(path.partition("/")[0], record.cwd)
            if record.message is not None and record.message.message_id is not None:
                assert record.message.message_id.startswith("msg_demo")
            for block in line.get("message", {}).get("content", ()):
                assert not isinstance(block, dict) or block.get("id", "toolu_demo").startswith("toolu_demo")


def test_stamps_rise_within_a_file_and_are_the_clocks(files: Any) -> None:
    for path, lines in files.items():
        stamps = [
            record.timestamp for record, line in lines if record.timestamp is not None and "forkedFrom" not in line
        ]
        assert stamps == sorted(stamps), path


def test_the_same_seed_gives_the_same_but_for_the_stamps(writes: list[Write]) -> None:
    assert list(islice(stream(7, stamp), LINES)) == writes
    assert list(islice(stream(8, stamp), 100)) != writes[:100]
    for other, write in zip(islice(stream(7, lambda _: "STAMP"), LINES), writes, strict=True):
        assert (other.delay, other.path) == (write.delay, write.path)
    assert all(write.delay >= 0 for write in writes)


def test_a_day_of_it_takes_no_more_memory_than_an_hour() -> None:
    lines = stream(3, stamp)
    tracemalloc.start()
    try:
        for _ in islice(lines, 5_000):
            pass
        tracemalloc.reset_peak()
        for _ in islice(lines, 5_000):
            pass
        _, early = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in islice(lines, 40_000):
            pass
        _, late = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert late < 2 * early + 256 * 1024
