"""The fold from records to a conversation's row."""

import json
from typing import Any

import attrs
import pytest

from observatory.core.conversation import (
    MAX_OPEN_TOOLS,
    Conversation,
    Facts,
    apply,
    changes,
    given_up,
    retitle,
)
from observatory.core.lines import Line
from observatory.core.titles import Title
from observatory.core.transcript import Record, parse
from observatory.core.usage import Usage

FILE_TIME = "2026-11-22T23:00:00.000Z"
T0, T1, T2 = [f"2026-11-22T21:00:0{n}.000Z" for n in range(3)]
NEW = Conversation("c1", "p1", "s1", "/r/c1.jsonl", FILE_TIME, FILE_TIME)
AGENT = attrs.evolve(NEW, id="c1.a1", agent_id="a1", parent_id="c1")
FIRST = Facts(new_message_id=True)


def record(type_: str, **found: Any) -> Record:
    data = json.dumps({"type": type_, "sessionId": "s1", **found}).encode()
    [value] = parse(Line(0, len(data), data))
    assert isinstance(value, Record)
    return value


def user(content: object, **more: Any) -> Record:
    return record("user", message={"content": content}, **more)


def assistant(*blocks: dict[str, Any], model: str = "claude", **more: Any) -> Record:
    return record("assistant", message={"id": "m1", "model": model, "content": list(blocks)}, **more)


def call(tool_id: str, name: str = "Bash") -> dict[str, Any]:
    return {"type": "tool_use", "id": tool_id, "name": name, "input": {}}


def result(tool_id: str) -> Record:
    return user([{"type": "tool_result", "tool_use_id": tool_id, "content": "ok"}])


def text(words: str = "hi") -> dict[str, Any]:
    return {"type": "text", "text": words}


def fold(*records: Record, start: Conversation = NEW) -> Conversation:
    for each in records:
        start = apply(start, each, FIRST)
    return start


PROMPT, INTERRUPTION = user("fix it"), user("[Request interrupted by user]")
API_ERROR = assistant(text("API Error"), model="<synthetic>", isApiErrorMessage=True)
TURN_DURATION = record("system", subtype="turn_duration", durationMs=5)
PROGRESS = record("progress", data={"type": "bash_progress", "output": "x"})
QUEUED = record("attachment", attachment={"type": "queued_command", "prompt": "also"})
COMMAND = user("<command-name>/x</command-name>")
LOCAL_OUT = user("<local-command-stdout>done</local-command-stdout>")


def exhausted(attempt: int) -> Record:
    return record("system", subtype="api_error", retryAttempt=attempt, maxRetries=10)


@pytest.mark.parametrize(
    ("records", "status", "activity"),
    [
        ([], "active", "idle"),
        ([PROMPT], "active", "working"),
        ([COMMAND], "active", "working"),
        ([COMMAND, LOCAL_OUT], "active", "idle"),
        ([COMMAND, record("system", subtype="local_command", content="x")], "active", "idle"),
        ([assistant(call("t1")), LOCAL_OUT], "active", "working"),
        ([assistant(call("t1")), record("system", subtype="local_command")], "active", "working"),
        ([PROMPT, assistant(text())], "active", "working"),
        ([PROMPT, assistant(call("t1"))], "active", "working"),
        ([assistant(call("t1", "AskUserQuestion"))], "active", "waiting"),
        ([assistant(call("t1", "ExitPlanMode")), assistant(call("t2"))], "active", "waiting"),
        ([assistant(call("t1", "ExitPlanMode")), result("t1")], "active", "working"),
        ([assistant(call("t1", "ExitPlanMode")), PROGRESS], "active", "waiting"),
        ([assistant(call("t1", "ExitPlanMode")), QUEUED], "active", "waiting"),
        ([assistant(call("t1", "ExitPlanMode")), PROMPT], "active", "working"),
        ([PROMPT, TURN_DURATION], "active", "idle"),
        ([PROMPT, record("system", subtype="stop_hook_summary")], "active", "idle"),
        ([PROMPT, record("system", subtype="informational")], "active", "working"),
        ([PROMPT, TURN_DURATION, PROGRESS], "active", "working"),
        ([record("progress", data={"type": "hook_progress"})], "active", "idle"),
        ([assistant(call("t1")), INTERRUPTION], "active", "idle"),
        ([PROMPT, API_ERROR], "error", "idle"),
        ([PROMPT, API_ERROR, TURN_DURATION], "error", "idle"),
        ([PROMPT, API_ERROR, record("ai-title", aiTitle="t")], "error", "idle"),
        ([PROMPT, API_ERROR, PROMPT], "active", "working"),
        ([PROMPT, API_ERROR, assistant(text("No response requested."), model="<synthetic>")], "active", "idle"),
        ([PROMPT, exhausted(10)], "error", "idle"),
        ([PROMPT, exhausted(1)], "active", "working"),
        ([user("Caveat: x")], "active", "idle"),
        ([PROMPT, user("meta", isMeta=True)], "active", "working"),
        ([PROMPT, TURN_DURATION, user("hi", isSidechain=True)], "active", "idle"),
        ([PROMPT, assistant(call("t1", "AskUserQuestion"), isSidechain=True)], "active", "working"),
    ],
)
def test_status_and_activity_follow_from_the_lines(records: list[Record], status: str, activity: str) -> None:
    found = fold(*records)
    assert (found.status, found.activity) == (status, activity)


def test_a_completed_conversation_is_opened_again_by_the_next_prompt() -> None:
    done = attrs.evolve(NEW, status="completed")
    assert apply(done, record("ai-title", aiTitle="t"), Facts()).status == "completed"
    assert apply(done, PROMPT, Facts()).status == "active"


def test_open_tools_are_those_not_answered_yet() -> None:
    found = fold(assistant(call("t1"), call("t2")), assistant(call("t2"), call("t3")), result("t1"), result("unknown"))
    assert found.open_tools == ("t2", "t3")
    assert fold(TURN_DURATION, start=found).open_tools == ()
    assert fold(PROMPT, start=found).open_tools == ()


def test_calls_are_given_up_when_nothing_waits_for_their_results_any_more() -> None:
    before = fold(assistant(call("t1"), call("t2")))
    for one, given in ((PROMPT, ["t1", "t2"]), (result("t1"), []), (QUEUED, [])):
        assert given_up(before, fold(one, start=before), one) == given
    both = user([*result("t1").message.blocks, text("[Request interrupted by user]")])  # type: ignore[union-attr, misc]
    assert given_up(before, fold(both, start=before), both) == ["t2"]


def test_errors_of_tools_are_counted() -> None:
    assert apply(apply(NEW, result("t1"), Facts(tool_errors=2)), result("t2"), Facts()).tool_error_count == 2


def test_open_tools_are_bounded() -> None:
    found = fold(*[assistant(call(f"t{number}")) for number in range(MAX_OPEN_TOOLS + 5)])
    assert len(found.open_tools) == MAX_OPEN_TOOLS
    assert found.open_tools[-1] == f"t{MAX_OPEN_TOOLS + 4}"


def test_messages_are_prompts_and_distinct_replies() -> None:
    found = fold(PROMPT, COMMAND, result("t"), user("Caveat: x"), QUEUED, assistant(text()))
    found = apply(found, assistant(text("more")), Facts())  # the same message.id again
    assert (found.message_count, found.prompt_count, found.reply_count) == (3, 2, 1)


def test_a_reply_without_an_id_counts_by_itself() -> None:
    nameless = record("assistant", message={"model": "claude", "content": "x"})
    found = apply(apply(NEW, nameless, Facts()), nameless, Facts())
    assert found.reply_count == 2


def test_what_no_model_wrote_is_no_reply() -> None:
    assert fold(API_ERROR, assistant(text(), model="<synthetic>")).reply_count == 0
    assert fold(API_ERROR).model is None


def test_tools_and_tokens_grow_by_the_facts() -> None:
    facts = Facts(new_tool_ids=2, growth=Usage(1, 2, 3, 4))
    found = apply(apply(NEW, assistant(call("t1")), facts), assistant(text()), facts)
    assert (found.tool_usage_count, found.tokens) == (4, Usage(2, 4, 6, 8))


def test_a_sidechain_inside_a_main_file_is_no_prompt_and_no_title() -> None:
    found = fold(user("task", isSidechain=True), assistant(text(), isSidechain=True, gitBranch="x", cwd="/w"))
    assert (found.title, found.prompt_count, found.reply_count, found.model) == (None, 0, 1, None)
    assert (found.git_branch, found.last_prompt, found.cwd) == (None, None, "/w")


def test_a_sub_agents_own_file_is_a_conversation_like_any_other() -> None:
    found = fold(user("task", isSidechain=True), start=AGENT)
    assert (found.title, found.prompt_count, found.activity) == ("task", 1, "working")


def custom(value: str) -> Record:
    return record("custom-title", customTitle=value)


def ai(value: str) -> Record:
    return record("ai-title", aiTitle=value)


NAMED = record("agent-name", agentName="bob")
SUMMARY = record("summary", summary="a summary", leafUuid="leaf")


@pytest.mark.parametrize(
    ("records", "title", "source"),
    [
        ([], None, None),
        ([PROMPT, user("second")], "fix it", "prompt"),
        ([COMMAND, PROMPT], "/x", "prompt"),
        ([user("Caveat: x"), PROMPT], "fix it", "prompt"),
        ([SUMMARY, PROMPT], "fix it", "prompt"),
        ([PROMPT, NAMED, PROMPT], "bob", "agent-name"),
        ([ai("one"), ai("two"), NAMED], "two", "ai-title"),
        ([custom("mine"), ai("other"), custom("mine 2"), custom("")], "mine 2", "custom-title"),
    ],
)
def test_a_weaker_title_never_replaces_a_stronger_one(
    records: list[Record], title: str | None, source: str | None
) -> None:
    found = fold(*records)
    assert (found.title, found.title_source) == (title, source)


def test_a_summary_names_the_conversation_that_owns_its_leaf() -> None:
    named = apply(fold(PROMPT), SUMMARY, Facts(owns_leaf=True))
    assert (named.title, named.title_source) == ("a summary", "summary")
    assert retitle(fold(PROMPT), Title("summary", "from elsewhere")).title == "from elsewhere"
    assert retitle(fold(ai("ai")), Title("summary", "from elsewhere")).title == "ai"


def test_without_its_summary_a_conversation_has_its_first_prompt_as_title_again() -> None:
    for found in (retitle(fold(PROMPT, QUEUED), Title("summary", "s")), fold(COMMAND, ai("ai"), PROMPT)):
        assert found.first_prompt in ("fix it", "/x")
    found = retitle(retitle(NEW, Title("summary", "s")), None)
    assert (found.title, found.title_source) == (None, None)
    found = retitle(fold(PROMPT, start=retitle(NEW, Title("summary", "s"))), None)
    assert (found.title, found.title_source) == ("fix it", "prompt")
    assert retitle(fold(ai("ai")), None).title == "ai"


def test_the_last_uuid_is_that_of_the_last_record_that_has_one() -> None:
    assert fold(user("a", uuid="u1"), user("b", uuid="u2", isSidechain=True), ai("t")).last_uuid == "u2"


def test_the_first_stamp_is_the_birth_and_time_never_goes_back() -> None:
    found = fold(record("mode", mode="plan"))
    assert (found.created_at, found.updated_at, found.stamped) == (FILE_TIME, FILE_TIME, False)
    found = fold(user("a", timestamp=T1), user("b", timestamp=T0), start=found)
    assert (found.created_at, found.updated_at) == (T1, T1)
    assert fold(user("c", timestamp="2026-11-22T21:00:02Z"), start=found).updated_at == T2


def test_a_record_without_a_stamp_takes_the_commits() -> None:
    found = fold(user("a", timestamp=T1))
    assert apply(found, record("mode", mode="x"), Facts(at=T2)).updated_at == T2
    assert apply(found, record("mode", mode="x"), Facts(at=T0)).updated_at == T1


def test_the_first_directory_stays_and_the_branch_follows() -> None:
    found = fold(user("a", cwd="/w", gitBranch="main"), user("b", cwd="/w/x", gitBranch="topic"), user("c", cwd=""))
    assert (found.cwd, found.git_branch) == ("/w", "topic")


def test_the_last_prompt_is_kept() -> None:
    assert fold(PROMPT, QUEUED).last_prompt == "also"
    assert fold(user(" x" * 3000)).last_prompt == ("x" + " x" * 3000)[:1000]


def test_a_record_that_says_nothing_changes_nothing() -> None:
    assert fold(record("atis-latch")) is NEW


STARTED = {
    "id": "c1",
    "project_id": "p1",
    "session_id": "s1",
    "message_count": 0,
    "file_path": "/r/c1.jsonl",
    "title": None,
    "status": "active",
    "activity": "idle",
    "tool_usage_count": 0,
    "created_at": FILE_TIME,
    "updated_at": FILE_TIME,
    "tokens": {
        "input_tokens": 0,
        "output_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    },
}


def test_a_start_carries_everything_that_is_known() -> None:
    assert changes(None, NEW) == STARTED
    assert changes(None, AGENT) == {**STARTED, "id": "c1.a1", "agent_id": "a1", "parent_id": "c1"}


def test_an_update_carries_what_changed() -> None:
    always = {key: STARTED[key] for key in ("id", "project_id", "session_id", "file_path")}
    assert changes(NEW, apply(NEW, PROMPT, Facts())) == {
        **always,
        "message_count": 1,
        "title": "fix it",
        "activity": "working",
    }
    assert changes(NEW, attrs.evolve(NEW, file_path="/r/\udcff")) == {
        **always,
        "message_count": 0,
        "file_path": "/r/\ufffd",
    }


def test_what_no_client_sees_is_no_update() -> None:
    assert changes(NEW, NEW) is None
    assert changes(NEW, attrs.evolve(NEW, git_branch="x", stamped=True, open_tools=("t",))) is None
