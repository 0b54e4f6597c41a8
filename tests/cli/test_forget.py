"""`observatory forget` as a person meets it: with the server stopped, beside one, and across kills of either."""

import json
import random
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result
from trio.to_thread import run_sync

from observatory.cli.main import main
from observatory.client.connection import connect
from observatory.client.follow import follow
from observatory.core.client_items import Event, Frame
from observatory.core.events import Position
from observatory.core.forgetting import Target
from observatory.storage import errands
from observatory.storage.opening import DirectoryLock
from tests.running import Server, serving
from tests.traces import holding

SECRET = "the-secret-that-has-to-go"
ONE, TWO = "11111111-aaaa-4aaa-8aaa-111111111111", "22222222-bbbb-4bbb-8bbb-222222222222"
DEADLINE_SECONDS = 60.0


def invoked(*arguments: object, yes: bool = True) -> Result:
    return CliRunner().invoke(main, ["forget", *map(str, arguments), *["--yes"] * yes])


def transcript(root: Path, session: str, cwd: str, text: str, lines: int = 3) -> Path:
    """A session of prompts; appended to, if it is there."""
    path = root / "projects" / cwd.replace("/", "-") / f"{session}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        for number in range(lines):
            line = {
                "type": "user", "uuid": f"{session}-{path.stat().st_size}-{number}", "sessionId": session, "cwd": cwd,
                "timestamp": "2026-01-01T00:00:00.000Z", "message": {"role": "user", "content": f"{text} {number}"},
            }  # fmt: skip
            file.write(json.dumps(line) + "\n")
    return path


def traces(data_dir: Path) -> list[str]:
    """The files of the data directory in which the secret stands."""
    assert (data_dir / "observatory.db").is_file()
    return [path.name for path in holding(data_dir, SECRET.encode())]


def wait_until_clean(data_dir: Path) -> None:
    """Another process is at it, and only its files tell: the request goes away, then the last trace."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    asked = [data_dir / name for name in (errands.FORGET.request, errands.FORGET.taken)]
    while any(path.exists() for path in asked) or traces(data_dir):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def rows(data_dir: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"{(data_dir / 'observatory.db').as_uri()}?mode=ro", uri=True)) as db:
        return db.execute(query).fetchall()


async def until(server: Server, count: int) -> None:
    """So many records have been stored, and are in the books."""
    with trio.move_on_after(DEADLINE_SECONDS):
        async with connect(server.url, topics=["all_conversations"], since=await beginning(server)) as client:
            while count > len(rows(server.data_dir, "SELECT id FROM records")):
                await client.event()
            while (await client.request("get_status")).data["gauges"]["history_waiting"]:
                pass
        return
    pytest.fail(server.stderr[-3000:])


async def beginning(server: Server) -> Position:
    async with connect(server.url) as client:
        position = client.hello.data["position"]
    return Position(position["epoch"], position["oldest"] - 1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "projects").mkdir()
    return tmp_path


@pytest.fixture
async def kept(root: Path) -> Path:
    """The data directory of a server that has ended: two sessions of shop, one with the secret."""
    async with serving(root, root / "data") as server:
        transcript(root, ONE, "/home/ada/shop", SECRET)
        transcript(root, TWO, "/home/ada/shop", "harmless")
        await until(server, 6)
        await server.terminate()
    assert traces(root / "data")
    return root / "data"


async def test_with_the_server_stopped_no_byte_of_it_is_left(kept: Path, root: Path) -> None:
    done = invoked(ONE[:6], "--data-dir", kept)
    assert done.exit_code == 0, done.output
    assert traces(kept) == []
    assert rows(kept, "SELECT id FROM conversations") == [(TWO,)]
    assert "3 records" in done.stdout
    path = root / "projects" / "-home-ada-shop" / f"{ONE}.jsonl"
    assert f"rm -- {path}\n" in done.stdout
    assert done.stdout.endswith("forgotten\n")
    async with serving(root, kept) as server:
        transcript(root, ONE, "/home/ada/shop", SECRET)
        transcript(root, TWO, "/home/ada/shop", "more")
        await until(server, 6)
        assert rows(kept, "SELECT count(*) FROM records") == [(6,)]
        assert traces(kept) == []
        await server.terminate()
    account = CliRunner().invoke(main, ["doctor", "--account", "--root", str(root), "--data-dir", str(kept)])
    assert account.exit_code == 0, account.output


async def test_beside_a_running_server_memory_and_clients_forget_too(root: Path) -> None:
    async with serving(root, root / "data") as server:
        start = await beginning(server)
        transcript(root, ONE, "/home/ada/shop", SECRET)
        transcript(root, TWO, "/home/ada/shop", "harmless")
        await until(server, 6)
        async with connect(server.url, topics=[f"conversation:{ONE}"]) as client:
            done = await run_sync(invoked, ONE, "--data-dir", server.data_dir)
            assert done.exit_code == 0, done.output
            told = await client.event()
        assert (told.type, told.data["id"]) == ("conversation_forgotten", ONE)
        assert traces(server.data_dir) == []
        assert sorted(path.name for path in server.data_dir.iterdir() if "forget" in path.name) == []
        async with connect(server.url, topics=["all_conversations", "file_events"], since=start) as client:
            transcript(root, ONE, "/home/ada/shop", SECRET)
            transcript(root, TWO, "/home/ada/shop", "goes on", lines=1)
            seen: list[Frame] = []
            while not seen or "goes on" not in str(seen[-1].data):
                seen.append(await client.event())
            assert SECRET not in str(seen)
            assert [event.data["id"] for event in seen if event.type == "conversation_forgotten"] == [ONE]
            snapshot = (await client.request("get_snapshot")).data
        assert [row["id"] for row in snapshot["conversations"]] == [TWO]
        assert snapshot["projects"][0]["conversation_count"] == 1
        assert traces(server.data_dir) == []
        assert SECRET not in server.stderr
        await server.terminate()


async def test_a_client_that_follows_through_it_counts_right(root: Path) -> None:
    async with serving(root, root / "data") as server:
        transcript(root, ONE, "/home/ada/shop", SECRET)
        await until(server, 3)
        done = await run_sync(invoked, "shop", "--data-dir", server.data_dir)
        assert done.exit_code == 0, done.output
        transcript(root, TWO, "/home/ada/blog", "harmless", lines=1)
        with trio.fail_after(DEADLINE_SECONDS):
            async with follow(
                server.url, ["all_conversations", "project_updates"], since=await beginning(server)
            ) as items:
                seen: list[str] = []
                async for item in items:
                    if isinstance(item, Event):
                        seen.append(item.type)
                    if seen.count("message_added") == 1:
                        break
        assert seen[:2] == ["conversation_forgotten", "project_forgotten"]
        await server.terminate()


async def test_a_server_killed_in_the_middle_has_forgotten_after_its_next_start(root: Path) -> None:
    seeded = random.Random(4)
    async with serving(root, root / "data") as server:
        for number in range(4):
            session = f"{number:08}-aaaa-4aaa-8aaa-111111111111"
            transcript(root, session, "/home/ada/shop", SECRET * 200, lines=300)
            await until(server, 300)
            await run_sync(errands.FORGET.ask, server.data_dir, _target(session))
            await trio.sleep(seeded.uniform(0, 0.6))  # wherever it is by then
            await server.kill()
            await server.start()
            await run_sync(wait_until_clean, server.data_dir)
            assert rows(server.data_dir, "SELECT count(*) FROM records") == [(0,)]
        await server.terminate()


def _target(session: str) -> Target:
    return Target("conversation", session)


async def test_a_command_killed_in_the_middle_is_repeated(kept: Path, root: Path) -> None:
    async with serving(root, kept) as server:
        transcript(root, ONE, "/home/ada/shop", SECRET * 200, lines=600)
        await until(server, 606)
        await server.terminate()
    seeded = random.Random(5)
    program = [sys.executable, "-c", "from observatory.cli.main import main; main()"]
    for _ in range(4):
        command = [*program, "forget", ONE, "--yes", "--data-dir", str(kept)]
        with trio.move_on_after(seeded.uniform(0.2, 0.6)):  # wherever it is by then
            await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False, deliver_cancel=_kill)
        if not rows(kept, f"SELECT 1 FROM conversations WHERE id = '{ONE}'"):
            break
    done = invoked(ONE, "--data-dir", kept)
    assert done.exit_code in (0, 2), done.output  # 2: it is gone already, and the next process does the rest
    async with serving(root, kept) as server:
        await run_sync(wait_until_clean, kept)
        await server.terminate()
    assert traces(kept) == []


async def _kill(process: trio.Process) -> None:
    process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("what", ["nobody", "conversation:nobody", "system", "all_conversations", "project:nobody"])
async def test_what_is_the_name_of_nothing_ends_in_one_line(kept: Path, what: str) -> None:
    done = invoked(what, "--data-dir", kept)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert rows(kept, "SELECT count(*) FROM records") == [(6,)]


async def test_without_a_terminal_it_wants_to_be_told(kept: Path) -> None:
    done = invoked(ONE, "--data-dir", kept, yes=False)
    assert done.exit_code == 2
    assert "--yes" in done.stderr
    assert traces(kept)


def test_where_nothing_is_kept_there_is_nothing_to_forget(tmp_path: Path) -> None:
    done = invoked("shop", "--data-dir", tmp_path)
    assert done.exit_code == 2
    assert "nothing is kept" in done.stderr
    assert list(tmp_path.iterdir()) == []


async def test_a_server_that_does_not_take_it_is_not_waited_for_without_end(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("observatory.cli.forget.TAKEN_WITHIN", 0.3)
    with held(kept):
        done = invoked(ONE, "--data-dir", kept)
        assert done.exit_code == 1
        assert "does not take it" in done.stderr
        assert not (kept / errands.FORGET.request).exists()
        errands.FORGET.ask(kept, _target(TWO))
        done = invoked(ONE, "--data-dir", kept)
        assert done.exit_code == 1
        assert "another forget waits" in done.stderr
    assert traces(kept)


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ({"records": 1, "events": 1, "scrubbed": True}, "forgotten\n"),
        ({"records": 1, "events": 1, "scrubbed": False}, "another program reads them"),
        ({"error": "the disk is full"}, "the server could not do it: the disk is full"),
        (None, "could not say how it went"),
    ],
)
async def test_what_the_server_answers_is_told(kept: Path, left: dict[str, object] | None, said: str) -> None:
    def serve() -> None:
        while (errand := errands.FORGET.take(kept)) is None:
            time.sleep(0.01)
        if left is None:
            (kept / errands.FORGET.taken).unlink()
        else:
            errands.FORGET.finish(kept, errand, left)

    with held(kept):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_sync, serve)
            done = await run_sync(invoked, ONE, "--data-dir", kept)
    assert said in done.output
    assert done.exit_code == (0 if said == "forgotten\n" else 1)


class held:
    """Another process's lock on a data directory: of this one, but through a descriptor of its own."""

    def __init__(self, directory: Path) -> None:
        self._lock = DirectoryLock(directory)

    def __enter__(self) -> None:
        self._lock.announce("ws://127.0.0.1:9/ws")

    def __exit__(self, *error: object) -> None:
        self._lock.release()
