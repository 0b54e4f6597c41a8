"""A small history written by hand: growing replies, a fork with copies, a sub-agent in its file and in progress lines,
ids in several files and on several days, a message without id. What it counts is worked out below, by hand."""

from typing import Any

import orjson

from observatory.core.usage import Usage
from tests.ingest.stage import Stage

OPUS, SONNET = "claude-opus-4-5-20251101", "claude-sonnet-4-5"
MAIN = "11111111-1111-4111-8111-111111111111"
FORK = "22222222-2222-4222-8222-222222222222"
BLOG = "33333333-3333-4333-8333-333333333333"
AGENT = f"{MAIN}.a1b2c3d"
SHOP_FOLDER, BLOG_FOLDER = "-home-ada-shop", "-home-ada-blog"
Line = dict[str, Any]


def usage(fresh: int, output: int, creation: int = 0, cached: int = 0, **more: Any) -> Line:
    return {
        "input_tokens": fresh,
        "output_tokens": output,
        "cache_creation_input_tokens": creation,
        "cache_read_input_tokens": cached,
        "service_tier": "standard",
        **more,
    }


def reply(uuid: str, at: str, message_id: str | None, counts: Line, model: str = OPUS, **more: Any) -> Line:
    message: Line = {"id": message_id, "role": "assistant", "model": model, "content": [], "usage": counts}
    found = {"type": "assistant", "uuid": uuid, "parentUuid": None, "sessionId": MAIN, "cwd": "/home/ada/shop"}
    return {**found, "timestamp": at, "gitBranch": "main", "message": message, **more}


def progress(uuid: str, at: str, message_id: str, counts: Line) -> Line:
    inner = {"id": message_id, "role": "assistant", "model": SONNET, "content": [], "usage": counts}
    data = {"type": "agent_progress", "agentId": "a1b2c3d", "message": {"type": "assistant", "message": inner}}
    found = {"type": "progress", "uuid": uuid, "parentUuid": None, "sessionId": MAIN, "cwd": "/home/ada/shop"}
    return {**found, "timestamp": at, "gitBranch": "main", "data": data}


SPLIT = {"cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40}}
SEARCHED = {"server_tool_use": {"web_search_requests": 1}}
M1 = [
    reply("l1", "2026-03-09T23:50:00.000Z", "m1", usage(3, 1, 100, 900, **SPLIT)),
    reply("l2", "2026-03-09T23:50:01.000Z", "m1", usage(3, 20, 0, 900)),
    reply("l3", "2026-03-09T23:50:02.000Z", "m1", usage(3, 8, 100, 900, **SPLIT)),
]
M2 = reply("l4", "2026-03-10T00:10:00.000Z", "m2", usage(10, 100, 0, 2000, **SEARCHED))
NAMELESS = reply("l5", "2026-03-10T00:20:00.000Z", None, usage(1, 1), costUSD=0.25)
MAIN_LINES = [
    *M1,
    M2,
    progress("p1", "2026-03-10T00:11:00.000Z", "a1", usage(1, 1, 50)),
    progress("p2", "2026-03-10T00:12:00.000Z", "a2", usage(2, 5, 0, 70)),  # of an agent whose file is not there
    reply("l6", "2026-03-10T00:13:00.000Z", "m0", usage(999, 999, 999, 999), "<synthetic>"),
    NAMELESS,
]
AGENT_LINES = [
    reply(
        "g1", "2026-03-10T00:10:30.000Z", "a1", usage(1, 30, 50, 10), SONNET, isSidechain=True, agentId="a1b2c3d"
    )
]  # fmt: skip
FORK_LINES = [
    *({**line, "sessionId": FORK} for line in (*M1, M2, NAMELESS)),
    reply("f1", "2026-03-10T12:00:00.000Z", "m2", usage(10, 120, 0, 2000), sessionId=FORK, gitBranch="idea"),
    reply("f2", "2026-03-10T12:00:01.000Z", "m3", usage(5, 50), "gpt-9", sessionId=FORK, gitBranch="idea"),
]
BLOG_LINES = [
    reply("b1", "2026-03-31T22:30:00.000Z", "m4", usage(7, 70), sessionId=BLOG, cwd="/home/ada/blog", gitBranch="")
]
FILES = {
    f"{SHOP_FOLDER}/{MAIN}.jsonl": MAIN_LINES,
    f"{SHOP_FOLDER}/{MAIN}/subagents/agent-a1b2c3d.jsonl": AGENT_LINES,
    f"{SHOP_FOLDER}/{FORK}.jsonl": FORK_LINES,
    f"{BLOG_FOLDER}/{BLOG}.jsonl": BLOG_LINES,
}

# Per message, the maximum of each count over all its lines in all files.
MESSAGES = {
    "m1": Usage(3, 20, 100, 900),
    "m2": Usage(10, 120, 0, 2000),
    "a1": Usage(1, 30, 50, 10),
    "a2": Usage(2, 5, 0, 70),
    "l5": Usage(1, 1, 0, 0),
    "m3": Usage(5, 50, 0, 0),
    "m4": Usage(7, 70, 0, 0),
}
TOTAL = Usage(29, 296, 150, 2980)
# Micro-dollars: Opus 4.5 at 5, 25, 6.25 (an hour: 10), 0.5 a million; Sonnet 4.5 at 3, 15, 3.75, 0.3; a search at 0.01.
COSTS = {
    "m1": 3 * 5 + 20 * 25 + 60 * 6.25 + 40 * 10 + 900 * 0.5,
    "m2": 10 * 5 + 120 * 25 + 2000 * 0.5 + 10_000,
    "a1": 1 * 3 + 30 * 15 + 50 * 3.75 + 10 * 0.3,
    "a2": 2 * 3 + 5 * 15 + 70 * 0.3,
    "l5": 1 * 5 + 1 * 25,
    "m4": 7 * 5 + 70 * 25,
}


def write(stage: Stage, name: str) -> None:
    """Put a file of the history below the stage's root."""
    stage.write(name, *map(orjson.dumps, FILES[name]))
