"""However three files grow, and however often the process ends, the archive and the rows are those of one reading."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ingest.stage import Stage, line, of, prompt, reply, uuids

NAMES = ("a.jsonl", "b.jsonl", "-w/a/subagents/agent-x.jsonl")
LINES: tuple[Callable[[int], bytes], ...] = (
    lambda n: prompt(n, "ü"),
    lambda n: prompt(n, isMeta=True),
    lambda n: reply(n, f"m{n // 3}", output=n),
    lambda n: reply(n, "shared", output=n),
    lambda n: line(type="system", subtype="turn_duration", sessionId="s", uuid=f"s{n}"),
    lambda n: line(type="custom-title", customTitle=f"title {n}", sessionId="s"),
    lambda n: b"{oops",
    lambda n: b"",
    lambda n: prompt(n) + prompt(n + 1000),
)
COUNTED = ("message_count", "prompt_count", "reply_count", "tool_usage_count", "tokens", "title", "told", "cwd")
Step = tuple[int, int, bool]  # file, bytes to append, restart after it

contents = st.lists(st.sampled_from(range(len(LINES))), max_size=12)
steps = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 400), st.booleans()), max_size=12)


@settings(deadline=None, max_examples=40)
@given(st.tuples(contents, contents, contents), steps)
def test_any_growth_in_any_chunks_over_any_restarts_equals_one_reading(
    kinds: tuple[list[int], list[int], list[int]], grown: list[Step]
) -> None:
    files = [
        b"".join(LINES[kind](100 * file + number) + b"\n" for number, kind in enumerate(found))
        for file, found in enumerate(kinds)
    ]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        piecemeal = trio.run(grow, Stage(Path(one)), files, grown)
        at_once = trio.run(grow, Stage(Path(other)), files, [])
    assert piecemeal == at_once


async def grow(stage: Stage, files: list[bytes], steps: list[Step]) -> dict[str, Any]:
    """Let the files grow in steps, then to their end; returns what is stored and what was published."""
    left = [*files]
    told = []
    rest: list[Step] = [(file, len(content), False) for file, content in enumerate(files)]
    todo = [*steps, *rest]
    while todo:
        async with stage.running():
            told += stage.told()
            while todo:
                file, size, restart = todo.pop(0)
                piece, left[file] = left[file][:size], left[file][size:]
                told += await stage.append(NAMES[file], piece, end=b"")
                if restart:
                    break
    query = (
        "SELECT s.path, r.id & 0x1FFFFFFFFF, r.length, r.line, r.conversation_id, r.flags, r.error,"
        " body_of(r.id, r.codec, r.body)"
        " FROM records AS r JOIN sources AS s ON s.id = r.id >> 43 ORDER BY 1, 2"
    )
    conversations = {name: stage.conversation(name) for (name,) in stage.rows("SELECT id FROM conversations")}
    published = of(told, "message_added")
    return {
        "records": [(path.rpartition("/projects/")[2], *rest) for path, *rest in stage.rows(query)],
        "conversations": {name: {key: row[key] for key in COUNTED} for name, row in conversations.items()},
        "counts": sorted(project["conversation_count"] for project in stage.projects().values()),
        "published": sorted((data["conversation_id"], data["record"]["offset"]) for data in published),
        "started": sorted(data["id"] for data in of(told, "conversation_started")),
        "uuids": sorted(map(str, uuids(told))),
        "tokens": sum(data.get("usage_delta", {}).get("output_tokens", 0) for data in published),
    }
