"""From a file that changes to the clients, and the two broadcasts that tell of conversations and files."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
import trio

from actors import router
from actors.watcher import FileChanged
from observatory.core.contracts import ConversationData, FileEvent, ParsedMessage
from tests.original.stage import Client, Embedded, embedded, line

IO_COUNTS = Path("/proc/self/io")
CONVERSATION = ConversationData(
    id="c1",
    project_id=UUID(int=5),
    session_id="s1",
    file_path="/r/s1.jsonl",
    title="Test",
    message_count=1,
    messages=[ParsedMessage(conversation_id="c1", message_id="m1", role="user", content="Hello",
                            timestamp=datetime(2026, 11, 22, 21, tzinfo=UTC))],
    created_at=datetime(2026, 11, 22, 21),
)  # fmt: skip


# -- files -------------------------------------------------------------------------------------------------------------


async def test_a_file_change_triggers_a_broadcast(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        files, other = await on.client("file_events"), await on.client("system")
        on.write("-w/s.jsonl", line(1))
        created = await files.next()
        assert created["type"] == "file_created"
        assert created["data"]["file_path"] == str(on.root / "-w/s.jsonl")
        on.write("-w/s.jsonl", line(2))
        modified = await files.next()
        assert (modified["type"], modified["data"]["conversation_id"]) == ("file_modified", "s")
        assert modified["data"]["file_size"] == (on.root / "-w/s.jsonl").stat().st_size
        (on.root / "-w/s.jsonl").unlink()
        assert (await files.next())["type"] == "file_deleted"
        await on.say("end_of_scene")
        assert await other.until("end_of_scene") == []


async def test_a_new_conversation_reaches_its_subscribers(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        everything, mine, another = [
            await on.client(topic) for topic in ("all_conversations", "conversation:s", "conversation:t")
        ]
        on.write("-w/s.jsonl", line(1))
        for client in (everything, mine):
            started, added = await client.next(), await client.next()
            assert (started["type"], started["data"]["id"]) == ("conversation_started", "s")
            assert added["data"]["message"]["content"] == "hello 1"
        project = everything.seen[-1]["data"]["project_id"]
        follower = await on.client(f"project:{project}")
        on.write("-w/s.jsonl", line(2))
        assert (await follower.next())["data"]["message"]["content"] == "hello 2"
        await on.say("end_of_scene")
        assert await another.until("end_of_scene") == []


async def test_many_rapid_writes_stay_in_order_and_nothing_is_doubled(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        client = await on.client("all_conversations", "file_events")
        for number in range(500):
            on.write(f"-w/{'abc'[number % 3]}.jsonl", line(number, sessionId="abc"[number % 3]))
            if number % 50 == 0:
                await trio.lowlevel.checkpoint()
        while sum(message["type"] == "message_added" for message in client.seen) < 500:
            await client.next()
        seqs = [message["seq"] for message in client.seen]
        assert seqs == sorted(set(seqs))
        added = [message["data"] for message in client.seen if message["type"] == "message_added"]
        for name in "abc":
            numbers = [int(m["message"]["content"].split()[1]) for m in added if m["conversation_id"] == name]
            assert numbers == list(range("abc".index(name), 500, 3))


@pytest.mark.skipif(not IO_COUNTS.exists(), reason="the kernel counts no bytes")
async def test_the_work_of_a_change_is_proportional_to_the_bytes_that_are_new(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        client = await on.client("all_conversations")
        on.write("-w/s.jsonl", *(line(number, "x" * 1000) for number in range(4000)))  # 4 MB
        for number in range(4000):
            await said(client, number)
        before = bytes_read()
        for number in range(4000, 4100):
            on.write("-w/s.jsonl", line(number))
            await said(client, number)
        assert bytes_read() - before < 40 * 1024 * 1024  # reading the file anew each time would be 400 MB


async def said(client: Client, number: int) -> None:
    """Read on until a prompt has come."""
    while True:
        data = (await client.next())["data"]
        if isinstance(data, dict) and (data.get("message") or {}).get("content", "").endswith(f" {number}"):
            return


def bytes_read() -> int:
    """Of files, by this process."""
    return int(IO_COUNTS.read_text().split()[1])


# -- messages of others ------------------------------------------------------------------------------------------------


async def scene_of_projects(on: Embedded) -> None:
    for topic in (f"project:{UUID(int=5)}", "project_updates", "all_conversations", "conversation:c1", "project:x"):
        await on.client(topic)


async def test_a_conversation_update_goes_to_those_who_follow_its_project(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        await scene_of_projects(on)
        assert await on.manager.broadcast_conversation_update(CONVERSATION) == []
        await on.manager.broadcast_conversation_update(CONVERSATION.as_data(), "new_conversation")
        both = ["conversation_update", "new_conversation"]
        assert await on.types() == [both, both, both, [], []]


async def test_a_conversation_update_carries_its_metadata(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        client = await on.client("all_conversations")
        await on.manager.broadcast_conversation_update(CONVERSATION)
        assert (await client.next())["data"] == {
            "id": "c1", "project_id": str(UUID(int=5)), "session_id": "s1", "file_path": "/r/s1.jsonl",
            "title": "Test", "message_count": 1, "created_at": "2026-11-22T21:00:00.000Z", "updated_at": None,
            "messages": [
                {
                    "id": None, "conversation_id": "c1", "message_id": "m1", "parent_id": None, "role": "user",
                    "content": "Hello", "timestamp": "2026-11-22T21:00:00.000Z", "tool_usage": [],
                }
            ],
        }  # fmt: skip


async def test_a_conversation_without_a_project_cannot_be_told(tmp_path: Path) -> None:
    async with embedded(tmp_path) as on:
        for wrong in ({"id": "c1"}, {"project_id": None}, {"project_id": ""}, ["c1"], None):
            with pytest.raises(ValueError, match="project_id"):
                await on.manager.broadcast_conversation_update(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["file_created", "file_modified", "file_deleted", None])
async def test_a_file_update_goes_to_those_who_hold_file_events(tmp_path: Path, kind: str | None) -> None:
    async with embedded(tmp_path) as on:
        for topic in ("file_events", "all_conversations", "file_events:p", "project_updates"):
            await on.client(topic)
        event = FileEvent(event_type="modified", src_path=Path("/r/s1.jsonl"))
        told = () if kind is None else (kind,)
        assert await on.manager.broadcast_file_monitoring_update(event, *told) == []
        await on.manager.broadcast_file_monitoring_update({"file_path": "/r/s1.jsonl", "metrics": {"ms": 1.5}}, *told)
        got = await on.received()
        assert [[m["type"] for m in messages] for messages in got] == [[kind or "file_update"] * 2] * 2 + [[], []]
        assert got[0][0]["data"] == event.as_data()
        assert got[0][1]["data"]["metrics"] == {"ms": 1.5}


# -- both at once ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slow_disk", [False, True])
@pytest.mark.parametrize("breath", [router.BREATH, 0], ids=["at once", "with pauses"])
async def test_lines_of_files_and_messages_of_others_come_in_the_order_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow_disk: bool, breath: int
) -> None:
    monkeypatch.setattr(router, "BREATH", breath or 1)
    async with embedded(tmp_path) as on:
        for _ in range(0 if breath else 2):
            await on.client("all_conversations")
        if slow_disk:
            on.monitor.commits._in_thread = 10**6  # each commit in the thread: others run between it and its publishing
        client = await on.client("all_conversations", "file_events", "project_updates", "system")

        async def write() -> None:
            for number in range(200):
                on.write("-w/s.jsonl", line(number))
                await trio.lowlevel.checkpoint()

        async def speak(speaker: int) -> None:
            for number in range(100):
                assert await on.manager.broadcast({"type": "said", "data": [speaker, number]}) == []

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            for speaker in range(3):
                nursery.start_soon(speak, speaker)
        await said(client, 199)
        await on.say("end_of_scene")
        await client.until("end_of_scene")
        seqs = [message["seq"] for message in client.seen]
        assert seqs == list(range(1, len(seqs) + 1))
        assert sum(message["type"] == "said" for message in client.seen) == 300
        assert sum(message["type"] == "message_added" for message in client.seen) == 200


async def test_a_line_that_is_stored_but_not_published_yet_is_not_overtaken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router, "BREATH", 1)
    async with embedded(tmp_path) as on:
        clients = [await on.client("all_conversations") for _ in range(3)]
        on.write("-w/s.jsonl", line(1))
        await said(clients[0], 1)
        await on.wait(lambda: on.monitor._ingest._idle and on.monitor.router._idle)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(on.manager.broadcast, {"type": "first"})
            while on.monitor.router._idle:
                await trio.lowlevel.checkpoint()
            on.write("-w/s.jsonl", line(2))
            on.monitor._ingest.send_nowait((FileChanged(str(on.root / "-w/s.jsonl"), 0),))
            assert on.monitor._ingest._carried  # stored, and the Router had no ear for it
            await on.manager.broadcast({"type": "second"})
        await on.say("end_of_scene")
        for client in clients:
            await client.until("end_of_scene")
            seqs = [message["seq"] for message in client.seen]
            assert seqs == sorted(set(seqs))
            kinds = [m["type"] for m in client.seen if m["type"] in ("first", "second", "message_added")]
            assert kinds == ["message_added", "first", "message_added", "second"]
