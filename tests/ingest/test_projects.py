"""Whose project a transcript is: the parent's, its first working directory's, else its folder's, upgraded in place."""

import orjson
import pytest

from tests.ingest.stage import Stage, line, of, prompt, types


def bare(number: int, **fields: object) -> bytes:
    """A line without a working directory."""
    return line(**{key: value for key, value in orjson.loads(prompt(number)).items() if key != "cwd"} | fields)


async def test_the_first_working_directory_is_the_project_whatever_the_folder_is_called(stage: Stage) -> None:
    async with stage.running():
        await stage.append("-x/a.jsonl", prompt(1, cwd="/w/one"), prompt(2, cwd="/w/two"))
        await stage.append("-y/b.jsonl", prompt(3, cwd="/w/one", sessionId="b"))
        projects = stage.projects()
        assert projects.keys() == {"/w/one"}
        assert (projects["/w/one"]["name"], projects["/w/one"]["conversation_count"]) == ("one", 2)


async def test_two_directories_that_share_a_folder_are_two_projects(stage: Stage) -> None:
    async with stage.running():
        await stage.append("-a-b/a.jsonl", prompt(1, cwd="/a/b"))
        await stage.append("-a-b/b.jsonl", prompt(2, cwd="/a-b"))
        assert stage.projects().keys() == {"/a/b", "/a-b"}


async def test_without_a_directory_the_folder_is_the_project_until_one_turns_up(stage: Stage) -> None:
    async with stage.running():
        told = await stage.append("a.jsonl", bare(1))
        (before,) = of(told, "project_update")
        assert before["path"] == "-w"
        assert not stage.projects()["-w"]["resolved"]
        told = await stage.append("a.jsonl", prompt(2))
        (after,) = of(told, "project_update")
        assert (after["id"], after["path"], after["name"]) == (before["id"], "/w", "w")
        assert stage.projects().keys() == {"/w"}
        assert stage.conversation("a")["project_id"] == before["id"]


async def test_another_file_with_a_directory_resolves_its_folders_project(stage: Stage) -> None:
    async with stage.running():
        await stage.append("a.jsonl", bare(1))
        await stage.append("b.jsonl", prompt(2, sessionId="b"))
        (project,) = stage.projects().values()
        assert (project["path"], project["conversation_count"], project["resolved"]) == ("/w", 2, True)


async def test_a_file_without_directory_joins_the_project_of_its_folder(stage: Stage) -> None:
    async with stage.running():
        await stage.append("b.jsonl", prompt(2, sessionId="b"))
        await stage.append("a.jsonl", bare(1))
        (project,) = stage.projects().values()
        assert (project["path"], project["conversation_count"]) == ("/w", 2)


async def test_a_conversation_moves_to_the_project_that_has_its_directory_already(stage: Stage) -> None:
    async with stage.running():
        await stage.append("-v/b.jsonl", prompt(2, cwd="/w", sessionId="b"))
        await stage.append("-u/a.jsonl", bare(1))
        told = await stage.append("-u/a.jsonl", prompt(3))
        assert {path: row["conversation_count"] for path, row in stage.projects().items()} == {"/w": 2, "-u": 0}
        assert stage.conversation("a")["project_id"] == stage.projects()["/w"]["id"]
        assert of(told, "conversation_update")[0]["project_id"] == stage.projects()["/w"]["id"]
        counts = {data["path"]: data["conversation_count"] for data in of(told, "project_update")}
        assert counts == {"/w": 2, "-u": 0}


async def test_a_conversation_leaves_a_project_that_only_shares_its_folder(stage: Stage) -> None:
    """/a/b and /a-b have one folder; a file whose first line had no directory stayed in the other's project."""
    async with stage.running():
        await stage.append("-a-b/a.jsonl", prompt(1, cwd="/a/b"))
        await stage.append("-a-b/b.jsonl", bare(2, sessionId="b"))
        assert stage.projects()["/a/b"]["conversation_count"] == 2
        told = await stage.append("-a-b/b.jsonl", prompt(3, cwd="/a-b", sessionId="b"))
        assert of(told, "conversation_update")[0]["project_id"] == stage.projects()["/a-b"]["id"]
        assert of(told, "message_added")[0]["project_id"] == stage.projects()["/a-b"]["id"]
        counts = {path: row["conversation_count"] for path, row in stage.projects().items()}
        assert counts == {"/a/b": 1, "/a-b": 1}


@pytest.mark.parametrize("beside", [True, False])
async def test_a_directory_that_claude_code_lists_is_found_by_its_folders_name(stage: Stage, beside: bool) -> None:
    config = stage.directory / "home" / ".claude"
    (config / "projects").mkdir(parents=True)
    stage.root.symlink_to(config / "projects")
    listing = (config.parent if beside else config) / ".claude.json"
    listing.write_bytes(orjson.dumps({"projects": {"/a/b": {}, "/home/ada/my_shop": {}}, "oauthAccount": {"x": 1}}))
    async with stage.running():
        await stage.append("-home-ada-my-shop/a.jsonl", bare(1))
        assert [(path, row["name"], row["resolved"]) for path, row in stage.projects().items()] == [
            ("/home/ada/my_shop", "my_shop", True)
        ]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"projects": []}', b'{"projects": {"/w": {}, "-w": {}}}', b'{"projects": {"/v": {}}}']
)
async def test_a_listing_that_does_not_tell_leaves_the_folders_name(stage: Stage, content: bytes) -> None:
    (stage.directory / ".claude.json").write_bytes(content)
    async with stage.running():
        await stage.append("a.jsonl", bare(1))
        assert [(path, row["resolved"]) for path, row in stage.projects().items()] == [("-w", False)]


async def test_a_sub_agent_stays_in_its_parents_project(stage: Stage) -> None:
    async with stage.running():
        await stage.append("s.jsonl", bare(1))
        await stage.append("-w/s/subagents/agent-x.jsonl", prompt(2, cwd="/other", agentId="x", isSidechain=True))
        assert stage.projects().keys() == {"-w"}
        assert stage.conversation("s.x")["project_id"] == stage.conversation("s")["project_id"]


async def test_a_stem_seen_at_a_second_path_gets_its_own_id(stage: Stage) -> None:
    async with stage.running():
        await stage.append("-w/a.jsonl", prompt(1))
        told = await stage.append("-v/a.jsonl", prompt(2, cwd="/v"))
        (started,) = of(told, "conversation_started")
        assert started["id"].startswith("a-")
        assert types(await stage.append("-v/a.jsonl", prompt(3)))[0] == "message_added"
