"""History read by worker processes: the same tables as without, in any order of the files, whatever happens."""

import math
import os
from itertools import permutations
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.watcher import FileChanged, FileGone, RootScanned
from observatory.core.batch import Flag, SourceRow
from observatory.ingest import bulk, reading
from observatory.ingest.bulk import Bulk, Workers
from observatory.ingest.bulk_file import Declined, Job, Piece, read_file
from observatory.ingest.bulk_worker import command
from tests.ingest.growing import TABLES, samples
from tests.ingest.stage import Stage, line, of, prompt, reply, result, summary, texts, types, use

LONG = {"padding": "x" * 2000}


@pytest.fixture(autouse=True)
def _every_history_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "WORTH_BYTES", 0)


def job(path: Path, piece_bytes: int = 4096, *, at_rest: bool = False) -> Job:
    state = reading.state_of(path.stat())
    return Job(SourceRow(7, str(path), str(path.parent), state, backfill_until=state.size), piece_bytes, at_rest)


def pieces(*args: Any, **named: Any) -> list[Piece]:
    found = list(read_file(job(*args, **named)))
    assert not any(isinstance(piece, Declined) for piece in found)
    return [piece for piece in found if isinstance(piece, Piece)]


def write(path: Path, *lines: bytes, end: bytes = b"\n") -> Path:
    path.write_bytes(b"\n".join(lines) + end)
    return path


# -- one file ----------------------------------------------------------------------------------------------------------


def test_a_file_comes_in_pieces_that_cover_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_BYTES", 8192)
    lines = [reply(n, f"m{n // 3}", output=10 + n) for n in range(200)]
    found = pieces(write(tmp_path / "a.jsonl", *lines))
    assert len(found) > 2
    assert [piece.before.offset for piece in found[1:]] == [piece.after.offset for piece in found[:-1]]
    assert sum(len(piece.batch.rows) for piece in found) == 200
    assert found[-1].after.offset == found[-1].after.backfill_until
    assert [piece.more for piece in found] == [True] * (len(found) - 1) + [False]
    end = found[-1].conversation
    assert (end.reply_count, end.tokens.output_tokens) == (67, sum(12 + 3 * n for n in range(66)) + 209)


@pytest.mark.parametrize(
    "content", [b"", b'{"foreign":1}\n' * 9, b"\0" * 50, b'{"type":"user"'], ids=["empty", "foreign", "nul", "torn"]
)
def test_what_nothing_proves_to_be_claude_codes_is_declined(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    assert list(read_file(job(path))) == [Declined(str(path))]


def test_a_file_that_changed_since_the_scan_is_declined(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", prompt(1))
    seen = job(path)
    write(path, prompt(1), prompt(2))
    assert list(read_file(seen)) == [Declined(str(path))]
    path.unlink()
    assert list(read_file(seen)) == [Declined(str(path))]


def test_a_file_that_changes_while_it_is_read_is_declined_from_there_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "READ_BYTES", 8192)
    path = write(tmp_path / "a.jsonl", *(prompt(n, **LONG) for n in range(40)))
    reader = read_file(job(path, 20_000))
    first = next(reader)
    assert isinstance(first, Piece)
    with path.open("ab") as file:
        file.write(prompt(99) + b"\n")
    assert list(reader) == [Declined(str(path))]


def test_a_file_at_rest_keeps_its_last_line_without_a_newline(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", prompt(1), prompt(2), end=b"")
    (piece,) = pieces(path, at_rest=True)
    assert piece.tail == prompt(2)
    assert [row[10] & Flag.TAIL for row in piece.batch.rows] == [0, Flag.TAIL]
    assert piece.after.offset == piece.after.backfill_until == len(prompt(1)) + 1
    (piece,) = pieces(path)
    assert (piece.tail, len(piece.batch.rows)) == (None, 1)


# -- all together ------------------------------------------------------------------------------------------------------


def tables(stage: Stage) -> dict[str, Any]:
    """What is stored, without what hangs on the order of reading: the numbers of the sources."""
    names = dict(stage.rows("SELECT id, path FROM sources"))
    found = {name: stage.rows(query) for name, query in TABLES.items()}
    found["records"] = stage.records()
    for name in ("records", "copies"):
        at = 0 if name == "records" else 1
        found[name] = sorted(
            (names[row[at] >> 43], row[at] & (1 << 43) - 1, *row[:at], *row[at + 1 :]) for row in found[name]
        )
    found["sources"] = sorted(row[1:] for row in found["sources"])
    found["projects"] = sorted(row[1:] for row in found["projects"])
    found["tool_calls"] = [tuple(_named(value, names) for value in row) for row in found["tool_calls"]]
    text = orjson.dumps(found, default=bytes.decode).replace(str(stage.directory).encode(), b"")
    for project_id, path in stage.rows("SELECT id, path FROM projects"):  # an id tells whether the folder came first
        text = text.replace(project_id.encode(), path.encode())
    result: dict[str, Any] = orjson.loads(text)
    return result


def _named(value: object, names: dict[int, str]) -> object:
    head, dash, rest = value.partition("-") if isinstance(value, str) else ("", "", "")
    return f"{names[int(head)]}-{rest}" if dash and head.isdigit() and rest.replace("-", "").isdigit() else value


def fill(stage: Stage, names: list[str]) -> None:
    """Files with everything that hangs on others: forks in both directions, sub-agents, a late directory, no proof,
    summaries of each other, of what several hold, and of what nobody does; a sub-agent that its parent tells of."""
    common = [prompt(n, sessionId="a", parentUuid=None) for n in range(5)]
    contents = {
        "a.jsonl": [
            *common,
            reply(6, "m1", sessionId="a", output=5),
            *(prompt(n, sessionId="a", **LONG) for n in range(20, 60)),
            use("t1", name="Task", asked={"description": "look"}, sessionId="a"),
            result("t1", sessionId="a", toolUseResult={"agentId": "1"}),
            line(type="pr-link", prUrl="https://example.com/1", sessionId="a"),
            summary("u4", "of c, which ends with it"),
            summary("u8", "of c"),
        ],
        "b.jsonl": [
            summary("u59", "of a"),
            summary("u2", "of several"),
            *common,
            reply(6, "m1", sessionId="b", output=9),
            prompt(7, sessionId="b"),
        ],
        "c.jsonl": [
            summary("u59", "of a, later"),
            summary("u0", "of several"),
            prompt(8, sessionId="c"),
            *(line.replace(b'"a"', b'"c"') for line in common),
        ],
        "-w/a/subagents/agent-1.jsonl": [
            prompt(9, sessionId="a", isSidechain=True, agentId="1"),
            b"not json",
            b"\0\0",
            summary("u7", "of b"),
        ],
        "foreign.jsonl": [b'{"x":1}', b'{"y":2}'],
    }
    for name in names:
        stage.write(name, *contents[name])
        os.utime(stage.path(name), (1_700_000_000, 1_700_000_000 + sorted(contents).index(name)))


NAMES = ["a.jsonl", "b.jsonl", "c.jsonl", "-w/a/subagents/agent-1.jsonl", "foreign.jsonl"]


async def run(directory: Path, workers: Workers) -> dict[str, Any]:
    stage = Stage(directory, workers=workers)
    fill(stage, NAMES)
    async with stage.running(scan=False):
        stage.archive.machine_id = stage.ingest._books.machine_id = "machine"
        stage.ingest.send_nowait((stage.look(),))
        await stage.settled()
        return tables(stage)


async def test_summaries_name_the_conversations_that_their_leaves_belong_to(tmp_path: Path) -> None:
    found = await run(tmp_path, Workers(1, 1))
    titles = {row[0]: orjson.loads(row[3])["title"] for row in found["conversations"]}
    agent = next(orjson.loads(row[3]) for row in found["conversations"] if row[0] == "a.1")
    assert agent["particulars"]["agent_description"] == "look"
    assert titles == {"a": "of a, later", "a.1": "do it 9", "b": "of b", "c": "of c"}


async def test_workers_make_the_same_tables(tmp_path: Path) -> None:
    without = await run(tmp_path / "without", Workers(0))
    for count, piece_bytes in ((1, 1), (2, 10_000)):
        found = await run(tmp_path / f"{count}", Workers(count, piece_bytes))
        for name, rows in without.items():
            assert found[name] == rows, name


@pytest.mark.parametrize("workers", [Workers(0), Workers(1)], ids=["without", "with"])
async def test_any_order_of_the_files_makes_the_same_tables(tmp_path: Path, workers: Workers) -> None:
    orders = [NAMES, NAMES[::-1], *list(permutations(NAMES))[7 :: 37 if workers.count == 0 else 80]]
    found = []
    for number, names in enumerate(orders):
        stage = Stage(tmp_path / str(number), workers=workers)
        fill(stage, NAMES)
        async with stage.running(scan=False):
            stage.archive.machine_id = stage.ingest._books.machine_id = "machine"
            seen = {file.path: file for file in stage.look().files}
            for name in names:  # each as if it were a root of its own: one is read before the other is looked at
                path = str(stage.path(name))
                stage.ingest.send_nowait((RootScanned(f"{path}/", (seen[path],)),))
                await stage.settled()
            found.append(tables(stage))
    for order, tables_ in zip(orders, found, strict=True):
        for name, rows in found[0].items():
            assert tables_[name] == rows, (name, order)


async def test_lines_that_come_meanwhile_are_told_after_what_was_there(tmp_path: Path) -> None:
    stage = Stage(tmp_path, workers=Workers(1, 1))
    stage.write("a.jsonl", *(prompt(n, sessionId="a", **LONG) for n in range(300)))
    async with stage.running(scan=False):
        stage.ingest.send_nowait((stage.look(),))
        await wait_all_tasks_blocked()
        stage.write("a.jsonl", prompt(301, sessionId="a"))
        stage.ingest.send_nowait((FileChanged(str(stage.path("a.jsonl")), 0),))
        await stage.settled()
        told = stage.told()
        assert types(told).index("conversation_started") < types(told).index("message_added")
        assert texts(told) == ["do it 301"]
        assert stage.conversation("a")["prompt_count"] == 301
        assert stage.rows("SELECT count(*), count(DISTINCT line) FROM records") == [(301, 301)]


@pytest.mark.parametrize("what", ["moved", "deleted", "replaced"])
async def test_a_file_that_is_changed_by_others_meanwhile_ends_as_the_reader_finds_it(
    tmp_path: Path, what: str
) -> None:
    stage = Stage(tmp_path, workers=Workers(1, 1))
    stage.write("a.jsonl", *(prompt(n, sessionId="a", **LONG) for n in range(300)))
    async with stage.running(scan=False):
        stage.ingest.send_nowait((stage.look(),))
        path = stage.path("a.jsonl")
        if what == "moved":
            path.rename(path.with_name("b.jsonl"))
            stage.ingest.send_nowait((FileGone(str(path), 0), FileChanged(str(path.with_name("b.jsonl")), 0)))
        elif what == "deleted":
            path.unlink()
            stage.ingest.send_nowait((FileGone(str(path), 0),))
        else:
            write(path, prompt(7, sessionId="a"))
            stage.ingest.send_nowait((FileChanged(str(path), 0),))
        await stage.settled()
        await trio.sleep(0.1)  # GONE_DELAY
        await stage.settled()
        count, different = stage.rows("SELECT count(*), count(DISTINCT id) FROM records WHERE NOT flags & 32")[0]
        assert count == different
        if what == "moved":
            assert count == 300
            assert stage.rows("SELECT path FROM sources") == [(str(path.with_name("b.jsonl")),)]
        if what == "replaced":
            assert stage.conversation("a")["last_prompt"] == "do it 7"
        if what == "deleted":
            assert stage.rows("SELECT missing FROM sources") == [(1,)]


async def test_a_worker_that_is_lost_leaves_its_files_to_the_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = await run(tmp_path / "whole", Workers(0))
    code = "import os, sys; sys.stdin.buffer.read(4); os.kill(os.getpid(), 9)"
    monkeypatch.setattr(bulk, "command", lambda: [*command()[:2], code])
    assert await run(tmp_path / "lost", Workers(2)) == wanted


async def test_a_worker_that_cannot_be_started_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = await run(tmp_path / "whole", Workers(0))
    monkeypatch.setattr(bulk, "command", lambda: ["/no/such/program"])
    assert await run(tmp_path / "lost", Workers(1)) == wanted


async def test_a_kill_in_the_middle_loses_and_doubles_nothing(tmp_path: Path) -> None:
    wanted = await run(tmp_path / "whole", Workers(0))
    for room in (2, 4, 7):
        stage = Stage(tmp_path / str(room), workers=Workers(1, 1))
        fill(stage, NAMES)
        for left in (room, None):
            async with stage.running(scan=False, killed=left is not None, room=left):
                stage.archive.machine_id = stage.ingest._books.machine_id = "machine"
                stage.ingest.send_nowait((stage.look(),))
                with trio.move_on_after(1 if left is not None else 10):
                    await stage.settled()
                if left is None:
                    found = tables(stage)
        assert {name: rows for name, rows in found.items() if name != "projects"} == {
            name: rows for name, rows in wanted.items() if name != "projects"
        }


@pytest.mark.skipif(not samples(), reason="the sample transcripts are not here")
async def test_workers_make_the_same_tables_of_the_samples(tmp_path: Path) -> None:
    found = []
    for count in (0, 2):
        stage = Stage(tmp_path / str(count), workers=Workers(count))
        for file in samples():
            stage.write("/".join(file.parts[file.parts.index("projects") + 1 :]), file.read_bytes(), end=b"")
        async with stage.running(scan=False):
            stage.archive.machine_id = stage.ingest._books.machine_id = "machine"
            stage.ingest.send_nowait((stage.look(),))
            await stage.settled()
            assert of(stage.told(), "message_added") == []
            found.append(tables(stage))
    for name, rows in found[0].items():
        assert found[1][name] == rows, name


async def test_while_lines_come_in_live_most_of_the_time_is_theirs(autojump_clock: MockClock) -> None:
    """A live line waited 42 ms in one case of a hundred while history came in without a pause."""
    taken = Bulk(Workers(1), trio.lowlevel.checkpoint)

    def ready() -> bool:
        return taken.ready

    taken._pieces.append(Declined("a"))
    taken.rest(trio.current_time() - 0.01)
    assert ready()  # nobody waits
    taken.live()
    taken.rest(trio.current_time() - 0.01)
    assert not ready()
    assert taken.next_due == pytest.approx(trio.current_time() + 0.01 * bulk.RESTS)
    await trio.sleep_until(taken.next_due)
    assert ready()
    taken.rest(trio.current_time() - 60)
    assert taken.next_due == pytest.approx(trio.current_time() + bulk.LONGEST_REST)
    taken._pieces.clear()
    assert taken.next_due == math.inf
    await trio.sleep(bulk.LIVE_FOR)
    taken._pieces.append(Declined("a"))
    taken.rest(trio.current_time() - 0.01)
    assert ready()
