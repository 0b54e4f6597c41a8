"""What the adapters make of a database that fails, hangs, or says when to come back."""

from pathlib import Path

import httpx
import psycopg
import pytest
import trio

from observatory.core.mirror_verdict import Again, Paused, Rejected
from observatory.sinks.destination import Failed
from observatory.sinks.postgres import PostgresDestination, about_of
from observatory.sinks.rest import reaching, retry_after
from observatory.sinks.step import Delete, Step
from tests.postgres import Cluster
from tests.postgrest.server import Fault
from tests.running import free_port
from tests.sinks.stage import conversation, staged

BAD = Step(deletes=[Delete("projects", {"machine_id": "x"}, below=("id", 1))])


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "-7"}, 0.0),
        ({"retry-after": "Wed, 25 Nov 2026 10:00:30 GMT", "date": "Wed, 25 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_when_to_come_back(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(httpx.Headers(headers)) == seconds


async def failed(destination: PostgresDestination, step: Step | None = None) -> object:
    try:
        await (destination.look("m") if step is None else destination.write(step))
    except Failed as found:
        return found.verdict
    raise AssertionError("it did not fail")


async def test_postgresql_that_is_not_there_or_wants_another_login(postgres: Cluster, supabase: str) -> None:
    nowhere = PostgresDestination(f"postgresql://u@127.0.0.1:{free_port()}/x", "public")
    assert isinstance(await failed(nowhere), Again)
    assert isinstance(await failed(PostgresDestination(postgres.url("nope"), "public")), Paused)
    empty = PostgresDestination(postgres.url(supabase), "public")
    assert isinstance(await failed(empty), Paused)
    await empty.close()


async def test_postgresql_that_hangs_is_left_and_connected_to_anew(
    tmp_path: Path, postgres: Cluster, supabase: str
) -> None:
    async with staged(tmp_path, postgres, supabase) as on:
        on.write("-w/s.jsonl", *conversation(1))
        await on.archived()
        destination = PostgresDestination(on.set_up(), "public", patience=1.0)
        assert (await destination.look(on.machine)).registered
        with psycopg.connect(on.url) as other:
            other.execute("LOCK TABLE projects")
            verdict = await failed(destination, Step(deletes=[Delete("projects", {"machine_id": "x"})]))
            assert verdict == Again("it did not answer for 1 seconds", smaller=True)
        await destination.write(Step(deletes=[Delete("projects", {"machine_id": "x"})]))
        assert isinstance(await failed(destination, BAD), Paused)  # text < integer: no such operator
        await destination.close()


async def test_the_api_that_trickles_drops_or_is_none(tmp_path: Path, postgres: Cluster, supabase: str) -> None:
    async with staged(tmp_path, postgres, supabase, "api") as on:
        on.write("-w/s.jsonl", *conversation(1))
        await on.archived()
        on.set_up()
        assert on.stand_in is not None
        step = Step(deletes=[Delete("projects", {"machine_id": "x"}, above=("conversation_count", 1))])
        async with reaching(on.stand_in.url, "anon", on.key(), "public", patience=1.0) as destination:
            await destination.write(step)
            for fault, kind in (
                (Fault(trickle=0.2), Again),
                (Fault(drop=True), Again),
                (Fault(502, body=b"<html>"), Again),
                (Fault(413, body=b"<html>too large</html>"), Rejected),
                (Fault(429, {"Retry-After": "3"}), Again),
            ):
                on.stand_in.faults = [fault]
                with pytest.raises(Failed) as found:
                    await destination.look(on.machine)
                assert isinstance(found.value.verdict, kind), fault
            assert found.value.verdict == Again("too many requests", 3.0, smaller=True)
            on.stand_in.faults = [Fault(200, body=b'"hello"')]
            with pytest.raises(Failed, match="is no Supabase"):
                await destination.look(on.machine)
            with trio.fail_after(10):
                assert (await destination.look(on.machine)).version == 3


def test_the_other_clock_is_compared_with_ours() -> None:
    about = about_of({"version": None, "registered": False, "rows": False, "now": 0}, privileged=True)
    assert (about.version, about.privileged, about.skew < -1e9) == (0, True, True)
