"""How the server is, and what there is."""

from pathlib import Path

import trio

from tests.api.stage import ONE, TWO, staged
from tests.ingest.stage import prompt
from tests.server.serving import Raw


async def test_health_takes_the_real_path_and_names_its_hops(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        told = await on.get("/health")
        assert (told["status"], told["stuck"]) == ("ok", None)
        assert [hop["hop"] for hop in told["probe"]] == ["ingest", "log", "reader", "router"]


async def test_a_pipeline_that_is_stuck_is_unhealthy_and_the_hop_is_named(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        await on.monitor.commits.turn.take()  # as a commit that hangs would
        try:
            told = await on.get("/health", 503)
        finally:
            on.monitor.commits.turn.give_back()
        assert (told["status"], told["stuck"]) == ("unavailable", "log")
        assert (await on.get("/health"))["status"] == "ok"


async def test_a_sick_part_makes_the_health_worse(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        on.monitor._ingest.health.set("disk", "degraded", "little room")
        assert (await on.get("/health"))["status"] == "degraded"
        on.monitor._ingest.health.set("store", "unavailable", "disk full")
        assert (await on.get("/health", 503))["status"] == "unavailable"
        parts = {part["component_name"]: part["details"] for part in (await on.get("/status"))["components"]}
        assert parts == {"disk": "little room", "store": "disk full"}


async def test_the_snapshot_is_that_of_the_websocket_with_its_position(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        told = await on.get("/snapshot", limit=1)
        same = await on.monitor.events.snapshot(1)
        assert told == same
        assert told["truncated"]


async def test_projects_are_listed_and_found_by_their_ids(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        found = (await on.get("/projects"))["projects"]
        assert sorted(project["path"] for project in found) == ["/v", "/w"]
        one = (await on.get(f"/projects/{found[0]['id']}"))["project"]
        assert one == found[0]
        await on.get("/projects/nothing", 404)


async def test_conversations_are_filtered_sorted_and_paged(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        everything = await on.get("/conversations", sort="message_count")
        assert [row["id"] for row in everything["conversations"]] == [ONE, TWO]
        assert (everything["total"], everything["next"]) == (2, None)
        page = await on.get("/conversations", sort="message_count", limit=1)
        rest = await on.get("/conversations", sort="message_count", limit=1, cursor=page["next"])
        assert [page["conversations"][0]["id"], rest["conversations"][0]["id"]] == [ONE, TWO]
        assert rest["next"] is None
        rising = await on.get("/conversations", sort="tokens", order="asc")
        assert [row["id"] for row in rising["conversations"]] == [TWO, ONE]
        for query, expected in (
            ({"text": "BLUE"}, [TWO]),
            ({"text": "100%_"}, []),
            ({"project": everything["conversations"][0]["project_id"]}, [ONE]),
            ({"status": "error"}, []),
            ({"activity": "waiting"}, []),
            ({"starred": True}, []),
            ({"since": "2027-01-01"}, []),
            ({"parent": ONE}, []),
        ):
            found = await on.get("/conversations", **query)
            assert [row["id"] for row in found["conversations"]] == expected, query


async def test_a_list_goes_by_stars_and_tags(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        await on.post(f"/conversations/{TWO}/annotation", {"starred": True, "add": ["Bug", "css"]})
        assert [row["id"] for row in (await on.get("/conversations", starred=True))["conversations"]] == [TWO]
        assert [row["id"] for row in (await on.get("/conversations", starred="false"))["conversations"]] == [ONE]
        both = await on.get("/conversations", tag=["bug", "CSS"])
        assert [(row["id"], row["tags"]) for row in both["conversations"]] == [(TWO, ["Bug", "css"])]
        assert (await on.get("/conversations", tag=["bug", "html"]))["total"] == 0


async def test_one_conversation_comes_with_its_agents(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        folder = f"-w/{ONE}/subagents"
        on.write(f"{folder}/agent-a1.jsonl", prompt(0, "look around", sessionId=ONE, agentId="a1", isSidechain=True))
        told = await on.sees(f"/conversations/{ONE}", lambda told: bool(told["agents"]))
        assert told["agents"] == [f"{ONE}.a1"]
        assert told["conversation"]["tool_usage_count"] == 1
        agents = (await on.get(f"/conversations/{ONE}/agents"))["agents"]
        assert [(row["id"], row["parent_id"]) for row in agents] == [(f"{ONE}.a1", ONE)]
        assert (await on.get("/conversations"))["total"] == 2
        assert (await on.get("/conversations", agents=True))["total"] == 3
        assert (await on.get("/conversations", parent=ONE))["total"] == 1
        for path in ("/conversations/nobody", "/conversations/nobody/agents"):
            assert (await on.get(path, 404))["error"]["code"] == "NOT_FOUND"


async def test_a_cursor_that_is_none_is_refused(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        for cursor in ("x", "W10", "bnVsbA", "WzEsMl0", "WzE4NDQ2NzQ0MDczNzA5NTUxNjE2LCJhIl0"):
            assert (await on.get("/conversations", 422, cursor=cursor))["error"]["code"] == "INVALID"


async def test_clients_are_named_and_so_are_those_that_left(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        raw = Raw(await trio.open_tcp_stream("127.0.0.1", on.port))
        await raw.request("/ws")
        assert (await raw.response())[0] == 101
        await raw.message()
        await raw.ask("subscribe", {"topics": ["all_conversations"], "where": {"key": "kind", "cmp": "exists"}})
        (client,) = (await on.get("/clients"))["clients"]
        assert (client["state"], client["topics"], client["filtered"]) == ("live", ["all_conversations"], True)
        assert (client["address"], client["protocol"], client["lag_events"]) == ("127.0.0.1", "observatory.v1", 0)
        status = await on.get("/status")
        assert [one["id"] for one in status["client_list"]] == [client["id"]]
        await raw.send(b"\x03\xe8", opcode=8)
        await raw.end()
        await raw.aclose()
        told = await on.sees("/clients", lambda told: bool(told["closed"]))
        assert (told["clients"], told["closed"][0]["code"]) == ([], 1000)
