"""A server that keeps a copy: set up by the commands, complete over kills of the server and of the database."""

import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import click.testing
import pytest
import trio

from observatory.cli.main import main
from tests.ingest.stage import prompt
from tests.postgres import Cluster, cluster
from tests.running import Server
from tests.sinks.stage import OWNER, Stage, conversation, patiently, rows_of


@pytest.fixture
def own() -> Iterator[Cluster]:
    """A PostgreSQL that may be killed."""
    with cluster() as made:
        yield made


async def ran(stage: Stage, *words: str, **environ: str) -> click.testing.Result:
    """A command's end, on the stage's archive; in a thread, as it has a loop of its own."""
    clean = dict.fromkeys(name for name in os.environ if name.startswith(("SUPABASE", "OBSERVATORY")))
    home = {"HOME": str(stage.directory), "XDG_CONFIG_HOME": str(stage.directory), **clean, **environ}
    runner, line = click.testing.CliRunner(env=home), ["supabase", *words, "--data-dir", str(stage.data)]
    return await trio.to_thread.run_sync(partial(runner.invoke, main, line))


@asynccontextmanager
async def serving(stage: Stage, **environ: str) -> AsyncIterator[Server]:
    """A server on the stage, which keeps the copy by what `init` left."""
    server = Server(stage.root, stage.data, environ={"OBSERVATORY_EVENT_RETENTION_COUNT": "10", **environ})
    stage.root.mkdir(parents=True, exist_ok=True)
    await server.start()
    try:
        yield server
    finally:
        await server.terminate()


def settled(stage: Stage) -> bool:
    """All that the transcripts hold is in the archive, and all of that in the copy."""
    size = sum(path.stat().st_size for path in stage.root.rglob("*.jsonl"))
    (read,) = rows_of(stage.data, "SELECT coalesce(sum(offset), 0) FROM sources")
    return read[0] == size and stage.differences() == []


async def test_the_commands_set_it_up_and_the_server_keeps_it(tmp_path: Path, postgres: Cluster, supabase: str) -> None:
    on = Stage(tmp_path, postgres, supabase)
    on.write("-w/s001.jsonl", *conversation(1, 9))
    refused = await ran(on, "init", "--owner", OWNER)
    assert (refused.exit_code, refused.output.count("\n")) == (2, 1)
    assert "set SUPABASE_DB_URL" in refused.output
    done = await ran(on, "init", "--owner", OWNER, SUPABASE_DB_URL=on.url)
    assert done.exit_code == 0, done.output
    assert "registered for the user" in done.output
    kept = on.data / "supabase.url"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "postgresql://observatory_" in kept.read_text()
    assert kept.read_text().split(":")[2].split("@")[0] not in done.output
    async with serving(on) as server:
        await patiently(lambda: settled(on))
        on.write("-w/s001.jsonl", prompt(90, "live", sessionId="s001", uuid="live", cwd="/w1"))
        await patiently(lambda: settled(on))
        told = await ran(on, "push")
        assert (told.exit_code, told.output) == (0, "the copy is up to date: the server keeps it so\n")
        told = await ran(on, "status")
        assert told.exit_code == 0, told.output
        assert "copy:     up to date" in told.output
        assert "tables:   version 3" in told.output
        assert '"supabase.reached"' in server.stderr
    assert (await ran(on, "push")).exit_code == 0
    again = await ran(on, "push", "--all")
    assert again.exit_code == 0, again.output
    assert on.differences() == []
    again = await ran(on, "migrate", SUPABASE_DB_URL=on.url)
    assert again.output == "the tables in the schema public are up to date: version 3\n"
    assert (await ran(on, "off")).exit_code == 0
    assert not kept.exists()
    assert (await ran(on, "push")).exit_code == 2


async def test_events_that_were_trimmed_are_not_missed(tmp_path: Path, own: Cluster) -> None:
    on = Stage(tmp_path, own, own.supabase())
    on.write("-w/s000.jsonl", *conversation(0, 9))
    assert (await ran(on, "init", "--owner", OWNER, SUPABASE_DB_URL=on.url)).exit_code == 0
    async with serving(on) as server:
        await patiently(lambda: settled(on))
        own.kill()
        for number in range(1, 6):
            on.write(f"-w{number % 3}/s{number:03}.jsonl", *conversation(number, 30))
        trimmed = "SELECT count(*) FROM events"
        await patiently(lambda: '"supabase.waiting"' in server.stderr)
        await patiently(lambda: rows_of(on.data, "SELECT sum(lines) FROM sources") == [(159,)])
        await patiently(lambda: rows_of(on.data, trimmed)[0][0] <= 10, 40)
        own.start()
        await patiently(lambda: settled(on), 90)


@pytest.mark.parametrize("seed", range(3))
async def test_kills_of_the_server_and_of_the_database_lose_and_double_nothing(
    tmp_path: Path, own: Cluster, seed: int
) -> None:
    draw = random.Random(seed)
    on = Stage(tmp_path, own, own.supabase())
    for number in range(20):
        on.write(f"-w{number % 3}/s{number:03}.jsonl", *conversation(number, 200))
    assert (await ran(on, "init", "--owner", OWNER, SUPABASE_DB_URL=on.url)).exit_code == 0
    async with serving(on) as server:
        for _ in range(4):
            await trio.sleep(draw.uniform(0.1, 0.8))
            if draw.random() < 0.5:
                await server.kill()
                await server.start()
            else:
                await trio.to_thread.run_sync(own.kill, signal.SIGKILL)
                await trio.to_thread.run_sync(own.start)
        await patiently(lambda: settled(on), 90)
        assert on.rows("SELECT count(*), count(DISTINCT (source_id, position)) FROM messages") == [(4000, 4000)]
