"""Where-filters on real sockets: live, replayed, behind, replaced under load, and one that fails."""

from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from actors.commands import Publish, Routed
from actors.sender import OutboxLimits
from observatory.client.connection import connect
from observatory.core.batch import Batch
from observatory.core.events import Draft, Position, text_frame
from observatory.core.where import parse_where
from tests.core.filters import holds
from tests.server.serving import DEADLINE, TOPICS, Raw, Running, code_of, data_of, serving

Tree = dict[str, Any]
ROLES = ("user", "assistant", "system")
USER: Tree = {"key": "role", "cmp": "eq", "val": "user"}
NOT_USER: Tree = {"op": "not", "node": USER}
LATE: Tree = {"op": "and", "nodes": [{"key": "model", "cmp": "glob", "val": "m-*5"}, NOT_USER]}


async def publish(running: Running, count: int, size: int = 10) -> list[Tree]:
    """Events with a role and a model, in one transaction."""
    head = running.log.position.head
    told = [
        {"role": ROLES[n % 3], "model": f"m-{n}", "text": "x" * size} for n in range(head + 1, head + 1 + count)
    ]  # fmt: skip
    drafts = [Draft("message_added", {"message": data}, TOPICS) for data in told]
    events = await running.committer.append(Batch(drafts=drafts))
    routed = Publish(tuple(Routed(e.seq, e.topics, text_frame(e.payload)) for e in events))
    await running.router.post(routed)
    await routed.done.wait()
    return [orjson.loads(event.payload) for event in events]


async def opened(running: Running, where: Tree | None, **options: Any) -> Raw:
    raw = await running.upgraded(**options)
    await raw.message()
    confirmed = await raw.ask("subscribe", {"topics": ["all_conversations"], "where": where})
    assert data_of(confirmed)["where"] == where
    return raw


async def test_events_pass_the_filter_live_and_in_a_replay(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        live = await opened(running, USER)
        events = await publish(running, 600) + await publish(running, 3)
        wanted = [event["seq"] for event in events if holds(USER, event)]
        assert [(await live.message())["seq"] for _ in wanted] == wanted
        since = Position(running.log.position.epoch, 0)
        async with connect(running.url, topics=["project:p1"], where=USER, since=since) as connection:
            with trio.fail_after(DEADLINE):
                assert [(await connection.event()).seq for _ in wanted] == wanted
            status = await connection.request("get_subscriptions")
            assert (status.data["where"], status.data["sent"]) == (USER, len(wanted))


async def test_null_removes_the_filter_and_absent_leaves_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        raw = await opened(running, USER)
        replies = [
            await raw.ask("subscribe", {"topics": ["system"], "replace": True}),
            await raw.ask("unsubscribe"),
            await raw.ask("subscribe", {"topics": ["all_conversations"], "where": None}),
        ]
        assert [data_of(reply)["where"] for reply in replies] == [USER, USER, None]
        await publish(running, 3)
        assert [(await raw.message())["seq"] for _ in range(3)] == [1, 2, 3]


async def test_an_original_client_may_send_a_filter(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        raw = await running.upgraded(Sec_WebSocket_Protocol=None)
        await raw.message()
        assert data_of(await raw.ask("subscribe", {"topics": [], "where": USER}))["where"] == USER
        events = await publish(running, 6)
        wanted = [event["seq"] for event in events if holds(USER, event)]
        assert [(await raw.message())["seq"] for _ in wanted] == wanted


async def test_a_bad_filter_is_refused_in_one_line_and_changes_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        raw = await opened(running, USER)
        error = await raw.ask("subscribe", {"topics": ["system"], "where": {"op": "or", "nodes": [USER, {"key": "x"}]}})
        assert code_of(error) == "INVALID_FILTERS"
        assert data_of(error)["message"].startswith("where.nodes[1].key must be one of ")
        status = data_of(await raw.ask("get_subscriptions"))
        assert (status["topics"], status["where"]) == (["all_conversations"], USER)


@pytest.mark.parametrize("slow", [False, True], ids=["live", "behind"])
async def test_a_filter_replaced_under_load_cuts_exactly_at_the_position_of_its_confirmation(
    tmp_path: Path, slow: bool
) -> None:
    small = OutboxLimits(frames=8, bytes=64 * 1024)
    filters = [USER, NOT_USER, None, LATE, USER]
    async with serving(tmp_path, outbox=small, send_buffer=4096) as running:
        raw = await opened(running, filters[0], receive_bytes=4096 if slow else None)
        events: list[Tree] = []
        for number, where in enumerate(filters):
            for _ in range(40 if slow else 3):
                events += await publish(running, 3, 2000 if slow else 10)
            if number:
                request = {"type": "subscribe", "id": number, "data": {"topics": [], "where": where}}
                await raw.send(orjson.dumps(request))
                await publish_until_settled(running, where, events)
        events += await publish(running, 3)
        if slow:
            assert running.router.statistics().behind == 1
        cuts, seqs = await read_all(raw, events, len(filters) - 1)
    assert [where for _, where in cuts] == filters[1:]
    in_force = [(0, filters[0]), *cuts]
    due = []
    for event in events:
        where = [tree for pos, tree in in_force if pos < event["seq"]][-1]
        if where is None or holds(where, event):
            due.append(event["seq"])
    assert seqs == due
    assert all(0 < pos <= len(events) for pos, _ in cuts)


async def publish_until_settled(running: Running, where: Tree | None, events: list[Tree]) -> None:
    """Publish until the server has taken a request."""
    [connection] = running.server.connections
    tree = None if where is None else orjson.dumps(where)
    with trio.fail_after(DEADLINE):
        while (connection.session.where and connection.session.where.tree) != tree:
            events += await publish(running, 1)
            await trio.lowlevel.checkpoint()


async def read_all(raw: Raw, events: list[Tree], confirmations: int) -> tuple[list[tuple[int, Tree | None]], list[int]]:
    """All confirmations, as position and filter, and the seqs of all events up to the last one."""
    await raw.send('{"type":"get_subscriptions","id":"end"}')
    cuts: list[tuple[int, Tree | None]] = []
    seqs: list[int] = []
    pos = -1
    while len(cuts) < confirmations or pos < events[-1]["seq"]:
        message = await raw.message()
        if "seq" in message:
            seqs.append(message["seq"])
        elif message["type"] == "subscription_confirmed":
            cuts.append((data_of(message)["pos"], data_of(message)["where"]))
        elif (pos := data_of(message)["pos"]) < events[-1]["seq"] and message["type"] == "subscription_status":
            pos = -1  # behind: a ping tells when it is live again
    return cuts, seqs


async def test_ten_thousand_equal_subscriptions_ask_one_filter(tmp_path: Path) -> None:
    """Two connections stand for them: what they share is one object."""
    async with serving(tmp_path) as running:
        await opened(running, USER)
        await opened(running, {"op": "and", "nodes": [{"val": "user", "cmp": "eq", "key": "role"}]})
        first, second = [connection.session.where for connection in running.server.connections]
        assert first is not None
        assert second is not None
        assert first.accepts is second.accepts
        assert set(running.router._filters.values()) == {first.accepts}


async def test_a_filter_that_fails_costs_one_client_its_connection_and_nobody_else_anything(tmp_path: Path) -> None:
    def fails(facts: object) -> bool:
        raise RuntimeError("a defect")

    async with serving(tmp_path) as running:
        raw, other = await opened(running, USER), await opened(running, USER)
        session = next(iter(running.server.connections)).session
        session.where = parse_where(USER | {"val": "nobody"})
        object.__setattr__(session.where, "accepts", fails)
        await raw.ask("subscribe", {"topics": []})
        events = await publish(running, 3)
        assert await raw.close_frame() == (1011, "internal error")
        assert [(await other.message())["seq"]] == [event["seq"] for event in events if holds(USER, event)]
        await running.until(lambda: running.server.counters.closes == {1011: 1})
