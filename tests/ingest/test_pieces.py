"""A file read in pieces, wherever they end, makes the rows of a file read at once; so does one that grows."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.batch import Batch, SourceRow
from observatory.ingest import reading
from observatory.ingest.bulk_file import Job, Piece, read_file
from tests.ingest.stage import line, prompt, reply, result, summary, use

NUMBERS = st.integers(0, 4)
ASKED = {"subagent_type": "Explore", "description": "look"}


def of_type(type_: str, **found: Any) -> bytes:
    return line(type=type_, sessionId="s", **found)


LINES = st.one_of(
    st.builds(prompt, NUMBERS, cwd=st.sampled_from(["/w", "/v"]), gitBranch=st.sampled_from(["a", "b"])),
    st.builds(prompt, NUMBERS, isSidechain=st.booleans(), sessionId=st.sampled_from(["s", "other"])),
    st.builds(prompt, NUMBERS, st.just("[Request interrupted by user")),
    st.builds(lambda n, output: reply(n, f"m{n}", output=output), NUMBERS, NUMBERS),
    st.builds(lambda n, name: use(f"t{n}", name=name, at=n, asked=ASKED), NUMBERS, st.sampled_from(["Bash", "Task"])),
    st.builds(lambda n, bad: result(f"t{n}", is_error=bad, at=9 - n, toolUseResult={"agentId": f"g{n}"}), NUMBERS,
              st.booleans()),
    st.builds(lambda n: of_type("progress", uuid=f"p{n}", parentToolUseID=f"t{n}",
                                data={"type": "agent_progress", "agentId": f"g{n}"}), NUMBERS),
    st.builds(lambda kind, n: of_type("system", uuid=f"y{n}", subtype=kind, durationMs=n,
                                      compactMetadata={"preTokens": n}),
              st.sampled_from(["turn_duration", "compact_boundary", "microcompact_boundary", "api_error"]), NUMBERS),
    st.builds(lambda kind: of_type("queue-operation", operation=kind),
              st.sampled_from(["enqueue", "dequeue", "remove", "popAll"])),
    st.builds(lambda n: summary(f"u{n}", f"about {n}"), NUMBERS),
    st.sampled_from([
        of_type("pr-link", prUrl="https://example.com/1"), of_type("mode", mode="plan"),
        of_type("last-prompt", leafUuid="u1"),
        of_type("agent-name", agentName="bob"), of_type("ai-title", aiTitle="ai"), of_type("new in 2027"),
        of_type("relocated", relocatedCwd="/x"), b"not json", b"[1]", b"\0\0",
    ]),
)  # fmt: skip


def rows(path: Path, piece_bytes: int) -> tuple[Any, ...]:
    """The conversation, and what else is stored of it."""
    state = reading.state_of(path.stat())
    source = SourceRow(7, str(path), str(path.parent), state, backfill_until=state.size)
    together, last = Batch(), None
    for piece in read_file(Job(source, piece_bytes, at_rest=False)):
        assert isinstance(piece, Piece)
        together.add(piece.batch)
        last = piece.conversation
    return msgspec.json.encode(last), together.usage, together.tool_calls, together.summaries


@given(st.lists(LINES, max_size=40), st.integers(1, 3000), st.sampled_from([600, 1500]))
def test_any_split_into_pieces_makes_the_same_rows(lines: list[bytes], piece_bytes: int, read_bytes: int) -> None:
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        path = Path(directory) / "s.jsonl"
        path.write_bytes(b"\n".join([prompt(0), *lines]) + b"\n")
        at_once = rows(path, 1 << 30)
        patch.setattr(reading, "READ_BYTES", read_bytes)
        assert rows(path, piece_bytes) == at_once
