"""K: the copy's database. Whatever it does, live clients notice nothing, and the copy is complete in the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.rows import scenario
from tests.faults.scripted import Say, ScriptedSink, scripted
from tests.faults.sockets import ProcessWorld
from tests.running import free_port

LINES = 30


@contextmanager
def copied(world: ProcessWorld) -> Iterator[ScriptedSink]:
    """The server keeps a copy at a scripted database."""
    with scripted() as sink:
        world.environ = {"SUPABASE_URL": sink.url, "SUPABASE_KEY": "key"}
        yield sink


async def complete(world: ProcessWorld, sink: ScriptedSink, lines: int = LINES) -> None:
    """All lines are there, each once."""
    await world.until(lambda: len(sink.texts()) >= lines)
    assert len(sink.texts()) == lines
    assert "Traceback" not in world.server.stderr


@scenario("K01", level=2)
async def a_database_that_is_down_is_waited_for(world: ProcessWorld) -> None:
    port = free_port()
    world.environ = {"SUPABASE_URL": f"http://127.0.0.1:{port}", "SUPABASE_KEY": "key"}
    await world.start()
    await world.client("c")
    world.write("s1", LINES - 1)
    await world.settle()
    await world.until(lambda: '"supabase.waiting"' in world.server.stderr)
    assert "attempts to connect" in world.server.stderr
    assert (await world.status())["gauges"]["supabase_lag_seconds"] < 60
    world.write("s1", 1)
    with scripted(port) as sink:
        await complete(world, sink)


@scenario("K02", level=2)
async def errors_of_the_server_are_tried_again_when_it_says(world: ProcessWorld) -> None:
    with copied(world) as sink:
        sink.script = [Say(503, {"Retry-After": "2"}, "PGRST002"), Say(500), Say(502)]
        await world.start()
        await world.client("c")
        world.write("s1", LINES)
        await complete(world, sink)
        assert sink.at[1] - sink.at[0] >= 2.0


@scenario("K03", level=2)
async def too_many_requests_wait_and_become_smaller(world: ProcessWorld) -> None:
    with copied(world) as sink:
        await world.start()
        await world.client("c")
        world.write("s1")
        await complete(world, sink, 1)
        before = len(sink.at)
        sink.script = [Say(429, {"Retry-After": "1"})] * 3
        world.write("s1", LINES - 1)
        await complete(world, sink)
        assert sink.at[before + 1] - sink.at[before] >= 1.0
        assert max(sink.sizes[before + 1 :]) < LINES


@scenario("K04", level=2)
async def an_answer_that_is_lost_makes_no_row_twice(world: ProcessWorld) -> None:
    with copied(world) as sink:
        sink.script = [Say(applied=True, drop=True), Say(504, applied=True)]
        await world.start()
        await world.client("c")
        world.write("s1", LINES)
        await complete(world, sink)
        assert sink.written > LINES, "it was sent twice"


@scenario("K05", level=2)
async def one_bad_row_is_put_aside_and_the_rest_goes_on(world: ProcessWorld) -> None:
    with copied(world) as sink:
        await world.start()
        await world.client("c")
        world.write("s1", 5)
        await complete(world, sink, 5)
        sink.poison = sink.texts()[2].encode()
        world.write("s2", LINES)
        world.write("s1", 1)
        await world.until(lambda: len(sink.texts()) >= LINES + 6 - 1)
        begun = time.monotonic()
        await world.until(lambda: time.monotonic() - begun > 1.5)
        asked = len([at for at in sink.at if at > begun + 0.5])
        assert asked == 0, "what was refused for good is not sent again and again"


@scenario("K06", level=2)
async def a_key_that_was_revoked_pauses_and_a_slow_answer_ends(world: ProcessWorld) -> None:
    with copied(world) as sink:
        sink.script = [Say(401, code="PGRST301")]
        await world.start()
        await world.client("c")
        world.write("s1", LINES)
        await world.until(lambda: "the key is not accepted" in world.server.stderr)
        assert "SUPABASE_KEY" in world.server.stderr
        await world.settle()
