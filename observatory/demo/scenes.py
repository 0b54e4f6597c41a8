"""Scenes of a session: a turn that goes well, one with sub-agents, with a slow tool, with trouble.

Each is an iterator of Steps that moves its transcript's clock on; the transcript is at rest when it ends.
"""

from collections.abc import Iterator
from heapq import merge
from operator import attrgetter

import orjson

from observatory.demo.script import ANOTHER_WAY, CHOICES, QUESTION, Project, Story
from observatory.demo.transcript import (
    FRESH_CONTEXT,
    Json,
    Step,
    Transcript,
    call,
    prompt,
    reply,
    result,
    say,
    think,
)

PROGRESS_SECONDS = 2.0  # between two signs of life of a slow tool
RETRIES = 10


def opening(t: Transcript, project: Project, story: Story) -> Iterator[Step]:
    """The first lines of a session, up to its title."""
    hook = {
        "type": "hook_success", "hookName": "SessionStart:startup", "hookEvent": "SessionStart",
        "toolUseID": t.id("hook"), "content": "", "stdout": "made up by observatory demo", "stderr": "", "exitCode": 0,
    }  # fmt: skip
    yield t.line(0, "attachment", attachment=hook)
    yield t.aside("permission-mode", permissionMode="default")
    yield from prompt(t, 0, story.prompt)
    yield from reply(t, think(f"The user reports a problem in {project.name}. {story.plan}"), say(story.plan))
    yield t.aside("ai-title", aiTitle=story.title)


def look(t: Transcript, story: Story) -> Iterator[Step]:
    """Search, then read."""
    search = call(t, "Grep", pattern=story.pattern, output_mode="content")
    yield from reply(t, search)
    yield from result(t, 0.3, search, f"{story.file}:{story.found}", {"mode": "content", "numFiles": 1})
    read = call(t, "Read", file_path=f"{t.cwd}/{story.file}")
    yield from reply(t, read)
    yield from result(t, 0.2, read, story.found, {"type": "text", "file": {"filePath": story.file, "numLines": 2}})


def run(t: Transcript, command: str, output: str, failed: bool) -> Iterator[Step]:
    """A command that takes a moment."""
    use = call(t, "Bash", command=command, description="Run the tests")
    yield from reply(t, use)
    text = f"Exit code 1\n{output}" if failed else output
    details = f"Error: {text}" if failed else {"stdout": output, "stderr": "", "interrupted": False}
    yield from result(t, t.rng.uniform(1, 4), use, text, details, failed)


def fix(t: Transcript, project: Project, story: Story) -> Iterator[Step]:
    """Tests fail, the reason is found, the file is edited, tests pass."""
    yield from run(t, story.command, story.failure, failed=True)
    yield from look(t, story)
    edit = call(t, "Edit", file_path=f"{t.cwd}/{story.file}", old_string=story.old, new_string=story.new)
    yield from reply(t, think(f"{story.cause} I'll change {story.file}."), say(story.cause), edit)
    yield from result(t, 0.3, edit, f"The file {story.file} has been updated.", {"filePath": story.file})
    yield from run(t, story.command, story.passed, failed=False)
    yield from reply(t, say(story.done))


def build(t: Transcript, project: Project, story: Story) -> Iterator[Step]:
    """A slow tool that shows signs of life."""
    use = call(t, "Bash", command=project.build, description="Build everything")
    yield from reply(t, say("Let me build it once, to be sure."), use)
    for number, output in enumerate(project.built, 1):
        data = {"type": "bash_progress", "output": output, "fullOutput": "\n".join(project.built[:number]),
                "elapsedTimeSeconds": number * PROGRESS_SECONDS, "totalLines": number}  # fmt: skip
        yield t.line(PROGRESS_SECONDS, "progress", data=data, toolUseID=t.id("bash"), parentToolUseID=use["id"])
    text = "\n".join(project.built)
    yield from result(t, 1, use, text, {"stdout": text, "stderr": "", "interrupted": False})
    yield from reply(t, say("The build is fine."))


def explore(t: Transcript, project: Project, story: Story) -> Iterator[Step]:
    """Several sub-agents at the same time; what they say shows as progress here."""
    uses = [call(t, "Task", description=what, prompt=f"{what}? Read only.", subagent_type="Explore")
            for what, _ in project.areas]  # fmt: skip
    yield from reply(t, say("I'll send out agents to look into this, in parallel."), *uses)
    agents = [_agent(t, use) for use in uses]
    bodies = [_agent_work(agent, use, project, found)
              for agent, use, (_, found) in zip(agents, uses, project.areas, strict=True)]  # fmt: skip
    for step in merge(*bodies, key=attrgetter("at")):
        yield step
        if step.line is not None and step.line["type"] == "assistant":
            yield from _progress(t, step, uses[[agent.path for agent in agents].index(step.path)])
    for agent, use, (_, found) in zip(agents, uses, project.areas, strict=True):
        details = {"status": "completed", "agentId": agent.agent_id, "content": [say(found)]}
        yield from result(t, 0.1, use, found, details)
    yield from reply(t, say(" ".join(found for _, found in project.areas)))


def _agent(t: Transcript, use: Json) -> Transcript:
    agent_id = f"{t.rng.getrandbits(68):017x}"
    path = f"{t.path.removesuffix('.jsonl')}/subagents/agent-{agent_id}.jsonl"
    return Transcript(path, t.session_id, t.cwd, t.at + t.rng.uniform(0.1, 1), t.rng, t.stamp, agent_id)


def _agent_work(t: Transcript, use: Json, project: Project, found: str) -> Iterator[Step]:
    given = use["input"]
    about = {"agentType": given["subagent_type"], "description": given["description"], "spawnDepth": 1}
    yield Step(t.at, f"{t.path.removesuffix('.jsonl')}.meta.json", orjson.dumps(about))
    yield from prompt(t, 0, given["prompt"])
    for story in t.rng.sample(project.stories, 2):
        yield from look(t, story)
    if t.rng.random() < 0.3:  # sub-agents make mistakes as well
        read = call(t, "Read", file_path=f"{t.cwd}/docs/{given['description'].lower().replace(' ', '-')}.md")
        yield from reply(t, read)
        yield from result(t, 0.2, read, "File does not exist.", "Error: File does not exist.", failed=True)
    yield from reply(t, say(found))


def _progress(t: Transcript, step: Step, use: Json) -> Iterator[Step]:
    """A sub-agent's reply, once more in its parent's file: it must not count twice."""
    assert step.line is not None
    message = {key: step.line[key] for key in ("type", "timestamp", "message", "uuid")}
    data = {"type": "agent_progress", "agentId": step.line["agentId"], "message": message, "normalizedMessages": []}
    yield t.line(max(0.0, step.at - t.at), "progress", data=data, toolUseID=t.id("agent"), parentToolUseID=use["id"])


def hiccup(t: Transcript, project: Project, story: Story) -> Iterator[Step]:
    """The API is overloaded; it comes back, or the turn ends and the person asks again."""
    recovers = t.rng.random() < 0.5
    for attempt in range(1, 4):
        error = {"status": 529, "message": "Overloaded (demo)"}
        yield t.line(1.5 * attempt, "system", subtype="api_error", level="error", error=error,
                     retryInMs=1500 * attempt, retryAttempt=attempt, maxRetries=RETRIES)  # fmt: skip
    if not recovers:
        text = "API Error: 529 Overloaded (demo)"
        message = {"id": t.id("msg"), "type": "message", "role": "assistant", "model": "<synthetic>",
                   "content": [say(text)], "stop_reason": "stop_sequence", "usage": {}}  # fmt: skip
        yield t.line(2, "assistant", message=message, isApiErrorMessage=True, error="server_error")
        yield from prompt(t, 6, "Please go on.")
    yield from reply(t, say("Back again. I'll check once more that everything passes."))
    yield from run(t, story.command, story.passed, failed=False)
    yield from reply(t, say(story.done))


def ask(t: Transcript, project: Project, story: Story) -> Iterator[Step]:
    """The model asks, and waits for the person."""
    options = [{"label": label, "description": ""} for label in CHOICES]
    question = {"question": QUESTION, "header": "Test", "options": options, "multiSelect": False}
    use = call(t, "AskUserQuestion", questions=[question])
    yield from reply(t, use)
    answer = t.rng.choice(CHOICES)
    details = {"questions": [question], "answers": {QUESTION: answer}}
    yield from result(t, t.rng.uniform(5, 9), use, f"User has answered: {answer}", details)
    yield from reply(t, say("All right."))


def interrupt(t: Transcript, project: Project, story: Story) -> Iterator[Step]:
    """The person presses Escape, and says what is meant."""
    yield from reply(
        t, think("There may be more places like this."), say("I'll rewrite the whole module while I am at it.")
    )
    yield t.line(1, "user", message={"role": "user", "content": [say("[Request interrupted by user]")]})
    yield from prompt(t, 4, "No rewrite please, only this one place.")
    yield from reply(t, say(f"Understood: only {story.file}."))


def compact(t: Transcript, project: Project, story: Story) -> Iterator[Step]:
    """The person has the context summed up; the chain of parents begins anew."""
    before, logical = t.context, t.last
    yield t.line(1, "system", subtype="compact_boundary", content="Conversation compacted", isMeta=False, level="info",
                 parentUuid=None, logicalParentUuid=logical,
                 compactMetadata={"trigger": "manual", "preTokens": before})  # fmt: skip
    text = f"This session is being continued from a previous conversation. Summary: {story.title}. {story.cause}"
    yield t.line(2, "user", message={"role": "user", "content": text}, isCompactSummary=True,
                 isVisibleInTranscriptOnly=True)  # fmt: skip
    t.context = FRESH_CONTEXT
    command = "<command-name>/compact</command-name>\n<command-args></command-args>"
    yield t.line(0, "user", message={"role": "user", "content": command})
    yield from prompt(t, 3, "Where were we?")
    yield from reply(t, say(f"We were at: {story.title}. I'll go on from there."))


def turn_end(t: Transcript, began: float) -> Iterator[Step]:
    """What Claude Code writes when a turn is over."""
    yield t.line(0.1, "system", subtype="turn_duration", durationMs=round((t.at - began) * 1000), isMeta=False)


def fork(t: Transcript, story: Story, history: list[Json], session_id: str, path: str) -> Iterator[Step]:
    """Go on from here in another file, which begins with a copy of the lines so far. Leaves `t` in the new file."""
    origin, t.session_id, t.path = t.session_id, session_id, path
    for line in history:
        yield t.written(
            {**line, "sessionId": session_id, "forkedFrom": {"sessionId": origin, "messageUuid": line["uuid"]}}
        )
    yield t.aside("ai-title", aiTitle=f"{story.title} (another way)")
    yield from prompt(t, 2, ANOTHER_WAY)
    yield from reply(t, say("Of course: let me look for a smaller change."))


SCENES = (fix, explore, build, hiccup, ask, compact, interrupt)
