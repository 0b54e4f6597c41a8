"""What few lines tell of a conversation: each row of transcripts.md §11, one by one."""

import json
from typing import Any

import attrs
import msgspec
import pytest

from observatory.core.conversation import Conversation, Facts, apply
from observatory.core.lines import Line
from observatory.core.particulars import (
    MAX_LINKS,
    MAX_NAMES,
    NOTHING,
    Particulars,
    PullRequest,
    follow,
    invalid,
    stray,
    texts_of,
    without,
)
from observatory.core.tasks import Agent, Task
from observatory.core.transcript import Hint, Record, parse

Line_ = dict[str, Any]


def record(type_: str, **found: Any) -> Record:
    data = json.dumps({"type": type_, "sessionId": "s", **found}).encode()
    (value,) = parse(Line(0, len(data), data))
    assert isinstance(value, Record)
    return value


def user(content: object = "hi", **more: Any) -> Record:
    return record("user", message={"content": content}, **more)


def said(model: str | None, *calls: tuple[str, str], **more: Any) -> Record:
    content = [
        {"type": "tool_use", "id": tool_id, "name": name, "input": {"subagent_type": "Explore", "description": "look"}}
        for tool_id, name in calls
    ]
    return record("assistant", message={"id": "m", "model": model, "content": content}, **more)


def result(tool_id: str, **more: Any) -> Record:
    return user([{"type": "tool_result", "tool_use_id": tool_id, "content": "ok"}], **more)


def after(*records: Record, main: bool = True, start: Particulars = NOTHING) -> Particulars:
    for one in records:
        start = follow(start, "s", one, main)
    return start


def of(known: Particulars) -> Line_:
    """What differs from nothing."""
    fields = {field.name: getattr(known, field.name) for field in attrs.fields(Particulars)}
    return {name: value for name, value in fields.items() if value != getattr(NOTHING, name)}


def system(subtype: str, **found: Any) -> Record:
    return record("system", subtype=subtype, **found)


def queue(operation: str, content: object = None) -> Record:
    return record("queue-operation", operation=operation, content=content)


NOTE = "<task-notification><task-id>a1</task-id><tool-use-id>t1</tool-use-id></task-notification>"
URL = "https://example.com/o/r/pull/1"


@pytest.mark.parametrize(
    ("records", "found"),
    [
        ([user()], {}),
        ([said("one"), said("two"), said("one"), said("<synthetic>"), said(None)], {"models": ("one", "two")}),
        ([user(cwd="/w"), user(cwd="/w/x"), user(cwd="/w"), user(cwd="")], {"cwds": ("/w", "/w/x")}),
        ([user(cwd="/" * 5000)], {}),
        ([user(gitBranch="a"), user(gitBranch="b"), user(gitBranch="a")], {"branches": ("a", "b")}),
        ([user(sessionId="other"), user(sessionId="s"), user(sessionId="other")], {"sessions": ("other",)}),
        ([user(forkedFrom={"sessionId": "o", "messageUuid": "u"}), user(forkedFrom="p")], {"forked_from": "o"}),
        ([user(forkedFrom="p")], {"forked_from": "p"}),
        ([user(forkedFrom=5), user(forkedFrom={"sessionId": 5}), user(forkedFrom="x" * 300)], {}),
        ([result("t", forkedFrom="p", toolUseResult="failed")], {"forked_from": "p"}),
        ([system("turn_duration", durationMs=5), system("turn_duration", durationMs=7.9)],
         {"turns": 2, "turn_ms": 12, "last_turn_ms": 7}),
        ([system("turn_duration"), *(system("turn_duration", durationMs=odd) for odd in (-1, "x"))], {}),
        ([system("compact_boundary", compactMetadata={"preTokens": 9}), system("compact_boundary")],
         {"compactions": 2}),
        ([system("compact_boundary"), system("compact_boundary", compactMetadata={"preTokens": 9})],
         {"compactions": 2, "pre_compaction_tokens": 9}),
        ([system("microcompact_boundary")], {"microcompactions": 1}),
        ([system("api_error", retryAttempt=1), system("api_error")], {"api_retries": 2}),
        ([system("informational"), system("away_summary")], {}),
        ([record("pr-link", prUrl=URL, prNumber=1, prRepository="o/r"), record("pr-link", prUrl=URL)],
         {"pull_requests": (PullRequest(URL, 1, "o/r"),)}),
        ([record("pr-link", prUrl=URL, prNumber="1", prRepository=2)],
         {"pull_requests": (PullRequest(URL, None, None),)}),
        ([record("pr-link", prUrl=""), record("pr-link", prUrl=5), record("pr-link")], {}),
        ([record("mode", mode="plan"), record("mode", mode="normal"), record("mode", mode=5)], {"mode": "normal"}),
        ([record("mode", mode="plan"), record("mode", mode="plan")], {"mode": "plan"}),
        ([record("permission-mode", permissionMode="bypass")], {"permission_mode": "bypass"}),
        ([record("agent-name", agentName="bob")], {"agent_name": "bob"}),
        ([record("last-prompt", leafUuid="u1"), record("last-prompt", lastPrompt="x")], {"leaf_uuid": "u1"}),
        ([record("relocated", relocatedCwd="/new"), record("relocated")], {"cwds": ("/new",)}),
        ([record("worktree-state", worktreeSession={"worktreePath": "/tree"}), record("worktree-state")],
         {"cwds": ("/tree",)}),
        ([queue("enqueue"), queue("enqueue"), queue("dequeue")], {"queued": 1}),
        ([queue("enqueue"), queue("remove"), queue("remove"), queue("popAll"), queue("?")], {}),
        ([queue("enqueue"), queue("popAll")], {}),
        ([record("new in 2027"), record("new in 2027"), record("newer")],
         {"unknown_types": {"new in 2027": 2, "newer": 1}}),
        ([record("workflow-step"), record("atis-latch"), record("bridge-session"), record("started"),
          record("file-history-snapshot"), record("attachment", attachment={"type": "file"})], {}),
    ],
)  # fmt: skip
def test_what_lines_tell(records: list[Record], found: Line_) -> None:
    assert of(after(*records)) == found


def progress(agent_id: object = "a1", call: object = "t1", kind: str = "agent_progress") -> Record:
    return record("progress", data={"type": kind, "agentId": agent_id}, parentToolUseID=call)


LINK = ("a1", "t1")
TOLD = ("Explore", "look")


@pytest.mark.parametrize(
    ("records", "agents", "tasks"),
    [
        ([said("m", ("t1", "Task"))], (), 1),
        ([said("m", ("t1", "Bash"))], (), 0),
        ([said("m", ("t1", "Task")), progress(), progress()], (Agent(*LINK, "progress", *TOLD),), 1),
        ([said("m", ("t1", "Task")), progress(), result("t1", toolUseResult={"agentId": "a1"})],
         (Agent(*LINK, "result", *TOLD),), 0),
        ([result("t1", toolUseResult={"agentId": "a1"})], (Agent(*LINK, "result"),), 0),
        ([said("m", ("t1", "Task")), queue("enqueue", NOTE)], (Agent(*LINK, "notification", *TOLD),), 1),
        ([queue("enqueue", NOTE)], (), 0),
        ([progress(5), progress("a1", None), progress(kind="bash_progress"), result("t1", toolUseResult={"agentId": 5}),
          result("t1", toolUseResult=[1])], (), 0),
    ],
)  # fmt: skip
def test_agents_are_linked_to_the_calls_that_started_them(
    records: list[Record], agents: tuple[Agent, ...], tasks: int
) -> None:
    found = after(*records)
    assert (found.agents, len(found.tasks)) == (agents, tasks)


def test_a_sidechain_inside_a_main_file_tells_of_places_and_agents_only() -> None:
    lines = [
        said("m", ("t1", "Task"), gitBranch="b", cwd="/w"),
        progress(),
        system("turn_duration", durationMs=5),
        record("odd"),
    ]
    found = after(*lines, main=False)
    assert of(found).keys() == {"cwds", "tasks", "agents", "unknown_types"}


def test_lists_are_bounded_and_the_first_and_the_newest_stay() -> None:
    found = after(*(user(cwd=f"/{n}", gitBranch=f"b{n}", sessionId=f"s{n}") for n in range(MAX_NAMES + 5)))
    for values in (found.cwds, found.branches, found.sessions):
        assert len(values) == MAX_NAMES
        assert (values[0][-1], values[1][-1], values[-1][-2:]) == ("0", "6", "36")
    assert len(after(*(record(f"odd{n}") for n in range(MAX_NAMES + 5))).unknown_types) == MAX_NAMES
    links = after(*(record("pr-link", prUrl=f"{URL}{n}") for n in range(MAX_LINKS + 5))).pull_requests
    assert (len(links), links[-1].url) == (MAX_LINKS, f"{URL}{MAX_LINKS + 4}")


def test_lines_that_are_no_record_are_counted() -> None:
    assert invalid(invalid(NOTHING)).invalid_lines == 2
    assert stray(stray(NOTHING, 1), 2).stray_results == 3


def test_a_line_that_tells_nothing_new_leaves_the_object() -> None:
    found = after(user(cwd="/w", gitBranch="b"), said("m", ("t1", "Task")))
    assert after(user(cwd="/w", gitBranch="b"), said("m", ("t1", "Task")), start=found) is found


def test_hints_are_made_for_few_lines_only() -> None:
    assert (user().hint, result("t").hint, said("m").hint) == (None, None, None)
    assert result("t", toolUseResult={"agentId": "a1"}).hint == Hint("a1", None)


def test_what_was_forgotten_is_taken_out() -> None:
    known = attrs.evolve(
        NOTHING, agent_name="bob", agent_description="look", agents=(Agent("a", "t", "result", None, "look"),),
        tasks=(Task("t2", None, "find"), Task("t3", None, None)),
    )  # fmt: skip
    assert texts_of(known) == ["bob", "find", "look"]
    assert without(known, frozenset({"other"})) is known
    left = without(known, frozenset({"bob", "look", "find"}))
    assert (texts_of(left), left.agent_description) == ([], None)
    only = without(attrs.evolve(NOTHING, agent_description="look"), frozenset({"look"}))
    assert only == NOTHING


def test_a_row_of_an_older_archive_knows_none_of_it() -> None:
    old = {"id": "c", "project_id": "p", "session_id": "s", "file_path": "/f", "created_at": "x", "updated_at": "x"}
    row = msgspec.json.decode(json.dumps(old | {"title": "old", "title_source": "prompt"}), type=Conversation)
    assert (row.particulars, row.last_uuid, row.first_prompt) == (NOTHING, None, None)
    later = apply(apply(row, user("another"), Facts()), record("ai-title", aiTitle="ai"), Facts())
    assert (later.title, later.first_prompt) == ("ai", "old")


def test_a_row_comes_back_from_the_archive_as_it_was() -> None:
    row = Conversation("c", "p", "s", "/f", "x", "x")
    for one in (said("m", ("t1", "Task")), progress(), record("pr-link", prUrl=URL), record("odd"), queue("enqueue")):
        row = apply(row, one, Facts(new_message_id=True))
    assert msgspec.json.decode(msgspec.json.encode(row), type=Conversation) == row
