"""What changes something."""

from pathlib import Path
from typing import Any

import pytest

from tests.api.listening import listening
from tests.api.stage import ONE, TWO, staged
from tests.ingest.stage import AFTER, prompt

HOOK = {"hook_event_name": "PermissionRequest", "session_id": TWO, "tool_name": "Bash", "cwd": "/v"}


async def test_a_hook_event_reaches_its_conversation_and_project_and_is_kept(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        project = (await on.get(f"/conversations/{TWO}"))["conversation"]["project_id"]
        async with listening(on.port, f"conversation:{TWO}") as own, listening(on.port, f"project:{project}") as whole:
            taken = await on.post("/events", HOOK, 201)
            for client in (own, whole):
                told = await client.next()
                assert (told["type"], told["data"]["id"], told["data"]["payload"]) == ("hook_event", taken["id"], HOOK)
                assert (told["data"]["conversation_id"], told["data"]["project_id"]) == (TWO, project)
        (kept,) = (await on.get(f"/conversations/{TWO}/hooks"))["hooks"]
        assert (kept["id"], kept["payload"]) == (taken["id"], HOOK)
        one = await on.get(f"/records/{taken['id']}")
        assert (one["conversation_id"], one["record"]["type"]) == (TWO, "hook_event")
        assert (await on.get(f"/conversations/{TWO}/hooks", after=int(kept["id"][1:])))["hooks"] == []


async def test_a_permission_that_is_asked_for_makes_its_conversation_wait_until_a_line_follows(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        async with listening(on.port, f"conversation:{TWO}") as client:
            await on.post("/events", HOOK, 201)
            assert (await client.next())["type"] == "hook_event"
            told = (await client.next())["data"]
            assert (told["activity"], told["status"]) == ("waiting", "active")
            assert (await on.get("/conversations", activity="waiting"))["total"] == 1
            on.write(f"-v/{TWO}.jsonl", prompt(5, "yes", sessionId=TWO, uuid="yes", cwd="/v", stamp=AFTER))
            await client.until("message_added")
            assert (await client.next())["data"]["activity"] == "working"
        await on.post("/events", HOOK | {"session_id": "unknown"}, 201)  # nothing is known of it yet
        assert (await on.get("/health"))["status"] == "ok"


async def test_what_comes_twice_under_a_key_is_one_event(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        first = await on.post("/events", HOOK, 201, Idempotency_Key="k1")
        again = await on.post("/events", HOOK, 200, Idempotency_Key="k1")
        assert (again["id"], again["duplicate"], first["duplicate"]) == (first["id"], True, False)
        other = await on.post("/events", HOOK, 201, Idempotency_Key="k2")
        assert other["id"] != first["id"]
        assert len((await on.get(f"/conversations/{TWO}/hooks"))["hooks"]) == 2


async def test_a_hook_of_a_session_without_a_transcript_goes_by_its_directory(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        project = (await on.get(f"/conversations/{TWO}"))["conversation"]["project_id"]
        await on.post("/events", HOOK | {"session_id": "later"}, 201)
        await on.post("/events", HOOK | {"session_id": "later", "cwd": "/new"}, 201)
        await on.post("/events", {"hook_event_name": "X", "session_id": "later"}, 201)
        found = (await on.get("/conversations/later/hooks"))["hooks"]
        assert found[0]["project_id"] == project
        assert found[1]["project_id"] not in (project, None)
        assert found[2]["project_id"] is None
        path = str(on.root / "-w" / f"{ONE}.jsonl")
        await on.post("/events", HOOK | {"session_id": "elsewhere", "transcript_path": path}, 201)
        assert len((await on.get(f"/conversations/{ONE}/hooks"))["hooks"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"hook_event_name": "X"},
        {"hook_event_name": "", "session_id": "s"},
        {"hook_event_name": "X", "session_id": "with space"},
        {"hook_event_name": "X", "session_id": 5},
    ],
)
async def test_what_is_no_hook_event_is_refused(tmp_path: Path, body: dict[str, Any]) -> None:
    async with staged(tmp_path) as on:
        await on.post("/events", body, 400)


async def test_hook_events_are_bounded(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        await on.post("/events", HOOK | {"message": "x" * 300_000}, 422)
        await on.post("/events", HOOK, 422, Idempotency_Key="k" * 201)


async def test_a_star_is_told_to_followers_and_stays(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        async with listening(on.port, f"conversation:{ONE}") as client:
            said = await on.post(f"/conversations/{ONE}/annotation", {"starred": True, "add": ["bug"], "note": "look"})
            assert (said["starred"], said["tags"], said["note"]) == (True, ["bug"], "look")
            assert (await client.next())["data"]["starred"] is True
        row = (await on.get(f"/conversations/{ONE}"))["conversation"]
        assert (row["starred"], row["tags"], row["note"]) == (True, ["bug"], "look")
        await on.post("/conversations/nobody/annotation", {"starred": True}, 404)
        await on.post(f"/conversations/{ONE}/annotation", {"add": ["a,b"]}, 422)


async def test_forgetting_shows_what_would_go_before_it_goes(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        await on.post("/events", HOOK, 201)
        shown = await on.post("/forget", {"conversation": TWO})
        assert (shown["conversations"], shown["records"], shown["dry_run"]) == ([TWO], 1, True)
        await on.get(f"/conversations/{TWO}")
        gone = await on.post("/forget", {"conversation": TWO, "dry_run": False})
        assert (gone["conversations"], gone["dry_run"], gone["scrubbed"]) == ([TWO], False, True)
        await on.get(f"/conversations/{TWO}", 404)
        assert (await on.get(f"/conversations/{TWO}/hooks"))["hooks"] == []
        for body in ({}, {"conversation": ONE, "project": "p"}):
            await on.post("/forget", body, 422)
        await on.post("/forget", {"conversation": TWO}, 404)
        await on.post("/forget", {"project": "nothing"}, 404)


async def test_a_broadcast_reaches_those_that_its_filter_means(tmp_path: Path) -> None:
    async with staged(tmp_path) as on, listening(on.port, "system") as client:
        sent = await on.post("/broadcast", {"type": "deployed", "data": [1, 2], "filter": "system"}, 201)
        told = await client.next()
        assert (told["type"], told["data"], told["seq"]) == ("deployed", [1, 2], sent["seq"])


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"type": "ping"}, 422, "RESERVED_TYPE"),
        ({"type": "x", "filter": "everyone"}, 422, "INVALID_TOPIC"),
        ({"type": ""}, 400, "INVALID_REQUEST"),
        ({"data": 1}, 400, "INVALID_REQUEST"),
    ],
)
async def test_a_broadcast_that_cannot_be_has_its_status(
    tmp_path: Path, body: dict[str, Any], status: int, code: str
) -> None:
    async with staged(tmp_path) as on:
        assert (await on.post("/broadcast", body, status))["error"]["code"] == code


async def test_a_broadcast_that_is_too_big_or_cannot_be_stored_has_its_status(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        on.manager._max_message_bytes = 1000
        assert (await on.post("/broadcast", {"type": "x", "data": "y" * 2000}, 413))["error"]["code"] == "TOO_BIG"
        on.monitor.commits._log._db.execute("PRAGMA query_only=1")
        assert (await on.post("/broadcast", {"type": "x"}, 503))["error"]["code"] == "NOT_PERSISTED"
        assert (await on.post("/events", HOOK, 503))["error"]["code"] == "NOT_AVAILABLE"
        on.monitor.commits._log._db.execute("PRAGMA query_only=0")
        await on.post("/broadcast", {"type": "x"}, 201)
