"""What a conversation tells of its sub-agents, in whichever order the files come."""

from itertools import permutations

import pytest

from observatory.core.forgetting import Target
from tests.ingest.stage import Stage, line, of, prompt, result, use

MAIN, AGENT, FLAT = "s.jsonl", "-w/s/subagents/agent-1.jsonl", "agent-2.jsonl"
ASKED = {"subagent_type": "Explore", "description": "look around"}
LINES = {
    MAIN: [
        prompt(1),
        use("t1", "t2", name="Task", asked=ASKED, at=2),
        line(type="progress", uuid="p", sessionId="s", parentToolUseID="t1",
             data={"type": "agent_progress", "agentId": "1"}),
        result("t1", at=3, toolUseResult={"agentId": "1"}),
        result("t2", at=4, toolUseResult={"agentId": "2"}),
    ],
    AGENT: [prompt(8, isSidechain=True, agentId="1"), prompt(9, isSidechain=True, agentId="1")],
    FLAT: [prompt(6, isSidechain=True, agentId="2"), prompt(7, isSidechain=True, agentId="2")],
}  # fmt: skip


def told(stage: Stage, conversation_id: str) -> tuple[str | None, str | None, str | None]:
    row = stage.conversation(conversation_id)
    return row["parent_id"], row["particulars"]["agent_type"], row["particulars"]["agent_description"]


@pytest.mark.parametrize("names", list(permutations(LINES)))
async def test_a_sub_agent_has_type_and_description_from_its_parents_call(stage: Stage, names: tuple[str, ...]) -> None:
    async with stage.running():
        for name in names:
            for one in LINES[name]:
                await stage.append(name, one)
        await stage.settled()
        assert [told(stage, key) for key in ("s.1", "s.2")] == [("s", "Explore", "look around")] * 2
        (first, second) = stage.conversation("s")["particulars"]["agents"]
        assert (first["tool_use_id"], second["tool_use_id"], first["told_by"]) == ("t1", "t2", "result")
        assert stage.conversation("s")["particulars"]["tasks"] == []


@pytest.mark.parametrize("parent_first", [True, False])
async def test_an_agents_file_that_names_no_session_finds_its_parent(stage: Stage, parent_first: bool) -> None:
    lone = [line(type="file-history-snapshot", messageId="m", snapshot={}), prompt(6, sessionId=None, agentId="2")]
    async with stage.running():
        if parent_first:
            await stage.append(MAIN, *LINES[MAIN][:2])
        await stage.append(FLAT, *lone)
        assert told(stage, "agent-2") == (None, None, None)
        events = await stage.append(MAIN, *LINES[MAIN])
        await stage.settled()
        assert told(stage, "agent-2") == ("s", "Explore", "look around")
        updates = [*of(events, "conversation_update"), *of(stage.told(), "conversation_update")]
        assert [data.get("parent_id") for data in updates if data["id"] == "agent-2"] == ["s"]


async def test_lines_that_are_no_record_are_counted_but_those_that_were_forgotten_are_not(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", prompt(1), b"not json", prompt(2), b"[1]")
        await stage.append("b.jsonl", prompt(1), prompt(2), prompt(3))
        await stage.settled()
        assert stage.conversation("a")["particulars"]["invalid_lines"] == 2
        await stage.ingest.forget(Target("conversation", "a"))
        await stage.append("c.jsonl", prompt(0), prompt(1), prompt(2), prompt(4))
        await stage.settled()
        assert [stage.conversation(key)["particulars"]["invalid_lines"] for key in ("b", "c")] == [0, 0]
