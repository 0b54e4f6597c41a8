"""Which call started which sub-agent."""

import pytest

from observatory.core.blocks import ToolCall
from observatory.core.tasks import MAX_AGENTS, MAX_TASKS, Agent, Task, begun, linked, notification

TASK = Task("t1", "Explore", "look around")


def call(tool_id: str, name: str = "Task", tool_input: object = None) -> ToolCall:
    return ToolCall(
        tool_id, name, {"subagent_type": "Explore", "description": "look\naround"} if tool_input is None else tool_input
    )


def test_only_calls_that_start_agents_are_tasks() -> None:
    assert begun((), [call("t1"), call("b1", "Bash"), call("t1")]) == (TASK,)
    assert begun((TASK,), [call("b1", "Bash")]) == (TASK,)
    assert begun((), [call("t2", "Agent", ["odd"])]) == (Task("t2", None, None),)
    assert begun((), [call("t3", "Task", {"subagent_type": 5, "description": "\x1b"})]) == (Task("t3", None, None),)
    assert begun((), [call("x" * 300)]) == ()


def test_tasks_and_agents_are_bounded_and_the_newest_stay() -> None:
    tasks = begun((), [call(f"t{number}") for number in range(MAX_TASKS + 3)])
    assert (len(tasks), tasks[-1].tool_use_id) == (MAX_TASKS, f"t{MAX_TASKS + 2}")
    agents: tuple[Agent, ...] = ()
    for number in range(MAX_AGENTS + 3):
        agents = linked(agents, tasks, f"a{number}", f"t{number}", "result")
    assert (len(agents), agents[-1].agent_id) == (MAX_AGENTS, f"a{MAX_AGENTS + 2}")


def test_a_link_says_what_the_call_asked_for() -> None:
    assert linked((), (TASK,), "a1", "t1", "progress") == (Agent("a1", "t1", "progress", "Explore", "look around"),)
    assert linked((), (TASK,), "a1", "t9", "progress") == (Agent("a1", "t9", "progress"),)
    for agent_id, tool_id in (("", "t1"), ("a1", ""), ("a" * 300, "t1"), ("a1", "t" * 300)):
        assert linked((), (TASK,), agent_id, tool_id, "result") == ()


def test_what_is_trusted_more_replaces_what_is_trusted_less() -> None:
    first = linked((), (TASK,), "a1", "t9", "notification")
    better = linked(first, (TASK,), "a1", "t1", "progress")
    assert better == (Agent("a1", "t1", "progress", "Explore", "look around"),)
    assert linked(better, (TASK,), "a1", "t9", "notification") is better
    assert linked(better, (TASK,), "a1", "t9", "progress") is better
    best = linked((*better, Agent("a2", "t2", "result")), (), "a1", "t1", "result")
    assert best == (Agent("a1", "t1", "result", "Explore", "look around"), Agent("a2", "t2", "result"))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("<task-notification><task-id>a1</task-id><tool-use-id> t1 </tool-use-id></task-notification>", ("a1", "t1")),
        ("<task-id>a1</task-id>", None),
        ("<task-id></task-id><tool-use-id>t1</tool-use-id>", None),
        ("fix it", None),
        ([{"type": "text", "text": "x"}], None),
        (None, None),
    ],
)
def test_a_notification_names_task_and_call(content: object, found: tuple[str, str] | None) -> None:
    assert notification(content) == found
