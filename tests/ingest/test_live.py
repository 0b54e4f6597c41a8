"""Live files: what an append, a new file, a foreign file, a sub-agent and a deletion become."""

from importlib import import_module
from typing import Any

import pytest

from tests.ingest.stage import Stage, line, of, prompt, reply, texts, types, uuids


async def test_an_append_is_a_message_then_its_consequences(stage: Stage) -> None:
    stage.write("a.jsonl", prompt(1))
    async with stage.running():
        stage.told()
        told = await stage.append("a.jsonl", reply(2, "m1"))
        assert types(told) == ["message_added", "file_modified", "conversation_update", "project_update"]
        message, file, update, project = (data for _, data in told)
        assert message["usage_delta"]["output_tokens"] == 10
        assert (message["conversation_id"], message["session_id"]) == ("a", "s")
        assert (update["id"], update["message_count"], update["tokens"]["output_tokens"]) == ("a", 2, 10)
        assert "title" not in update
        assert project["path"] == "/w"
        assert (file["conversation_id"], file["file_size"]) == ("a", stage.path("a.jsonl").stat().st_size)


async def test_a_new_file_is_opened_before_its_lines_and_closed_by_what_changed(stage: Stage) -> None:
    async with stage.running():
        told = await stage.append("a.jsonl", prompt(1), prompt(2))
        kinds = ["project_update", "file_created", "conversation_started", "message_added", "message_added"]
        assert types(told) == kinds
        assert told[0][1]["conversation_count"] == 1
        assert told[2][1]["message_count"] == 2
        assert stage.commits.commits == 2  # the scan, and all of this in one


async def test_a_torn_line_is_published_once_when_it_is_whole(stage: Stage) -> None:
    data = prompt(1, "ü" * 20)
    async with stage.running():
        for cut in range(0, len(data), 7):
            assert texts(await stage.append("a.jsonl", data[cut : cut + 7], end=b"")) == []
        assert texts(await stage.append("a.jsonl")) == [f"{'ü' * 20} 1"]


async def test_an_unrecognised_file_waits_and_then_follows_in_order_in_one_transaction(stage: Stage) -> None:
    async with stage.running():
        assert types(await stage.append("a.jsonl", line(n=1), line(n=2))) == ["file_created"]
        assert types(await stage.append("a.jsonl", b"not json")) == ["file_modified"]
        commits = stage.commits.commits
        told = await stage.append("a.jsonl", line(n=3), prompt(4))
        assert types(told)[:2] == ["project_update", "conversation_started"]
        numbers = [data["record"]["offset"] for data in of(told, "message_added")]
        assert numbers == sorted(numbers)
        assert len(numbers) == 5
        assert [data["record"].get("error") for data in of(told, "message_added")].count("not JSON") == 1
        assert stage.commits.commits == commits + 1
        assert stage.rows("SELECT DISTINCT conversation_id FROM records") == [("a",)]


async def test_an_unrecognised_file_goes_on_waiting_over_a_restart(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", line(n=1))
    async with stage.running():
        assert stage.told() == []
        told = await stage.append("a.jsonl", prompt(2))
        assert len(of(told, "message_added")) == 2
        assert len({data["record"]["id"] for data in of(told, "message_added")}) == 2


async def test_a_deleted_file_is_told_of_and_its_rows_stay(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        stage.path("a.jsonl").unlink()
        told = await stage.hint("a.jsonl")
        assert types(told) == ["file_deleted"]
        assert told[0][1]["conversation_id"] == "a"
        assert "file_size" not in told[0][1]
        assert await stage.hint("a.jsonl") == []
        assert stage.rows("SELECT count(*) FROM records") == [(1,)]
        assert stage.conversation("a")["message_count"] == 1


async def test_a_file_deleted_while_the_server_was_down_is_told_of_at_the_restart(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
    stage.path("a.jsonl").unlink()
    async with stage.running():
        assert types(stage.told()) == ["file_deleted"]


async def test_lines_that_cannot_be_parsed_are_published_with_their_error(stage: Stage) -> None:
    async with stage.running():
        glued = prompt(2) + prompt(3)
        told = await stage.append("a.jsonl", prompt(1), b"{oops", b'"text"', b"\0\0", glued, prompt(4))
        records = [data["record"] for data in of(told, "message_added")]
        assert [record.get("error") for record in records] == [None, "not JSON", "not an object", None, None, None]
        assert texts(told) == ["do it 1", "do it 2", "do it 3", "do it 4"]
        assert stage.ingest.bad_lines() == {"nul": 1, "not JSON": 1, "not an object": 1}
        assert [data["message"]["sequence_number"] for data in of(told, "message_added") if data["message"]] == [
            0, 3, 4, 5,
        ]  # fmt: skip


@pytest.mark.parametrize("where", ["items.parse", "folding.apply"])
async def test_a_defect_of_ours_costs_one_line_its_meaning_and_not_the_server_its_life(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """An empty timestamp made the books raise: the server ended, and met the same line at its next start."""
    module, name = where.split(".")
    real = getattr(import_module(f"observatory.ingest.{module}"), name)

    def failing(*args: Any) -> Any:
        if "poison" in str(args):
            raise ZeroDivisionError
        return real(*args)

    monkeypatch.setattr(f"observatory.ingest.{where}", failing)
    async with stage.running():
        told = await stage.append("a.jsonl", prompt(1), prompt(2, "poison"), prompt(3))
        assert len(of(told, "message_added")) == 3
        assert stage.conversation("a")["message_count"] == 2
        assert stage.rows("SELECT count(*) FROM records") == [(3,)]
    async with stage.running():
        assert stage.told() == []


async def test_a_spurious_hint_tells_nothing(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1))
        assert await stage.hint("a.jsonl", "nowhere.jsonl") == []


async def test_many_files_at_once_are_all_read(stage: Stage) -> None:
    async with stage.running():
        names = [f"f{n}.jsonl" for n in range(200)]
        for number, name in enumerate(names):
            stage.write(name, prompt(number, sessionId=name))
        told = await stage.hint(*names)
        assert set(uuids(told)) == {f"u{n}" for n in range(200)}
        assert len(of(told, "conversation_started")) == 200


async def test_a_growing_file_does_not_hold_up_another(stage: Stage) -> None:
    big = [prompt(n, padding="x" * 20_000) for n in range(60)]
    async with stage.running():
        stage.write("big.jsonl", *big)
        stage.write("small.jsonl", prompt(99, sessionId="small"))
        told = await stage.hint("big.jsonl", "small.jsonl")
        order = list(uuids(told))
        assert [uuid for uuid in order if uuid != "u99"] == [f"u{n}" for n in range(60)]
        assert order.index("u99") < 30


# -- sub-agents --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["agent-x7.jsonl", "s/subagents/agent-x7.jsonl"], ids=["flat", "nested"])
@pytest.mark.parametrize("parent_first", [True, False])
async def test_a_sub_agents_events_carry_the_parents_topic(stage: Stage, name: str, parent_first: bool) -> None:
    path = f"-w/{name}"
    agent = prompt(2, isSidechain=True, agentId="x7", cwd="/elsewhere" if parent_first else "/w")
    async with stage.running():
        if parent_first:
            await stage.append("s.jsonl", prompt(1))
        told = await stage.append(path, agent)
        if not parent_first:
            await stage.append("s.jsonl", prompt(1))
        (started,) = of(told, "conversation_started")
        assert (started["id"], started["parent_id"], started["agent_id"]) == ("s.x7", "s", "x7")
        assert started["session_id"] == "s"
        topics = stage.rows("SELECT DISTINCT topics FROM events WHERE topics LIKE '%conversation:s.x7%'")
        project = started["project_id"]
        assert topics == [(f"all_conversations conversation:s.x7 project:{project} conversation:s",)]
        assert len(stage.projects()) == 1


async def test_an_agent_of_an_agent_carries_both_topics(stage: Stage) -> None:
    async with stage.running():
        await stage.append("s.jsonl", prompt(1))
        await stage.append("-w/s/subagents/agent-a.jsonl", prompt(2, isSidechain=True, agentId="a"))
        told = await stage.append("-w/s.a/subagents/agent-b.jsonl", prompt(3, isSidechain=True, agentId="b"))
        assert of(told, "conversation_started")[0]["id"] == "s.a.b"
        ((topics,),) = stage.rows("SELECT DISTINCT topics FROM events WHERE topics LIKE '%conversation:s.a.b%'")
        assert topics.split(" ")[-2:] == ["conversation:s.a", "conversation:s"]


async def test_tokens_of_an_agent_count_once_however_often_they_are_repeated(stage: Stage) -> None:
    async with stage.running():
        inner = {"type": "assistant", "message": {"id": "m9", "model": "m", "usage": {"output_tokens": 7}}}
        data = {"type": "agent_progress", "message": inner, "agentId": "x7"}
        told = await stage.append("s.jsonl", prompt(1), prompt(2, type="progress", data=data, message=None))
        assert of(told, "message_added")[1]["usage_delta"]["output_tokens"] == 7
        told = await stage.append("-w/s/subagents/agent-x7.jsonl", reply(3, "m9", output=9))
        assert of(told, "message_added")[0]["usage_delta"]["output_tokens"] == 2
        assert stage.conversation("s")["tokens"]["output_tokens"] == 7
        assert stage.conversation("s.x7")["tokens"]["output_tokens"] == 9
