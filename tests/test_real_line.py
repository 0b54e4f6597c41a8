"""The whole line on real transcripts: torn writes, a server that ends in the middle, a client that misses nothing.

Set OBSERVATORY_SAMPLES to point elsewhere, and OBSERVATORY_REQUIRE_SAMPLES=1 to fail where they are absent.
"""

import os
import random
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import attrs
import msgspec
import pytest
import trio

from observatory.client.follow import follow
from observatory.core import usage
from observatory.core.batch import split_key
from observatory.core.client_items import Connected, Event, Gap, Incomplete, Item, Snapshot
from observatory.core.conversation import Conversation, Facts, apply, is_reply
from observatory.core.lines import split
from observatory.core.transcript import SYNTHETIC, Record, parse
from observatory.core.usage import Usage
from observatory.storage.bodies import Bodies
from tests.oracle import Witness, check, read_log
from tests.running import Server, free_port, serving

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = Path(os.environ.get("OBSERVATORY_SAMPLES", ROOT.parent / "shared" / "transcripts")).resolve() / "projects"
TOPICS = ("all_conversations", "file_events", "project_updates")
LINES, MESSAGE_IDS, TOKENS = 3503, 722, Usage(3_783, 129_720, 3_479_833, 90_043_447)
TYPES = {
    **{"progress": 1251, "assistant": 1216, "user": 884, "file-history-snapshot": 41, "attachment": 40, "system": 25},
    **{"summary": 12, "queue-operation": 11, "permission-mode": 2, "mode": 2, "worktree-state": 2},
    **dict.fromkeys(["", "tool_use", "tool_result", "agent-name", "custom-title", "ai-title", "last-prompt"], 1),
    **dict.fromkeys(["frame-link", "pr-link", "started", "result", "relocated", "bridge-session", "atis-latch"], 1),
}
SEED = 20261122
DEADLINE_SECONDS = 60.0  # never reached when all is well
LINE = re.compile(rb"[^\n]*\n")
END = "-the-end/the-end.jsonl"
END_LINE = b'{"type":"user","uuid":"e","sessionId":"the-end","message":{"role":"user","content":"that is all"}}\n'
COUNTED = ("message_count", "prompt_count", "reply_count", "tool_usage_count", "tokens", "model", "status")

Files = dict[str, bytes]  # content by relative path


@pytest.fixture(scope="module")
def samples() -> Files:
    """The transcripts; each ends in a newline."""
    if not SAMPLES.is_dir():
        if os.environ.get("OBSERVATORY_REQUIRE_SAMPLES") == "1":
            pytest.fail(f"OBSERVATORY_REQUIRE_SAMPLES is set, but there are no sample transcripts at {SAMPLES}")
        pytest.skip(f"no sample transcripts at {SAMPLES}")
    files = {str(path.relative_to(SAMPLES)): path.read_bytes() for path in sorted(SAMPLES.rglob("*.jsonl"))}
    return {name: content.removesuffix(b"\n") + b"\n" for name, content in files.items()}


@pytest.mark.parametrize("end", ["kill", "terminate"])
async def test_every_line_of_the_samples_arrives_once_although_the_server_ends_in_the_middle(
    samples: Files, tmp_path: Path, end: Literal["kill", "terminate"]
) -> None:
    root = tmp_path / "projects"
    root.mkdir()
    seen = Seen()
    async with serving(root, tmp_path / "data", free_port()) as server, trio.open_nursery() as nursery:
        await nursery.start(seen.follow, server.url)
        pieces = list(torn(samples, random.Random(SEED)))
        async with trio.open_nursery() as writing:
            writing.start_soon(write, root, pieces[: len(pieces) * 2 // 3])
            await seen.wait("the first lines", lambda: len(seen.lines) >= LINES // 6, server)
            await server.kill() if end == "kill" else await server.terminate()  # while lines are being written
        await server.start()
        await write(root, pieces[len(pieces) * 2 // 3 :])
        for extra in SAMPLES.rglob("*.meta.json"):
            (root / extra.relative_to(SAMPLES)).write_bytes(extra.read_bytes())
        await seen.wait("every line", lambda: len(seen.lines) >= LINES, server, lambda: diff(samples, seen, root))
        await write(root, [(END, END_LINE)])
        await seen.wait("the last file", lambda: END in seen.told, server)
        published = read_log(server.database)
        due = [event.seq for event in published if not event.topics.isdisjoint(TOPICS)]
        await seen.wait("the log's end", lambda: seen.witness.frames[-1].seq >= due[-1], server)
        nursery.cancel_scope.cancel()
        check(published, seen.witness)
        assert [item for item in seen.others if not isinstance(item, Connected)] == []
        assert [item.recovered for item in seen.others if isinstance(item, Connected)] == [None, True]
        check_lines(samples, seen, root)
        check_archive(samples, server.database, root)
        check_conversations(samples, server.database, root)


# -- the writer --------------------------------------------------------------------------------------------------------


def torn(files: Files, dice: random.Random) -> Iterator[tuple[str, bytes]]:
    """All lines in the order of each file, files in random turns, each line cut into one to four writes."""
    todo = {name: list(reversed(LINE.findall(content))) for name, content in files.items()}
    rest: dict[str, list[bytes]] = {name: [] for name in files}
    while todo:
        name = dice.choice([*todo])
        if not rest[name]:
            line = todo[name].pop()
            cuts = sorted(dice.sample(range(1, len(line)), min(dice.randrange(4), len(line) - 1)))
            rest[name] = [line[a:b] for a, b in zip([0, *cuts], [*cuts, len(line)], strict=True)][::-1]
        yield name, rest[name].pop()
        if not (rest[name] or todo[name]):
            del todo[name]


async def write(root: Path, pieces: list[tuple[str, bytes]]) -> None:
    for name, data in pieces:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            file.write(data)
        await trio.lowlevel.checkpoint()


# -- the client --------------------------------------------------------------------------------------------------------


@attrs.define
class Seen:
    """What one client got over all its connections."""

    witness: Witness = attrs.field(factory=Witness)
    lines: list[dict[str, Any]] = attrs.field(factory=list)  # data of message_added
    told: set[str] = attrs.field(factory=set)  # files of conversation_started, without the root
    others: list[Item] = attrs.field(factory=list)
    news: trio.Event = attrs.field(factory=trio.Event)

    async def follow(self, url: str, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with follow(url, TOPICS, uniform=lambda low, high: 0.05) as items:
            async for item in items:
                if not self.others:
                    task_status.started()
                self._take(item)
                self.news.set()

    def _take(self, item: Item) -> None:
        self.witness.take(item, TOPICS)
        match item:
            case Event("message_added", data) if data["session_id"] != "the-end":
                self.lines.append(data)
            case Event("conversation_started", data):
                self.told.add(data["file_path"].partition("/projects/")[2])
            case Connected() | Snapshot() | Gap() | Incomplete():
                self.others.append(item)

    async def wait(
        self, what: str, done: Callable[[], bool], server: Server, why: Callable[[], str] = lambda: ""
    ) -> None:
        """Wait until it is so, looking at each event."""
        with trio.move_on_after(DEADLINE_SECONDS):
            while not done():
                self.news = trio.Event()
                await self.news.wait()
            return
        pytest.fail(f"still waiting for {what}: {len(self.lines)} lines so far\n{why()}\n{server.stderr[-3000:]}")


def places(files: Files) -> Counter[tuple[str, int]]:
    """(file, offset) of every line."""
    return Counter((name, match.start()) for name, content in files.items() for match in LINE.finditer(content))


def seen_places(seen: Seen, root: Path) -> Counter[tuple[str, int]]:
    with closing(sqlite3.connect(f"{(root.parent / 'data' / 'observatory.db').as_uri()}?mode=ro", uri=True)) as db:
        paths = dict(db.execute("SELECT id, path FROM sources"))
    found = Counter[tuple[str, int]]()
    for data in seen.lines:
        source, generation, offset = map(int, data["record"]["id"].split("-"))
        assert (generation, offset) == (0, data["record"]["offset"])
        found[str(Path(paths[source]).relative_to(root)), offset] += 1
    return found


def diff(samples: Files, seen: Seen, root: Path) -> str:
    wanted, found = places(samples), seen_places(seen, root)
    return f"missing {list(wanted - found)[:20]}, too many {list(found - wanted)[:20]}"


# -- the checks --------------------------------------------------------------------------------------------------------


def check_lines(samples: Files, seen: Seen, root: Path) -> None:
    """Each line once, and the totals of the samples' README."""
    assert seen_places(seen, root) == places(samples), diff(samples, seen, root)
    records = [data["record"] for data in seen.lines]
    assert Counter(record["type"] for record in records if "error" not in record) == TYPES
    assert [record["error"] for record in records if "error" in record] == ["not an object"] * 3
    messages = [data["message"] for data in seen.lines if data["message"] is not None]
    ids = {message.get("message_id") for message in messages if message.get("model") != SYNTHETIC} - {None}
    assert len(ids) == MESSAGE_IDS
    total = usage.NONE
    for data in seen.lines:
        total = usage.add(total, Usage(**data.get("usage_delta", {})))
    assert total == TOKENS


def check_archive(samples: Files, database: Path, root: Path) -> None:
    """The records are the files, byte for byte."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as db:
        paths = dict(db.execute("SELECT id, path FROM sources"))
        stored: dict[str, list[tuple[int, bytes]]] = {}
        bodies = Bodies(db)
        for key, length, codec, place in db.execute("SELECT id, length, codec, body FROM records ORDER BY id"):
            body = bodies.of(key, codec, place)
            source, _, offset = split_key(key)
            assert len(body) == length
            stored.setdefault(str(Path(paths[source]).relative_to(root)), []).append((offset, body))
    assert stored.pop(END) == [(0, END_LINE[:-1])]
    assert stored.keys() == samples.keys()
    for name, content in samples.items():
        assert stored[name] == [(match.start(), match[0][:-1]) for match in LINE.finditer(content)], name
        assert (root / name).read_bytes() == content


def check_conversations(samples: Files, database: Path, root: Path) -> None:
    """The rows equal a fold of the files from scratch."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as db:
        rows = {key: msgspec.json.decode(body, type=Conversation)
                for key, body in db.execute("SELECT id, body FROM conversations")}  # fmt: skip
        sources = list(db.execute("SELECT path, conversation_id FROM sources"))
    assert len(rows) == len(samples) + 1
    for path, conversation_id in sources:
        name = str(Path(path).relative_to(root))
        if name != END:
            row, folded = rows[conversation_id], fold(samples[name], rows[conversation_id])
            assert [getattr(row, key) for key in COUNTED] == [getattr(folded, key) for key in COUNTED], name
            if row.title_source != "summary":  # which mostly another file holds
                assert (row.title, row.title_source) == (folded.title, folded.title_source), name


def fold(content: bytes, row: Conversation) -> Conversation:
    """A conversation of its lines, counted with sets and dicts only."""
    made = Conversation(row.id, row.project_id, row.session_id, row.file_path, "", "", row.agent_id, row.parent_id)
    replied: set[str] = set()
    tools: set[str] = set()
    counts: dict[str, Usage] = {}
    for record in (value for line in split(content, 0)[0] for value in parse(line) if isinstance(value, Record)):
        growth = usage.NONE
        for message_id, found, _ in record.usage:
            maximum, more = usage.grow(counts.get(message_id or ""), found)
            growth = usage.add(growth, more)
            if message_id is not None:
                counts[message_id] = maximum
        calls = {call.id for call in record.message.tool_calls} if record.message else set()
        message_id = record.message.message_id if record.message else None
        fresh = is_reply(record) and (message_id is None or message_id not in replied)
        if is_reply(record) and message_id is not None:
            replied.add(message_id)
        made = apply(made, record, Facts(fresh, len(calls - tools), growth=growth))
        tools |= calls
    return made
