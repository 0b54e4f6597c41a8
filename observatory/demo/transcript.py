"""One transcript in the making: the envelope of its lines, its chain of parents, its clock.

Line shapes are those of Claude Code 2.1. Pure: ids come from the given random numbers, stamps from the given clock.
"""

import uuid
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import attrs
import orjson

VERSION = "2.1.220"
MODEL, AGENT_MODEL = "claude-sonnet-4-5", "claude-haiku-4-5"
FRESH_CONTEXT = 14_000  # tokens that stand in front of every prompt
Json = dict[str, Any]
Stamp = Callable[[float], str]  # seconds since the demo began → RFC 3339 in UTC with milliseconds


@attrs.frozen
class Step:
    """Something to write: `at` in seconds since the demo began, lines below `projects/`.

    `line` is what was encoded; None for a file that is no transcript.
    """

    at: float
    path: str
    data: bytes
    line: Json | None = None


@attrs.define
class Transcript:
    """A file that grows by `Step`s. `last` is the uuid of its last line, `context` the tokens a model reads by now."""

    path: str
    session_id: str
    cwd: str
    at: float
    rng: Random
    stamp: Stamp
    agent_id: str | None = None
    last: str | None = None
    context: int = FRESH_CONTEXT

    @property
    def model(self) -> str:
        """Sub-agents have a smaller one."""
        return MODEL if self.agent_id is None else AGENT_MODEL

    def id(self, prefix: str) -> str:
        """A new id that says it is the demo's."""
        return f"{prefix}_demo{self.rng.getrandbits(72):018x}"

    def line(self, pause: float, kind: str, **fields: Any) -> Step:  # noqa: ANN401 - JSON values
        """A line of the tree, `pause` seconds after the one before it. `parentUuid` may be among the fields."""
        self.at += pause
        identity = new_uuid(self.rng)
        agent = {} if self.agent_id is None else {"agentId": self.agent_id}
        line = {
            "parentUuid": self.last, "isSidechain": self.agent_id is not None, "userType": "external", "cwd": self.cwd,
            "sessionId": self.session_id, "version": VERSION, "gitBranch": "demo", "entrypoint": "cli", **agent,
            "type": kind, **fields, "uuid": identity, "timestamp": self.stamp(self.at),
        }  # fmt: skip
        self.last = identity
        return self.written(line)

    def aside(self, kind: str, **fields: Any) -> Step:  # noqa: ANN401 - JSON values
        """A line beside the tree: no uuid, no time."""
        return self.written({"type": kind, **fields, "sessionId": self.session_id})

    def written(self, line: Json) -> Step:
        """A line as it is."""
        return Step(self.at, self.path, orjson.dumps(line) + b"\n", line)


def new_uuid(rng: Random) -> str:
    """Version 4, from these random numbers."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def prompt(t: Transcript, pause: float, text: str) -> Iterator[Step]:
    """A person types, and presses enter."""
    extra = {"promptSource": "typed", "origin": {"kind": "human"}} if t.agent_id is None else {}
    yield t.line(pause, "user", message={"role": "user", "content": text}, **extra)
    if t.agent_id is None:
        snapshot: Json = {"messageId": t.last, "trackedFileBackups": {}, "timestamp": t.stamp(t.at)}
        yield t.aside("file-history-snapshot", messageId=t.last, snapshot=snapshot, isSnapshotUpdate=False)
        yield t.aside("last-prompt", lastPrompt=text, leafUuid=t.last)
    t.context += len(text) // 3


def reply(t: Transcript, *blocks: Json) -> Iterator[Step]:
    """One API message: a line per block, all with its id, each with the counts so far."""
    message_id, request_id = t.id("msg"), t.id("req")
    written, output = t.rng.randint(200, 1500), 0
    for number, block in enumerate(blocks, 1):
        output += 12 + len(orjson.dumps(block)) // 4
        last = number == len(blocks)
        reason = ("tool_use" if block["type"] == "tool_use" else "end_turn") if last else None
        message = {
            "model": t.model, "id": message_id, "type": "message", "role": "assistant", "content": [block],
            "stop_reason": reason, "stop_sequence": None, "usage": _usage(t.context, written, output),
        }  # fmt: skip
        yield t.line(_thinking_time(t.rng, block), "assistant", message=message, requestId=request_id)
    t.context += written + output


def _thinking_time(rng: Random, block: Json) -> float:
    low, high = {"thinking": (2.0, 4.0), "text": (1.0, 2.5)}.get(block["type"], (0.8, 2.0))
    return rng.uniform(low, high)


def _usage(cached: int, written: int, output: int) -> Json:
    return {
        "input_tokens": 4,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output,
        "service_tier": "standard",
    }


def think(text: str) -> Json:
    """A thinking block."""
    return {"type": "thinking", "thinking": text, "signature": "demo"}


def say(text: str) -> Json:
    """A text block."""
    return {"type": "text", "text": text}


def call(t: Transcript, name: str, **given: Any) -> Json:  # noqa: ANN401 - a tool's input
    """A tool_use block with a new id."""
    return {"type": "tool_use", "id": t.id("toolu"), "name": name, "input": given}


def result(t: Transcript, pause: float, use: Json, text: str, details: object, failed: bool = False) -> Iterator[Step]:
    """The answer to a call. `details` is what Claude Code keeps beside it (`toolUseResult`)."""
    content = {"type": "tool_result", "tool_use_id": use["id"], "content": text, "is_error": failed}
    parent = t.last
    message = {"role": "user", "content": [content]}
    yield t.line(pause, "user", message=message, toolUseResult=details, sourceToolAssistantUUID=parent)
    t.context += len(text) // 3
