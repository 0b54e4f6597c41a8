"""Events that the log has lost: the client is told, and goes on; a real page of a real file is overwritten."""

from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from observatory.client.connection import connect
from observatory.client.follow import follow
from observatory.core.client_items import Connected, Event, Item, Snapshot
from observatory.core.events import Draft, Position
from tests.server.serving import DEADLINE, SMALL, TOPICS, Running, data_of, serving, subscribed
from tests.storage.damage import damage


async def damaged(running: Running) -> None:
    """100 events, of which one of the middle, and its neighbours, cannot be read any more."""
    drafts = [Draft("message_added", {"text": f"needle-{n:03}" * 30}, TOPICS) for n in range(1, 101)]
    for start in range(0, 100, 10):
        await running.commit(*drafts[start : start + 10])
    damage(running.log, b"needle-050")


async def test_a_client_gets_what_can_be_read_then_resync_and_no_event_until_it_resumes(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, connect(running.url) as connection:
        await damaged(running)
        epoch = running.log.position.epoch
        resume = {"epoch": epoch, "seq": 10}
        with capture_logs() as logs:
            reply = await connection.request("subscribe", {"topics": ["project:p1"], "resume": resume})
            assert reply.data["recovered"]
            seqs = []
            while (frame := await connection.receive()).seq is not None:
                seqs.append(frame.seq)
        assert 20 < len(seqs) < 40
        assert seqs == list(range(11, 11 + len(seqs)))
        assert (frame.type, frame.data) == (
            "resync", {"reason": "gap", "epoch": epoch, "head": 100, "oldest": 1},
        )  # fmt: skip
        [entry] = [one for one in logs if one["event"] == "client.backlog_unreadable"]
        assert (entry["after"], "is damaged" in entry["error"]) == (seqs[-1], True)
        await running.publish()
        standing = (await connection.request("get_subscriptions")).data
        assert (standing["state"], standing["pos"], standing["topics"]) == ("idle", None, ["project:p1"])
        assert standing["sent"] == len(seqs)
        snapshot = await connection.request("get_snapshot")
        assert (await connection.request("resume", snapshot.data["position"])).data["recovered"]
        [event] = await running.publish()
        assert (await connection.event()).seq == event.seq


async def test_a_legacy_client_is_told_too_and_goes_on_from_the_head(tmp_path: Path) -> None:
    async with serving(tmp_path, outbox=SMALL, send_buffer=4096) as running:
        raw = await running.upgraded(Sec_WebSocket_Protocol=None, receive_bytes=4096)
        await raw.message()
        for _ in range(20):
            await running.publish(3, size=2000)
        assert running.router.statistics().behind == 1  # it reads nothing
        await damaged(running)
        seqs = []
        while "seq" in (message := await raw.message()):
            seqs.append(message["seq"])
        assert seqs == list(range(1, len(seqs) + 1))
        assert 60 < len(seqs) < 110
        assert (message["type"], data_of(message)["reason"], data_of(message)["head"]) == ("resync", "gap", 160)
        [event] = await running.publish()
        assert (await raw.message())["seq"] == event.seq == 161
        assert running.router.statistics().live == 1


async def test_the_client_library_takes_a_snapshot_and_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        await damaged(running)
        since, found = Position(running.log.position.epoch, 10), list[Item]()
        async with follow(running.url, ["project:p1"], since=since) as items:
            with trio.fail_after(DEADLINE):
                while not any(isinstance(item, Snapshot) for item in found):
                    found.append(await items.receive())
                await running.until(lambda: running.router.statistics().live == 1)
                [event] = await running.publish()
                while not (isinstance(found[-1], Event) and found[-1].seq == event.seq):
                    found.append(await items.receive())
        seqs = [item.seq for item in found if isinstance(item, Event)]
        assert seqs == [*range(11, 9 + len(seqs) + 1), event.seq]
        assert [item.recovered for item in found if isinstance(item, Connected)] == [True, False]


@pytest.mark.parametrize("hole", [range(50, 52), range(60, 61)])  # nearer to the head the Router has the rows
async def test_a_row_that_is_not_there_is_a_gap_too(tmp_path: Path, hole: range) -> None:
    async with serving(tmp_path) as running, connect(running.url) as connection:
        await running.publish(100)
        running.log._db.execute("DELETE FROM events WHERE seq BETWEEN ? AND ?", (hole[0], hole[-1]))
        resume = {"epoch": running.log.position.epoch, "seq": 0}
        await connection.request("subscribe", {"topics": ["project:p1"], "resume": resume})
        seqs = []
        while (frame := await connection.receive()).seq is not None:
            seqs.append(frame.seq)
        assert seqs == list(range(1, hole[0]))
        assert frame.type == "resync"


async def test_others_are_not_concerned(tmp_path: Path) -> None:
    async with serving(tmp_path) as running, connect(running.url, topics=["project:p1"]) as other:
        await damaged(running)
        assert [(await other.event()).seq for _ in range(100)] == list(range(1, 101))
        raw = await subscribed(running)
        [event] = await running.commit(Draft("message_added", {}, TOPICS))
        assert (await raw.message())["seq"] == event.seq
        assert (await other.event()).seq == event.seq
