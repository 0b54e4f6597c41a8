"""Tasks: calls that start sub-agents, and which agent each one became. Source: transcripts.md §4.

Several kinds of lines tell, in this order of trust: the call's result, the agent's progress, a notification that a
background task is done.
"""

import re
from collections.abc import Iterable
from typing import Literal

from observatory.core.blocks import ToolCall
from observatory.core.frozen import frozen
from observatory.core.titles import one_line

Teller = Literal["result", "progress", "notification"]
TRUST: dict[str, int] = {"notification": 1, "progress": 2, "result": 3}
NAMES = frozenset({"Task", "Agent"})  # of the tool; versions differ
MAX_TASKS = 32  # calls remembered: an agent shows within a few lines
MAX_AGENTS = 128  # sub-agents of one conversation; the newest stay
ID_CHARS = 200
_TASK_ID = re.compile("<task-id>([^<]{1,200})</task-id>")
_CALL_ID = re.compile("<tool-use-id>([^<]{1,200})</tool-use-id>")


@frozen
class Task:
    """A call that starts an agent."""

    tool_use_id: str
    agent_type: str | None
    description: str | None


@frozen
class Agent:
    """A sub-agent of a conversation, and the call that started it. told_by: the most trusted line that linked them."""

    agent_id: str
    tool_use_id: str
    told_by: Teller
    agent_type: str | None = None
    description: str | None = None


def begun(tasks: tuple[Task, ...], calls: Iterable[ToolCall]) -> tuple[Task, ...]:
    """The tasks with those that these calls begin; the same object if there are none."""
    for call in calls:
        if call.name in NAMES and len(call.id) <= ID_CHARS and not is_begun(tasks, call.id):
            found = call.input if isinstance(call.input, dict) else {}
            task = Task(call.id, _text(found.get("subagent_type")), _text(found.get("description")))
            tasks = (*tasks, task)[-MAX_TASKS:]
    return tasks


def is_begun(tasks: tuple[Task, ...], tool_use_id: str) -> bool:
    """Whether this call started an agent."""
    return any(task.tool_use_id == tool_use_id for task in tasks)


def linked(
    agents: tuple[Agent, ...], tasks: tuple[Task, ...], agent_id: str, tool_use_id: str, told_by: Teller
) -> tuple[Agent, ...]:
    """The agents with this one; the same object if a line that is trusted as much has told it before."""
    if not 0 < len(agent_id) <= ID_CHARS or not 0 < len(tool_use_id) <= ID_CHARS:
        return agents
    known = next((agent for agent in agents if agent.agent_id == agent_id), None)
    if known is not None and TRUST[known.told_by] >= TRUST[told_by]:
        return agents
    task = next((task for task in tasks if task.tool_use_id == tool_use_id), None)
    kind, description = (None, None) if task is None else (task.agent_type, task.description)
    if task is None and known is not None and known.tool_use_id == tool_use_id:
        kind, description = known.agent_type, known.description
    agent = Agent(agent_id, tool_use_id, told_by, kind, description)
    if known is not None:
        return tuple(agent if one is known else one for one in agents)
    return (*agents, agent)[-MAX_AGENTS:]


def notification(content: object) -> tuple[str, str] | None:
    """Task id and call of a notification, if this is one."""
    if not isinstance(content, str) or "<task-id>" not in content:
        return None
    task, call = _TASK_ID.search(content), _CALL_ID.search(content)
    return None if task is None or call is None else (task[1].strip(), call[1].strip())


def _text(value: object) -> str | None:
    return one_line(value) or None if isinstance(value, str) else None
