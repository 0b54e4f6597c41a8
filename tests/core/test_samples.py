"""The core over real transcripts: totals as published in their README. Set OBSERVATORY_SAMPLES to point elsewhere."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from observatory.core import usage
from observatory.core.conversation import Conversation, Facts, apply, changes
from observatory.core.identity import conversation_id, is_slug_of, is_transcript, locate, project_id, session_id
from observatory.core.lines import split
from observatory.core.message_added import FRAME_BYTES, data
from observatory.core.transcript import SYNTHETIC, Malformed, Record, parse
from observatory.core.usage import Usage

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = Path(os.environ.get("OBSERVATORY_SAMPLES", ROOT.parent / "shared" / "transcripts")).resolve()

if not SAMPLES.is_dir():
    pytest.skip(f"no sample transcripts at {SAMPLES}", allow_module_level=True)

TYPES = {
    **{"progress": 1251, "assistant": 1216, "user": 884, "file-history-snapshot": 41, "attachment": 40, "system": 25},
    **{"summary": 12, "queue-operation": 11, "permission-mode": 2, "mode": 2, "worktree-state": 2, "": 1},
    **{"tool_use": 1, "tool_result": 1, "agent-name": 1, "custom-title": 1, "ai-title": 1, "last-prompt": 1},
    **{"frame-link": 1, "pr-link": 1, "started": 1, "result": 1, "relocated": 1, "bridge-session": 1, "atis-latch": 1},
}
TOKENS = Usage(3_783, 129_720, 3_479_833, 90_043_447)


def files() -> dict[str, list[Record | Malformed]]:
    found = {}
    for path in sorted(SAMPLES.glob("projects/**/*.jsonl")):
        content = path.read_bytes()
        lines, _ = split(content if content.endswith(b"\n") else content + b"\n", 0)
        found[str(path)] = [value for line in lines for value in parse(line)]
    return found


@pytest.fixture(scope="module")
def samples() -> dict[str, list[Record | Malformed]]:
    return files()


def records(samples: dict[str, list[Record | Malformed]]) -> Iterator[tuple[str, Record]]:
    for path, values in samples.items():
        yield from ((path, value) for value in values if isinstance(value, Record))


def test_every_line_is_a_record_but_three(samples: dict[str, list[Record | Malformed]]) -> None:
    assert len(samples) == 35
    assert sum(map(len, samples.values())) == 3503
    bad = [value for values in samples.values() for value in values if isinstance(value, Malformed)]
    assert [value.reason for value in bad] == ["not an object"] * 3
    assert Counter(record.type for _, record in records(samples)) == TYPES
    recognised = {path for path, record in records(samples) if record.recognised}
    assert recognised == set(samples)


def test_tokens_are_the_maximum_per_field_and_message(samples: dict[str, list[Record | Malformed]]) -> None:
    messages = [record.message for _, record in records(samples) if record.message]
    ids = {message.message_id for message in messages if message.model != SYNTHETIC} - {None}
    assert len(ids) == 722
    known: dict[str, Usage] = {}
    total = usage.NONE
    for _, record in records(samples):
        for message_id, counts, _ in record.usage:
            maximum, growth = usage.grow(known.get(message_id or ""), counts)
            if message_id is not None:
                known[message_id] = maximum
            total = usage.add(total, growth)
    assert total == TOKENS


def test_every_message_added_encodes_within_its_limit(samples: dict[str, list[Record | Malformed]]) -> None:
    for values in samples.values():
        for number, value in enumerate(values):
            body = data(
                value,
                record_id=f"1-0-{value.offset}",
                conversation_id="c",
                project_id="p",
                session_id="s",
                agent_id=None,
                sequence_number=number,
                growth=None,
            )
            encoded = orjson.dumps(body)
            assert len(encoded) <= FRAME_BYTES
            assert b"ownerAccountUuid" not in encoded


def test_every_file_folds_into_a_conversation(samples: dict[str, list[Record | Malformed]]) -> None:
    taken: set[str] = set()
    for path, values in samples.items():
        assert is_transcript(path)
        found = [value for value in values if isinstance(value, Record)]
        location = locate(path, str(SAMPLES))
        inline = next((record.session_id for record in found if record.session_id), None)
        identity = conversation_id(location, inline, taken.__contains__, path)
        assert identity not in taken
        taken.add(identity)
        time = "2026-01-01T00:00:00.000Z"
        new = Conversation(
            identity, project_id("m", location.slug), session_id(location, inline), path, time, time, location.agent_id
        )
        for record in found:
            new = apply(new, record, Facts())
        assert orjson.dumps(changes(None, new))
        if location.slug.startswith("-") and new.cwd:
            assert is_slug_of(location.slug, new.cwd)
